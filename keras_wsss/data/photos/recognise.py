"""Which kind of source a file or folder is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from keras_wsss.data.photos.candidates import (
    LOOKED_FOR,
    Candidate,
    in_file,
    of_coco,
    of_cvat,
    of_json,
    of_rows,
    of_voc,
)
from keras_wsss.data.photos.coco import is_coco
from keras_wsss.data.photos.columns import is_of_photographs, is_tag_column
from keras_wsss.data.photos.cvat import MASKS, read_cvat_masks
from keras_wsss.data.photos.folders import read_folders
from keras_wsss.data.photos.imported import is_imported, read_imported
from keras_wsss.data.photos.label_studio import is_label_studio
from keras_wsss.data.photos.rows import (
    TABLE_SUFFIXES,
    names_at_head,
    read_rows,
    rows_of_objects,
)
from keras_wsss.data.photos.scan import PHOTO_SUFFIXES, PhotoFiles, examples, visible_files
from keras_wsss.data.photos.source import Source
from keras_wsss.data.photos.yolo import holds_boxes, label_files, read_yolo, yolo_names
from keras_wsss.data.places import check_inside
from keras_wsss.data.text import read_json, read_xml
from keras_wsss.errors import DataError

if TYPE_CHECKING:
    from keras_wsss.config.data import PhotosDataConfig

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A folder of this name around all photographs is no class.
PLAIN_FOLDERS = frozenset("images image img photos pictures jpegimages data".split())
MOST_JSON = 50


def find_source(
    path: Path,
    *,
    images: Path | None = None,
    format: str | None = None,
    tags_column: str | None = None,
    follow_links: bool = False,
) -> Source:
    """Recognises what tagged photographs are kept in, and reads it.

    Args:
        path: a file, or a folder that holds one; a file wins over folders that are classes.
        images: folder of the photographs, if it is elsewhere.
        format: one of :data:`FORMATS`; None: recognised.
        tags_column: column of a table, or control of Label Studio, that holds the tags.
        follow_links: whether files may be links out of their folder.

    Returns:
        :class:`~keras_wsss.data.photos.source.Source`.

    Raises:
        DataError: nothing is recognised, or several things are, or a file lies elsewhere.

    Example:

    >>> find_source(Path("photos")).kind
    'folders'
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_dir():
        masks = (path / MASKS).rglob("*.png")  # read for their tags, and else ignored
        check_inside((*visible_files(path), *masks), path, follow_links)
    unread: list[DataError] = []
    if path.is_file():
        candidates = in_file(path, images, tags_column)
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
    check_inside((photo.path for photo in source.photographs), source.images, follow_links)
    check_inside((p.mask for p in source.photographs if p.mask), source.path, follow_links)
    if not unread:
        return source
    note = f"what cannot be read was not looked at: {examples(unread)}"
    return replace(source, warnings=(*source.warnings, note))


def source_of(data: PhotosDataConfig) -> Source:
    """What a configuration names, as :func:`find_source` reads it.

    Example:

    >>> source_of(wsss.load_config("photos", ["data.root=my_set"]).data).kind
    'imported'
    """
    return find_source(
        Path(data.root or "."),
        images=data.images,
        format=data.format,
        tags_column=data.tags_column,
        follow_links=data.follow_links,
    )


def _named(candidates: Iterable[Candidate]) -> str:
    return ", ".join(f"{each.path} ({each.format})" for each in candidates)


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
            found.append(of_rows(file, header, rows, images, column))
    return found


def _json_files(
    path: Path, files: list[Path], images: Path, column: str | None, unread: list[DataError]
) -> list[Candidate]:
    near = [f for f in files if f.suffix.lower() == ".json" and len(f.relative_to(path).parts) < 3]
    found, coco = [], {}
    for file, content in _readable(near[:MOST_JSON], read_json, unread):
        if is_coco(content):
            coco[file] = content
        elif is_label_studio(content) or _is_table(file, content, images):
            found += of_json(file, content, images, column)
    if coco:
        if len(coco) > 1:  # one for each part of a division
            logger.info("%s: %s are read together", path, examples(coco, 5))
        found.append(of_coco(coco, images))
    return found


def _is_table(path: Path, content: Any, images: Path) -> bool:
    if not (isinstance(content, list) and content and all(isinstance(o, dict) for o in content)):
        return False
    return is_of_photographs(*rows_of_objects(path, content), images)


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
            found.append(of_cvat(first, images))
        elif root.tag == "annotation":
            annotations += [(folder, each) for each in paths]
    if annotations:
        folders = {folder for folder, _ in annotations}
        top = folders.pop() if len(folders) == 1 else path
        found.append(of_voc([each for _, each in annotations], images, top))
    return found


def _masks(path: Path, images: Path) -> list[Candidate]:
    if (path / "labelmap.txt").is_file() and any((path / MASKS).rglob("*.png")):
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
