"""Masks alone: ``masks/NAME.png``, palette images whose values are the ids, and ``classes.txt``.

Unknown pixels are 255, as in this library's own masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_wsss.data.text import write_lines
from keras_wsss.inference.label_formats.base import LabelFormat, LabelledPhoto
from keras_wsss.pictures import save_mask


def write(photos: Iterable[LabelledPhoto], class_names: Sequence[str], folder: Path) -> None:
    """Writes the masks; see :class:`LabelFormat`."""
    for photo in photos:
        save_mask(photo.label, folder / "masks" / f"{photo.path.stem}.png")
    write_lines(folder / "classes.txt", class_names)


PNG = LabelFormat(
    write,
    "Open {folder}/masks with any picture editor that keeps palettes; line n of classes.txt names "
    "the id n, 0 is the background, 255 unknown.",
)
