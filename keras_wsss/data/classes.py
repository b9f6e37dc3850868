"""Class lists: which names there are, in which order, and what they are in masks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

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

# No classes: labelme writes __ignore__ and _background_ at the head of its lists, in this order.
IGNORE_WORDS, BACKGROUND_WORDS = {"ignore"}, {"background", "bg", "bkg"}

UNREADABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def plain(name: str) -> str:
    """What all spellings of a name share: neither case nor surrounding blanks tell names apart.

    Example:

    >>> plain(" Cat") == plain("cat")
    True
    """
    return unicodedata.normalize("NFC", name).strip().casefold()


def is_background(name: str) -> bool:
    """Whether a name stands for the background, however it is written.

    Example:

    >>> is_background("_Background_")
    True
    """
    return _letters(name) in BACKGROUND_WORDS


def is_no_class(name: str) -> bool:
    """Whether a name stands for the background or for what labelme calls ``__ignore__``."""
    return _letters(name) in IGNORE_WORDS | BACKGROUND_WORDS


def spelling(names: Iterable[str]) -> dict[str, str]:
    """:func:`plain` name -> the name as the list spells it."""
    return {plain(name): name for name in names}


def foreground(names: Sequence[str], source: object) -> tuple[str, ...]:
    """The classes of a list, without the background and labelme's ``__ignore__`` at its head.

    Args:
        names: as they are written.
        source: file or key the list comes from, for messages.

    Returns:
        The names without surrounding blanks; the class at position i has the id i + 1 in masks.

    Raises:
        DataError: no class, one named twice or not readable, or the background or ``__ignore__``
            elsewhere.

    Example:

    >>> foreground(["_background_", "cat", "dog"], "classes.txt")
    ('cat', 'dog')
    """
    head = 0
    for special in (IGNORE_WORDS, BACKGROUND_WORDS):
        head += bool(names[head:]) and _letters(names[head]) in special
    classes = tuple(name.strip() for name in names[head:])
    seen: dict[str, str] = {}
    for name in classes:
        if not name or UNREADABLE.search(name):
            raise DataError(f"{source}: {name!r} is no name of a class; correct it")
        if is_no_class(name):
            raise DataError(
                f"{source}: {name!r} is no class, and can only stand at the head of the list (ids "
                "in masks are positions in it, the background is 0); move it there, or remove it"
            )
        if plain(name) in seen:
            raise DataError(
                f"{source}: names the class {name!r} twice (also as {seen[plain(name)]!r}); "
                "remove one"
            )
        seen[plain(name)] = name
    if not classes:
        raise DataError(f"{source}: names no class; write one name a line")
    return classes


def class_list(folder: Path, classes: Sequence[str] | None) -> tuple[tuple[str, ...], bool]:
    """classes.txt beside the tags; else VOC's names, unless other classes are asked for.

    Args:
        folder: of the tags.
        classes: ``data.classes``.

    Returns:
        The names, and whether they are VOC's without having been asked for.
    """
    file = folder / "classes.txt"
    if file.is_file():
        return foreground(read_lines(file), file), False
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


def nearest(name: str, names: Iterable[str]) -> str:
    """End of a sentence: ``". Did you mean 'cat'?"`` or ``"."``."""
    close = closest(name, names)
    return f". Did you mean {close!r}?" if close else "."


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", plain(name))
