"""Photographs that a command is given: files, folders, patterns, lists. Knows no TensorFlow."""

from __future__ import annotations

import glob
import os
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from keras_wsss.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
"""Of images and masks of a data set."""
CONVERTED_SUFFIXES = (".tif", ".tiff", ".heic", ".heif", ".avif")
"""Of photographs that are saved as JPEG or PNG before they are read."""
PHOTO_SUFFIXES = (*IMAGE_SUFFIXES, ".jpe", ".jfif", ".mpo", *CONVERTED_SUFFIXES)
"""Of people's photographs."""


@dataclass(frozen=True)
class Photograph:
    """A file, and the name of what is made of it.

    Attributes:
        path: of the file.
        name: path without suffix, relative to the folder that was asked for, with ``/``; no two
            photographs of a list share it.
    """

    path: Path
    name: str

    @property
    def shown(self) -> Path:
        """The path for people: from the working directory where that holds it."""
        here = Path.cwd()
        return self.path.relative_to(here) if self.path.is_relative_to(here) else self.path


def find_photographs(sources: Iterable[str | Path]) -> list[Photograph]:
    """The photographs that ``sources`` name, each once, in their order.

    Args:
        sources: an image file; a folder, which is searched with all its sub-folders; a pattern
            such as ``photos/*.jpg``; or a text file ``*.txt`` that names one of these a line.

    Raises:
        DataError: a source is not there, or holds no image.

    Example:

    >>> [each.name for each in find_photographs(["photos/cat"])]
    ['1', '2', '3', '4']
    """
    found: dict[Path, str] = {}
    for source in sources:
        named = list(_paths(str(source), set()))
        if not named:
            raise DataError(f"{source}: holds no image ({', '.join(PHOTO_SUFFIXES)})")
        for path, name in named:
            found.setdefault(path.resolve(), name)
    return [Photograph(path, name) for path, name in _unique(found).items()]


def photographs_in(folder: Path, pattern: str = "*") -> list[Path]:
    """The photographs in a folder, without hidden ones, in the order of their names.

    Args:
        folder: to look into.
        pattern: ``**/*`` for all sub-folders as well.

    Example:

    >>> [each.name for each in photographs_in(Path("photos/cat"))]
    ['1.jpg', '2.jpg', '3.jpg', '4.jpg']
    """

    def is_meant(file: Path) -> bool:
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        return file.suffix.lower() in PHOTO_SUFFIXES and file.is_file() and not hidden

    return sorted(filter(is_meant, folder.glob(pattern)))


def _unique(names: dict[Path, str]) -> dict[Path, str]:
    """Names of which no two are the same: with the suffix, the folder or a number where needed."""

    def also(path: Path, name: str, number: int) -> str:
        more = (name, f"{name}_{path.suffix[1:].lower()}", f"{path.parent.name}_{name}")
        return more[number] if number < len(more) else f"{name}_{number}"

    counts = Counter(names.values())
    taken: set[str] = {name for name, count in counts.items() if count == 1}
    for path, name in names.items():
        if counts[name] == 1:
            continue
        number = 1
        while (own := also(path, name, number)) in taken:
            number += 1
        names[path] = own
        taken.add(own)
    return names


def _paths(source: str, lists: set[Path]) -> Iterator[tuple[Path, str]]:
    """Images and their names; ``lists`` are the text files that were read before, which say no more
    the second time, and may name each other."""
    path = Path(source)
    if os.path.isdir(path):
        for file in photographs_in(path, "**/*"):
            yield file, file.relative_to(path).with_suffix("").as_posix()
    elif path.suffix.lower() == ".txt" and os.path.isfile(path):
        if path.resolve() in lists:
            return
        lists.add(path.resolve())
        for line in _lines(path):
            yield from _paths(str(path.parent / line), lists)
    elif os.path.isfile(path):
        yield path, path.stem
    elif matches := sorted(glob.glob(source, recursive=True)):
        for match in matches:
            if match == source:
                raise DataError(f"{source}: is no file (a pipe, a device or a broken link)")
            yield from _paths(match, lists)
    else:
        raise DataError(f"{source}: no such file, folder or pattern")


def _lines(path: Path) -> list[str]:
    """Lines of a list that are not blank; PowerShell writes UTF-16."""
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig"
    try:
        lines = data.decode(encoding).splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: no readable text ({error}); save it as UTF-8 text") from error
    return [line.strip() for line in lines if line.strip()]
