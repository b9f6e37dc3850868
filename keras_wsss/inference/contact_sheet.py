"""Contact sheets: a row per image of photograph, CAM, pseudo label, prediction and truth."""

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from keras_wsss.fonts import font_for
from keras_wsss.palette import IGNORE_ID, overlay_labels, voc_palette

TITLES = ("image", "CAM", "pseudo label", "prediction", "truth")
TILE, GAP, HEADER = 192, 4, 22
SWATCH, CAPTION, FONT_SIZE = 12, 16, 10


def overlay_cam(image, cam):
    """Paints the strongest class of a CAM `[H,W,C]` in [0,1] over an image; uint8 `[H,W,3]`."""
    heat = matplotlib.colormaps["jet"](np.max(cam, axis=-1))[..., :3] * 255
    return (0.5 * image + 0.5 * heat).astype(np.uint8)


def contact_sheet(rows, photo_names, class_names):
    """One picture of many results.

    Args:
        rows: list of (image `[H,W,3]` 0..255, tag-masked CAM `[H,W,C]`, pseudo label, prediction,
            and where there are masks the truth); label maps are int `[H,W]`.
        photo_names: a name for each row, which stands above it.
        class_names: names of the C classes, for the legend, which also has the background and the
            pixels without a label (255).

    Returns:
        ``PIL.Image.Image``.

    Example:

    >>> image, label = np.zeros((48, 64, 3)), np.ones((48, 64), int)
    >>> row = image, np.zeros((48, 64, 2)), label, label
    >>> contact_sheet([row], ["IMG_1"], ["cat", "dog"]).mode
    'RGB'
    """
    titles = TITLES[: len(rows[0])]
    width = len(titles) * (TILE + GAP) + GAP
    legend = {0: "background", **dict(enumerate(class_names, start=1)), IGNORE_ID: "no label (255)"}
    places = legend_places(legend.values(), width)
    tiles = [_tiles(*row) for row in rows]
    heights = [CAPTION + row[0].height + GAP for row in tiles]
    header = places[-1][1] + HEADER
    sheet = Image.new("RGB", (width, header + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)

    def write(place, text):
        draw.text(place, text, "black", font_for(text, FONT_SIZE))

    for column, title in enumerate(titles):
        write((GAP + column * (TILE + GAP), 5), title)
    for (number, name), (left, top) in zip(legend.items(), places, strict=True):
        box = left, top + 4, left + SWATCH, top + 4 + SWATCH
        draw.rectangle(box, fill=tuple(voc_palette()[number].tolist()), outline="black")
        write((left + SWATCH + 4, top + 4), name)
    top = header
    for name, row, height in zip(photo_names, tiles, heights, strict=True):
        write((GAP, top), name)
        for column, tile in enumerate(row):
            sheet.paste(tile, (GAP + column * (TILE + GAP), top + CAPTION))
        top += height
    return sheet


def _tiles(image, cam, *labels):
    """The pictures of a row, the longer side as long as a tile."""
    pictures = [image.astype(np.uint8), overlay_cam(image, cam)]
    pictures += [overlay_labels(image, label) for label in labels]
    factor = TILE / max(image.shape[:2])
    size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
    return [Image.fromarray(picture).resize(size) for picture in pictures]


def legend_places(names, width):
    """Left and top of every name in the legend, which begins a new line where one is full."""
    places, left, top = [], GAP, HEADER
    for name in names:
        needed = 30 + int(font_for(name, FONT_SIZE).getlength(name))
        if left > GAP and left + needed > width:
            left, top = GAP, top + HEADER
        places.append((left, top))
        left += needed
    return places
