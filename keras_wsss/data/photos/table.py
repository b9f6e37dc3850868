"""Tables: one row an image, or one row for each tag of an image."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_wsss.class_names import plain
from keras_wsss.data.classes import listed_classes
from keras_wsss.data.photos.columns import (
    TAG_COLUMNS,
    YES,
    holds_counts,
    id_column,
    is_class,
    tag_columns,
    text_of,
)
from keras_wsss.data.photos.rows import Row
from keras_wsss.data.photos.scan import PhotoFiles, examples
from keras_wsss.data.photos.source import Entry, Source, assemble
from keras_wsss.data.tables import SEPARATOR, are_several
from keras_wsss.errors import DataError

SEPARATORS = (";", "|", ",")


def read_table(
    path: Path,
    header: Sequence[str],
    rows: Sequence[Row],
    images: Path | None = None,
    tags_column: str | None = None,
    separator: str | None = None,
    *,
    exact_ids: bool = False,
) -> Source:
    """Reads a CSV, TSV, XLSX or JSONL table.

    The column of the images is the one that holds names of files, or else the one called ``id``,
    ``file``, ``image`` ... whose cells are photographs; that of the tags is called ``tags``,
    ``labels``, ``class`` ..., or there is one column for each class with 0 and 1. A ``classes.txt``
    beside it is the list of classes.

    Args:
        path: the table.
        header: names of its columns.
        rows: see :func:`~keras_wsss.data.photos.rows.read_rows`.
        images: folder of the photographs; None: that of the table.
        tags_column: the column of the tags; None: recognised.
        separator: of tags in a cell; None: recognised, one of ``;``, ``|`` and ``,``.
        exact_ids: see :class:`~keras_wsss.data.photos.scan.PhotoFiles`.

    Returns:
        :class:`~keras_wsss.data.photos.source.Source`.

    Raises:
        DataError: no such columns, or several that disagree; no row has a photograph; or a cell
            may hold one tag or several.

    Example:

    >>> from keras_wsss.data.photos.rows import read_rows
    >>> path = Path("table/tags.csv")
    >>> [photo.tags for photo in read_table(path, *read_rows(path)).photographs]
    [('cat',), ('cat', 'dog')]
    """
    files = PhotoFiles(images or path.parent, exact_ids=exact_ids)
    ids = id_column(path, header, rows, files, tags_column)
    listed = listed_classes(path.parent)
    warnings: list[str] = []
    if tags_column and tags_column not in header:
        raise DataError(
            f"{path}: has no column {tags_column!r}; it has {', '.join(header)}; change "
            "data.tags_column (--tags-column)"
        )
    if columns := [tags_column] if tags_column else tag_columns(path, header, ids):
        cells = [row.cells[name] for row in rows for name in columns]
        of_cells = _separated(cells, separator, warnings)
        if not (separator or listed):
            _check_joined(of_cells, cells, [row.where for row in rows for _ in columns])
        each = iter(of_cells)
        tags = [tuple(tag for _ in columns for tag in next(each)) for _ in rows]
        taken = f"tags: {', '.join(columns)}"
    else:
        columns = [name for name in header if name != ids and is_class(name, rows)]
        if not columns:
            raise DataError(
                f"{path}: no column of tags ({', '.join(sorted(TAG_COLUMNS))}), and none that "
                f"holds only 0 and 1; it has {', '.join(header)}; name one with data.tags_column "
                "(--tags-column)"
            )
        tags = [tuple(n for n in columns if text_of(row.cells[n]).lower() in YES) for row in rows]
        taken = f"classes: {', '.join(columns)}"
        ignored = [name for name in header if name not in (ids, *columns)]
        if counts := [name for name in ignored if holds_counts(name, rows)]:
            raise DataError(
                f"{path}: the column {counts[0]!r} holds numbers above 1 beside 0, where columns "
                "of classes hold 0 and 1; write 1 for each of them, or take the column out"
            )
        if ignored:
            taken += f" (not {', '.join(ignored)}, which hold more than 0 and 1)"
    named = [
        Entry(text_of(row.cells[ids]), own, row.where) for row, own in zip(rows, tags, strict=True)
    ]
    if empty := [entry.where for entry in named if not entry.name]:
        warnings.append(f"rows without an image: {examples(empty)}")
    return assemble(
        "table",
        path,
        files,
        [entry for entry in named if entry.name],
        listed,
        called=f"the names in column {ids!r}",
        taken=f"columns of images: {ids}; {taken}",
        warnings=warnings,
    )


def _separated(
    cells: Sequence[Any], separator: str | None, warnings: list[str]
) -> list[tuple[str, ...]]:
    """Tags of each cell. One character separates in the whole column: others may be in a name."""
    listed = [_listed(cell) for cell in cells]
    texts = [text_of(cell) for cell, own in zip(cells, listed, strict=True) if own is None]
    used = [each for each in SEPARATORS if any(each in text for text in texts)]
    if separator:
        used = [separator]
    if len(used) > 1:
        odd = [text for text in texts if used[1] in text]
        warnings.append(
            f"tags are separated by {used[0]!r}; {used[1]!r} is taken as a part of names: "
            f"{examples(map(repr, odd))}"
        )
    pattern = "|".join(map(re.escape, (*used[:1], "\n")))
    found = []
    for cell, own in zip(cells, listed, strict=True):
        tags = own if own is not None else re.split(pattern, text_of(cell))
        found.append(tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip())))
    return found


def _check_joined(
    tags: Sequence[tuple[str, ...]], cells: Sequence[Any], places: Sequence[str]
) -> None:
    """Refuses what would become a class of its own, although its parts are tags of others."""
    known = {plain(tag) for own in tags for tag in own}
    for own, cell, where in zip(tags, cells, places, strict=True):
        joined = [tag for tag in own if are_several(tag, known)]
        if joined and _listed(cell) is None:
            raise DataError(
                f"{where}: {joined[0]!r} are several tags; separate them by {SEPARATOR!r} in the "
                "whole column. If it is one, list the classes in classes.txt beside the table"
            )


def _listed(cell: Any) -> list[str] | None:
    """Tags of a list, also of one written as text (``['cat', 'dog']``); None: it is no list."""
    if isinstance(cell, str) and re.fullmatch(r"\s*\[.*\]\s*", cell, re.DOTALL):
        try:
            cell = ast.literal_eval(cell.strip())
        except (ValueError, SyntaxError):
            return [part.strip("\"' ") for part in cell.strip()[1:-1].split(",")]
    if isinstance(cell, Mapping):  # {"cat": 1, "dog": 0}
        return [str(name) for name, value in cell.items() if text_of(value).lower() in YES]
    return [text_of(each) for each in cell] if isinstance(cell, list | tuple) else None
