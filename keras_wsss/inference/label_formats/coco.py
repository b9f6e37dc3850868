"""COCO: ``annotations/instances_default.json`` and ``images/``, as most tools look for them.

``coco`` has one annotation for each class of a photograph: its exact region as compressed RLE, and
``iscrowd`` 1, which is COCO's mark for a region that may hold several objects. ``coco-polygons``
has one annotation for each connected part: a polygon, ``iscrowd`` 0, for tools that edit or train
on polygons only. A hole is joined to its outline by a bridge of no width.

COCO knows no value to ignore: unknown pixels are a category of their own, named ``unknown``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_wsss.inference.label_formats.base import (
    LabelFormat,
    LabelledPhoto,
    numbered_classes,
    place,
    regions,
    run_lengths,
)
from keras_wsss.inference.label_formats.outlines import outlines
from keras_wsss.palette import IGNORE_ID


def write(
    photos: Iterable[LabelledPhoto],
    class_names: Sequence[str],
    folder: Path,
    polygons: bool = False,
) -> None:
    """Writes photographs and annotations; see :class:`LabelFormat`.

    Args:
        polygons: a polygon for each connected part, in place of one RLE for each class.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    unknown = False
    for image_id, photo in enumerate(photos, start=1):
        height, width = photo.label.shape
        name = place(photo.path, folder / "images").name
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for number, region in regions(photo.label):
            unknown |= number == IGNORE_ID
            for shape in _polygons(region) if polygons else [_rle(region)]:
                owner = {"id": len(annotations) + 1, "image_id": image_id, "category_id": number}
                annotations.append({**owner, **shape})
    content = {
        "info": {"description": "made by keras_wsss, to be corrected", "version": "1.0"},
        "licenses": [],
        "images": images,
        "categories": [
            {"id": number, "name": name, "supercategory": ""}
            for number, name in numbered_classes(class_names, unknown).items()
        ],
        "annotations": annotations,
    }
    file = folder / "annotations" / "instances_default.json"
    file.parent.mkdir()
    file.write_text(json.dumps(content, ensure_ascii=False), "utf-8")


def _rle(region: np.ndarray) -> dict[str, Any]:
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "segmentation": {"size": list(region.shape), "counts": compressed_rle(region)},
        "area": int(np.count_nonzero(region)),
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        "iscrowd": 1,
    }


def _polygons(region: np.ndarray) -> Iterator[dict[str, Any]]:
    for corners, _ in outlines(region):
        x, y = corners.T
        left, top = corners.min(axis=0).tolist()
        right, bottom = corners.max(axis=0).tolist()
        area = np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2
        yield {
            "segmentation": [corners.ravel().tolist()],
            "area": int(area),
            "bbox": [left, top, right - left, bottom - top],
            "iscrowd": 0,
        }


def compressed_rle(region: np.ndarray) -> str:
    """COCO's compressed run lengths.

    Lengths of the runs, column by column, that of the background first. From the fourth on each is
    the difference to the one two before. A number is cut into groups of 5 bits, the lowest first;
    the sixth bit says that more follow. A group is the character with the code 48 + group.

    Args:
        region: bool [H, W].

    Returns:
        ASCII characters that ``pycocotools.mask.decode`` takes as ``counts``.

    Example:

    >>> compressed_rle(np.array([[False, True, True]]))
    '12'
    """
    values, lengths = run_lengths(region.T.ravel())
    counts = ([0] if values[0] else []) + lengths.tolist()
    differences = counts[:3] + [new - old for new, old in zip(counts[3:], counts[1:], strict=False)]
    characters = []
    for number in differences:
        more = True
        while more:
            group, number = number & 31, number >> 5
            # The fifth bit is the sign: the rest may go once it only repeats it.
            more = number != (-1 if group & 16 else 0)
            characters.append(chr(48 + group + 32 * more))
    return "".join(characters)


_LOAD = (
    "CVAT (upload annotations, COCO 1.0), FiftyOne and others take "
    "{folder}/annotations/instances_default.json; the photographs are in {folder}/images."
)
COCO = LabelFormat(write, _LOAD)
COCO_POLYGONS = LabelFormat(partial(write, polygons=True), _LOAD)
