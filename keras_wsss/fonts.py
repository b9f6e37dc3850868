"""Fonts that can write what people call their classes."""

from __future__ import annotations

import functools
from collections.abc import Set
from pathlib import Path

from PIL import ImageFont

ANY_SIZE = 11


def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that has all letters of a text.

    That is DejaVu Sans (Latin, Greek, Cyrillic, Arabic ...); for Chinese, say, the first of the
    system's fonts that has them, and where it has none DejaVu Sans, which draws boxes.

    Args:
        text: to be drawn.
        size: in pixels.

    Example:

    >>> font_for("кошка", 12).getname()
    ('DejaVu Sans', 'Book')
    """
    return ImageFont.truetype(_file_for(frozenset(text)), size)


@functools.cache
def _file_for(letters: Set[str]) -> str:
    import matplotlib  # here, because it takes time and most commands draw nothing

    usual = str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"))
    if _has(usual, letters):
        return usual
    from matplotlib import font_manager

    files = sorted(font_manager.findSystemFonts())
    return next((file for file in files if _has(file, letters)), usual)


def _has(file: str, letters: Set[str]) -> bool:
    from matplotlib.ft2font import FT2Font

    try:
        ImageFont.truetype(file, ANY_SIZE)  # one of bitmaps has other sizes
        font = FT2Font(file)
    except (RuntimeError, OSError):  # broken, or of an unknown kind
        return False
    return all(font.get_char_index(ord(letter)) for letter in letters)
