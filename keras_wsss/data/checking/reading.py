"""Reads what belongs to a data set, and goes on where a training would stop."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_wsss.config.data import DataConfig, PhotosDataConfig
from keras_wsss.data.checking.contents import Contents, Fault, ImageList, Item
from keras_wsss.data.files import files_by_stem
from keras_wsss.data.labels import chosen_classes, read_tags
from keras_wsss.data.photos.coco import read_coco
from keras_wsss.data.photos.imported import SEPARATOR
from keras_wsss.data.photos.labels import says_nothing
from keras_wsss.data.photos.reader import TRAIN, VAL
from keras_wsss.data.photos.recognise import find_source
from keras_wsss.data.photos.scan import PHOTO_SUFFIXES, folded
from keras_wsss.data.photos.source import Source
from keras_wsss.data.photos.table import read_table
from keras_wsss.data.split import Part
from keras_wsss.data.text import read_lines
from keras_wsss.errors import ConfigError, DataError
from keras_wsss.palette import IGNORE_ID

IMAGES, MASKS, LISTS = Path("JPEGImages"), Path("SegmentationClass"), Path("ImageSets/Segmentation")
PARTS: tuple[Part, ...] = ("train", "val")


def read_contents(data: DataConfig) -> Contents:
    """What belongs to a data set; its images are not opened.

    Args:
        data: configuration of the kind ``voc``, ``coco`` or ``photos``.

    Raises:
        ConfigError: it is of another kind.
        DataError: nothing can be read.

    Example:

    >>> len(read_contents(config.data).items)
    300
    """
    if isinstance(data, PhotosDataConfig):
        return _photos(data)
    if data.kind in ("voc", "coco"):
        return _voc(data) if data.kind == "voc" else _coco(data)
    raise ConfigError(
        f"data.kind: value {data.kind!r}; `check` looks at files of the kinds voc, coco and photos"
    )


def _photos(data: PhotosDataConfig) -> Contents:
    root = Path(data.root or ".")
    source = find_source(root, images=data.images, format=data.format, tags_column=data.tags_column)
    imported = source.kind == "imported"
    untagged = "negative" if imported else data.untagged
    nothing = {folded(name) for name in data.negative}
    classes = _chosen(source, data.classes, nothing)
    items, silent = _items(source, classes, untagged, nothing)
    folder = root if root.is_dir() else root.parent
    lists = []
    for part, name in _names_of_lists(data):
        file = folder / f"{name}.txt"
        if name not in (TRAIN, VAL) or (imported and file.is_file()):
            lists.append(_read_list(file, name, part))
    unlisted = [item.path for item in silent.values() if item.path]
    if lists:
        items, lists, unlisted = _listed(items, lists, {p.id for p in source.photographs}, silent)
    return _contents(
        data,
        items,
        classes,
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
    known = {folded(name): name for name in source.class_names if folded(name) not in nothing}
    names = [known.get(folded(name), name) for name in wanted] if wanted else None
    return chosen_classes(list(known.values()), names, str(source.path))


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
        item = Item(photo.id, photo.path, kept, photo.mask)
        if photo.tags is None:
            silent[photo.id] = Item(photo.id, photo.path, None, photo.mask)
        elif kept or (photo.tags and not tags) or untagged == "negative":
            items[photo.id] = item
        elif not tags and untagged == "error":
            items[photo.id] = Item(photo.id, photo.path, None, photo.mask)
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
    ids = {folded(name): name for name in known | items.keys()}
    used: dict[str, Item] = {name: item for name, item in items.items() if item.path is None}
    spelled = []
    for each in lists:
        names = []
        for line in each.ids:
            name = ids.get(folded(line), line)
            missing = Item(name, None, where=str(each.path))
            item = items.get(name) or silent.get(name) or (None if name in known else missing)
            if item is not None:  # else it has no tag of data.classes
                used[name] = item
                names.append(name)
        spelled.append(ImageList(each.name, each.part, each.path, tuple(names), each.fault))
    rest = {**items, **silent}
    return used, spelled, [i.path for n, i in rest.items() if n not in used and i.path]


def _voc(data: DataConfig) -> Contents:
    root = Path(data.root or ".")
    images, masks = files_by_stem(root / IMAGES), files_by_stem(root / MASKS, (".png",))
    lists = [
        _read_list(root / LISTS / f"{name}.txt", name, part) for part, name in _names_of_lists(data)
    ]
    ids = list(dict.fromkeys(name for each in lists for name in each.ids))
    facts, tags = _voc_tags(data, root, ids)
    classes = chosen_classes(facts["mask_classes"], data.classes, str(root))
    unknown = facts.get("unknown", {})
    items: dict[str, Item] = {}
    where = {name: str(each.path) for each in lists for name in each.ids}
    for name in ids:
        own = tags.get(name)
        kept = tuple(tag for tag in own or () if tag in classes or tag in unknown)
        path, mask = images.get(name), masks.get(name)
        if kept or not own or path is None:
            items[name] = Item(
                name,
                Path(path) if path else None,
                kept if own or facts.get("faults") else None,
                Path(mask) if mask else None,
                where[name],
            )
    # A list that this configuration does not name does name its images.
    others = (root / LISTS).glob("*.txt")
    named = {line for file in others for line in _read_list(file, file.stem, "train").ids}
    unlisted = [Path(path) for name, path in images.items() if name not in named | items.keys()]
    kept_lists = [_without(each, items) for each in lists]
    return _contents(
        data, items, classes, root=root, lists=tuple(kept_lists), unlisted=tuple(unlisted), **facts
    )


def _voc_tags(
    data: DataConfig, root: Path, ids: Sequence[str]
) -> tuple[dict[str, Any], Mapping[str, tuple[str, ...]]]:
    """What is known of classes, and the tags of images; all of a table if its class list is there,
    else as far as the first tag that cannot be used."""
    table = data.labels or root / "labels.csv"
    strict = data.labels is None and (root / "labels.json").is_file()
    classes = table.parent / "classes.txt"
    try:
        if table.suffix == ".csv" and table.is_file() and classes.is_file() and not strict:
            source = read_table(table, root / IMAGES, "tags", SEPARATOR)
            facts: dict[str, Any] = {
                "mask_classes": source.class_names,
                "unknown": source.unknown,
                "spellings": source.spellings,
            }
            return facts, {p.path.stem: p.tags for p in source.photographs if p.tags is not None}
        read = read_tags(root, data.labels, data.labels_key, ids, data.classes)
    except DataError as error:
        known = data.classes or ()
        return {"mask_classes": known, "faults": (Fault("tags-unreadable", str(error)),)}, {}
    return {"mask_classes": read.class_names, "ignore_id": read.ignore_id}, read.tags


def _coco(data: DataConfig) -> Contents:
    root = Path(data.root or ".")
    lists: list[ImageList] = []
    items: dict[str, Item] = {}
    unlisted: list[Path] = []
    classes: tuple[str, ...] = ()
    for part, name in _names_of_lists(data):
        path = root / "annotations" / f"instances_{name}.json"
        if not path.is_file():
            lists.append(ImageList(name, part, path, (), Fault("missing-list", _MISSING % path)))
            continue
        source = read_coco([path], root / name)
        classes = _chosen(source, data.classes, set())
        # Images without an annotation are left out, as in the published lists.
        own, silent = _items(source, classes, "drop", set())
        items |= own
        unlisted += [item.path for item in silent.values() if item.path]
        lists.append(ImageList(name, part, path, tuple(own)))
    return _contents(
        data,
        items,
        classes,
        root=root,
        mask_classes=classes,
        lists=tuple(lists),
        unlisted=tuple(unlisted),
    )


def _contents(
    data: DataConfig, items: dict[str, Item], classes: tuple[str, ...], **facts: Any
) -> Contents:
    return Contents(
        kind=data.kind,
        items=items,
        classes=classes,
        crop=data.crop_size,
        working_size=data.crop_size if data.warp else data.working_size,
        **{"ignore_id": IGNORE_ID, **facts},
    )


def _names_of_lists(data: DataConfig) -> list[tuple[Part, str]]:
    parts = [part for part in PARTS if part == "train" or data.val_list is not None]
    return [(part, name) for part in parts for name in data.lists(part)]


_MISSING = "%s: the list is not there; write one id a line, or correct data.train_list or val_list"


def _read_list(path: Path, name: str, part: Part) -> ImageList:
    if not path.is_file():
        return ImageList(name, part, path, (), Fault("missing-list", _MISSING % path))
    try:
        return ImageList(name, part, path, tuple(read_lines(path)))
    except DataError as error:
        return ImageList(name, part, path, (), Fault("unreadable-list", str(error)))


def _without(each: ImageList, items: Mapping[str, Item]) -> ImageList:
    """A list without the images that have no tag of ``data.classes``."""
    kept = tuple(name for name in each.ids if name in items)
    return ImageList(each.name, each.part, each.path, kept, each.fault)
