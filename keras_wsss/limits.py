"""How much a file from elsewhere may ask for: few of its bytes can stand for any number."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

from keras_wsss.errors import WeightsError

MOST_TIMES = 10
ALWAYS = 64 * 2**20
"""A file may unfold to ten times its size, or to 64 MB where that is more."""

SMALL = 10 * 2**20
"""Bytes of the largest list or JSON file that is read as a whole."""


def check_unfolded(path: Path, size: int) -> None:
    """Refuses a file that asks for much more memory than it has bytes.

    Args:
        path: the file.
        size: bytes that it would have in memory.

    Raises:
        WeightsError: that is more than :data:`MOST_TIMES` its size, and than :data:`ALWAYS`.

    Example:

    >>> check_unfolded(Path("photo.jpg"), 2**40)
    Traceback (most recent call last):
        ...
    keras_wsss.errors.WeightsError: photo.jpg: asks for 1099511627776 bytes of memory and has ...
    """
    own = path.stat().st_size
    if size > max(ALWAYS, MOST_TIMES * own):
        raise WeightsError(
            f"{path}: asks for {size} bytes of memory and has {own}; at most {MOST_TIMES} times as "
            "many are read. Get the file anew from where it was made"
        )


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuses a zip file that unfolds to more than :func:`check_unfolded` allows.

    Raises:
        WeightsError: that is so, or it is packed in a way whose size cannot be bounded.
    """
    entries = archive.infolist()
    check_unfolded(path, sum(entry.file_size for entry in entries))
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise WeightsError(f"{path}: {entry.filename!r:.80} is packed in a way not read here")


def read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """An entry of a zip file; one that is longer than it says is cut off, or has a wrong sum."""
    with archive.open(name) as file:
        return file.read(archive.getinfo(name).file_size)


def read_small(path: Path) -> bytes:
    """All of a list or a JSON file.

    Raises:
        WeightsError: it cannot be read, is no file (a pipe has no end), or has more than
            :data:`SMALL` bytes.

    Example:

    >>> read_small(Path("runs/demo/classes.txt"))[:5]
    b'star\\n'
    """
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise WeightsError(f"{path}: is no file; put the file itself there")
        if info.st_size > SMALL:
            raise WeightsError(f"{path}: has {info.st_size} bytes; at most {SMALL} are read")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
