"""Reads what belongs to a data set, and goes on where a training would stop."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from keras_wsss.class_names import plain
from keras_wsss.config.data import DataConfig, PhotosDataConfig
from keras_wsss.data.checking.contents import Contents, Fault, ImageList, Item
from keras_wsss.data.checking.lists import MISSING, names_of_lists, read_list
from keras_wsss.data.checking.voc import read_voc
from keras_wsss.data.classes import chosen_classes
from keras_wsss.data.coco_file import instances_of
from keras_wsss.data.photos.coco import read_coco
from keras_wsss.data.photos.labels import says_nothing
from keras_wsss.data.photos.reader import TRAIN, VAL
from keras_wsss.data.photos.recognise import source_of
from keras_wsss.data.photos.scan import PHOTO_SUFFIXES
from keras_wsss.data.photos.source import Source, with_negatives
from keras_wsss.data.places import check_inside
from keras_wsss.data.text import read_json
from keras_wsss.errors import ConfigError, DataError


def read_contents(data: DataConfig) -> Contents:
    """What belongs to a data set; its images are not opened.

    Args:
        data: configuration of the kind ``voc``, ``coco`` or ``photos``.

    Raises:
        ConfigError: it is of another kind.
        DataError: nothing can be read.

    Example:

    >>> data = wsss.config.DataConfig(kind="voc", root="VOC2012", train_list="train")
    >>> len(read_contents(data).items)
    6
    """
    if isinstance(data, PhotosDataConfig):
        return _photos(data)
    if data.kind in ("voc", "coco"):
        return read_voc(data) if data.kind == "voc" else _coco(data)
    raise ConfigError(
        f"data.kind: value {data.kind!r}; `check` looks at files of the kinds voc, coco and photos"
    )


def _photos(data: PhotosDataConfig) -> Contents:
    root = Path(data.root or ".")
    source = source_of(data)
    imported = source.kind == "imported"
    untagged = "negative" if imported else data.untagged
    source = with_negatives(source, untagged)
    nothing = {plain(name) for name in data.negative}
    classes = _chosen(source, data.classes, nothing)
    items, silent = _items(source, classes, untagged, nothing)
    folder = root if root.is_dir() else root.parent
    lists = []
    for part, name in names_of_lists(data):
        file = folder / f"{name}.txt"
        if name not in (TRAIN, VAL) or (imported and file.is_file()):
            lists.append(read_list(file, name, part))
    unlisted = [item.path for item in silent.values() if item.path]
    if lists:
        items, lists, unlisted = _listed(items, lists, {p.id for p in source.photographs}, silent)
    return Contents.of(
        data,
        items=items,
        classes=classes,
        root=source.path,
        mask_classes=source.class_names,
        lists=tuple(lists),
        mask_colours=source.mask_colours,
        unlisted=tuple(unlisted),
        unknown=source.unknown,
        spellings=source.spellings,
        imports=not imported,
        notes=tuple(text for text in source.warnings if "are one class" not in text),
    )


def _chosen(source: Source, wanted: Sequence[str] | None, nothing: set[str]) -> tuple[str, ...]:
    known = [name for name in source.class_names if plain(name) not in nothing]
    return chosen_classes(known, wanted, str(source.path))


def _items(
    source: Source, classes: Sequence[str], untagged: str, nothing: set[str]
) -> tuple[dict[str, Item], dict[str, Item]]:
    """The images that are trained, as :func:`~keras_wsss.data.photos.labels.label` chooses them,
    and those about which nothing is said."""
    items: dict[str, Item] = {}
    silent: dict[str, Item] = {}
    for photo in source.photographs:
        tags = [tag for tag in photo.tags or () if not says_nothing(tag, nothing)]
        kept = tuple(tag for tag in tags if tag in classes or tag in source.unknown)
        item = Item(photo.id, photo.path, kept, photo.mask, brushes=photo.brushes)
        if photo.tags is None:
            silent[photo.id] = replace(item, tags=None)
        elif kept or (photo.tags and not tags) or untagged == "negative":
            items[photo.id] = item
        elif not tags and untagged == "error":
            items[photo.id] = replace(item, tags=None)
    for each in source.dropped:  # what the source names and no file has
        where = each.reason.partition(" (")[2].rstrip(")")
        stem, suffix = os.path.splitext(each.name)
        name = stem if suffix.lower() in PHOTO_SUFFIXES else each.name
        items.setdefault(name, Item(name, None, (), where=where))
    return items, silent


def _listed(
    items: dict[str, Item], lists: list[ImageList], known: set[str], silent: dict[str, Item]
) -> tuple[dict[str, Item], list[ImageList], list[Path]]:
    """Images and lists of one spelling, and the files that no list names."""
    ids = {plain(name): name for name in known | items.keys()}
    used: dict[str, Item] = {name: item for name, item in items.items() if item.path is None}
    spelled = []
    for each in lists:
        names = []
        for line in each.ids:
            name = ids.get(plain(line), line)
            missing = Item(name, None, where=str(each.path))
            item = items.get(name) or silent.get(name) or (None if name in known else missing)
            if item is not None:  # else it has no tag of data.classes
                used[name] = item
                names.append(name)
        spelled.append(ImageList(each.name, each.part, each.path, tuple(names), each.fault))
    rest = {**items, **silent}
    return used, spelled, [i.path for n, i in rest.items() if n not in used and i.path]


def _coco(data: DataConfig) -> Contents:
    root = Path(data.root or ".")
    lists: list[ImageList] = []
    items: dict[str, Item] = {}
    unlisted: list[Path] = []
    classes: tuple[str, ...] = ()
    for part, name in names_of_lists(data):
        path = root / "annotations" / f"instances_{name}.json"
        if not path.is_file():
            lists.append(ImageList(name, part, path, (), Fault("missing-list", MISSING % path)))
            continue
        check_inside([path], root, data.follow_links)
        try:
            content = read_json(path)
            instances_of(path, content)
        except DataError as error:
            lists.append(ImageList(name, part, path, (), Fault("unreadable-list", str(error))))
            continue
        source = read_coco({path: content}, root / name)
        check_inside((photo.path for photo in source.photographs), root, data.follow_links)
        classes = _chosen(source, data.classes, set())
        # Images without an annotation are left out, as in the published lists.
        own, silent = _items(source, classes, "drop", set())
        items |= own
        unlisted += [item.path for item in silent.values() if item.path]
        lists.append(ImageList(name, part, path, tuple(own)))
    return Contents.of(
        data,
        items=items,
        classes=classes,
        root=root,
        mask_classes=classes,
        lists=tuple(lists),
        unlisted=tuple(unlisted),
    )
