"""Which kind of source a file or folder is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from keras_wsss.data.photos.coco import folder_of, is_coco, read_coco
from keras_wsss.data.photos.cvat import read_cvat, read_cvat_masks
from keras_wsss.data.photos.folders import read_folders
from keras_wsss.data.photos.imported import is_imported, read_imported
from keras_wsss.data.photos.label_studio import is_label_studio, read_label_studio
from keras_wsss.data.photos.rows import (
    TABLE_SUFFIXES,
    Row,
    names_at_head,
    read_rows,
    rows_of_objects,
)
from keras_wsss.data.photos.scan import PHOTO_SUFFIXES, PhotoFiles, examples, visible_files
from keras_wsss.data.photos.source import Source
from keras_wsss.data.photos.table import (
    is_known_column,
    is_of_photographs,
    is_tag_column,
    read_table,
)
from keras_wsss.data.photos.voc import read_voc
from keras_wsss.data.photos.yolo import holds_boxes, label_files, read_yolo, yolo_names
from keras_wsss.data.text import read_json, read_xml
from keras_wsss.errors import DataError

logger = logging.getLogger(__name__)

T = TypeVar("T")

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
    unread: list[DataError] = []
    if path.is_file():
        candidates = _in_file(path, images, tags_column)
    else:
        candidates = _in_folder(path, images, tags_column, format, unread)
    if unread and not candidates:
        raise unread[0]
    if format and not any(each.format == format for each in candidates):
        others = candidates or _in_folder(path, images, tags_column, None, unread)
        raise DataError(f"{path}: holds no {format}; found: {_named(others) or 'nothing'}")
    candidates = [each for each in candidates if format in (None, each.format)]
    folders = [each for each in candidates if each.format == "folders"]
    files = [each for each in candidates if each.format != "folders"]
    if not candidates:
        voc = " (data.kind=voc reads this layout)" if (path / "JPEGImages").is_dir() else ""
        raise DataError(f"{path}: holds no tags{voc}; looked for: {LOOKED_FOR}")
    if len(files) > 1:
        raise DataError(
            f"{path}: several things may hold the tags: {_named(candidates)}. Name one file of "
            "them, or choose with data.format (--format)"
        )
    chosen = (files or folders)[0]
    if files and folders:
        logger.info("%s: tags are taken from %s, not from the folders", path, chosen.path)
    source = chosen.read()
    if not unread:
        return source
    note = f"what cannot be read was not looked at: {examples(unread)}"
    return replace(source, warnings=(*source.warnings, note))


def _named(candidates: Iterable[Candidate]) -> str:
    return ", ".join(f"{each.path} ({each.format})" for each in candidates)


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


def _in_folder(
    path: Path,
    images: Path | None,
    column: str | None,
    format: str | None,
    unread: list[DataError],
) -> list[Candidate]:
    """What a folder holds of a format, or of any; why files cannot be read goes into ``unread``."""
    if is_imported(path):
        return [Candidate("imported", path, lambda: read_imported(path))]
    files = list(visible_files(path))
    if images is None:  # a folder of annotations is beside that of the photographs
        own = any(file.suffix.lower() in PHOTO_SUFFIXES for file in files)
        images = path if own else path.resolve().parent
    looks: list[tuple[Callable[[], list[Candidate]], set[str]]] = [
        (lambda: _tables(path, images, column, unread), {"table", "label-studio"}),
        (
            lambda: _json_files(path, files, images, column, unread),
            {"coco", "label-studio", "table"},
        ),
        (lambda: _xml_files(path, files, images, unread), {"voc", "cvat"}),
        (lambda: _masks(path, images), {"cvat-masks"}),
        (lambda: _boxes(path, images), {"yolo"}),
        (lambda: _folders(path), {"folders"}),
    ]
    asked = [look for look, formats in looks if format is None or format in formats]
    return [candidate for look in asked for candidate in look()]


def _readable(
    files: Iterable[Path], read: Callable[[Path], T], unread: list[DataError]
) -> Iterator[tuple[Path, T]]:
    """Files with their content, without those that cannot be read."""
    for file in files:
        try:
            yield file, read(file)
        except DataError as error:
            unread.append(error)


def _tables(
    path: Path, images: Path, column: str | None, unread: list[DataError]
) -> list[Candidate]:
    found = []
    for file in sorted(path.iterdir()):
        if file.suffix.lower() not in TABLE_SUFFIXES or file.name.startswith((".", "~$")):
            continue
        try:
            header, rows = read_rows(file)
        except DataError as error:
            if any(map(is_tag_column, names_at_head(file))):
                raise  # it is meant, so it has to be put right
            unread.append(error)
            continue
        if is_label_studio([dict.fromkeys(header)]) or is_of_photographs(header, rows, images):
            found.append(_of_rows(file, header, rows, images, column))
    return found


def _json_files(
    path: Path, files: list[Path], images: Path, column: str | None, unread: list[DataError]
) -> list[Candidate]:
    near = [f for f in files if f.suffix.lower() == ".json" and len(f.relative_to(path).parts) < 3]
    found, coco = [], {}
    for file, content in _readable(near[:MOST_JSON], read_json, unread):
        if is_coco(content):
            coco[file] = content
        elif is_label_studio(content) or _is_table(content):
            found += _of_json(file, content, images, column)
    if coco:
        if len(coco) > 1:  # one for each part of a division
            logger.info("%s: %s are read together", path, examples(coco, 5))
        found.append(_coco(coco, images))
    return found


def _xml_files(
    path: Path, files: list[Path], images: Path, unread: list[DataError]
) -> list[Candidate]:
    by_folder: dict[Path, list[Path]] = {}
    for file in files:
        if file.suffix.lower() == ".xml":
            by_folder.setdefault(file.parent, []).append(file)
    found, annotations = [], []
    for folder, paths in by_folder.items():
        first, root = next(_readable(paths, read_xml, unread), (None, None))
        if first is None or root is None:
            continue
        if root.tag == "annotations":
            found.append(_cvat(first, images))
        elif root.tag == "annotation":
            annotations += [(folder, each) for each in paths]
    if annotations:
        folders = {folder for folder, _ in annotations}
        top = folders.pop() if len(folders) == 1 else path
        found.append(_voc([each for _, each in annotations], images, top))
    return found


def _cvat(path: Path, images: Path) -> Candidate:
    return Candidate("cvat", path, lambda: read_cvat(path, images))


def _masks(path: Path, images: Path) -> list[Candidate]:
    if (path / "labelmap.txt").is_file() and any((path / "SegmentationClass").rglob("*.png")):
        return [Candidate("cvat-masks", path, lambda: read_cvat_masks(path, images))]
    return []


def _boxes(path: Path, images: Path) -> list[Candidate]:
    # A folder labels/ that is beside the photographs is itself what is named so.
    top = path.parent if path.resolve().parent == images else path
    labels = [
        file
        for file in label_files(path)
        if "labels" in (part.casefold() for part in file.relative_to(top).parts)
        or (_beside_photograph(file) and holds_boxes(file))
    ]
    if not labels:
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


def _beside_photograph(file: Path) -> bool:
    return any(file.with_suffix(suffix).exists() for suffix in PHOTO_SUFFIXES)


def _folders(path: Path) -> list[Candidate]:
    try:
        files = PhotoFiles(path)
    except DataError:
        return []
    folders = {part for photo in files.paths for part in files.relative(photo).split("/")[:-1]}
    if {name.casefold() for name in folders} <= PLAIN_FOLDERS:
        return []
    return [Candidate("folders", path, lambda: read_folders(path))]
