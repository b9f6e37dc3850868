"""What may be meant with a file: the kinds of sources, each with what reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_wsss.data.photos.coco import folder_of, is_coco, read_coco
from keras_wsss.data.photos.cvat import read_cvat
from keras_wsss.data.photos.label_studio import is_label_studio, read_label_studio
from keras_wsss.data.photos.rows import TABLE_SUFFIXES, Row, read_rows, rows_of_objects
from keras_wsss.data.photos.source import Source
from keras_wsss.data.photos.table import read_table
from keras_wsss.data.photos.voc import read_voc
from keras_wsss.data.photos.yolo import read_yolo
from keras_wsss.data.text import read_json, read_xml
from keras_wsss.errors import DataError

LOOKED_FOR = (
    "folders of classes (cat/1.jpg), a table (CSV, TSV, XLSX, JSONL), COCO JSON, exports of Label "
    "Studio and CVAT, VOC's XML, YOLO's labels/*.txt with data.yaml or classes.txt"
)


@dataclass(frozen=True)
class Candidate:
    """Something in a folder that may be meant.

    Attributes:
        format: as ``data.format`` names it.
        path: what would be read, for messages.
        read: reads it.
    """

    format: str
    path: Path
    read: Callable[[], Source]


def in_file(path: Path, images: Path | None, column: str | None) -> list[Candidate]:
    """What a file holds; nothing, if that is no tags.

    Args:
        path: the file.
        images: folder of the photographs; None: where they usually are beside such a file.
        column: see ``tags_column`` of :func:`~keras_wsss.data.photos.recognise.find_source`.

    Raises:
        DataError: it cannot be read, or is of no known kind.
    """
    suffix = path.suffix.lower()
    if suffix in (*TABLE_SUFFIXES, ".xls"):
        return [of_rows(path, *read_rows(path), images, column)]
    if suffix == ".json":
        return of_json(path, read_json(path), images, column)
    if suffix == ".xml":
        if read_xml(path).tag == "annotation":
            return [of_voc([path], images or folder_of(path), path.parent)]
        return [of_cvat(path, images)]
    if suffix in (".yaml", ".yml", ".names") or path.name.lower() == "classes.txt":
        return [Candidate("yolo", path, lambda: read_yolo(path, path.parent, images))]
    if suffix == ".txt":
        return [of_rows(path, *read_rows(path), images, column)]
    if suffix == ".zip":
        raise DataError(f"{path}: is an archive; unpack it and name the folder")
    raise DataError(f"{path}: is of no kind that is known; looked for: {LOOKED_FOR}")


def of_json(path: Path, content: Any, images: Path | None, column: str | None) -> list[Candidate]:
    """What the content of a JSON file is; nothing, if it is of no known kind."""
    if is_coco(content):
        return [of_coco({path: content}, images)]
    if is_label_studio(content):
        return [of_label_studio(path, content, images, column)]
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return [of_rows(path, *rows_of_objects(path, content), images, column)]
    return []


def of_rows(
    path: Path, header: list[str], rows: list[Row], images: Path | None, column: str | None
) -> Candidate:
    """A table, or an export of Label Studio as one."""
    if is_label_studio([dict.fromkeys(header)]):
        return of_label_studio(path, [dict(row.cells) for row in rows], images, column)
    return Candidate("table", path, lambda: read_table(path, header, rows, images, column))


def of_coco(contents: dict[Path, Any], images: Path | None) -> Candidate:
    """JSON files of COCO with their content, which are read together."""
    return Candidate("coco", next(iter(contents)), lambda: read_coco(contents, images))


def of_label_studio(
    path: Path, content: list[Any], images: Path | None, column: str | None
) -> Candidate:
    """An export of Label Studio."""
    return Candidate("label-studio", path, lambda: read_label_studio(path, content, images, column))


def of_voc(paths: list[Path], images: Path, annotations: Path) -> Candidate:
    """XML files of VOC below a folder."""
    return Candidate("voc", annotations, lambda: read_voc(paths, images, annotations))


def of_cvat(path: Path, images: Path | None) -> Candidate:
    """An XML file of CVAT."""
    return Candidate("cvat", path, lambda: read_cvat(path, images))
