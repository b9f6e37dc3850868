"""CVAT: ``annotations.zip`` in the format "Segmentation mask 1.1", and what a task is made with.

``images/`` are the photographs to upload, ``cvat-labels.json`` the labels to paste as "Raw". In
``SegmentationObject`` each class of a photograph is one object, so CVAT shows one mask for each.
Unknown pixels are a label of their own, named ``unknown``.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from keras_wsss.inference.label_formats.base import (
    LabelFormat,
    LabelledPhoto,
    check_names,
    hex_colour,
    numbered_classes,
    place,
    present,
)
from keras_wsss.palette import IGNORE_ID, voc_palette


def write(photos: Iterable[LabelledPhoto], class_names: Sequence[str], folder: Path) -> None:
    """Writes photographs, archive and labels; see :class:`LabelFormat`.

    Raises:
        DataError: a class has a name that ``labelmap.txt`` cannot hold.
    """
    check_names(class_names, ":#", "labelmap.txt")
    palette, names, unknown = voc_palette(), [], False
    # PNG is compressed already.
    with zipfile.ZipFile(folder / "annotations.zip", "w", zipfile.ZIP_STORED) as archive:
        for photo in photos:
            name = place(photo.path, folder / "images").stem
            classes = present(photo.label)
            object_of = np.zeros(256, np.uint8)
            object_of[classes] = range(1, len(classes) + 1)
            for part, values in (("Class", photo.label), ("Object", object_of[photo.label])):
                archive.writestr(f"Segmentation{part}/{name}.png", _png(palette[values]))
            unknown |= IGNORE_ID in classes
            names.append(name)
        numbered = numbered_classes(class_names, unknown)
        archive.writestr("ImageSets/Segmentation/default.txt", "".join(f"{n}\n" for n in names))
        colours = {"background": palette[0], **{name: palette[n] for n, name in numbered.items()}}
        lines = [f"{name}:{','.join(map(str, colour))}::\n" for name, colour in colours.items()]
        archive.writestr("labelmap.txt", "# label:color_rgb:parts:actions\n" + "".join(lines))
    labels = [
        {"name": name, "color": hex_colour(number), "type": "any", "attributes": []}
        for number, name in numbered.items()
    ]
    (folder / "cvat-labels.json").write_text(
        json.dumps(labels, indent=2, ensure_ascii=False) + "\n", "utf-8"
    )


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


CVAT = LabelFormat(
    write,
    "Make a task in CVAT with the labels of {folder}/cvat-labels.json (tab Raw) and the "
    "photographs in {folder}/images, then upload {folder}/annotations.zip as annotations in the "
    "format Segmentation mask 1.1.",
)
