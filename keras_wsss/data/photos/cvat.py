"""CVAT: "CVAT for images 1.1" (XML) and "Segmentation Mask 1.1" (masks in colours)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from keras_wsss.class_names import ignored_among, is_background
from keras_wsss.data.photos.convert import opened
from keras_wsss.data.photos.scan import PhotoFiles
from keras_wsss.data.photos.source import Entry, Source, assemble
from keras_wsss.data.text import read_lines, read_xml
from keras_wsss.errors import DataError
from keras_wsss.palette import IGNORE_COLOUR, IGNORE_ID

MASKS = "SegmentationClass"
Colour = tuple[int, int, int]


def read_cvat(path: Path, images: Path | None = None) -> Source:
    """Reads an ``annotations.xml``: tags, and labels of boxes, polygons and masks.

    What is labelled as ignored (``ignore``, ``unknown``) has no tag.

    Args:
        path: the XML file.
        images: folder of the photographs; None: that of the file.

    Returns:
        :class:`~keras_wsss.data.photos.source.Source`; classes in the order of the task's labels.

    Raises:
        DataError: the file cannot be read, or is of a video.

    Example:

    >>> read_cvat(Path("cvat/annotations.xml")).class_names
    ('cat', 'dog')
    """
    root = read_xml(path)
    if root.find("track") is not None:
        raise DataError(f"{path}: is 'CVAT for video'; export the task as 'CVAT for images 1.1'")
    # Skeletons have labels within labels, which are parts and no objects.
    labels = [
        (label.findtext("name") or "").strip()
        for label in root.iterfind(".//meta//labels/label")
        if label.find("parent") is None
    ]
    shown = {image: [shape.get("label", "") for shape in image] for image in root.iter("image")}
    ignored = ignored_among([*labels, *(label for own in shown.values() for label in own)])
    entries = []
    for image, own in shown.items():
        shapes = [label for label in own if label and label not in ignored]
        where = f"{path}, image {image.get('id')}"
        entries.append(Entry(image.get("name", ""), tuple(dict.fromkeys(shapes)), where))
    if not entries:
        raise DataError(f"{path}: lists no image; export the task as 'CVAT for images 1.1'")
    files = PhotoFiles(images or path.parent)
    classes = [label for label in labels if label not in ignored]
    return assemble("CVAT", path, files, entries, classes, called="the images of the file")


def read_cvat_masks(root: Path, images: Path | None = None) -> Source:
    """Reads masks in colours; the classes in an image's mask are its tags.

    Args:
        root: holds ``labelmap.txt`` and ``SegmentationClass``.
        images: folder of the photographs; None: ``root``.

    Returns:
        :class:`~keras_wsss.data.photos.source.Source` with masks and ``mask_colours``.

    Raises:
        DataError: the label map cannot be read, or a mask holds a colour that it does not know.

    Example:

    >>> read_cvat_masks(Path("cvat_masks")).class_names
    ('cat', 'dog')
    """
    names = read_labelmap(root / "labelmap.txt")
    none = {name: 0 for name in names.values() if is_background(name)}
    none |= dict.fromkeys(ignored_among(names.values()), IGNORE_ID)
    classes = list(dict.fromkeys(name for name in names.values() if name not in none))
    ids = none | {name: number for number, name in enumerate(classes, start=1)}
    colours = {colour: ids[name] for colour, name in names.items()}
    folder = root / MASKS
    masks = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*.png"))
    }
    entries = []
    for name, path in masks.items():
        found = np.unique(read_colours(path, colours))
        tags = tuple(classes[number - 1] for number in found if 0 < number < IGNORE_ID)
        entries.append(Entry(name, tags, str(path)))
    files = PhotoFiles(images or root)
    source = assemble(
        "CVAT masks", root, files, entries, classes, called="the masks in SegmentationClass"
    )
    photos = files.match({entry.name: entry.where for entry in entries})
    mask_of = {photo: masks[name] for name, photo in photos.items()}
    return replace(
        source,
        photographs=tuple(replace(p, mask=mask_of.get(p.path)) for p in source.photographs),
        mask_colours=colours,
    )


def read_labelmap(path: Path) -> dict[Colour, str]:
    """Colour -> name, from lines ``name:red,green,blue:parts:actions``.

    Raises:
        DataError: a line is not of this form, or two labels have one colour.
    """
    names: dict[Colour, str] = {}
    for line in read_lines(path):
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        try:
            red, green, blue = map(int, rest.partition(":")[0].split(","))
        except ValueError as error:
            raise DataError(f"{path}: {line!r} is not NAME:RED,GREEN,BLUE::; correct it") from error
        if names.setdefault((red, green, blue), name.strip()) != name.strip():
            raise DataError(
                f"{path}: {names[red, green, blue]} and {name.strip()} have one colour; give each "
                "label its own and export again"
            )
    return names


def read_colours(path: Path, colours: Mapping[Colour, int]) -> np.ndarray:
    """A mask in colours as ids.

    Args:
        path: PNG in RGB, with a palette, or in grey, whose values are then positions in the list
            of colours.
        colours: RGB -> id. Black is the background, and the colour of VOC's outlines is 255,
            unless they are listed.

    Returns:
        uint8 [H, W].

    Raises:
        DataError: the file cannot be read, or holds another colour.
    """
    ids = {(0, 0, 0): 0, IGNORE_COLOUR: IGNORE_ID, **colours}
    with opened(path) as image:
        if image.mode == "L":
            values = np.array(image)
            listed = list(colours.values())
            table = np.array([*listed, *[-1] * (256 - len(listed))])
            table[IGNORE_ID] = IGNORE_ID
            mask = table[values]
            pixels = np.repeat(values[..., None], 3, -1)
        else:
            pixels = np.array(image.convert("RGB"))
            packed = pixels.astype(np.int32) @ np.array([65536, 256, 1])
            found, where = np.unique(packed, return_inverse=True)
            known = [ids.get((v >> 16, v >> 8 & 255, v & 255), -1) for v in found.tolist()]
            mask = np.array(known)[where].reshape(packed.shape)
    if (mask < 0).any():
        colour = tuple(pixels[mask < 0][0].tolist())
        raise DataError(
            f"{path}: holds the colour {colour}, which labelmap.txt does not name; add it there"
        )
    return np.asarray(mask, np.uint8)
