"""Names of classes: which are one, and which are none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from keras_wsss.errors import DataError
from keras_wsss.palette import IGNORE_ID

# No classes: labelme writes __ignore__ and _background_ at the head of its lists, in this order.
IGNORE_WORDS, BACKGROUND_WORDS = {"ignore"}, {"background", "bg", "bkg"}

# Labels that annotation tools have for pixels that are neither a class nor background.
IGNORED_LABELS = {"ignore", "ignored", "void", "unknown"}

LONGEST = 250
"""Letters of a name: what no legend can show is a line of some other file."""
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


def ignored_label(class_names: Sequence[str]) -> str:
    """The label of ignored pixels beside those of the classes.

    Example:

    >>> ignored_label(["cat"]), ignored_label(["cat", "unknown"])
    ('unknown', 'unknown (255)')
    """
    return "unknown" if "unknown" not in class_names else f"unknown ({IGNORE_ID})"


def ignored_among(labels: Iterable[str]) -> set[str]:
    """Those of an annotation tool's labels that stand for ignored pixels.

    Example:

    >>> sorted(ignored_among(["cat", "__ignore__", "Unknown"]))
    ['Unknown', '__ignore__']
    >>> ignored_among(["cat", "unknown", "unknown (255)"])
    {'unknown (255)'}
    """
    names = set(labels)
    if own := names & {ignored_label(["unknown"])}:
        return own
    return {name for name in names if plain(name).strip("_") in IGNORED_LABELS}


def spelling(names: Iterable[str]) -> dict[str, str]:
    """:func:`plain` name -> the name as the list spells it."""
    return {plain(name): name for name in names}


def without_head(names: Sequence[str]) -> tuple[str, ...]:
    """A list without blanks around its names, nor ``__ignore__`` and the background at its head."""
    head = 0
    for special in (IGNORE_WORDS, BACKGROUND_WORDS):
        head += bool(names[head:]) and _letters(names[head]) in special
    return tuple(name.strip() for name in names[head:])


def fault_of(classes: Sequence[str]) -> str | None:
    """Why these are no names of foreground classes, and the fix; None: they are.

    Example:

    >>> fault_of(["cat", "Cat"])
    "names the class 'Cat' twice (also as 'cat'); remove one"
    """
    seen: dict[str, str] = {}
    for name in classes:
        if not name.strip() or UNREADABLE.search(name) or len(name) > LONGEST:
            return f"{name!r:.60} is no name of a class; correct it"
        if is_no_class(name):
            return (
                f"{name!r} is no class, and can only stand at the head of the list (ids in masks "
                "are positions in it, the background is 0); move it there, or remove it"
            )
        if plain(name) in seen:
            return f"names the class {name!r} twice (also as {seen[plain(name)]!r}); remove one"
        seen[plain(name)] = name
    return None if classes else "names no class; write one name a line"


def foreground(names: Sequence[str], source: object) -> tuple[str, ...]:
    """The classes of a list, :func:`without_head`.

    Args:
        names: as they are written.
        source: file or key the list comes from, for messages.

    Returns:
        The class at position i has the id i + 1 in masks.

    Raises:
        DataError: no class, one named twice or not readable, or the background or ``__ignore__``
            elsewhere.

    Example:

    >>> foreground(["_background_", "cat", "dog"], "classes.txt")
    ('cat', 'dog')
    """
    classes = without_head(names)
    if fault := fault_of(classes):
        raise DataError(f"{source}: {fault}")
    return classes


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", plain(name))
