"""Masks that were drawn with Label Studio's brush."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_wsss.class_names import is_background, plain
from keras_wsss.data.files import displayed_size
from keras_wsss.errors import DataError
from keras_wsss.palette import IGNORE_ID


@dataclass(frozen=True, eq=False)
class Brush:
    """One region.

    Attributes:
        label: its class, or the background; None: its pixels are to be ignored.
        size: (width, height) of the photograph in Label Studio.
        stream: its run lengths, see :func:`brushed`.
        where: file and task, for messages.
    """

    label: str | None
    size: tuple[int, int]
    stream: Sequence[int]
    where: str


def painted(brushes: Iterable[Brush], class_names: Sequence[str], photograph: Path) -> np.ndarray:
    """The mask of a photograph; of regions that overlap, the later one counts.

    Args:
        brushes: its regions.
        class_names: C classes.
        photograph: its file.

    Returns:
        uint8 [H, W] of the photograph as displayed: 0 background, c + 1 = class c, 255 ignored.

    Raises:
        DataError: a region was drawn on a photograph of another size, or cannot be decoded.
    """
    width, height = displayed_size(str(photograph))[0]
    mask = np.zeros((height, width), np.uint8)
    ids = {plain(name): number for number, name in enumerate(class_names, start=1)}
    for brush in brushes:
        if brush.size != (width, height):
            raise DataError(
                f"{brush.where}: a brush mask is of {brush.size[0]}x{brush.size[1]} pixels, and "
                f"{photograph.name} has {width}x{height}; import the photographs that were "
                "annotated, or resize them back"
            )
        mask[brushed(brush)] = _id_of(brush.label, ids)
    return mask


def _id_of(label: str | None, ids: Mapping[str, int]) -> int:
    if label is None:
        return IGNORE_ID
    return 0 if is_background(label) else ids[plain(label)]


def brushed(brush: Brush) -> np.ndarray:
    """Where a region is, from Label Studio's run lengths: the RLE of the package ``rle-pack``.

    The inverse of :func:`~keras_wsss.inference.label_formats.label_studio.brush_rle`, which
    describes the stream. A run that begins with 0 holds as many values as it is long.

    Returns:
        bool [H, W]: where alpha is not 0.

    Raises:
        DataError: the stream ends too soon, or is of another number of pixels.

    Example:

    >>> brushed(Brush("cat", (1, 1), [0, 0, 0, 4, 57, 27, 252, 127, 224], "task 1"))
    array([[ True]])
    """
    width, height = brush.size
    try:
        values = _values(bytes(brush.stream), 4 * width * height)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{brush.where}: a brush mask cannot be decoded ({error}); export the project again"
        ) from error
    return values.reshape(height, width, 4)[..., 3] > 0


def _values(stream: bytes, expected: int) -> np.ndarray:
    bits = (np.unpackbits(np.frombuffer(stream, np.uint8)) + ord("0")).tobytes().decode()
    at = 0

    def number(length: int) -> int:
        nonlocal at
        at += length
        if at > len(bits):
            raise ValueError("its end is missing")
        return int(bits[at - length : at], 2)

    if (count := number(32)) != expected:
        raise ValueError(f"it has {count} values where the photograph has {expected}")
    value_bits = number(5) + 1
    run_bits = [number(4) + 1 for _ in range(4)]
    values = np.empty(expected, np.uint32)
    done = 0
    while done < expected:
        repeated = number(1)
        length = number(run_bits[number(2)]) + 1
        if length > expected - done:
            raise ValueError("a run is longer than the mask")
        if repeated:
            values[done : done + length] = number(value_bits)
        else:
            values[done : done + length] = [number(value_bits) for _ in range(length)]
        done += length
    return values
