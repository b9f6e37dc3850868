"""A folder in VOC layout, which this library's own reader ``voc`` reads, too.

``JPEGImages``, ``SegmentationClass`` (palette), ``ImageSets/Segmentation/train.txt``,
``classes.txt``, and in ``labels.csv`` the classes that each mask holds. Unknown pixels are 255.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_wsss.inference.label_formats.base import (
    LabelFormat,
    LabelledPhoto,
    check_names,
    place,
    present,
    write_lines,
)
from keras_wsss.palette import IGNORE_ID
from keras_wsss.pictures import save_mask


def write(photos: Iterable[LabelledPhoto], class_names: Sequence[str], folder: Path) -> None:
    """Writes photographs, masks, list and tags; see :class:`LabelFormat`.

    Raises:
        DataError: a class has a name that ``labels.csv`` cannot hold.
    """
    check_names(class_names, ";", "labels.csv")
    names = []
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("id", "tags"))
        for photo in photos:
            name = place(photo.path, folder / "JPEGImages").stem
            save_mask(photo.label, folder / "SegmentationClass" / f"{name}.png")
            tags = [class_names[n - 1] for n in present(photo.label) if n != IGNORE_ID]
            table.writerow((name, ";".join(tags)))
            names.append(name)
    write_lines(folder / "ImageSets" / "Segmentation" / "train.txt", names)
    write_lines(folder / "classes.txt", class_names)


VOC = LabelFormat(
    write,
    "Correct the masks in {folder}/SegmentationClass; this library reads the folder with "
    "data.kind: voc, data.root: {folder} and data.train_list: train.",
)
