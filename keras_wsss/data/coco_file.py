"""What stands in a COCO instances file, and what cannot be used of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
from pydantic import Field

from keras_wsss.data.text import first_fault, read_json
from keras_wsss.errors import DataError

logger = logging.getLogger(__name__)

Id = int | str
Pixels = Annotated[int, Field(ge=1)]
Area = Annotated[float, Field(ge=0, allow_inf_nan=False)]
MOST_DIGITS = 7
"""Characters of a compressed run length: 35 bits are more than any image has pixels."""
FARTHEST = 1e9
"""Pixels from an image within which its outlines lie."""
SMALLEST = 1e-6
"""Square pixels that are an error of rounding."""


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """An image; its size is needed for masks only."""

    id: Id
    file_name: Annotated[str, Field(min_length=1)]
    height: Pixels | None = None
    width: Pixels | None = None


@dataclass(frozen=True, slots=True)
class Category:
    """A class."""

    id: Id
    name: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """An object: its outline is a list of polygons [x, y, x, y ...], or run lengths."""

    image_id: Id
    category_id: Id
    segmentation: Any = None
    bbox: Any = None
    area: Area | None = None
    iscrowd: bool | None = None
    id: Id | None = None


@dataclass(frozen=True, slots=True)
class Instances:
    """An instances file."""

    images: list[ImageEntry]
    categories: list[Category]
    annotations: list[Annotation]


_SHAPE = pydantic.TypeAdapter(Instances)


def read_instances(path: Path) -> Instances:
    """Reads an instances file; outlines are left to :func:`check_outline`.

    Raises:
        DataError: the file is not there, has another shape, or is empty.

    Example:

    >>> read_instances(Path("coco2014/annotations/instances_val2014.json")).images[0].width
    30
    """
    if not os.path.isfile(path):
        raise DataError(
            f"{path}: cannot be read (no such file); set data.root to the folder that holds "
            "'annotations', and data.train_list and data.val_list to lists such as train2014"
        )
    return instances_of(path, read_json(path))


def instances_of(path: Path, content: Any) -> Instances:
    """As :func:`read_instances`, of what stands in the file."""
    try:
        found = _SHAPE.validate_python(content)
    except pydantic.ValidationError as error:
        keys, wanted = first_fault(error)
        raise DataError(
            f"{path}: not a COCO instances file ({_place(content, keys)}: {wanted}); it needs "
            "images, categories and annotations, as described on cocodataset.org"
        ) from error
    if not found.images or not found.annotations:
        raise DataError(f"{path}: the list is empty: it has no images or no annotations")
    for kind, entries in (("images", found.images), ("categories", found.categories)):
        known: dict[Id, Any] = {}
        for entry in entries:
            if known.setdefault(entry.id, entry) != entry:
                raise DataError(f"{path}: {kind}: the id {entry.id} stands for two; change one")
    return found


def _place(content: Any, keys: Sequence[int | str]) -> str:
    """Where in a file something stands; an entry of a list is named by its id if it has one."""
    words = []
    for key in keys[:3]:  # list, entry and field; behind them stand pydantic's own words
        try:
            content = content[key]
        except (KeyError, TypeError):  # it is missing
            content = None
        number = content.get("id") if isinstance(content, dict) else None
        named = isinstance(key, int) and isinstance(number, int | str)
        words.append(f"id {number}" if named else str(key))
    return ", ".join(words) or "the file"


def has_outline(item: Annotation) -> bool:
    """Whether there is anything to draw of an object; polygons of two corners enclose nothing."""
    outline = item.segmentation
    if isinstance(outline, list) and all(isinstance(polygon, list) for polygon in outline):
        wrong = (len(each) > 4 or len(each) % 2 or not _numbers(each) for each in outline)
        return any(wrong) or _is_points(outline)
    return outline is not None


def _is_points(outline: Sequence[Sequence[Any]]) -> bool:
    """Whether these are the corners of one polygon [[x, y], [x, y] ...] in place of polygons."""
    return len(outline) > 2 and all(len(point) == 2 for point in outline)


def encloses(item: Annotation) -> bool:
    """Whether an outline that :func:`check_outline` has let pass holds any area.

    Corners on one line enclose nothing, and coordinates that end at 1 are parts of an image.
    """
    outline = item.segmentation
    if isinstance(outline, Mapping):
        counts = outline["counts"]
        return any((decompressed(counts) if isinstance(counts, str) else counts)[1::2])
    for polygon in outline:
        x, y = np.asarray(polygon, np.float64).reshape(-1, 2).T
        area = x @ np.roll(y, -1) - y @ np.roll(x, -1)
        if abs(area) > SMALLEST and max(x.max(), y.max()) > 1:
            return True
    return False


def extent_beyond(item: Annotation, height: int, width: int) -> float:
    """Pixels by which polygons that :func:`check_outline` has let pass leave their image."""
    if isinstance(item.segmentation, Mapping) or not has_outline(item):
        return 0.0
    x, y = np.concatenate(item.segmentation).reshape(-1, 2).T
    return float(max(-x.min(), -y.min(), x.max() - width, y.max() - height))


def check_outline(item: Annotation, height: int, width: int) -> None:
    """Looks at all numbers of an outline, or of the box of an object without one.

    Args:
        item: the object.
        height, width: of its image.

    Raises:
        ValueError: what is wrong.
    """
    outline = item.segmentation
    if not has_outline(item):
        if not _numbers(item.bbox) or len(item.bbox) != 4 or min(item.bbox[2:]) < 0:
            raise ValueError("has neither an outline nor a box [x, y, width, height]")
    elif isinstance(outline, Mapping):
        _check_run_lengths(outline, height, width)
    elif not isinstance(outline, list) or not all(map(_numbers, outline)) or _is_points(outline):
        raise ValueError(
            "has an outline that is neither polygons [[x, y, ...]] in pixels nor run lengths"
        )
    elif any(len(polygon) % 2 for polygon in outline):
        raise ValueError("has a polygon with an x and no y")
    else:
        x, y = np.concatenate(outline).reshape(-1, 2).T
        if x.max() < 0 or y.max() < 0 or x.min() > width or y.min() > height:
            raise ValueError(f"lies outside its image, which is {width}x{height} pixels")


def _check_run_lengths(outline: Mapping[str, Any], height: int, width: int) -> None:
    counts = outline.get("counts")
    lengths = decompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or not all(type(n) is int and n >= 0 for n in lengths):
        raise ValueError("has run lengths that are no list of whole numbers, nor COCO's text")
    if outline.get("size", [height, width]) != [height, width]:
        raise ValueError(f"has run lengths whose size is not its image's, [{height}, {width}]")
    if sum(lengths) != height * width:
        raise ValueError(
            f"has run lengths of {sum(lengths)} pixels in an image of {height * width}"
        )


def _numbers(values: Any) -> bool:
    """Whether these are numbers in a list, none of which is beyond all measure."""
    try:
        numbers = np.asarray(values)
    except ValueError:  # lists of several lengths
        return False
    known = isinstance(values, list) and numbers.ndim == 1 and numbers.dtype.kind in "if"
    return known and bool((np.abs(numbers) < FARTHEST).all())


def decompressed(text: str) -> list[int]:
    """Run lengths of COCO's text.

    5 bits a character, lowest first, bit 6 says that more follow, and from the third on a length is
    given relative to the one before the last.

    Raises:
        ValueError: the text is none of these.

    Example:

    >>> decompressed(";32NO012004")
    [11, 3, 2, 1, 1, 1, 2, 3, 2, 3, 6]
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift >= 5 * MOST_DIGITS:
            raise ValueError("has compressed run lengths that cannot be read")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("has compressed run lengths that are cut off")
    return lengths


def called_once(path: Path, images: Sequence[ImageEntry]) -> dict[str, ImageEntry]:
    """File name without suffix, by which an image is called -> its entry.

    Raises:
        DataError: two files have the same.
    """
    called: dict[str, ImageEntry] = {}
    for image in images:
        other = called.setdefault(Path(image.file_name).stem, image)
        if other.file_name != image.file_name:
            raise DataError(
                f"{path}: the images {other.file_name} and {image.file_name} would both be called "
                f"{Path(image.file_name).stem}; rename one"
            )
    if len(called) < len(images):
        logger.warning("%s: repeats %d images; each counts once", path, len(images) - len(called))
    return called
