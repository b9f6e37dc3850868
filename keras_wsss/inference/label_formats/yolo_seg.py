"""YOLO (Ultralytics): polygons to segment objects, and PNG masks to segment classes.

``images/``, ``labels/NAME.txt`` and ``data.yaml`` are read by ``yolo segment``: a line for each
connected part of a class, holes joined to the outline by a bridge of no width. Polygons cannot say
unknown: such pixels are background there. ``semantic_masks/NAME.png`` and ``semantic.yaml`` are
read by ``yolo semantic``: 0 background, c + 1 = class c, 255 ignored. (In a folder called ``masks``
they would be read with the classes of ``data.yaml``, which has no background.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from keras_wsss.data.text import write_lines
from keras_wsss.inference.label_formats.base import (
    LabelFormat,
    LabelledPhoto,
    place,
    regions,
)
from keras_wsss.inference.label_formats.outlines import outlines
from keras_wsss.palette import IGNORE_ID

MASKS = "semantic_masks"


def write(photos: Iterable[LabelledPhoto], class_names: Sequence[str], folder: Path) -> None:
    """Writes photographs, polygons and masks; see :class:`LabelFormat`."""
    (folder / MASKS).mkdir()
    for photo in photos:
        name = place(photo.path, folder / "images").stem
        write_lines(folder / "labels" / f"{name}.txt", _lines(photo.label))
        Image.fromarray(photo.label).save(folder / MASKS / f"{name}.png")
    _write_yaml(folder / "data.yaml", class_names)
    _write_yaml(folder / "semantic.yaml", ["background", *class_names], masks_dir=MASKS)


def _lines(label: np.ndarray) -> Iterator[str]:
    size = np.array(label.shape[::-1])
    for number, region in regions(label):
        if number == IGNORE_ID:
            continue
        for corners, inward in outlines(region):
            # Readers fill up to the pixels at the polygon's points and round these or cut them off:
            # a quarter of a pixel beyond its index both find the pixel at the corner.
            points = (corners + inward / 2 - 0.25) / size
            yield f"{number - 1} " + " ".join(f"{value:.6f}" for value in points.ravel())


def _write_yaml(path: Path, names: Sequence[str], **keys: str) -> None:
    # Without `path`, folders are relative to the file.
    content = {"train": "images", "val": "images", **keys, "names": dict(enumerate(names))}
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")


YOLO_SEG = LabelFormat(
    write,
    "Train with `yolo segment train data={folder}/data.yaml`, or by masks with `yolo semantic "
    "train data={folder}/semantic.yaml`. Both files name the same photographs for validation: put "
    "others there.",
)
