"""COCO JSON of any name: instances, boxes, or categories of whole images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_wsss.data.photos.scan import PhotoFiles
from keras_wsss.data.photos.source import Entry, Source, assemble
from keras_wsss.errors import DataError


def is_coco(content: Any) -> bool:
    """Whether a JSON file's content lists images and categories, as COCO does."""
    return isinstance(content, Mapping) and {"images", "categories"} <= content.keys()


def read_coco(contents: Mapping[Path, Any], images: Path | None = None) -> Source:
    """Reads the categories of images.

    Outlines and boxes count as tags of their image. An image without annotations has no tag; a
    photograph that no file lists is one about which nothing is said.

    Args:
        contents: JSON file -> its ``images``, ``categories`` and ``annotations``.
        images: folder of the photographs; None: that of the first file, or the one above it.

    Returns:
        :class:`~keras_wsss.data.photos.source.Source`; classes in the order of their ids.

    Raises:
        DataError: a file is not in this format, or names categories or images that it does not
            list.

    Example:

    >>> from keras_wsss.data.text import read_json
    >>> path = Path("coco/coco.json")
    >>> read_coco({path: read_json(path)}).class_names
    ('cat', 'dog')
    """
    entries: list[Entry] = []
    classes: list[str] = []
    for path, content in contents.items():
        try:
            found, names = _entries(path, content)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: not in COCO's format ({type(error).__name__}: {error}); it needs images "
                "(id, file_name), categories (id, name) and annotations (image_id, category_id)"
            ) from error
        entries += found
        classes += names
    first = next(iter(contents))
    files = PhotoFiles(images or folder_of(first))
    return assemble("COCO", first, files, entries, classes, called="the images of file_name")


def _entries(path: Path, content: Any) -> tuple[list[Entry], list[str]]:
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    listed = {image["id"]: str(image["file_name"]) for image in content["images"]}
    if len(listed) < len(content["images"]):
        numbers = [image["id"] for image in content["images"]]
        twice = next(number for number in listed if numbers.count(number) > 1)
        raise DataError(f"{path}: two images have the id {twice}; number them anew")
    tags: dict[Any, dict[str, None]] = {number: {} for number in listed}
    for annotation in content.get("annotations", ()):
        for key, known in (("image_id", listed), ("category_id", names)):
            if annotation[key] not in known:
                raise DataError(
                    f"{path}: annotation {annotation.get('id')} has the {key} {annotation[key]}, "
                    "which is in no list of the file; add it there, or remove the annotation"
                )
        tags[annotation["image_id"]][names[annotation["category_id"]]] = None
    entries = [
        Entry(name, tuple(tags[number]), f"{path}, image {number}")
        for number, name in listed.items()
    ]
    return entries, [names[number] for number in sorted(names)]


def folder_of(path: Path) -> Path:
    """Where the photographs of an annotation file are: beside it, or else beside its folder."""
    try:
        PhotoFiles(path.parent)
    except DataError:
        return path.resolve().parent.parent
    return path.parent
