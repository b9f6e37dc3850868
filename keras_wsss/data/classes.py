"""Class lists: which names there are, in which order, and what they are in masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from keras_wsss.class_names import foreground, plain, spelling
from keras_wsss.data.text import read_lines
from keras_wsss.errors import DataError
from keras_wsss.palette import IGNORE_ID
from keras_wsss.registry import closest

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
MOST_CLASSES = IGNORE_ID - 1
"""Masks have 8 bits: 0 is the background, 255 is ignored."""


def listed_classes(folder: Path) -> tuple[str, ...]:
    """The names of the classes.txt in a folder; none where there is no such file.

    Raises:
        DataError: it is no list of classes.
    """
    file = folder / "classes.txt"
    return foreground(read_lines(file), file) if file.is_file() else ()


def class_list(folder: Path, classes: Sequence[str] | None) -> tuple[tuple[str, ...], bool]:
    """classes.txt beside the tags; else VOC's names, unless other classes are asked for.

    Args:
        folder: of the tags.
        classes: ``data.classes``.

    Returns:
        The names, and whether they are VOC's without having been asked for.
    """
    if listed := listed_classes(folder):
        return listed, False
    names = None if classes is None else foreground(classes, "data.classes")
    if names is None or set(map(plain, names)) <= set(VOC_CLASSES):
        return VOC_CLASSES, True
    return names, False


def chosen_classes(
    known: Sequence[str], chosen: Sequence[str] | None, source: str
) -> tuple[str, ...]:
    """``chosen`` in the spelling of ``known``, or all classes.

    Raises:
        DataError: a chosen class is not known, or they are too many.

    Example:

    >>> chosen_classes(("cat", "dog"), ("Dog",), "classes.txt")
    ('dog',)
    """
    names = known if chosen is None else foreground(chosen, "data.classes")
    spelled = spelling(known)
    for name in names:
        if plain(name) not in spelled:
            raise DataError(
                f"data.classes: {name!r} is no class of {source}{nearest(name, known)} It knows: "
                f"{', '.join(known)}"
            )
    if len(names) > MOST_CLASSES:
        raise DataError(
            f"{source}: names {len(names)} classes; masks, which have 8 bits, can tell "
            f"{MOST_CLASSES} apart. Choose some with data.classes"
        )
    return tuple(spelled[plain(name)] for name in names)


def mask_lookup(known: Sequence[str], classes: Sequence[str], ignore_id: int) -> np.ndarray:
    """int32 [256] for :attr:`Split.mask_map`; known classes that were not chosen become 0.

    Raises:
        DataError: a chosen class stands too far down the list to have an id.
    """
    for name in classes:
        if name in known[MOST_CLASSES:]:
            raise DataError(
                f"{name} is class {known.index(name) + 1}, and ids in masks, which have 8 bits, "
                f"end at {MOST_CLASSES}; move it up in the class list"
            )
    lookup = np.full(256, -1, np.int32)
    lookup[0] = 0
    for number, name in enumerate(known[:MOST_CLASSES], start=1):
        lookup[number] = classes.index(name) + 1 if name in classes else 0
    lookup[ignore_id] = IGNORE_ID
    return lookup


def renumbered(raw: np.ndarray, lookup: np.ndarray, path: object) -> np.ndarray:
    """A mask with the ids of the training.

    Args:
        raw: uint8 [H, W], as the file has it.
        lookup: int32 [256], see :func:`mask_lookup`.
        path: of the mask, for messages.

    Returns:
        int32 [H, W].

    Raises:
        DataError: it holds an id that no class list knows.
    """
    mask: np.ndarray = lookup[raw]
    if mask.min() < 0:
        last = np.flatnonzero((lookup >= 0) & (lookup < IGNORE_ID)).max()
        raise DataError(
            f"{path}: holds the id {raw[mask < 0].min()}, which is in no class list (its ids end "
            f"at {last}); correct the mask, or add the class"
        )
    return mask


def nearest(name: str, names: Iterable[str]) -> str:
    """End of a sentence: ``". Did you mean 'cat'?"`` or ``"."``."""
    close = closest(name, names)
    return f". Did you mean {close!r}?" if close else "."
