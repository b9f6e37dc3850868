"""Masks as files, and pictures that show them. Knows no TensorFlow, as the client does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageDraw

from keras_wsss.fonts import font_for
from keras_wsss.palette import overlay_labels, voc_palette

MASKS, OVERLAYS = "masks", "overlays"
"""Folders of :func:`save_mask_and_overlay`."""
MARGIN, LARGEST = 6, 1600
NOTHING = "nothing but background"
LEAST_COVERAGE = 0.001
"""Share of a mask from which a class counts as found: 12 x 12 pixels of 448 x 336 are strays."""

Class = TypeVar("Class")


def found_classes(coverage: Mapping[Class, float]) -> list[Class]:
    """The classes that a mask shows, the largest first.

    Args:
        coverage: class, without the background -> its share of the mask; below
            ``LEAST_COVERAGE`` it is not counted.

    Example:

    >>> found_classes({"cat": 0.1, "dog": 0.3, "cow": 0.0002})
    ['dog', 'cat']
    """
    counted = [name for name, share in coverage.items() if share >= LEAST_COVERAGE]
    return sorted(counted, key=lambda name: -coverage[name])


def palette_image(mask: Any) -> Image.Image:
    """A mask as an image of mode P: ids as they are, in VOC's colours.

    Args:
        mask: int `[H,W]`, 0..255.

    Example:

    >>> image = palette_image(np.array([[0, 1, 255]]))
    >>> image.mode, np.asarray(image).tolist(), image.convert("RGB").getpixel((1, 0))
    ('P', [[0, 1, 255]], (128, 0, 0))
    """
    image = Image.fromarray(np.asarray(mask, np.uint8)).convert("P")
    image.putpalette(voc_palette().tobytes())
    return image


def save_mask(mask: Any, path: Path) -> None:
    """Writes a mask as a palette PNG; its folder is made.

    Args:
        mask: int `[H,W]`, 0..255.
        path: of the file.

    Example:

    >>> save_mask(np.array([[0, 1, 255]]), Path("pictures/mask.png"))
    >>> np.asarray(Image.open("pictures/mask.png"))
    array([[  0,   1, 255]], dtype=uint8)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    palette_image(mask).save(path)


def save_mask_and_overlay(
    image: Any, mask: Any, legend: Mapping[int, str], folder: Path, name: str
) -> None:
    """Writes ``masks/NAME.png`` and ``overlays/NAME.jpg``.

    Args:
        image, mask, legend: as of :func:`overlay`.
        folder: holds both folders.
        name: of the photograph, may hold ``/``.

    Example:

    >>> image, mask = np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), int)
    >>> save_mask_and_overlay(image, mask, {1: "cat"}, Path("pictures"), "day2/boat")
    >>> sorted(path.as_posix() for path in Path("pictures").rglob("boat.*"))
    ['pictures/masks/day2/boat.png', 'pictures/overlays/day2/boat.jpg']
    """
    save_mask(mask, folder / MASKS / f"{name}.png")
    picture = folder / OVERLAYS / f"{name}.jpg"
    picture.parent.mkdir(parents=True, exist_ok=True)
    overlay(image, mask, legend).save(picture, quality=90)


def overlay(image: Any, mask: Any, legend: Mapping[int, str]) -> Image.Image:
    """A photograph with its mask: colour, outlines, and a legend of the classes that it shows.

    Args:
        image: uint8 `[H,W,3]`.
        mask: int `[H,W]`.
        legend: class names by mask id, without the background.

    Returns:
        RGB, the longer side at most 1600 pixels, with the legend below.

    Example:

    >>> image, mask = np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), int)
    >>> overlay(image, mask, {1: "cat"}).save("overlay.jpg")
    """
    mask = np.asarray(mask, np.uint8)
    painted = overlay_labels(np.asarray(image), mask, opacity=0.5)
    shown = Image.fromarray(painted)
    shown.thumbnail((LARGEST, LARGEST))
    small = Image.fromarray(mask).resize(shown.size, Image.Resampling.NEAREST)
    pixels, ids = np.array(shown), np.asarray(small)
    # White outlines are seen on every class colour.
    pixels[outlines(ids)] = 255
    return _with_legend(Image.fromarray(pixels), ids, legend)


def outlines(mask: Any) -> np.ndarray:
    """Where a mask changes: the pixels on whose right or lower side another class begins.

    Args:
        mask: int `[H,W]`.

    Returns:
        bool `[H,W]`.

    Example:

    >>> outlines(np.array([[0, 0, 1], [0, 0, 1]]))
    array([[False,  True, False],
           [False,  True, False]])
    """
    edges = np.zeros(mask.shape, bool)
    edges[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edges[:-1] |= mask[:-1] != mask[1:]
    return edges


def _with_legend(image: Image.Image, ids: np.ndarray, legend: Mapping[int, str]) -> Image.Image:
    height = max(14, min(28, image.height // 20))
    shares = {number: float(np.mean(ids == number)) for number in legend}
    found = found_classes(shares)
    texts = [f"{legend[number]} {percentage(shares[number])}" for number in found]
    texts = texts or [NOTHING]
    line, left, top = height + MARGIN, MARGIN, MARGIN
    places = []
    for text in texts:
        needed = height + 2 * MARGIN + int(font_for(text, height).getlength(text))
        if left > MARGIN and left + needed > image.width:
            left, top = MARGIN, top + line
        places.append((left, top))
        left += needed + MARGIN
    sheet = Image.new("RGB", (image.width, image.height + top + line), "white")
    sheet.paste(image, (0, 0))
    draw = ImageDraw.Draw(sheet)
    if not found:
        draw.text((MARGIN, image.height + MARGIN), NOTHING, "black", font_for(NOTHING, height))
    for number, text, (left, top) in zip(found, texts, places, strict=False):
        top += image.height
        colour = tuple(voc_palette()[number].tolist())
        draw.rectangle((left, top, left + height, top + height), fill=colour)
        draw.text((left + height + MARGIN, top), text, "black", font_for(text, height))
    return sheet


def percentage(share: float) -> str:
    """A fraction in words.

    Example:

    >>> percentage(0.004), percentage(0.3)
    ('<1 %', '30 %')
    """
    return "<1 %" if share < 0.01 else f"{100 * share:.0f} %"
