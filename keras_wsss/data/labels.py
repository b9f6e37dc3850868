"""Image tags: from labels.json, a CSV table or VOC's XML annotations."""

from __future__ import annotations

import csv
import difflib
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_wsss.errors import DataError
from keras_wsss.palette import IGNORE_ID

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
BACKGROUND = "background"


@dataclass(frozen=True)
class TagTable:
    """Tags of all images a table knows.

    Attributes:
        source: file or folder the tags come from, for messages.
        class_names: all foreground classes; the class at position i has the id i + 1 in masks.
        tags: image id -> names of its tags.
        ignore_id: id in masks that stands for "unknown".
    """

    source: Path
    class_names: tuple[str, ...]
    tags: dict[str, tuple[str, ...]]
    ignore_id: int = IGNORE_ID


def read_tags(
    root: Path,
    labels: Path | None,
    key: str,
    ids: Iterable[str],
    classes: Sequence[str] | None = None,
) -> TagTable:
    """Reads the tags of a folder in VOC layout.

    Args:
        root: folder of the data set.
        labels: ``.json`` or ``.csv`` file; None: ``root/labels.json``, ``root/labels.csv`` or
            ``root/Annotations/*.xml``, whichever is there first.
        key: which tags of a labels.json.
        ids: images to read annotations of (XML only).
        classes: the classes asked for; they are the class list where no file gives one.

    Returns:
        :class:`TagTable`.

    Raises:
        DataError: no tags, an unreadable table, or a tag that is in no class list.

    Example:

    >>> read_tags(Path("photos"), None, "labels_from_boxes", []).class_names[:2]
    ('aeroplane', 'bicycle')
    """
    annotations = root / "Annotations"
    if labels is None:
        tables = [root / "labels.json", root / "labels.csv"]
        labels = next((table for table in tables if table.is_file()), None)
    elif not labels.is_file():
        raise DataError(f"{labels}: no such file; data.labels names a labels.json or a CSV table")
    if labels is None:
        if not annotations.is_dir():
            raise DataError(
                f"{root}: no image tags; add labels.json, labels.csv (columns id,tags) or the "
                "folder Annotations, or name a table with data.labels"
            )
        names = _class_list(root, classes)
        return TagTable(annotations, names, _read_xml(annotations, ids, names))
    if labels.suffix.lower() == ".csv":
        names = _class_list(labels.parent, classes)
        return TagTable(labels, names, _read_csv(labels, names))
    return _read_json(labels, key)


def keep_tagged(
    table: TagTable, ids: Sequence[str], classes: Sequence[str]
) -> tuple[list[str], np.ndarray, dict[str, int]]:
    """Keeps the images that have a tag of ``classes``.

    Returns:
        ids that are kept, their labels float32 [N, C], and what was left out, reason -> count.

    Raises:
        DataError: an image is not in the table or has no tag at all, or none is kept.
    """
    column = {name: number for number, name in enumerate(classes)}
    kept, rows, other = [], [], 0
    for image in ids:
        tags = table.tags.get(image)
        if not tags:
            missing = "is not in the table" if tags is None else "has no tag"
            raise DataError(
                f"{table.source}: image {image} {missing}; add its tags, or take the id out of "
                "the list"
            )
        columns = [column[tag] for tag in set(tags) if tag in column]
        if columns:
            row = np.zeros(len(classes), np.float32)
            row[columns] = 1.0
            kept.append(image)
            rows.append(row)
            other += len(set(tags)) - len(columns)
    if not kept:
        raise DataError(f"{table.source}: no image of the list has a tag of data.classes")
    counts = {
        "images without a tag of data.classes, left out": len(ids) - len(kept),
        "tags outside data.classes, left out": other,
    }
    return kept, np.stack(rows), {reason: count for reason, count in counts.items() if count}


def chosen_classes(
    known: Sequence[str], chosen: Sequence[str] | None, source: str
) -> tuple[str, ...]:
    """``chosen``, or all classes.

    Raises:
        DataError: a chosen class is not known.
    """
    for name in chosen or ():
        if name not in known:
            raise DataError(
                f"data.classes: {name!r} is no class of {source}{nearest(name, known)} It knows: "
                f"{', '.join(known)}"
            )
    return tuple(chosen or known)


def mask_lookup(known: Sequence[str], classes: Sequence[str], ignore_id: int) -> np.ndarray:
    """int32 [256] for :attr:`Split.mask_map`; known classes that were not chosen become 0."""
    lookup = np.full(256, -1, np.int32)
    lookup[0] = 0
    for number, name in enumerate(known, start=1):
        lookup[number] = classes.index(name) + 1 if name in classes else 0
    lookup[ignore_id] = IGNORE_ID
    return lookup


def nearest(name: str, names: Iterable[str]) -> str:
    """End of a sentence: ``". Did you mean 'cat'?"`` or ``"."``."""
    close = difflib.get_close_matches(name, list(names), 1)
    return f". Did you mean {close[0]!r}?" if close else "."


def _class_list(folder: Path, classes: Sequence[str] | None) -> tuple[str, ...]:
    """classes.txt beside the tags; else VOC's names, unless other classes are asked for."""
    file = folder / "classes.txt"
    if file.is_file():
        names = [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
        return tuple(name for name in names if name and name != BACKGROUND)
    if classes is None or set(classes) <= set(VOC_CLASSES):
        return VOC_CLASSES
    return tuple(classes)


def _check_tag(tag: str, names: Sequence[str], where: str) -> str:
    if tag not in names:
        raise DataError(
            f"{where}: the tag {tag!r} is in no class list{nearest(tag, names)} Correct the tag, "
            "or add the class to classes.txt beside the tags (one name a line, in the order of "
            "the mask ids)"
        )
    return tag


def _read_json(path: Path, key: str) -> TagTable:
    try:
        content: Any = json.loads(path.read_text("utf-8-sig"))
        classes, images = list(content["classes"]), dict(content["images"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not a table of tags ({type(error).__name__}: {error}); it needs "
            '{"classes": ["background", ...], "images": {ID: {"labels_from_boxes": [1, ...]}}}'
        ) from error
    if not classes or classes[0] != BACKGROUND:
        raise DataError(f"{path}: classes[0] is not 'background'; class ids start at 1")
    tags = {}
    for image, entry in images.items():
        if key not in entry:
            keys = ", ".join(sorted(entry))
            raise DataError(
                f"{path}: image {image} has no {key!r} (it has {keys}); set data.labels_key"
            )
        for tag in entry[key]:
            if not isinstance(tag, int) or not 1 <= tag < len(classes):
                raise DataError(
                    f"{path}: image {image} has the tag {tag!r}, which is in no class list; "
                    f"'classes' of this file knows the ids 1 to {len(classes) - 1}"
                )
        tags[image] = tuple(classes[tag] for tag in entry[key])
    return TagTable(path, tuple(classes[1:]), tags, int(content.get("ignore_id", IGNORE_ID)))


def _read_csv(path: Path, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Columns ``id`` and ``tags``; several tags of an image are separated by ``;``."""
    tags = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        if not {"id", "tags"} <= set(table.fieldnames or ()):
            raise DataError(
                f"{path}: the first line must name the columns id,tags; tags of an image are "
                "separated by ';'"
            )
        for row in table:
            found = [tag.strip() for tag in (row["tags"] or "").split(";") if tag.strip()]
            where = f"{path}, line {table.line_num}, image {row['id']}"
            tags[row["id"].strip()] = tuple(_check_tag(tag, names, where) for tag in found)
    return tags


def _read_xml(folder: Path, ids: Iterable[str], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Every object's name counts, as in the published tags; one marked difficult as well."""
    tags = {}
    for image in ids:
        path = folder / f"{image}.xml"
        if not path.is_file():
            continue
        try:
            objects = ElementTree.parse(path).getroot().iter("object")
            found = {(item.findtext("name") or "").strip() for item in objects}
        except ElementTree.ParseError as error:
            raise DataError(f"{path}: not readable as XML ({error}); replace the file") from error
        tags[image] = tuple(_check_tag(tag, names, str(path)) for tag in sorted(found))
    return tags
