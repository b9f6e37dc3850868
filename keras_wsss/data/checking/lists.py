"""Lists of images, as far as they can be read."""

from __future__ import annotations

from pathlib import Path

from keras_wsss.config.data import DataConfig
from keras_wsss.data.checking.contents import Fault, ImageList
from keras_wsss.data.split import Part
from keras_wsss.data.text import read_lines
from keras_wsss.errors import DataError

PARTS: tuple[Part, ...] = ("train", "val")
MISSING = "%s: the list is not there; write one id a line, or correct data.train_list or val_list"


def names_of_lists(data: DataConfig) -> list[tuple[Part, str]]:
    """The lists of a configuration, with what they are for."""
    parts = [part for part in PARTS if part == "train" or data.val_list is not None]
    return [(part, name) for part in parts for name in data.lists(part)]


def read_list(path: Path, name: str, part: Part) -> ImageList:
    """Ids of a list, one a line, or why they cannot be read."""
    if not path.is_file():
        return ImageList(name, part, path, (), Fault("missing-list", MISSING % path))
    try:
        return ImageList(name, part, path, tuple(read_lines(path)))
    except DataError as error:
        return ImageList(name, part, path, (), Fault("unreadable-list", str(error)))
