"""BMP files whose colours TensorFlow's decoder gets wrong."""

from __future__ import annotations

import struct

import numpy as np

from keras_wsss.errors import DataError

FILE_HEADER, SMALLEST_HEADER, LARGEST_HEADER = 14, 40, 124
BMP_HEAD = FILE_HEADER + LARGEST_HEADER + 4 * 256
"""Bytes in which the headers and the palette of a BMP file end."""
PLAIN, BIT_FIELDS = 0, 3
USUAL_FIELDS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)


def check_bmp(path: str, head: bytes) -> None:
    """Refuses a BMP file that is packed or has a palette: its indices would be taken for greys.

    Args:
        path: for the message.
        head: the first ``BMP_HEAD`` bytes of any image file.

    Raises:
        DataError: the decoded image would not be what every viewer shows.

    Example:

    >>> check_bmp("photo.png", open("photo.png", "rb").read(BMP_HEAD))
    """
    if head.startswith(b"BM") and not _decodes_right(head):
        raise DataError(
            f"{path}: a BMP file with a palette, packed, or of an unusual depth, which is not "
            "read; save it as PNG"
        )


def _decodes_right(head: bytes) -> bool:
    if len(head) < FILE_HEADER + SMALLEST_HEADER:
        return False
    pixels, header = struct.unpack_from("<II", head, 10)
    bits, packing = struct.unpack_from("<HI", head, 28)
    if header < SMALLEST_HEADER or packing not in (PLAIN, BIT_FIELDS):
        return False
    if packing == BIT_FIELDS:
        behind = FILE_HEADER + SMALLEST_HEADER  # in longer headers as well
        return bits == 32 and head[behind : behind + len(USUAL_FIELDS)] == USUAL_FIELDS
    return bits in (24, 32) or (bits == 8 and _is_grey(head[FILE_HEADER + header : pixels]))


def _is_grey(palette: bytes) -> bool:
    """Whether each colour of a palette is the grey of its index."""
    colours = np.frombuffer(palette[: len(palette) // 4 * 4], np.uint8).reshape(-1, 4)
    return np.array_equal(colours[:, :3], np.arange(len(colours))[:, None].repeat(3, 1))
