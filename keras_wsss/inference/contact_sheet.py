"""Contact sheets: a row per image of photograph, CAM, pseudo label, prediction and truth."""

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_wsss.palette import overlay_labels, voc_palette

TITLES = ("image", "CAM", "pseudo label", "prediction", "truth")
TILE, GAP, HEADER = 192, 4, 22


def overlay_cam(image, cam):
    """Paints the strongest class of a CAM `[H,W,C]` in [0,1] over an image; uint8 `[H,W,3]`."""
    heat = matplotlib.colormaps["jet"](np.max(cam, axis=-1))[..., :3] * 255
    return (0.5 * image + 0.5 * heat).astype(np.uint8)


def contact_sheet(rows, class_names):
    """One picture of many results.

    Args:
        rows: list of (image `[H,W,3]` 0..255, tag-masked CAM `[H,W,C]`, pseudo label, prediction,
            and where there are masks the truth); label maps are int `[H,W]`.
        class_names: names of the C classes, for the legend.

    Returns:
        ``PIL.Image.Image``.

    Example:

    >>> contact_sheet(rows, ["cat", "dog"]).save("sheet.png")
    """
    titles = TITLES[: len(rows[0])]
    width = len(titles) * (TILE + GAP) + GAP
    places = legend_places(class_names, width)
    header = places[-1][1] + HEADER
    sheet = Image.new("RGB", (width, header + len(rows) * (TILE + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((GAP + column * (TILE + GAP), 5), title, fill="black")
    for name, colour, (left, top) in zip(class_names, voc_palette()[1:], places, strict=False):
        draw.rectangle((left, top + 4, left + 12, top + 16), fill=tuple(colour))
        draw.text((left + 16, top + 4), name, fill="black")
    for number, (image, cam, *labels) in enumerate(rows):
        tiles = [image.astype(np.uint8), overlay_cam(image, cam)]
        tiles += [overlay_labels(image, label) for label in labels]
        top = header + number * (TILE + GAP)
        for column, tile in enumerate(tiles):
            picture = Image.fromarray(tile)
            picture.thumbnail((TILE, TILE))
            if max(picture.size) < TILE:
                factor = TILE / max(picture.size)
                picture = picture.resize([round(side * factor) for side in picture.size])
            sheet.paste(picture, (GAP + column * (TILE + GAP), top))
    return sheet


def legend_places(class_names, width):
    """Left and top of every class in the legend, which begins a new line where one is full."""
    width_of = ImageFont.load_default().getlength
    places, left, top = [], GAP, HEADER
    for name in class_names:
        needed = 30 + int(width_of(name))
        if left > GAP and left + needed > width:
            left, top = GAP, top + HEADER
        places.append((left, top))
        left += needed
    return places
