"""Which files of a data set are opened at all: regular ones that lie within its folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path

from keras_wsss.errors import DataError

LARGEST_TEXT = 2**31
"""Bytes of a list, table or annotation file; COCO's largest has a quarter of it."""


def check_regular(path: str | Path) -> None:
    """Refuses what is no file: a folder, a pipe (reading would wait), a device (has no end).

    Raises:
        DataError: it is none, or is not there.

    Example:

    >>> check_regular("photo.jpg")
    """
    if not os.path.isfile(path):  # which is quiet about paths that cannot be
        if "\0" not in str(path) and os.path.lexists(path):
            raise DataError(f"{path}: cannot be read (no regular file); replace it")
        raise DataError(f"{path}: no such file; put it there")


def read_bytes(path: Path, most: int = LARGEST_TEXT) -> bytes:
    """All of a regular file.

    Raises:
        DataError: it cannot be read, or has more than ``most`` bytes.

    Example:

    >>> read_bytes(Path("my_set/classes.txt"))
    b'cat\\ndog\\n'
    """
    check_regular(path)
    try:
        if (size := path.stat().st_size) > most:
            raise DataError(f"{path}: has {size} bytes; at most {most} are read; divide it")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def check_inside(paths: Iterable[str | Path], root: Path, follow_links: bool = False) -> None:
    """Refuses files that ``..``, an absolute path or a link takes out of a folder.

    A data set of a stranger would else read any file of its user's.

    Args:
        paths: files, which need not be there.
        root: the folder, which may be a link itself.
        follow_links: ``data.follow_links``; True: all files are let pass.

    Raises:
        DataError: a file lies elsewhere.

    Example:

    >>> check_inside(["VOC2012/JPEGImages/image_0.jpg"], Path("VOC2012"))
    """
    if follow_links:
        return
    real = functools.cache(os.path.realpath)
    home = real(root)
    for path in map(str, paths):
        folder, name = os.path.split(path)
        try:
            linked = name in ("", ".", "..") or os.path.islink(path)
            where = os.path.realpath(path) if linked else os.path.join(real(folder), name)
            outside = os.path.commonpath((where, home)) != home
        except (OSError, ValueError) as error:  # a zero byte, or a name of thousands of letters
            raise DataError(f"{path}: cannot be read ({error})") from error
        if outside:
            raise DataError(
                f"{path}: lies outside {root}, at {where}; copy it there, or say "
                "data.follow_links=true (--follow-links)"
            )
