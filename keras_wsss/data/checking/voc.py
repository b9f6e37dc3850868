"""Reads what belongs to a folder in VOC layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from keras_wsss.config.data import DataConfig
from keras_wsss.data.checking.contents import Contents, Fault, Item
from keras_wsss.data.checking.lists import names_of_lists, read_list
from keras_wsss.data.files import files_by_stem
from keras_wsss.data.labels import chosen_classes, read_tags
from keras_wsss.data.photos.imported import SEPARATOR
from keras_wsss.data.photos.table import read_table
from keras_wsss.data.photos.voc import read_xml
from keras_wsss.data.text import read_json
from keras_wsss.errors import DataError
from keras_wsss.palette import IGNORE_ID

IMAGES, MASKS, LISTS = Path("JPEGImages"), Path("SegmentationClass"), Path("ImageSets/Segmentation")


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

    >>> read_voc(config.data).lists[0].name
    'train'
    """
    root = Path(data.root or ".")
    images, masks = files_by_stem(root / IMAGES), files_by_stem(root / MASKS, (".png",))
    lists = [
        read_list(root / LISTS / f"{name}.txt", name, part) for part, name in names_of_lists(data)
    ]
    listed = {name: str(each.path) for each in lists for name in each.ids}
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
    annotations, table = root / "Annotations", data.labels or root / "labels.json"
    if data.labels is None and not table.is_file():
        table = root / "labels.csv"
    try:
        is_table = table.suffix.lower() == ".csv" and table.is_file()
        if is_table and (table.parent / "classes.txt").is_file():
            return _of_table(table, root / IMAGES)
        try:
            read = read_tags(root, data.labels, data.labels_key, ids, data.classes)
            return Tags(read.class_names, read.tags, ignore_id=read.ignore_id)
        except DataError:
            if table.suffix.lower() == ".json":
                found = _of_json(table, data.labels_key)
            elif not table.is_file() and annotations.is_dir():
                # Without ids no annotation is read, but the class list is.
                names = read_tags(root, None, data.labels_key, (), data.classes).class_names
                found = _of_xml(annotations, ids, names)
            else:
                raise
            if not found.unknown:  # it is something else
                raise
            return found
    except DataError as error:
        return Tags(data.classes or (), {}, fault=Fault("unreadable-tags", str(error)))


def _of_table(path: Path, images: Path) -> Tags:
    source = read_table(path, images, "tags", SEPARATOR)
    tags = {each.path.stem: each.tags for each in source.photographs if each.tags is not None}
    return Tags(source.class_names, tags, source.unknown, source.spellings)


def _of_json(path: Path, key: str) -> Tags:
    content = read_json(path)
    try:
        names, images = content["classes"], content["images"]
        numbers = {image: entry[key] for image, entry in images.items()}
        unknown: dict[str, str] = {}
        tags = {}
        for image, own in numbers.items():
            known = [number for number in own if number in range(1, len(names))]
            strange = [f"id {number}" for number in own if number not in known]
            unknown |= {name: f"{path}, image {image}" for name in strange}
            tags[image] = (*(names[number] for number in known), *strange)
    except (TypeError, KeyError, AttributeError):
        return Tags((), {})
    return Tags(tuple(names[1:]), tags, unknown, ignore_id=content.get("ignore_id", IGNORE_ID))


def _of_xml(folder: Path, ids: Iterable[str], names: Sequence[str]) -> Tags:
    tags: dict[str, tuple[str, ...]] = {}
    unknown: dict[str, str] = {}
    for image in ids:
        path = folder / f"{image}.xml"
        if path.is_file():
            objects = read_xml(path).iter("object")
            own = dict.fromkeys((item.findtext("name") or "").strip() for item in objects)
            tags[image] = tuple(own)
            unknown |= {name: str(path) for name in own if name not in names}
    return Tags(tuple(names), tags, unknown)
