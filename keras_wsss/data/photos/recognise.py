"""Which kind of source a file or folder is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_wsss.data.photos.coco import folder_of, is_coco, read_coco
from keras_wsss.data.photos.cvat import read_cvat, read_cvat_masks
from keras_wsss.data.photos.folders import read_folders
from keras_wsss.data.photos.imported import is_imported, read_imported
from keras_wsss.data.photos.label_studio import is_label_studio, read_label_studio
from keras_wsss.data.photos.rows import TABLE_SUFFIXES, Row, read_rows, rows_of_objects
from keras_wsss.data.photos.scan import PHOTO_SUFFIXES, PhotoFiles, examples, visible_files
from keras_wsss.data.photos.source import Source
from keras_wsss.data.photos.table import is_known_column, read_table
from keras_wsss.data.photos.voc import read_voc
from keras_wsss.data.photos.yolo import label_files, read_yolo, yolo_names
from keras_wsss.data.text import read_json, read_xml
from keras_wsss.errors import DataError

logger = logging.getLogger(__name__)

# A folder of this name around all photographs is no class.
PLAIN_FOLDERS = frozenset("images image img photos pictures jpegimages data".split())
MOST_JSON = 50
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


def find_source(
    path: Path,
    *,
    images: Path | None = None,
    format: str | None = None,
    tags_column: str | None = None,
) -> Source:
    """Recognises what tagged photographs are kept in, and reads it.

    Args:
        path: a file, or a folder that holds one; a file wins over folders that are classes.
        images: folder of the photographs, if it is elsewhere.
        format: one of :data:`FORMATS`; None: recognised.
        tags_column: column of a table, or control of Label Studio, that holds the tags.

    Returns:
        :class:`~keras_wsss.data.photos.source.Source`.

    Raises:
        DataError: nothing is recognised, or several things are.

    Example:

    >>> find_source(Path("photos")).kind
    'folders'
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    look = _in_file if path.is_file() else _in_folder
    candidates = look(path, images, tags_column)
    found = ", ".join(f"{each.path} ({each.format})" for each in candidates)
    if format:
        candidates = [each for each in candidates if each.format == format]
        if not candidates:
            raise DataError(f"{path}: holds no {format}; found: {found or 'nothing'}")
    folders = [each for each in candidates if each.format == "folders"]
    files = [each for each in candidates if each.format != "folders"]
    if not candidates:
        voc = " (data.kind=voc reads this layout)" if (path / "JPEGImages").is_dir() else ""
        raise DataError(f"{path}: holds no tags{voc}; looked for: {LOOKED_FOR}")
    if len(files) > 1:
        raise DataError(
            f"{path}: several things may hold the tags: {found}. Name one file of them, or choose "
            "with data.format (--format)"
        )
    chosen = (files or folders)[0]
    if files and folders:
        logger.info("%s: tags are taken from %s, not from the folders", path, chosen.path)
    return chosen.read()


def _in_file(path: Path, images: Path | None, column: str | None) -> list[Candidate]:
    suffix = path.suffix.lower()
    if suffix in (*TABLE_SUFFIXES, ".xls"):
        return [_of_rows(path, *read_rows(path), images, column)]
    if suffix == ".json":
        return _of_json(path, read_json(path), images, column)
    if suffix == ".xml":
        if read_xml(path).tag == "annotation":
            return [_voc([path], images or folder_of(path), path.parent)]
        return [Candidate("cvat", path, lambda: read_cvat(path, images))]
    if suffix in (".yaml", ".yml", ".names") or path.name.lower() == "classes.txt":
        return [Candidate("yolo", path, lambda: read_yolo(path, path.parent, images))]
    if suffix == ".txt":
        return [_of_rows(path, *read_rows(path), images, column)]
    if suffix == ".zip":
        raise DataError(f"{path}: is an archive; unpack it and name the folder")
    raise DataError(f"{path}: is of no kind that is known; looked for: {LOOKED_FOR}")


def _of_json(path: Path, content: Any, images: Path | None, column: str | None) -> list[Candidate]:
    if is_coco(content):
        return [_coco({path: content}, images)]
    if is_label_studio(content):
        return [_label_studio(path, content, images, column)]
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return [_of_rows(path, *rows_of_objects(path, content), images, column)]
    return []


def _is_table(content: Any) -> bool:
    return (
        isinstance(content, list)
        and bool(content)
        and isinstance(content[0], dict)
        and any(is_known_column(name) for name in content[0])
    )


def _of_rows(
    path: Path, header: list[str], rows: list[Row], images: Path | None, column: str | None
) -> Candidate:
    if is_label_studio([dict.fromkeys(header)]):
        return _label_studio(path, [dict(row.cells) for row in rows], images, column)
    return Candidate("table", path, lambda: read_table(path, header, rows, images, column))


def _coco(contents: dict[Path, Any], images: Path | None) -> Candidate:
    return Candidate("coco", next(iter(contents)), lambda: read_coco(contents, images))


def _label_studio(
    path: Path, content: list[Any], images: Path | None, column: str | None
) -> Candidate:
    return Candidate("label-studio", path, lambda: read_label_studio(path, content, images, column))


def _voc(paths: list[Path], images: Path, annotations: Path) -> Candidate:
    return Candidate("voc", annotations, lambda: read_voc(paths, images, annotations))


def _in_folder(path: Path, images: Path | None, column: str | None) -> list[Candidate]:
    if is_imported(path):
        return [Candidate("imported", path, lambda: read_imported(path))]
    files = list(visible_files(path))
    return [
        *_tables(path, images, column),
        *_json_files(path, files, images, column),
        *_xml_files(path, files, images),
        *_masks(path, images),
        *_boxes(path, images),
        *_folders(path),
    ]


def _tables(path: Path, images: Path | None, column: str | None) -> list[Candidate]:
    found = []
    for file in sorted(path.iterdir()):
        if file.suffix.lower() not in TABLE_SUFFIXES or file.name.startswith((".", "~$")):
            continue
        header, rows = read_rows(file)
        if any(is_known_column(name) for name in header):  # else it may be about anything
            found.append(_of_rows(file, header, rows, images, column))
    return found


def _json_files(
    path: Path, files: list[Path], images: Path | None, column: str | None
) -> list[Candidate]:
    near = [f for f in files if f.suffix.lower() == ".json" and len(f.relative_to(path).parts) < 3]
    found, coco = [], {}
    for file in near[:MOST_JSON]:
        content = read_json(file)
        if is_coco(content):
            coco[file] = content
        elif is_label_studio(content) or _is_table(content):
            found += _of_json(file, content, images or path, column)
    if coco:
        if len(coco) > 1:  # one for each part of a division
            logger.info("%s: %s are read together", path, examples(coco, 5))
        found.append(_coco(coco, images or path))
    return found


def _xml_files(path: Path, files: list[Path], images: Path | None) -> list[Candidate]:
    by_folder: dict[Path, list[Path]] = {}
    for file in files:
        if file.suffix.lower() == ".xml":
            by_folder.setdefault(file.parent, []).append(file)
    found, annotations = [], []
    for folder, paths in by_folder.items():
        tag = read_xml(paths[0]).tag
        if tag == "annotations":
            found.append(_cvat(paths[0], images or path))
        elif tag == "annotation":
            annotations += [(folder, each) for each in paths]
    if annotations:
        folders = {folder for folder, _ in annotations}
        top = folders.pop() if len(folders) == 1 else path
        found.append(_voc([each for _, each in annotations], images or path, top))
    return found


def _cvat(path: Path, images: Path) -> Candidate:
    return Candidate("cvat", path, lambda: read_cvat(path, images))


def _masks(path: Path, images: Path | None) -> list[Candidate]:
    if (path / "labelmap.txt").is_file() and any((path / "SegmentationClass").rglob("*.png")):
        return [Candidate("cvat-masks", path, lambda: read_cvat_masks(path, images))]
    return []


def _boxes(path: Path, images: Path | None) -> list[Candidate]:
    labels = label_files(path)
    if not any("labels" in (part.casefold() for part in file.parts) for file in labels):
        if not any(
            file.with_suffix(suffix).exists() for file in labels for suffix in PHOTO_SUFFIXES
        ):
            return []
    tables = [path / "obj.names", path / "classes.txt", path / "labels" / "classes.txt"]
    names = [
        *(f for f in sorted(path.glob("*.y*ml")) if yolo_names(f)),
        *filter(Path.is_file, tables),
    ]
    if not names:
        raise DataError(
            f"{labels[0]}: the classes of boxes have no names; add data.yaml or "
            f"classes.txt to {path}"
        )
    return [Candidate("yolo", names[0], lambda: read_yolo(names[0], path, images))]


def _folders(path: Path) -> list[Candidate]:
    try:
        files = PhotoFiles(path)
    except DataError:
        return []
    folders = {part for photo in files.paths for part in files.relative(photo).split("/")[:-1]}
    if {name.casefold() for name in folders} <= PLAIN_FOLDERS:
        return []
    return [Candidate("folders", path, lambda: read_folders(path))]
