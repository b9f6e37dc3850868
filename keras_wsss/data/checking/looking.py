"""Opens every file of a data set once."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from keras_wsss.config.data import MOST_PIXELS
from keras_wsss.data.checking.contents import Contents, Fault, Item, Mask, Picture
from keras_wsss.data.files import SWAPPED, THREADS, check_size
from keras_wsss.data.photos.convert import (
    check_whole,
    eight_bits,
    opened,
    readable_suffix,
    reason_of,
)
from keras_wsss.data.photos.cvat import read_colours
from keras_wsss.data.photos.duplicates import fingerprint
from keras_wsss.errors import DataError

SIDE, SMALL = 64, 16  # pixels; JPEG files are decoded no larger than needed
DARK, LIGHT, FLAT = 16, 239, 8  # of 255: what 99 of 100 pixels keep to
COLOURLESS = 8  # largest difference between the channels of a grey JPEG
STARTS = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
SEVERAL_PICTURES = ("MPO", "TIFF")  # no animations: the others are previews or pages


def look_at_all(contents: Contents) -> Contents:
    """The same with what the files of all images and masks hold."""

    def look(item: Item) -> Item:
        if item.path is None:
            return item
        mask = look_at_mask(item.mask_path, contents.mask_colours) if item.mask_path else None
        return replace(item, picture=look_at_image(item.path, contents.max_pixels), mask=mask)

    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter("ignore")  # of Pillow, about metadata that nobody needs
        looked_at = list(pool.map(look, contents.items.values()))
    return replace(contents, items={item.id: item for item in looked_at})


def look_at_image(path: Path, most_pixels: int = MOST_PIXELS) -> Picture | Fault:
    """Decodes an image, in a small size where its format allows it.

    Args:
        path: its file.
        most_pixels: ``data.max_pixels``.

    Example:

    >>> _ = Path("cut_off.jpg").write_bytes(Path("photo.jpg").read_bytes()[:500])
    >>> look_at_image(Path("cut_off.jpg"))
    Fault(kind='truncated', reason='cannot be decoded (Truncated File Read)')
    """
    try:
        with opened(path) as image:
            suffix, mode, size = readable_suffix(image, path), image.mode, image.size
            if image.has_transparency_data:
                mode = "transparency"
            check_size(path, size, most_pixels)
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            animated = getattr(image, "is_animated", False)
            image.draft("RGB", (SIDE, SIDE))
            image.load()
            upright = ImageOps.exif_transpose(eight_bits(image, path)).convert("RGB")
        data = path.read_bytes()
        check_whole(path, data)
        digest = hashlib.sha256(data).hexdigest()
    except Exception as error:  # there is no end to how decoders fail on broken files
        return _fault(path, error)
    values = np.asarray(upright.resize((SIDE, SIDE), Image.Resampling.BOX)).reshape(-1, 3)
    tone = _tone(values)
    return Picture(
        format=image.format or "",
        suffix=suffix,
        mode=mode,
        size=size,
        turned=orientation in range(2, 9),
        swapped=orientation in SWAPPED,
        animated=animated and image.format not in SEVERAL_PICTURES,
        digest=digest,
        fingerprint=fingerprint(upright),
        small=np.asarray(upright.resize((SMALL, SMALL), Image.Resampling.BOX)),
        tone=tone,
        grey=tone is None and int(np.ptp(values, axis=1).max()) <= COLOURLESS,
    )


def _tone(values: np.ndarray) -> str | None:
    low, high = np.percentile(values, (1, 99), axis=0)
    if high.max() < DARK:
        return "black"
    if low.min() > LIGHT:
        return "white"
    return "one colour" if (high - low).max() < FLAT else None


def _fault(path: Path, error: Exception) -> Fault:
    reason = reason_of(error, path)
    cause = str(error.__cause__).casefold()
    if path.is_file() and path.stat().st_size == 0:
        return Fault("empty-file", reason)
    if isinstance(error.__cause__, UnidentifiedImageError):
        # What begins like an image is one, of which even the head is not complete.
        begins = path.read_bytes()[:4].startswith(STARTS)
        return Fault("truncated" if begins else "not-an-image", reason)
    cut = "truncated" in cause or "cut off" in reason
    return Fault("truncated" if cut else "unreadable", reason)


def look_at_mask(
    path: Path, colours: Mapping[tuple[int, int, int], int] | None = None
) -> Mask | Fault:
    """Reads a mask.

    Args:
        path: its file.
        colours: of masks in colours, RGB -> id; None: pixels are ids.

    Example:

    >>> look_at_mask(Path("VOC2012/SegmentationClass/image_0.png")).ids
    frozenset({0, 1, 255})
    """
    try:
        if colours:
            values = read_colours(path, colours)
        else:
            with opened(path) as image:
                if image.mode not in ("P", "L", "1"):
                    return Fault("mask-colour", image.mode)
                values = np.asarray(image, np.uint8)
    except Exception as error:
        strange = isinstance(error, DataError) and error.__cause__ is None
        return Fault("mask-unknown-id" if strange else "mask-unreadable", reason_of(error, path))
    counts = np.bincount(values.ravel(), minlength=256)
    height, width = values.shape
    return Mask((width, height), frozenset(np.flatnonzero(counts).tolist()))
