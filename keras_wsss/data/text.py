"""Text files as people have them: made on Windows, by Excel, by PowerShell."""

from __future__ import annotations

import codecs
import json
import logging
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from keras_wsss.data.places import read_bytes
from keras_wsss.errors import DataError

if TYPE_CHECKING:
    import pydantic

logger = logging.getLogger(__name__)

# UTF-32 before UTF-16, whose mark it starts with.
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
MOST_DEPTH = 200
"""Elements of XML within each other; searching a hundred thousand of them takes seconds."""
XML_ENCODING = re.compile(rb"<\?xml[^>]*?\sencoding\s*=\s*[\"']([^\"']+)[\"']")
NOT_IN_TEXT = re.compile("[\0-\b\x0e-\x1f\x7f\ufffe\uffff]")


def read_text(path: Path) -> str:
    r"""Reads a text file in the encoding that it names, or most likely has.

    A byte order mark decides, then an XML declaration. A file without either is UTF-8, or else
    Windows-1252, which is said in the log.

    Args:
        path: a list, a table, JSON or XML.

    Returns:
        The text without a byte order mark; every line ends in ``\n``.

    Raises:
        DataError: the file cannot be read, or is no text.

    Example:

    >>> read_text(Path("my_set/classes.txt")).splitlines()
    ['cat', 'dog']
    """
    data = read_bytes(path)
    try:
        text = _decoded(path, data)
    except (UnicodeError, LookupError) as error:
        raise DataError(f"{path}: no readable text ({error}); {_SAVE}") from error
    if found := NOT_IN_TEXT.search(text):
        raise DataError(f"{path}: no text file (it holds the character {found[0]!r}); {_SAVE}")
    # Files that were joined have such a mark within.
    return text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n")


_SAVE = "save it as UTF-8 text"


def _decoded(path: Path, data: bytes) -> str:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return data.decode(encoding)
    if declared := XML_ENCODING.match(data):
        return data.decode(declared[1].decode("ascii"))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        text = data.decode("cp1252")
        line = text.split("\n")[data.count(b"\n", 0, error.start)].strip()
        logger.warning(
            "%s: is not UTF-8, read as Windows-1252: %.60r; if that looks wrong, %s",
            *(path, line, _SAVE),
        )
        return text


def read_lines(path: Path) -> list[str]:
    """Lines of a text file without surrounding blanks; empty ones are left out.

    Raises:
        DataError: the file cannot be read, or is no text.

    Example:

    >>> read_lines(Path("my_set/classes.txt"))
    ['cat', 'dog']
    """
    return [line.strip() for line in read_text(path).split("\n") if line.strip()]


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a text file in UTF-8; its folder is made.

    Example:

    >>> write_lines(Path("lists/classes.txt"), ["cat", "dog"])
    >>> read_lines(Path("lists/classes.txt"))
    ['cat', 'dog']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


class _Tree(ElementTree.TreeBuilder):
    """A tree of bounded depth."""

    depth = 0

    def start(self, tag: Any, attrs: Any) -> Any:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise ValueError(f"nested more than {MOST_DEPTH} deep")
        return super().start(tag, attrs)

    def end(self, tag: Any) -> Any:
        self.depth -= 1
        return super().end(tag)


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file.

    Raises:
        DataError: the file cannot be read, or is no XML.

    Example:

    >>> read_xml(Path("VOC2012/Annotations/image_0.xml")).tag
    'annotation'
    """
    try:
        parser = ElementTree.XMLParser(target=_Tree())
        return ElementTree.fromstring(read_text(path), parser)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path}: not readable as XML ({error}); replace the file") from error


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        DataError: the file cannot be read, or is no JSON as :func:`parse_json` wants it.

    Example:

    >>> read_json(Path("VOC2012/labels.json"))["classes"]
    ['background', 'cat', 'dog', 'horse']
    """
    return parse_json(read_text(path), str(path))


def parse_json(text: str, where: str) -> Any:
    """Content of a JSON text.

    Args:
        text: of a file, or of a line or cell.
        where: file and line, for messages.

    Raises:
        DataError: it is no JSON, nested 200 deep, holds half of a character, or has a key twice in
            one object, of which all values but the last would be lost.

    Example:

    >>> parse_json('{"cat": [1, 2]}', "tags.jsonl, line 1")
    {'cat': [1, 2]}
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in found if keys.count(key) > 1)
            raise DataError(f"{where}: has the key {twice!r:.60} twice; join what they hold")
        return found

    try:
        from_json(text)  # which knows a depth and half characters, and not that a key stands twice
        return json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not readable as JSON ({error}); correct it") from error


def first_fault(error: pydantic.ValidationError) -> tuple[tuple[int | str, ...], str]:
    """Where a JSON file is of another shape, and what is wanted there.

    Example:

    >>> import pydantic
    >>> try:
    ...     pydantic.TypeAdapter(dict[str, dict]).validate_python({"images": 3})
    ... except pydantic.ValidationError as error:
    ...     first_fault(error)
    (('images',), 'Input should be a valid dictionary')
    """
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # Classes of ours say nothing to a user.
    return first["loc"], re.sub(r" or (an )?instance of \w+$", "", first["msg"])
