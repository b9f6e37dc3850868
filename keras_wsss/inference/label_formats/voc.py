"""A folder in VOC layout, which this library's own reader ``voc`` reads, too.

``JPEGImages``, ``SegmentationClass`` (palette), ``ImageSets/Segmentation/train.txt``,
``classes.txt``, and in ``labels.csv`` the classes that each mask holds. Unknown pixels are 255.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_wsss.data.tables import SEPARATOR, write_csv
from keras_wsss.data.text import write_lines
from keras_wsss.data.voc import IMAGES, LISTS, MASKS
from keras_wsss.inference.label_formats.base import (
    LabelFormat,
    LabelledPhoto,
    check_names,
    place,
    present,
)
from keras_wsss.palette import IGNORE_ID
from keras_wsss.pictures import save_mask


def write(photos: Iterable[LabelledPhoto], class_names: Sequence[str], folder: Path) -> None:
    """Writes photographs, masks, list and tags; see :class:`LabelFormat`.

    Raises:
        DataError: a class has a name that ``labels.csv`` cannot hold.
    """
    check_names(class_names, SEPARATOR, "labels.csv")
    tags = {}
    for photo in photos:
        name = place(photo.path, folder / IMAGES).stem
        save_mask(photo.label, folder / MASKS / f"{name}.png")
        tags[name] = [class_names[n - 1] for n in present(photo.label) if n != IGNORE_ID]
    write_csv(folder / "labels.csv", tags)
    write_lines(folder / LISTS / "train.txt", tags)
    write_lines(folder / "classes.txt", class_names)


VOC = LabelFormat(
    write,
    "Correct the masks in {folder}/SegmentationClass; this library reads the folder with "
    "data.kind: voc, data.root: {folder} and data.train_list: train.",
)
