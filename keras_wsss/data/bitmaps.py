"""BMP files that TensorFlow's decoder refuses, or whose colours it gets wrong."""

from __future__ import annotations

import struct

import numpy as np

FILE_HEADER, SMALLEST_HEADER, LARGEST_HEADER = 14, 40, 124
BMP_HEAD = FILE_HEADER + LARGEST_HEADER + 4 * 256
"""Bytes in which the headers and the palette of a BMP file end."""
PLAIN, BIT_FIELDS = 0, 3
USUAL_FIELDS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)


def is_read(head: bytes, size: int) -> bool:
    """Whether TensorFlow decodes a BMP file to what every viewer shows.

    Packed files and other depths fail, the indices of a palette are taken for greys, and a file
    that is longer or shorter than its head says is refused.

    Args:
        head: its first ``BMP_HEAD`` bytes.
        size: of the whole file, in bytes.

    Example:

    >>> is_read(b"BM", 2)
    False
    """
    if len(head) < FILE_HEADER + SMALLEST_HEADER:
        return False
    pixels, header, width, height = struct.unpack_from("<IIii", head, 10)
    bits, packing = struct.unpack_from("<HI", head, 28)
    if header < SMALLEST_HEADER or packing not in (PLAIN, BIT_FIELDS):
        return False
    line = (bits * width + 31) // 32 * 4
    if size != pixels + line * abs(height):
        return False
    if packing == BIT_FIELDS:
        behind = FILE_HEADER + SMALLEST_HEADER  # in longer headers as well
        return bits == 32 and head[behind : behind + len(USUAL_FIELDS)] == USUAL_FIELDS
    return bits in (24, 32) or (bits == 8 and _is_grey(head[FILE_HEADER + header : pixels]))


def _is_grey(palette: bytes) -> bool:
    """Whether each colour of a palette is the grey of its index."""
    colours = np.frombuffer(palette[: len(palette) // 4 * 4], np.uint8).reshape(-1, 4)
    return np.array_equal(colours[:, :3], np.arange(len(colours))[:, None].repeat(3, 1))
