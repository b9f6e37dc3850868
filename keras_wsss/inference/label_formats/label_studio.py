"""Label Studio: ``tasks.json`` with predictions as brush masks, and ``label-config.xml`` to fit.

``/data/local-files/?d=images/NAME`` is relative to Label Studio's document root, which is the
written folder. Unknown pixels are a label of their own, named ``unknown``. A prediction's score is
1 - uncertainty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np

from keras_wsss.inference.label_formats.base import (
    LabelFormat,
    LabelledPhoto,
    hex_colour,
    numbered_classes,
    place,
    present,
    regions,
    run_lengths,
)
from keras_wsss.palette import IGNORE_ID

IMAGE, BRUSH = "image", "label"  # names of the two tags in the configuration
RUN_SIZES = (3, 4, 8, 16)
"""Bits that a run's length may take."""


def write(photos: Iterable[LabelledPhoto], class_names: Sequence[str], folder: Path) -> None:
    """Writes photographs, tasks and configuration; see :class:`LabelFormat`."""
    names, unknown = numbered_classes(class_names, unknown=True), False
    with (folder / "tasks.json").open("w", encoding="utf-8") as file:
        for position, photo in enumerate(photos):
            name = place(photo.path, folder / "images").name
            task = _task(photo, f"images/{name}", names)
            # One by one: the masks of all photographs need not fit into memory.
            file.write(",\n" if position else "[\n")
            file.write(json.dumps(task, ensure_ascii=False))
            unknown |= IGNORE_ID in present(photo.label)
        file.write("\n]\n")
    (folder / "label-config.xml").write_text(_config(class_names, unknown), "utf-8")


def _task(photo: LabelledPhoto, path: str, names: dict[int, str]) -> dict[str, Any]:
    height, width = photo.label.shape
    result = [
        {
            "id": f"class-{number}",
            "type": "brushlabels",
            "from_name": BRUSH,
            "to_name": IMAGE,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": brush_rle(region),
                "brushlabels": [names[number]],
            },
        }
        for number, region in regions(photo.label)
    ]
    return {
        "data": {
            IMAGE: f"/data/local-files/?d={quote(path)}",
            "id": photo.id,
            "uncertainty": round(photo.uncertainty, 4),
        },
        "predictions": [
            {
                "model_version": "keras_wsss",
                "score": round(1 - photo.uncertainty, 4),
                "result": result,
            }
        ],
    }


def _config(class_names: Sequence[str], unknown: bool) -> str:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=IMAGE, value=f"${IMAGE}", zoom="true")
    brush = ElementTree.SubElement(view, "BrushLabels", name=BRUSH, toName=IMAGE)
    for number, name in numbered_classes(class_names, unknown).items():
        ElementTree.SubElement(brush, "Label", value=name, background=hex_colour(number))
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def brush_rle(region: np.ndarray) -> list[int]:
    """Label Studio's run lengths of a brush mask: the RLE of the package ``rle-pack``.

    A stream of bits: the number of values (32), the bits of a value less 1 (5), four sizes less 1
    (4 each); then for each run 1, which of the four sizes (2), its length less 1 in so many bits,
    and its value. The values are the pixels' red, green, blue and alpha, row by row; all four are
    255 in the region and 0 outside.

    Args:
        region: bool [H, W].

    Returns:
        The stream as bytes, filled up with zeros.

    Example:

    >>> brush_rle(np.ones((1, 1), bool))
    [0, 0, 0, 4, 57, 27, 252, 127, 224]
    """
    bits = [f"{4 * region.size:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in RUN_SIZES)]
    for value, length in zip(*run_lengths(region.ravel()), strict=True):
        rest = 4 * int(length)
        while rest:
            part = min(rest, 2 ** RUN_SIZES[-1])
            which = next(n for n, size in enumerate(RUN_SIZES) if part <= 2**size)
            bits.append(f"1{which:02b}{part - 1:0{RUN_SIZES[which]}b}{255 * int(value):08b}")
            rest -= part
    stream: list[int] = np.packbits(
        np.frombuffer("".join(bits).encode(), np.uint8) == ord("1")
    ).tolist()
    return stream


LABEL_STUDIO = LabelFormat(
    write,
    "Start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
    "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={folder}; paste label-config.xml into the labelling "
    "interface, add {folder}/images as local source storage (without a sync), import tasks.json.",
)
