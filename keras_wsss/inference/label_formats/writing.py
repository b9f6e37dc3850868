"""Writes labels in any of the formats, the most uncertain photograph first."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from keras_wsss.data.files import SWAPPED
from keras_wsss.errors import DataError
from keras_wsss.inference.label_formats.base import (
    LabelledPhoto,
    numbered_classes,
    place,
    regions,
)
from keras_wsss.output import new_folder, scratch_folder
from keras_wsss.palette import IGNORE_ID
from keras_wsss.pictures import found_classes
from keras_wsss.registry import LABEL_FORMATS
from keras_wsss.run_folder import LABEL_MANIFEST


def write_labels(
    photos: Iterable[LabelledPhoto],
    class_names: Sequence[str],
    label_format: str,
    output: Path,
    *,
    limit: int | None = None,
    overwrite: bool = False,
    about: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes a folder with labels, which appears as a whole or not at all.

    Beside the files of the format lie ``order.csv`` (``rank,id,uncertainty,file``) and
    ``label_manifest.json``. One label is in memory at a time.

    Args:
        photos: with their labels, in any order; read once.
        class_names: names of the C classes.
        label_format: a name in :data:`~keras_wsss.registry.LABEL_FORMATS`.
        output: folder to make.
        limit: write the most uncertain photographs only, so many.
        overwrite: replace a folder that this function has written.
        about: more for the manifest.

    Returns:
        What the manifest says: ``about``, ``format``, ``images`` and, class -> in how many of
        them it is found (:func:`~keras_wsss.pictures.found_classes`), ``images_with``.

    Raises:
        ConfigError: the output is there already, or the format is not known.
        DataError: a label does not fit its photograph, or a file cannot be written.

    Example:

    >>> photo = LabelledPhoto("IMG_1", Path("photo.jpg"), np.ones((48, 64), np.uint8), 0.5)
    >>> write_labels([photo], ["cat"], "coco", Path("for_coco"))["images_with"]
    {'cat': 1}
    """
    chosen = LABEL_FORMATS[label_format]
    with (
        new_folder(output, LABEL_MANIFEST, overwrite) as folder,
        # On the same disk, so that photographs can be linked.
        scratch_folder(folder.parent) as scratch,
    ):
        spool = _Spool(photos, scratch, limit)
        chosen.write(spool, class_names, folder)
        _write_order(folder / "order.csv", spool.entries)
        images_with = Counter(number for entry in spool.entries for number in entry.classes)
        names = numbered_classes(class_names, unknown=IGNORE_ID in images_with)
        manifest = {
            **(about or {}),
            "format": label_format,
            "images": len(spool.entries),
            "images_with": {name: images_with[number] for number, name in names.items()},
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        (folder / LABEL_MANIFEST).write_text(text + "\n", "utf-8")
    return manifest


@dataclass(frozen=True)
class _Entry:
    id: str
    path: Path
    label_path: Path
    classes: list[int]
    uncertainty: float


class _Spool:
    """Labels on disk, since their order is known only after the last one.

    They are asked for when a format asks for the first: what it refuses before costs no work.

    Args:
        photos: in any order.
        scratch: empty folder.
        limit: of the entries to keep, the most uncertain first; None: all.
    """

    def __init__(self, photos: Iterable[LabelledPhoto], scratch: Path, limit: int | None):
        self.photos = photos
        self.scratch = scratch
        self.limit = limit

    @cached_property
    def entries(self) -> list[_Entry]:
        """What is to be written, the most uncertain first."""
        names = _FileNames()
        entries = []
        for photo in self.photos:
            _check_size(photo)
            name = names.of(photo.id)
            suffix = photo.path.suffix.lower()
            path = place(photo.path, self.scratch / "photographs", name + suffix)
            label_path = self.scratch / f"{name}.png"
            Image.fromarray(photo.label).save(label_path)
            shares = {number: float(np.mean(place)) for number, place in regions(photo.label)}
            found = found_classes(shares)
            entries.append(_Entry(photo.id, path, label_path, found, photo.uncertainty))
        return sorted(entries, key=lambda entry: -entry.uncertainty)[: self.limit]

    def __iter__(self) -> Iterator[LabelledPhoto]:
        for entry in self.entries:
            with Image.open(entry.label_path) as image:
                label = np.array(image)
            yield LabelledPhoto(entry.id, entry.path, label, entry.uncertainty)


class _FileNames:
    """A file name for each id, without suffix, that every tool and file system takes.

    No blanks, no folders; ids that would share a name, also where case does not count, get numbers.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, image_id: str) -> str:
        base = name = re.sub(r"[^\w.()+-]+", "_", image_id).lstrip(".") or "_"
        number = 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name.casefold())
        return name


def _check_size(photo: LabelledPhoto) -> None:
    """Raises where a tool would show the photograph in another orientation than its label."""
    with Image.open(photo.path) as image:
        size = image.size
        if image.getexif().get(ExifTags.Base.Orientation, 1) in SWAPPED:
            size = size[::-1]
    if photo.label.shape != size[::-1]:
        height, width = photo.label.shape
        raise DataError(
            f"{photo.path}: tools show it as {size[0]}x{size[1]} pixels, its label is "
            f"{width}x{height}; save the photograph upright, without an entry on its orientation"
        )


def _write_order(path: Path, entries: Sequence[_Entry]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("rank", "id", "uncertainty", "file"))
        for rank, entry in enumerate(entries, start=1):
            table.writerow((rank, entry.id, f"{entry.uncertainty:.4f}", entry.path.name))
