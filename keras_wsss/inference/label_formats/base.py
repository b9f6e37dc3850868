"""What the formats of annotation tools share: a photograph with its label, and small helpers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_wsss.class_names import ignored_label
from keras_wsss.errors import DataError
from keras_wsss.output import link_or_copy
from keras_wsss.palette import IGNORE_ID, voc_palette


@dataclass(frozen=True, eq=False)
class LabelledPhoto:
    """A photograph and what its pixels are thought to be.

    Attributes:
        id: of the image, as in the list.
        path: of the photograph; the tools know it by this file's name.
        label: uint8 [H, W] of the photograph as displayed: 0 background, c + 1 = class c, 255
            unknown.
        uncertainty: 0..1, how much of the label is in doubt.
    """

    id: str
    path: Path
    label: np.ndarray
    uncertainty: float = 0.0


WriteLabels = Callable[[Iterable[LabelledPhoto], Sequence[str], Path], None]


@dataclass(frozen=True)
class LabelFormat:
    """A format of an annotation tool.

    Attributes:
        write: function of labelled photographs (each is read once), the names of the C classes and
            an empty folder that it fills. It keeps the order of the photographs.
        next_step: how the tool loads the folder, one or two sentences; ``{folder}`` is filled in.

    Example:

    >>> from keras_wsss.registry import LABEL_FORMATS
    >>> Path("png").mkdir()
    >>> photo = LabelledPhoto("IMG_1", Path("photo.jpg"), np.ones((48, 64), np.uint8))
    >>> LABEL_FORMATS["png"].write([photo], ["cat"], Path("png"))
    """

    write: WriteLabels
    next_step: str


def present(label: np.ndarray) -> list[int]:
    """Ids in a label uint8 [H, W] but the background's, ascending."""
    ids: list[int] = np.flatnonzero(np.bincount(label.ravel())).tolist()
    return [number for number in ids if number]


def regions(label: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Ids in a label but the background's, and where each is, bool [H, W]."""
    return ((number, label == number) for number in present(label))


def numbered_classes(class_names: Sequence[str], unknown: bool) -> dict[int, str]:
    """Id in labels -> name, with ``unknown`` also of 255, for formats that know regions alone."""
    names = dict(enumerate(class_names, start=1))
    if unknown:
        names[IGNORE_ID] = ignored_label(class_names)
    return names


def check_names(class_names: Sequence[str], refused: str, file: str) -> None:
    """Refuses class names with one of the characters ``refused``, which would break a ``file``.

    Raises:
        DataError: there is such a name.
    """
    for name in class_names:
        if found := set(refused) & set(name):
            raise DataError(
                f"class {name!r}: {file} cannot hold a name with {min(found)!r}; rename the class, "
                "or write another format"
            )


def hex_colour(number: int) -> str:
    """Colour of a class as ``#rrggbb``, that of the palette."""
    red, green, blue = voc_palette()[number]
    return f"#{red:02x}{green:02x}{blue:02x}"


def run_lengths(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of equal neighbours.

    Args:
        values: [N], not empty.

    Returns:
        the value and the length (int64) of each run.

    Example:

    >>> run_lengths(np.array([7, 7, 8]))
    (array([7, 8]), array([2, 1]))
    """
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return values[starts], np.diff(np.append(starts, len(values)))


def place(path: Path, folder: Path, name: str | None = None) -> Path:
    """Puts a file into a folder: as a hard link where the file system can, else as a copy."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (name or path.name)
    link_or_copy(path, target)
    return target
