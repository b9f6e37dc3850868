"""Files of image tags: a CSV table, labels.json, VOC's XML annotations.

What a file says about an image is either taken whole or refused.
"""

from __future__ import annotations

import csv
import io
import itertools
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import pydantic

from keras_wsss.class_names import foreground, is_background, is_no_class, plain, spelling
from keras_wsss.data.classes import MOST_CLASSES, nearest
from keras_wsss.data.ids import written_twice
from keras_wsss.data.text import first_fault, read_json, read_text, read_xml
from keras_wsss.errors import DataError
from keras_wsss.palette import IGNORE_ID

logger = logging.getLogger(__name__)

SEPARATOR = ";"
SEVERAL = re.compile(r"[\s,|/+&\[\]'\"；，、]+")  # what people separate tags by

Tags = dict[str, tuple[str, ...]]
"""Image id -> names of its tags, in the spelling of the class list."""


def read_csv(path: Path, names: Sequence[str]) -> Tags:
    """Columns ``id`` and ``tags``; several tags of an image are separated by ``;``.

    Tags of an image that stands on several lines are joined.

    Args:
        path: the table.
        names: the class list.

    Raises:
        DataError: a line cannot be taken whole, or holds a tag that is in no class list.

    Example:

    >>> read_csv(Path("my_set/tags.csv"), ("cat", "dog"))["cat_1"]
    ('cat',)
    """
    tags, spelled = Tags(), spelling(names)
    lines = csv.reader(io.StringIO(read_text(path)), strict=True)
    try:
        header = [plain(field) for field in next(lines, [])]
        while header and not header[-1]:  # commas behind the last name
            header.pop()
        of_tags = [name for name in header if re.fullmatch(r"tags?[\W\d_]*", name)]
        if header.count("id") != 1 or of_tags != ["tags"]:
            raise DataError(
                f"{path}: the first line must name the columns id,tags, separated by a comma; tags "
                "of an image are separated by ';'"
            )
        for fields in lines:
            if not any(map(str.strip, fields)):
                continue
            where = f"{path}, line {lines.line_num}"
            image, found = _row(header, [field.strip() for field in fields], where)
            written = [tag for tag in found.split(SEPARATOR) if tag.strip()]
            listed = _spelled(written, spelled, f"{where}, image {image}")
            tags[image] = tuple(dict.fromkeys((*tags.get(image, ()), *listed)))
    except csv.Error as error:
        raise DataError(
            f"{path}, line {lines.line_num}: no line of a table ({error}); correct its quotes"
        ) from error
    if alike := written_twice(tags):
        logger.warning("%s: are %r and %r one image? They count as two", path, *alike)
    return tags


def write_csv(path: Path, tags: Mapping[str, Iterable[str]]) -> None:
    r"""Writes a table that :func:`read_csv` reads.

    Args:
        path: the table.
        tags: image id -> names of its tags, none of which holds a ``;``.

    Example:

    >>> write_csv(Path("tags.csv"), {"IMG_0001": ("cat", "dog")})
    >>> Path("tags.csv").read_text()
    'id,tags\nIMG_0001,cat;dog\n'
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("id", "tags"))
        table.writerows((image, SEPARATOR.join(own)) for image, own in tags.items())


def _row(header: Sequence[str], fields: Sequence[str], where: str) -> tuple[str, str]:
    """Id and tags of a line."""
    if any(fields[len(header) :]):
        raise DataError(
            f"{where}: has {len(fields)} fields, the first line {len(header)}; separate tags of an "
            "image by ';', and quote a tag that holds a comma"
        )
    row = dict(zip(header, fields, strict=False))
    if "id" not in row or "tags" not in row:
        raise DataError(f"{where}: the line is cut off; write a field for each column")
    if not row["id"]:
        raise DataError(f"{where}: has no id; write the image's, or remove the line")
    return row["id"], row["tags"]


class LabelsFile(pydantic.BaseModel):
    """What a labels.json holds; ids of classes are positions in ``classes``."""

    classes: list[str]
    images: dict[str, dict[str, Any]]
    ignore_id: int = pydantic.Field(IGNORE_ID, ge=0, le=255)


def read_labels_file(path: Path) -> LabelsFile:
    """What stands in a labels.json.

    Raises:
        DataError: the file has another shape.
    """
    content = read_json(path)
    try:
        return LabelsFile.model_validate(content)
    except pydantic.ValidationError as error:
        place, wanted = first_fault(error)
        where = " > ".join(map(str, place))
        raise DataError(
            f"{path}: not a table of tags ({where and where + ': '}{wanted}); it needs "
            '{"classes": ["background", ...], "images": {ID: {"labels_from_boxes": [1, ...]}}}'
        ) from error


def read_json_tags(path: Path, key: str) -> tuple[tuple[str, ...], Tags, int]:
    """Class names, tags and the ``ignore_id`` of a labels.json.

    Args:
        path: the file.
        key: which tags of an image.

    Raises:
        DataError: the file has another shape, or an image a tag that is in no class list.
    """
    file = read_labels_file(path)
    head = list(itertools.takewhile(is_no_class, file.classes))
    if not head or not is_background(head[-1]):  # labelme's __ignore__ stands before it, as id -1
        raise DataError(
            f"{path}: classes[0] is not 'background'; put it there (ids are positions in classes)"
        )
    names = foreground(file.classes, f"{path}: classes")
    if file.ignore_id <= min(len(names), MOST_CLASSES):
        raise DataError(
            f"{path}: ignore_id {file.ignore_id} is the id of "
            f"{('background', *names)[file.ignore_id]!r}; "
            f"choose one from {len(names) + 1} to 255"
        )
    tags = Tags()
    for image, entry in file.images.items():
        where = f"{path}: image {image}"
        if key not in entry:
            keys = ", ".join(sorted(entry)) or "nothing"
            raise DataError(f"{where} has no {key!r} (it has {keys}); set data.labels_key")
        if not isinstance(entry[key], list):
            raise DataError(f"{where}: {key!r} is no list of class ids; write [1, ...]")
        for tag in entry[key]:
            if type(tag) is not int or not 1 <= tag <= len(names):
                raise DataError(
                    f"{where} has the tag {_shown(tag)}, which is in no class list; "
                    f"'classes' of this file knows the ids 1 to {len(names)}"
                )
        tags[image] = tuple(names[tag - 1] for tag in entry[key])
    return names, tags, file.ignore_id


def read_annotations(folder: Path, ids: Iterable[str], names: Sequence[str]) -> Tags:
    """Every object's name counts, as in the published tags; one marked difficult as well.

    Args:
        folder: holds ``ID.xml``.
        ids: images to read; one without a file is left out.
        names: the class list.

    Raises:
        DataError: a file is no XML, or holds a tag that is in no class list.
    """
    tags, spelled = Tags(), spelling(names)
    for image in ids:
        path = folder / f"{image}.xml"
        if not os.path.isfile(path):
            continue
        found = {item.findtext("name") or "" for item in read_xml(path).iter("object")}
        tags[image] = _spelled(sorted(found), spelled, str(path))
    return tags


def _spelled(tags: Sequence[str], spelled: dict[str, str], where: str) -> tuple[str, ...]:
    """Tags in the spelling of the class list, each once; the background is none."""
    tags = [tag for tag in tags if not is_background(tag)]
    for tag in tags:
        if plain(tag) not in spelled:
            if are_several(tag, spelled.keys()):
                raise DataError(f"{where}: {tag.strip()!r} are several tags; separate them by ';'")
            raise DataError(
                f"{where}: the tag {tag.strip()!r} is in no class list"
                f"{nearest(tag, spelled.values())} Correct the tag, or add the class to "
                "classes.txt beside the tags (one name a line, in the order of the mask ids)"
            )
    return tuple(dict.fromkeys(spelled[plain(tag)] for tag in tags))


def are_several(tag: str, known: Set[str]) -> bool:
    """Whether a tag is made of known ones, joined by what separates no tags here.

    Args:
        tag: as it is written.
        known: :func:`~keras_wsss.class_names.plain` tags.

    Example:

    >>> are_several("Cat/dog", {"cat", "dog"}), are_several("hot dog", {"cat", "dog"})
    (True, False)
    """
    parts = [part for part in SEVERAL.split(plain(tag)) if part]
    return len(parts) > 1 and known >= set(parts)


def _shown(value: Any) -> str:
    """A number or text; of what may be nested deeply its type."""
    return f"{value!r:.40}" if isinstance(value, int | float | str) else type(value).__name__
