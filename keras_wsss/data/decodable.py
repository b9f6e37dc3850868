"""Image files of known formats that TensorFlow cannot decode, or decodes wrongly."""

from __future__ import annotations

from keras_wsss.data import bitmaps
from keras_wsss.errors import DataError

HEAD = bitmaps.BMP_HEAD
"""Bytes of a file that are looked at."""
WEBP_FLAGS, ANIMATION = 20, 0x02  # place of the flags of an extended WebP file, and one of them

GIF_SIZE = slice(6, 10)


def is_webp(head: bytes) -> bool:
    """Whether a file begins as WebP does."""
    return (head[:4], head[8:12]) == (b"RIFF", b"WEBP")


def _first_frame(head: bytes) -> bytes | None:
    """Width and height of a GIF file's first frame, as they stand there; None: it begins later."""
    at = GIF_SIZE.stop + 3
    if len(head) > 10 and head[10] & 0x80:
        at += 3 << (head[10] & 7) + 1  # the palette
    while head[at : at + 1] == b"!":
        at += 2
        while at < len(head) and head[at]:
            at += 1 + head[at]
        at += 1
    frame = head[at + 5 : at + 9]
    return frame if head[at : at + 1] == b"," and len(frame) == 4 else None


def check_decodable(path: str, head: bytes, size: int) -> None:
    """Refuses what every viewer shows and a training would fail on, or see otherwise.

    Args:
        path: for the message.
        head: the first ``HEAD`` bytes of any file.
        size: of the whole file, in bytes.

    Raises:
        DataError: a BMP file with a palette or the like, a GIF file whose first frame is smaller
            than its canvas, or an animated WebP file.

    Example:

    >>> check_decodable("mask.png", Path("mask.png").read_bytes(), Path("mask.png").stat().st_size)
    """
    if head.startswith(b"BM") and not bitmaps.is_read(head, size):
        raise DataError(
            f"{path}: a BMP file with a palette, packed, or of an unusual depth or length, which "
            "is not read; save it as PNG"
        )
    if head.startswith(b"GIF8") and _first_frame(head) not in (None, head[GIF_SIZE]):
        raise DataError(
            f"{path}: a GIF file whose first frame is smaller than its canvas, which is read "
            "otherwise than viewers show it; save it as PNG"
        )
    extended = is_webp(head) and head[12:16] == b"VP8X" and len(head) > WEBP_FLAGS
    if extended and head[WEBP_FLAGS] & ANIMATION:
        raise DataError(f"{path}: an animated WebP file, which is not read; save a frame as PNG")
