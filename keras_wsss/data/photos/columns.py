"""Which columns of a table hold photographs, and which tags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_wsss.data.photos.rows import Row
from keras_wsss.data.photos.scan import PHOTO_SUFFIXES, PhotoFiles
from keras_wsss.errors import DataError

ID_COLUMNS = frozenset(
    "id file filename file_name image image_id image_name image_path img path name photo".split()
)
TAG_COLUMNS = frozenset("tags tag labels label class classes category categories".split())
YES = frozenset(("1", "1.0", "true", "yes", "y", "x"))
NO = frozenset(("", "0", "0.0", "false", "no", "n", "-"))


def id_column(
    path: Path,
    header: Sequence[str],
    rows: Sequence[Row],
    files: PhotoFiles,
    tags_column: str | None = None,
) -> str:
    """The column whose cells are photographs: whole file names say most, then its own name.

    Args:
        path: the table, for messages.
        header, rows: see :func:`~keras_wsss.data.photos.rows.read_rows`.
        files: the photographs.
        tags_column: the column of the tags, if it is known.

    Raises:
        DataError: there is none, the first line is one of data, or two disagree.
    """
    named = [name for name in header if _plain(name) in ID_COLUMNS]
    # Numbers of classes, and 0 and 1, may be called as photographs are.
    others = [n for n in header if not (n == tags_column or is_tag_column(n) or is_class(n, rows))]
    columns = list(dict.fromkeys((*named, *others)))
    meant = {name: [files.called(text_of(row.cells[name])) for row in rows] for name in columns}

    def fit(name: str) -> tuple[bool, bool, int]:
        called = [row for row, photos in zip(rows, meant[name], strict=True) if photos]
        whole = [r for r in called if text_of(r.cells[name]).lower().endswith(PHOTO_SUFFIXES)]
        return 2 * len(whole) >= len(rows), bool(called) and name in named, len(called)

    fits = {name: fit(name) for name in columns}
    best = max(columns, key=lambda name: fits[name], default="")
    if best not in named and (not best or 2 * fits[best][2] < len(rows)):
        if named:
            return named[0]  # the message will show what is in it
        raise DataError(
            f"{path}: no column names photographs of {files.root}; it has {', '.join(header)}, and "
            f"none is called {', '.join(sorted(ID_COLUMNS))}. The first line must name the columns"
        )
    if best not in named and files.called(best):
        raise DataError(
            f"{path}: the first line seems to be data ({best!r} is a photograph); write a line "
            "with the names of the columns above it: file,tags"
        )
    for other in columns:
        if other != best and fits[other] == fits[best]:
            _check_agreement(path, rows, meant, (best, other))
    return best


def _check_agreement(
    path: Path,
    rows: Sequence[Row],
    meant: Mapping[str, Sequence[list[Path]]],
    columns: tuple[str, str],
) -> None:
    """Refuses two columns that fit equally well, and of one row name two photographs."""
    for row, one, two in zip(rows, *(meant[name] for name in columns), strict=True):
        if one and two and not set(one) & set(two):
            cells = " and ".join(repr(text_of(row.cells[name])) for name in columns)
            raise DataError(
                f"{path}: the columns {' and '.join(map(repr, columns))} both name photographs, "
                f"and disagree ({row.where.rpartition(', ')[2]}: {cells}); take one of them out"
            )


def tag_columns(path: Path, header: Sequence[str], ids: str) -> list[str]:
    """The column of the tags, or several that are numbered: ``tag 1``, ``tag 2``."""
    kinds: dict[str, list[str]] = {}
    for name in header:
        if name != ids and is_tag_column(name):
            kinds.setdefault(_kind(name), []).append(name)
    if len(kinds) > 1:
        found = [name for names in kinds.values() for name in names]
        raise DataError(
            f"{path}: the columns {' and '.join(found)} may hold the tags; choose one with "
            "data.tags_column (--tags-column)"
        )
    return next(iter(kinds.values()), [])


def is_tag_column(name: str) -> bool:
    """Whether a column of that name usually holds tags."""
    return _kind(name) in TAG_COLUMNS


def is_of_photographs(header: Sequence[str], rows: Sequence[Row], images: Path) -> bool:
    """Whether a table that lies beside photographs is about them: it names them, and has tags."""
    if not any(is_tag_column(name) or is_class(name, rows) for name in header):
        return False
    if any(_plain(name) in ID_COLUMNS for name in header):
        return True
    files = PhotoFiles(images)
    return any(
        2 * sum(bool(files.called(text_of(row.cells[name]))) for row in rows) >= len(rows)
        for name in header
    )


def is_class(name: str, rows: Sequence[Row]) -> bool:
    """Whether a column says of each photograph whether a class is on it."""
    cells = {text_of(row.cells[name]).lower() for row in rows}
    return cells <= YES | NO and cells != {""}


def holds_counts(name: str, rows: Sequence[Row]) -> bool:
    """Whether a column says how often something is there: whole numbers, 0 among them.

    Where no two are the same they number the rows.
    """
    cells = {text_of(row.cells[name]).lower() for row in rows}
    counts = all(cell in YES | NO or cell.isdecimal() for cell in cells)
    return "0" in cells and counts and len(cells) < len(rows)


def text_of(cell: Any) -> str:
    """A cell as text: Excel and JSON have numbers where people mean names (1.0 is ``1``)."""
    if cell is None or cell != cell:  # not a number
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip()


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip()).casefold()


def _kind(name: str) -> str:
    """Name of a column without its number."""
    return re.sub(r"_?\d+$", "", _plain(name))
