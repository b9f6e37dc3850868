"""Image files that were cut and have their end marker all the same, which decoders take for whole.

Both looks read the whole file and cost about as much as decoding it: a check and an import take
them, the lists of a training do not.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

from PIL import Image

END = b"\xff\xd9"
MORE = bytes(number * 89 % 255 for number in range(1, 255))
"""Data of no meaning, without a marker, which a decoder draws as long as rows are missing."""
DRAFT = (8, 8)  # a baseline file is decoded at an eighth of its size
PNG_HEAD, PNG_CHUNK = 8, 12
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
INTERLACED = (*PASSES, (0, 1, 1, 2))
"""x and y of the first pixel of each pass, and the steps between its pixels."""
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
AT_ONCE = 2**20


def is_cut(data: bytes) -> bool:
    """Whether an image file that decodes lacks some of its rows.

    A JPEG file is decoded a second time with more data before its end marker: of a whole picture
    nothing changes, in a cut one they are drawn. Progressive files that end between two passes are
    whole pictures with less detail, and not found.

    Args:
        data: of a file; only JPEG and PNG files are looked at.

    Example:

    >>> is_cut(Path("photo.jpg").read_bytes())
    False
    """
    if data.startswith(b"\xff\xd8"):
        end = data.rfind(END)
        return end > 0 and _pixels(data) != _pixels(data[:end] + MORE + data[end:])
    return data.startswith(b"\x89PNG") and _packed(data) < _expected(data)


def _pixels(data: bytes) -> bytes | None:
    """The picture, as small as its kind allows; None: it cannot be decoded."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if not image.info.get("progressive"):
                image.draft("L", DRAFT)
            return image.tobytes()
    except (OSError, SyntaxError, ValueError):
        return None


def _expected(data: bytes) -> int:
    """Bytes that the rows of a PNG file have when they are unpacked."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    bits = data[24] * CHANNELS.get(data[25], 1)
    total = 0
    for x, y, across, down in INTERLACED if data[28] else ((0, 0, 1, 1),):
        columns, rows = -(-max(0, width - x) // across), -(-max(0, height - y) // down)
        total += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    return total


def _packed(data: bytes) -> int:
    """Bytes that they do have, as far as they can be unpacked."""
    unpacker, found = zlib.decompressobj(), 0
    try:
        for part in _parts(data):
            while part:
                found += len(unpacker.decompress(part, AT_ONCE))
                part = unpacker.unconsumed_tail
        found += len(unpacker.flush())
    except zlib.error:
        pass
    return found


def _parts(data: bytes) -> Iterator[bytes]:
    at = PNG_HEAD
    while at + PNG_CHUNK <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            yield data[at + 8 : at + 8 + length]
        at += PNG_CHUNK + length
