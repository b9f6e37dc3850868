"""Ids and colours of masks. Knows no TensorFlow, so that a client of a server can start at once."""

import numpy as np

IGNORE_ID = 255  # of a pixel that has no label
IGNORE_COLOUR = (224, 224, 192)  # that of the VOC palette


def voc_palette():
    """The 256 colours of PASCAL VOC masks, uint8 `[256,3]`; colour 255 marks ignored pixels.

    Example:

    >>> voc_palette()[1]
    array([128,   0,   0], dtype=uint8)
    """
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        digits = np.arange(256) >> (3 * bit)
        for channel in range(3):
            palette[:, channel] |= (((digits >> channel) & 1) << (7 - bit)).astype(np.uint8)
    palette[IGNORE_ID] = IGNORE_COLOUR
    return palette


def colour_codes(count=256):
    """The first ``count`` colours of :func:`voc_palette` as pages and programs write them.

    Example:

    >>> colour_codes(2)
    ('#000000', '#800000')
    """
    return tuple(f"#{bytes(colour).hex()}" for colour in voc_palette()[:count])


def overlay_labels(image, labels, opacity=0.65):
    """Paints a label map int `[H,W]` over an image `[H,W,3]` 0..255; returns uint8 `[H,W,3]`.

    Example:

    >>> overlay_labels(np.zeros((1, 2, 3)), np.array([[0, 1]]))
    array([[[ 0,  0,  0],
            [83,  0,  0]]], dtype=uint8)
    """
    colour = voc_palette()[np.asarray(labels, np.uint8)]
    strength = np.where(np.asarray(labels) == 0, 0.35, opacity)[..., None]
    return (image * (1 - strength) + colour * strength).astype(np.uint8)
