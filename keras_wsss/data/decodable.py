"""Image files of known formats that TensorFlow cannot decode, or decodes wrongly."""

from __future__ import annotations

from keras_wsss.data import bitmaps
from keras_wsss.errors import DataError

HEAD = bitmaps.BMP_HEAD
"""Bytes of a file that are looked at."""
WEBP_FLAGS, ANIMATION = 20, 0x02  # place of the flags of an extended WebP file, and one of them


def is_webp(head: bytes) -> bool:
    """Whether a file begins as WebP does."""
    return (head[:4], head[8:12]) == (b"RIFF", b"WEBP")


def check_decodable(path: str, head: bytes, size: int) -> None:
    """Refuses what every viewer shows and a training would fail on, or see otherwise.

    Args:
        path: for the message.
        head: the first ``HEAD`` bytes of any file.
        size: of the whole file, in bytes.

    Raises:
        DataError: a BMP file with a palette or the like, or an animated WebP file.

    Example:

    >>> check_decodable("mask.png", Path("mask.png").read_bytes(), Path("mask.png").stat().st_size)
    """
    if head.startswith(b"BM") and not bitmaps.is_read(head, size):
        raise DataError(
            f"{path}: a BMP file with a palette, packed, or of an unusual depth or length, which "
            "is not read; save it as PNG"
        )
    extended = is_webp(head) and head[12:16] == b"VP8X" and len(head) > WEBP_FLAGS
    if extended and head[WEBP_FLAGS] & ANIMATION:
        raise DataError(f"{path}: an animated WebP file, which is not read; save a frame as PNG")
