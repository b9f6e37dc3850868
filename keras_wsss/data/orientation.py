"""How a camera was held: the EXIF orientation of a file, without TensorFlow."""

from __future__ import annotations

import mmap
from typing import Literal

ORIENTATION_TAG = 0x0112
MOST_PARTS = 1000
"""Segments or chunks that are looked at: a file of millions of empty ones must not take minutes."""

# JPEG markers.
APP0, EXIF_SEGMENT, APP15, COMMENT = 0xE0, 0xE1, 0xEF, 0xFE
TABLES = (0xC4, 0xCC, 0xDB, 0xDD)
EXIF = b"Exif\0\0"


def file_orientation(path: str) -> int:
    """The same number as :func:`~keras_wsss.data.headers.exif_orientation`; 1 where it is no JPEG.

    Masks are read by threads of TensorFlow's, in which a graph of its own might wait for itself.

    Args:
        path: an image file.

    Returns:
        1..8.

    Example:

    >>> file_orientation("photo.jpg")
    1
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _orientation(data) if data[:2] == b"\xff\xd8" else 1


def _orientation(data: mmap.mmap) -> int:
    last = len(data) - 1

    def number(at: int, length: int, order: Literal["big", "little"] = "big") -> int:
        digits = bytes(data[min(place, last)] for place in range(at, at + length))
        return int.from_bytes(digits, order)

    def is_exif(at: int) -> bool:
        return number(at + 1, 1) == EXIF_SEGMENT and number(at + 4, 6) == int.from_bytes(
            EXIF, "big"
        )

    at = 2
    for _ in range(MOST_PARTS):
        marker, length = number(at + 1, 1), number(at + 2, 2)
        known = APP0 <= marker <= APP15 or (marker in (*TABLES, COMMENT) and length >= 2)
        if not (at < last and number(at, 1) == 0xFF and (known or marker == 0xFF)) or is_exif(at):
            break
        at += 1 if marker == 0xFF else 2 + length
    if not is_exif(at):
        return 1
    tiff = at + 10
    order: Literal["big", "little"] = "little" if number(tiff, 1) == ord("I") else "big"
    directory = tiff + number(tiff + 4, 4, order)
    entries = range(directory + 2, directory + 2 + 12 * number(directory, 2, order), 12)
    found = [at for at in entries if number(at, 2, order) == ORIENTATION_TAG]
    value = max((number(at + 8, 2, order) for at in found), default=1)
    return value if 1 <= value <= 8 else 1
