"""Image tags: which table holds them, and which images of a list they keep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_wsss.data.classes import class_list
from keras_wsss.data.ids import called_otherwise
from keras_wsss.data.tables import read_annotations, read_csv, read_json_tags
from keras_wsss.errors import DataError
from keras_wsss.palette import IGNORE_ID


@dataclass(frozen=True)
class TagTable:
    """Tags of all images a table knows.

    Attributes:
        source: file or folder the tags come from, for messages.
        class_names: all foreground classes; the class at position i has the id i + 1 in masks.
        tags: image id -> names of its tags.
        ignore_id: id in masks that stands for "unknown".
        assumed: whether the class names are VOC's because nothing said otherwise.
    """

    source: Path
    class_names: tuple[str, ...]
    tags: dict[str, tuple[str, ...]]
    ignore_id: int = IGNORE_ID
    assumed: bool = False


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

    >>> table = read_tags(Path("VOC2012"), None, "labels_from_boxes", [])
    >>> table.class_names, table.tags["image_0"]
    (('cat', 'dog', 'horse'), ('cat',))
    """
    table, annotations = tag_table(root, labels), root / "Annotations"
    if table is None and labels is not None:
        raise DataError(f"{labels}: no such file; data.labels names a labels.json or a CSV table")
    if table is None:
        if not annotations.is_dir():
            raise DataError(
                f"{root}: no image tags; add labels.json, labels.csv (columns id,tags) or the "
                "folder Annotations, or name a table with data.labels"
            )
        names, assumed = class_list(root, classes)
        tags = read_annotations(annotations, ids, names)
        return TagTable(annotations, names, tags, assumed=assumed)
    if table.suffix.lower() == ".csv":
        names, assumed = class_list(table.parent, classes)
        return TagTable(table, names, read_csv(table, names), assumed=assumed)
    return TagTable(table, *read_json_tags(table, key))


def tag_table(root: Path, labels: Path | None) -> Path | None:
    """The table with the tags of a folder in VOC layout; None: there is none.

    Args:
        root: the folder.
        labels: ``data.labels``; None: ``labels.json`` or ``labels.csv`` in the folder.
    """
    tables = (labels,) if labels else (root / "labels.json", root / "labels.csv")
    return next((table for table in tables if table.is_file()), None)


def tag_files(root: Path, ids: Iterable[str]) -> list[Path]:
    """All files of a folder in VOC layout that may hold tags of these images; few are there."""
    annotations = root / "Annotations"
    listed = [annotations / f"{image}.xml" for image in ids] if annotations.is_dir() else []
    return [*(root / name for name in ("labels.json", "labels.csv", "classes.txt")), *listed]


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
            missing = "has no tag"
            if tags is None:
                missing = f"is not in the table{called_otherwise(image, table.tags)}"
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
