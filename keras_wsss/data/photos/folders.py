"""One folder a class: ``photos/cat/001.jpg``."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from keras_wsss.class_names import plain
from keras_wsss.data.photos.scan import PhotoFiles, examples, is_ignored, visible_files
from keras_wsss.data.photos.source import Classes, Source, photographs
from keras_wsss.errors import DataError

# Folders of a division made before; the classes are below them.
DIVISIONS = frozenset("train training val valid validation test testing".split())
NO_CLASSES = frozenset("masks labels annotations".split())


def read_folders(path: Path) -> Source:
    """The tag of a photograph is the folder that it is in.

    The classes are the folders on the first level, or below ``train``, ``val`` and ``test``; deeper
    ones only order the photographs of a class. A photograph of the same name and content in several
    folders has several tags. One that is in no folder has none.

    Args:
        path: folder of the folders.

    Returns:
        :class:`~keras_wsss.data.photos.source.Source`.

    Raises:
        DataError: there is no folder with a photograph, or folders are no classes: those of masks
            or labels, or of a division among others.

    Example:

    >>> read_folders(Path("photos")).class_names
    ('cat', 'dog')
    """
    files = PhotoFiles(path)
    inside = {photo: files.relative(photo).split("/")[:-1] for photo in files.paths}
    # One folder around all others is no class.
    around = 0
    while all(len(parts) > around + 1 for parts in inside.values()):
        if len({parts[around] for parts in inside.values()}) > 1:
            break
        around += 1
    tops = {plain(parts[around]) for parts in inside.values() if len(parts) > around}
    deep = any(len(parts) > around + 1 for parts in inside.values())
    divided = deep and bool(tops) and tops <= DIVISIONS
    level = around + divided
    _check_classes(path, inside, level)
    classes = Classes()
    tags: dict[Path, tuple[str, ...] | None] = {}
    below: dict[str, set[str]] = defaultdict(set)
    for photo, parts in inside.items():
        tags[photo] = None
        if len(parts) > level:
            name = classes.name(parts[level], str(photo))
            tags[photo] = (name,)
            below[name].update(parts[level + 1 :])
    if not classes.names:
        raise DataError(f"{path}: holds no folder of a class; it needs one for each")
    warnings = classes.warnings()
    if around:
        names = "/".join(next(iter(inside.values()))[:around])
        warnings.append(f"the folder {names} is around all others and so no class")
    if divided:
        warnings.append(f"the folders {examples(sorted(tops))} are no classes; {_DIVIDED_ANEW}")
    for name, deeper in below.items():
        if deeper:
            warnings.append(f"the folders {examples(sorted(deeper))} count as {name!r}")
    for folder in _empty_folders(path, level):
        warnings.append(f"the folder {folder} holds no photograph")
    if files.others:
        warnings.append(f"files that are no photographs: {examples(sorted(files.others))}")
    return Source(
        kind="folders",
        path=path,
        images=path,
        photographs=photographs(files, _joined(tags)),
        class_names=classes.names,
        warnings=tuple(warnings),
        spellings=classes.spellings,
    )


def _check_classes(path: Path, inside: Mapping[Path, list[str]], level: int) -> None:
    """Refuses folders that look like a layout of another kind, and would become classes."""
    photos: dict[str, list[Path]] = defaultdict(list)
    deeper: dict[str, bool] = defaultdict(bool)
    for photo, parts in inside.items():
        if len(parts) > level:
            photos[parts[level]].append(photo)
            deeper[parts[level]] |= len(parts) > level + 1
    odd = [name for name in photos if plain(name) in NO_CLASSES]
    # Photographs with masks of the same names. Names that are numbers are the same in any class.
    files = {name: {(plain(p.stem), plain(p.suffix)) for p in own} for name, own in photos.items()}
    for one, two in itertools.combinations(files, 2):
        same = {stem for stem, _ in files[one]} == {stem for stem, _ in files[two]}
        if same and not files[one] & files[two]:
            odd += [one, two]
    parts_of_division = [name for name in photos if plain(name) in DIVISIONS]
    if len(parts_of_division) < len(photos) and (
        len(parts_of_division) > 1 or any(deeper[name] for name in parts_of_division)
    ):
        odd += parts_of_division
    if odd:
        raise DataError(
            f"{path}: the folders {' and '.join(dict.fromkeys(odd))} (of {', '.join(photos)}) seem "
            "to be no classes, but masks, labels or parts of a division; name the file or folder "
            "that holds the tags, or rename what is a class"
        )


_DIVIDED_ANEW = "training and validation images are divided anew"


def _joined(tags: dict[Path, tuple[str, ...] | None]) -> dict[Path, tuple[str, ...] | None]:
    """Files of one name and one content are one photograph, with the tags of all of them."""
    alike: dict[tuple[str, int], list[Path]] = defaultdict(list)
    for path in tags:
        alike[plain(path.name), path.stat().st_size].append(path)
    first: dict[tuple[str, bytes], Path] = {}
    joined: dict[Path, tuple[str, ...] | None] = {}
    for path, own in tags.items():
        same = path
        if len(alike[plain(path.name), path.stat().st_size]) > 1:
            same = first.setdefault((plain(path.name), path.read_bytes()), path)
        joined[same] = tuple(dict.fromkeys((*(joined.get(same) or ()), *(own or ())))) or own
    return joined


def _empty_folders(path: Path, level: int) -> list[str]:
    filled = {folder for file in visible_files(path) for folder in file.parents}
    return sorted(
        folder.relative_to(path).as_posix()
        for folder in path.glob("*/" * (level + 1))
        if folder not in filled and not is_ignored(folder)
    )
