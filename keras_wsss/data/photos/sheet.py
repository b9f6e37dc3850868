"""A sheet of photographs with their tags, to see at a glance whether they fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from keras_wsss.data.files import files_by_stem
from keras_wsss.data.photos.convert import small
from keras_wsss.data.photos.labels import Labelled
from keras_wsss.fonts import font_for

TILE, GAP, CAPTION, COLUMNS, MOST = 220, 10, 40, 6, 30
FONT_SIZE = 14


def sheet_of(labelled: Labelled, folder: Path) -> Image.Image:
    """Draws some photographs of every class, and negatives, with their tags below.

    Args:
        labelled: the photographs.
        folder: holds them as ``ID.*``.

    Returns:
        An RGB image.

    Example:

    >>> from keras_wsss.data.photos import labels, recognise
    >>> labelled = labels.label(recognise.find_source(Path("my_set")))
    >>> sheet_of(labelled, Path("my_set/photos")).mode
    'RGB'
    """
    files = files_by_stem(folder)
    chosen = _chosen(labelled.labels)
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    height = TILE + CAPTION + GAP
    sheet = Image.new("RGB", (columns * (TILE + GAP) + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for place, number in enumerate(chosen):
        left = GAP + place % columns * (TILE + GAP)
        top = GAP + place // columns * height
        photo = labelled.photographs[number]
        tile = ImageOps.contain(small(Path(files[photo.id]), 2 * TILE), (TILE, TILE))
        sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
        tags = [labelled.class_names[each] for each in np.flatnonzero(labelled.labels[number])]
        lines = (", ".join(tags) or "(negative)", photo.id)
        for line, (text, colour) in enumerate(zip(lines, ("black", "grey"), strict=True)):
            font = font_for(text, FONT_SIZE)
            text = _shortened(text, font)
            start = left + (TILE - font.getlength(text)) / 2
            draw.text((start, top + TILE + 2 + line * CAPTION // 2), text, fill=colour, font=font)
    return sheet


def _chosen(labels: np.ndarray) -> list[int]:
    """Positions of photographs: each class in turn, and the negatives, until the sheet is full."""
    tags = np.column_stack([labels > 0, ~(labels > 0).any(1)])
    # Spread over the whole list: neighbours are often of one scene.
    left = [_spread(np.flatnonzero(column)) for column in tags.T]
    chosen: dict[int, int] = {}  # position -> the class that it is shown for
    while any(left) and len(chosen) < MOST:
        for tag, positions in enumerate(left):
            while positions:
                position = positions.pop(0)
                if position not in chosen:
                    chosen[position] = tag
                    break
    return sorted(list(chosen)[:MOST], key=lambda position: (chosen[position], position))


def _spread(positions: np.ndarray) -> list[int]:
    """Both halves before the quarters, and so on: any beginning covers the whole."""
    order = np.argsort([f"{number:032b}"[::-1] for number in range(len(positions))])
    return [int(position) for position in positions[order]]


def _shortened(text: str, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(text) <= TILE:
        return text
    text = text[:TILE]  # no letter is narrower than a pixel
    while text and font.getlength(f"{text}…") > TILE:
        text = text[:-1]
    return f"{text}…"
