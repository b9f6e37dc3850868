"""Rows of a table, whatever the file: CSV of any dialect, XLSX, JSON lines, a list in JSON."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_wsss.data.places import check_regular
from keras_wsss.data.text import parse_json, read_text
from keras_wsss.errors import DataError

LARGEST_BOOK, MOST_CELLS = 2**27, 5_000_000
"""Bytes of an Excel file when unpacked, and cells: one in the last row makes all rows be read."""
LARGEST_CELL = 2**31 - 1  # Label Studio writes drawn masks into one
TABLE_SUFFIXES = (".csv", ".tsv", ".xlsx", ".xlsm", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        cells: name of the column -> text, number, truth value, list or None.
        where: file and line, for messages.
    """

    cells: Mapping[str, Any]
    where: str


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Reads a table whose first line names the columns.

    Args:
        path: CSV or TSV (comma, semicolon or tab), XLSX or JSONL.

    Returns:
        Names of the columns, and the rows that are not empty.

    Raises:
        DataError: the file cannot be read, has no rows, or a row has more or fewer cells than there
            are columns.

    Example:

    >>> header, rows = read_rows(Path("table/tags.csv"))
    >>> header, rows[0].cells["Tags"], rows[0].where
    (['Filename', 'Tags'], 'cat', 'table/tags.csv, line 2')
    """
    suffix = path.suffix.lower()
    if suffix == ".xls":
        raise DataError(f"{path}: is an old Excel file; save it as .xlsx or CSV")
    if suffix in (".jsonl", ".ndjson"):
        header, rows = _of_objects(_json_lines(path))
    else:
        lines = _excel_lines(path) if suffix in (".xlsx", ".xlsm") else _csv_lines(path)
        header, rows = _of_lines(path, lines)
    if not rows:
        raise DataError(
            f"{path}: the table is empty; write a line of column names and a row for each image"
        )
    return header, rows


def names_at_head(path: Path) -> list[str]:
    """What the first line of a table names, roughly: for one whose rows cannot be read.

    Returns:
        Nothing, if not even that can be read.

    Example:

    >>> names_at_head(Path("table/tags.csv"))
    ['Filename', 'Tags']
    """
    suffix = path.suffix.lower()
    try:
        if suffix in (".jsonl", ".ndjson"):
            return list(next((v for _, v in _json_lines(path) if isinstance(v, dict)), ()))
        if suffix in (".xlsx", ".xlsm"):
            lines: Iterable[Iterable[Any]] = (cells for _, cells in _excel_lines(path))
        else:
            texts = read_text(path).split("\n")
            lines = (re.split('[,;\t"]+', text) for text in texts if not text.startswith("sep="))
        return [str(cell).strip() for cell in next(filter(any, lines), ()) if _is_filled(cell)]
    except DataError:
        return []


def _of_lines(
    path: Path, lines: Iterable[tuple[int, Sequence[Any]]]
) -> tuple[list[str], list[Row]]:
    filled = [(number, cells) for number, cells in lines if any(map(_is_filled, cells))]
    if not filled:
        return [], []
    (_, first), *others = filled
    header = ["" if name is None else str(name).strip() for name in first]
    while header and not header[-1]:
        header.pop()
    twice = {name for name in header if name and header.count(name) > 1}
    if twice:
        raise DataError(f"{path}: two columns are called {min(twice)!r}; rename one")
    rows = []
    for number, cells in others:
        where = f"{path}, line {number}"
        if any(map(_is_filled, cells[len(header) :])):
            raise DataError(
                f"{where}: has {len(cells)} cells, but there are {len(header)} columns "
                f"({', '.join(header)}); several tags are separated by ';', or quote them"
            )
        if len(cells) < len(header):
            raise DataError(
                f"{where}: has {len(cells)} cells, but there are {len(header)} columns "
                f"({', '.join(header)}); complete the line"
            )
        named = {name: cell for name, cell in zip(header, cells, strict=False) if name}
        rows.append(Row(named, where))
    return [name for name in header if name], rows


def _is_filled(cell: Any) -> bool:
    return cell is not None and str(cell).strip() != ""


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    text = read_text(path)
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.lower().startswith("sep="):  # Excel's own hint
        text, skipped = rest, 1
        first = rest.partition("\n")[0]
    table = csv.reader(())
    usual = csv.field_size_limit(LARGEST_CELL)  # of the process, so it is put back
    try:
        tried = {each: len(next(csv.reader([first], delimiter=each), [])) for each in ",;\t"}
        delimiter = max(tried, key=lambda each: tried[each])
        table = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
        lines = [(table.line_num + skipped, cells) for cells in table]
    except csv.Error as error:
        raise DataError(
            f"{path}, line {table.line_num + skipped}: not readable as CSV ({error}); close its "
            "quotation marks"
        ) from error
    finally:
        csv.field_size_limit(usual)
    yield from lines


def _excel_lines(path: Path) -> Iterator[tuple[int, Sequence[Any]]]:
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise DataError(
            f"{path}: Excel files need a package: pip install 'keras_wsss[photos]'; or save the "
            "table as CSV"
        ) from error
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > LARGEST_BOOK:
            raise DataError(f"has {unpacked} bytes unpacked; at most {LARGEST_BOOK} are read")
        book = load_workbook(path, read_only=True, data_only=True)
        # Rows of a sheet written by other programs may differ in length.
        lines, width = [], 1
        for line in book.worksheets[0].iter_rows(values_only=True):
            lines.append(list(line))
            width = max(width, len(line))
            if len(lines) * width > MOST_CELLS:
                raise DataError(f"has more than {MOST_CELLS} cells, empty ones included")
        others = [
            sheet.title for sheet in book.worksheets[1:] if sheet.max_row and sheet.max_row > 1
        ]
        book.close()
    except Exception as error:  # a damaged archive or XML: openpyxl lets any error through
        raise DataError(f"{path}: not readable as Excel file ({error}); save it as CSV") from error
    for number, cells in enumerate(lines, start=1):
        yield number, cells + [None] * (width - len(cells))
    if others:  # after the lines, the first of which may be of interest all the same
        raise DataError(
            f"{path}: has several sheets (also {', '.join(others)}); save the one with "
            "the tags as a file of its own"
        )


def _json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, parse_json(line, where)


def rows_of_objects(path: Path, objects: Sequence[Any]) -> tuple[list[str], list[Row]]:
    """As :func:`read_rows`, from the content of a JSON file that is a list of objects."""
    return _of_objects((f"{path}, entry {number}", v) for number, v in enumerate(objects, start=1))


def _of_objects(objects: Iterable[tuple[str, Any]]) -> tuple[list[str], list[Row]]:
    found = list(objects)
    header: dict[str, None] = {}
    for where, value in found:
        if not isinstance(value, dict):
            raise DataError(
                f'{where}: is no object; write {{"file_name": "1.jpg", "tags": ["cat"]}}'
            )
        header |= dict.fromkeys(map(str, value))
    rows = [Row({name: value.get(name) for name in header}, where) for where, value in found]
    return list(header), rows
