"""Reads what belongs to a folder in VOC layout."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from keras_wsss.class_names import foreground, plain, spelling
from keras_wsss.config.data import DataConfig
from keras_wsss.data.checking.contents import Contents, Fault, Item
from keras_wsss.data.checking.lists import names_of_lists, read_list
from keras_wsss.data.classes import chosen_classes, class_list
from keras_wsss.data.files import files_by_stem
from keras_wsss.data.labels import read_tags, tag_files, tag_table
from keras_wsss.data.photos.rows import read_rows
from keras_wsss.data.photos.table import read_table
from keras_wsss.data.places import check_inside
from keras_wsss.data.tables import SEPARATOR, read_labels_file
from keras_wsss.data.text import read_xml
from keras_wsss.data.voc import IMAGES, LISTS, MASKS
from keras_wsss.errors import DataError
from keras_wsss.palette import IGNORE_ID


@dataclass(frozen=True)
class Tags:
    """The tags of a folder in VOC layout.

    Attributes:
        class_names: the class at position i has the id i + 1 in masks.
        tags: image id -> names, also of such as no class list knows.
        unknown: these -> where one stands.
        spellings: classes -> the several ways in which they are written.
        ignore_id: id in masks that stands for "unknown".
        fault: why they cannot be read, or None.
    """

    class_names: tuple[str, ...]
    tags: Mapping[str, tuple[str, ...]]
    unknown: Mapping[str, str] = field(default_factory=dict)
    spellings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignore_id: int = IGNORE_ID
    fault: Fault | None = None


def read_voc(data: DataConfig) -> Contents:
    """What belongs to a folder in VOC layout; its images are not opened.

    Raises:
        DataError: a chosen class is not known.

    Example:

    >>> data = wsss.config.DataConfig(kind="voc", root="VOC2012", train_list="train")
    >>> [each.name for each in read_voc(data).lists]
    ['train', 'val']
    """
    root = Path(data.root or ".")
    images, masks = files_by_stem(root / IMAGES), files_by_stem(root / MASKS, (".png",))
    files: list[str | Path] = [*images.values(), *masks.values(), *(root / LISTS).glob("*.txt")]
    check_inside(files, root, data.follow_links)
    lists = [
        read_list(root / LISTS / f"{name}.txt", name, part) for part, name in names_of_lists(data)
    ]
    listed = {name: str(each.path) for each in lists for name in each.ids}
    check_inside(tag_files(root, listed), root, data.follow_links)
    found = _tags(data, root, listed)
    classes = chosen_classes(found.class_names, data.classes, str(root))
    items: dict[str, Item] = {}
    for name, where in listed.items():
        own = found.tags.get(name, ())
        kept = tuple(tag for tag in own if tag in classes or tag in found.unknown)
        if own and not kept and name in images:
            continue  # it has no tag of data.classes
        items[name] = Item(
            name,
            Path(images[name]) if name in images else None,
            kept if own or found.fault else None,
            Path(masks[name]) if name in masks else None,
            where,
        )
    # A list that this configuration does not name does name its images.
    others = (root / LISTS).glob("*.txt")
    named = {line for file in others for line in read_list(file, file.stem, "train").ids}
    return Contents.of(
        data,
        root=root,
        items=items,
        classes=classes,
        mask_classes=found.class_names,
        lists=tuple(replace(each, ids=tuple(n for n in each.ids if n in items)) for each in lists),
        ignore_id=found.ignore_id,
        unlisted=tuple(Path(path) for name, path in images.items() if name not in named),
        unknown=found.unknown,
        spellings=found.spellings,
        faults=(found.fault,) if found.fault else (),
    )


def _tags(data: DataConfig, root: Path, ids: Iterable[str]) -> Tags:
    """Tags as a training reads them; where it would stop at the first unknown one, all of them."""
    loose = _loose(data, root, tag_table(root, data.labels), ids)
    try:
        read = read_tags(root, data.labels, data.labels_key, ids, data.classes)
    except DataError as error:
        if loose.unknown:
            return loose
        return Tags(data.classes or (), {}, fault=Fault("unreadable-tags", str(error)))
    spellings = loose.spellings
    return Tags(read.class_names, read.tags, spellings=spellings, ignore_id=read.ignore_id)


def _loose(data: DataConfig, root: Path, table: Path | None, ids: Iterable[str]) -> Tags:
    """All tags, also such as no class list knows; none where it is not a tag that is wrong."""
    try:
        if table and table.suffix.lower() == ".json":
            return _of_json(table, data.labels_key)
        names, _ = class_list(table.parent if table else root, data.classes)
        if table:
            header, rows = read_rows(table)
            images = root / IMAGES
            source = read_table(table, header, rows, images, "tags", SEPARATOR, exact_ids=True)
            photographs = {each.path.stem: each.tags or () for each in source.photographs}
            return replace(_known(names, photographs, str(table)), spellings=source.spellings)
        files = {image: root / "Annotations" / f"{image}.xml" for image in ids}
        objects = {
            i: read_xml(path).iter("object") for i, path in files.items() if os.path.isfile(path)
        }
        tags = {i: [o.findtext("name") or "" for o in own] for i, own in objects.items()}
        return _known(names, tags, str(root / "Annotations"))
    except (DataError, TypeError, KeyError, AttributeError):
        return Tags((), {})


def _of_json(path: Path, key: str) -> Tags:
    file = read_labels_file(path)
    names = foreground(file.classes, path)
    of_number = dict(enumerate(names, start=1))
    tags = {
        image: [of_number.get(number, f"id {number}") for number in entry[key]]
        for image, entry in file.images.items()
    }
    return replace(_known(names, tags, str(path)), ignore_id=file.ignore_id)


def _known(names: Sequence[str], tags: Mapping[str, Iterable[str]], where: str) -> Tags:
    """Tags in the spelling of the class list, and those that it does not know."""
    spelled = spelling(names)
    own = {i: tuple(spelled.get(plain(tag), tag) for tag in each) for i, each in tags.items()}
    strange = {tag for each in own.values() for tag in each} - set(names)
    return Tags(tuple(names), own, dict.fromkeys(sorted(strange), where))
