"""YOLO: a text file for each image, whose lines begin with the number of a class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from keras_wsss.class_names import plain
from keras_wsss.config.yaml_text import read_yaml
from keras_wsss.data.photos.scan import PhotoFiles, examples, visible_files
from keras_wsss.data.photos.source import Entry, Source, assemble
from keras_wsss.data.text import read_lines, read_text
from keras_wsss.errors import DataError

# Text files that hold no boxes.
LISTS = frozenset("classes train val valid test trainval readme predefined_classes".split())


def yolo_names(path: Path) -> list[str] | None:
    """The classes of a ``data.yaml``, ``classes.txt`` or ``obj.names``; None: it is none of them.

    Raises:
        DataError: the YAML file names some numbers and not others.
    """
    if path.suffix.lower() not in (".yaml", ".yml"):
        return read_lines(path)
    try:
        content = read_yaml(read_text(path))
    except yaml.YAMLError:
        return None
    names = content.get("names") if isinstance(content, Mapping) else None
    if isinstance(names, Mapping):
        if set(names) != set(range(len(names))):
            raise DataError(f"{path}: names has the numbers {list(names)}; they go from 0 up")
        names = [names[number] for number in range(len(names))]
    return [str(name) for name in names] if isinstance(names, list) else None


def label_files(root: Path) -> list[Path]:
    """Text files below a folder that may hold boxes."""
    files = [path for path in visible_files(root) if path.suffix.lower() == ".txt"]
    return [path for path in files if path.stem.casefold() not in LISTS]


def holds_boxes(path: Path) -> bool:
    """Whether the first line of a text file is one of boxes, and no caption."""
    try:
        first, *coordinates = next(iter(read_lines(path)), "").split() or [""]
        return first.isdecimal() and len([float(each) for each in coordinates]) >= 4
    except (DataError, ValueError):
        return False


def read_yolo(names: Path, root: Path, images: Path | None = None) -> Source:
    """Reads the classes of boxes or polygons; both are lines that begin with a class.

    An image without a text file, or with an empty one, has no tag: that is how YOLO marks images
    without objects.

    Args:
        names: ``data.yaml``, ``classes.txt`` or ``obj.names``.
        root: folder of the text files: ``labels/*.txt``, or beside the photographs.
        images: folder of the photographs; None: ``root``.

    Returns:
        :class:`~keras_wsss.data.photos.source.Source`; classes in the order of their numbers.

    Raises:
        DataError: a line does not begin with the number of a class.

    Example:

    >>> read_yolo(Path("yolo/data.yaml"), Path("yolo")).class_names
    ('cat', 'dog')
    """
    classes = yolo_names(names) or []
    files = PhotoFiles(images or root)
    labels = {_key(path.relative_to(root)): path for path in label_files(root)}
    entries = []
    for photo in files.paths:
        relative = Path(files.relative(photo))
        path = labels.pop(_key(relative), None)
        tags = _tags(path, classes, names) if path else ()
        entries.append(Entry(relative.as_posix(), tags, str(path or photo)))
    warnings = []
    if labels:
        warnings.append(f"text files without a photograph: {examples(labels.values())}")
    if len(labels) and not any(entry.tags for entry in entries):
        raise DataError(
            f"{root}: no text file has the name of a photograph; the boxes of images/1.jpg stand "
            f"in labels/1.txt. There are: {examples(labels.values())}"
        )
    return assemble("YOLO", root, files, entries, classes, warnings=warnings)


def _key(path: Path) -> tuple[str, ...]:
    """What a photograph and its text file have in common: the path but for images/ and labels/."""
    folders = [plain(part) for part in path.parent.parts]
    return (*(part for part in folders if part not in ("images", "labels")), plain(path.stem))


def _tags(path: Path, classes: list[str], names: Path) -> tuple[str, ...]:
    tags: dict[str, None] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        first, *coordinates = line.split()
        try:
            index = int(first)
            coordinates = [float(each) for each in coordinates]  # type: ignore[misc]
        except ValueError:
            index = -1
        if index < 0 or len(coordinates) < 4:
            raise DataError(
                f"{path}, line {number}: {line.strip()[:40]!r} is no box; a line is the number of "
                "a class, then x, y, width and height, or the corners of a polygon"
            )
        if index >= len(classes):
            raise DataError(
                f"{path}, line {number}: has the class {index}, but {names} has the classes 0 to "
                f"{len(classes) - 1}; correct one of them"
            )
        tags[classes[index]] = None
    return tuple(tags)
