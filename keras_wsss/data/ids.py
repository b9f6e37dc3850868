"""Image ids: file names without folder and suffix."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from keras_wsss.photographs import IMAGE_SUFFIXES


def called_otherwise(image: str, ids: Iterable[str]) -> str:
    """A remark for messages on an id that differs from a known one by how it is written.

    That is by folder, suffix, case, leading zeros, quotes, characters that cannot be seen, or by
    the two ways in which Unicode writes an umlaut.

    Example:

    >>> called_otherwise("a", ["a.jpg", "b.jpg"])
    " (but 'a.jpg' is; ids are file names without folder and suffix)"
    """
    wanted = _essence(image)
    found = next((each for each in ids if _essence(each) == wanted), None)
    if found is None:
        return ""
    # What looks alike is shown by the numbers of its characters.
    return f" (but {found!a} is; ids are file names without folder and suffix)"


def written_twice(ids: Iterable[str]) -> tuple[str, str] | None:
    """The first two ids that differ only in what :func:`called_otherwise` names.

    Example:

    >>> written_twice(["a", "b", "b.jpg"])
    ('b', 'b.jpg')
    """
    seen: dict[str, str] = {}
    for each in ids:
        if (other := seen.setdefault(_essence(each), each)) != each:
            return other, each
    return None


def _essence(image: str) -> str:
    text = unicodedata.normalize("NFC", image)
    seen = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    name = seen.strip(" =\"'").replace("\\", "/").rpartition("/")[2].casefold()
    path = PurePosixPath(name)
    stem = path.stem if path.suffix in IMAGE_SUFFIXES else name
    return re.sub(r"^0+(?=\d+$)|\.0$", "", stem)
