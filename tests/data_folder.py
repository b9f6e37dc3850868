"""Writes small data sets for the tests of the data room."""

import json

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "horse")


def photograph(seed, height=40, width=56):
    """uint8 [height, width, 3], smooth enough for JPEG."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def write_voc(root, images=6, lists=("train", "val"), masks=True):
    """A folder in VOC layout; image n has the size (40 + n) x (56 - n) and the tag n % 3 + 1.

    Its mask holds that tag on the left half, 255 in the first row and 0 elsewhere.
    """
    entries = {}
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(images):
        name, tag = f"image_{number}", number % 3 + 1
        height, width = 40 + number, 56 - number
        image = Image.fromarray(photograph(number, height, width))
        image.save(root / "JPEGImages" / f"{name}.jpg", quality=90)
        if masks:
            mask = np.zeros((height, width), np.uint8)
            mask[:, : width // 2] = tag
            mask[0] = 255
            write_mask(root / "SegmentationClass" / f"{name}.png", mask)
        entries[name] = {"labels": [tag], "labels_from_boxes": [tag]}
    for name in lists:
        write_list(root, name, entries)
    write_labels(root, entries)
    return root


def write_mask(path, mask):
    """Palette PNG, as in VOC; the colours say nothing."""
    image = Image.fromarray(mask).convert("P")
    image.putdata(mask.ravel().tolist())
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    image.save(path)


def write_list(root, name, ids):
    """ImageSets/Segmentation/NAME.txt."""
    path = root / "ImageSets" / "Segmentation" / f"{name}.txt"
    path.write_text("".join(f"{image}\n" for image in ids))


def write_labels(root, entries, classes=CLASSES):
    """labels.json."""
    content = {"classes": ["background", *classes], "ignore_id": 255, "images": entries}
    (root / "labels.json").write_text(json.dumps(content))
