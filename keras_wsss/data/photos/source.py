"""What every kind of source yields: photographs with tags, and what was left out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from keras_wsss.class_names import is_background, plain
from keras_wsss.config.data import Untagged
from keras_wsss.data.photos.brushes import Brush
from keras_wsss.data.photos.scan import PhotoFiles, examples, unique_ids
from keras_wsss.errors import DataError


@dataclass(frozen=True)
class Photograph:
    """A photograph and what is said about it.

    Attributes:
        id: is unique in the data set whatever the case, and can be a file name.
        path: its file.
        tags: names of classes; () where it has none; None: nothing is said about it.
        mask: its mask, see :attr:`Source.mask_colours`.
        brushes: its mask as it was drawn, which an import paints; None: it has none.
    """

    id: str
    path: Path
    tags: tuple[str, ...] | None
    mask: Path | None = None
    brushes: tuple[Brush, ...] | None = None


@dataclass(frozen=True)
class Dropped:
    """Something that was left out.

    Attributes:
        name: of the image.
        reason: why.
        asked: whether the user asked for it.
    """

    name: str
    reason: str
    asked: bool = False


@dataclass(frozen=True)
class Entry:
    """What a source says about one image.

    Attributes:
        name: of the image, as the source writes it.
        tags: as the source writes them; None: nothing is said.
        where: file and line, for messages.
        brushes: see :class:`Photograph`.
    """

    name: str
    tags: tuple[str, ...] | None
    where: str
    brushes: tuple[Brush, ...] | None = None


@dataclass(frozen=True)
class Source:
    """Tagged photographs, read from one source.

    Attributes:
        kind: what it is.
        path: file or folder that was read.
        images: folder of the photographs.
        photographs: in the order of their ids, so that a copy is divided like its original.
        class_names: the source's own list, or the tags in the order of their first mention.
        dropped: what was left out.
        warnings: what the user should look at.
        taken: what in it was taken for names and tags, where that had to be guessed.
        mask_colours: of masks in colours: RGB -> id of the training; None: masks hold the ids
            0 (background), 1.. in the order of ``class_names`` and 255.
        unknown: tags that are not in the source's own list of classes -> where the first stands.
        spellings: classes that are written in several ways -> these.
    """

    kind: str
    path: Path
    images: Path
    photographs: tuple[Photograph, ...]
    class_names: tuple[str, ...]
    dropped: tuple[Dropped, ...] = ()
    warnings: tuple[str, ...] = ()
    taken: str = ""
    mask_colours: Mapping[tuple[int, int, int], int] | None = field(default=None, repr=False)
    unknown: Mapping[str, str] = field(default_factory=dict)
    spellings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def with_negatives(source: Source, untagged: Untagged) -> Source:
    """Photographs loose beside folders of classes are negatives, where the user says so.

    Of other sources, those about which nothing is said stay what they are.
    """
    if source.kind != "folders" or untagged != "negative":
        return source
    photos = (replace(photo, tags=photo.tags or ()) for photo in source.photographs)
    return replace(source, photographs=tuple(photos))


class Classes:
    """Names of classes, compared without case, blanks and Unicode's composition.

    Args:
        names: the source's own list; empty: every new tag is a class.

    Attributes:
        unknown: tags that are not in the source's own list -> where the first stands.

    Example:

    >>> classes = Classes()
    >>> classes.name(" Cat", "line 2"), classes.name("cat", "line 3"), classes.names
    ('Cat', 'Cat', ('Cat',))
    """

    def __init__(self, names: Iterable[str] = ()):
        self._names: dict[str, str] = {}
        self._spellings: dict[str, set[str]] = {}
        self._closed = False
        self.unknown: dict[str, str] = {}
        for name in names:
            self.name(name, "class list")
        self._closed = bool(self._names)

    def name(self, tag: str, where: str) -> str:
        """The class that a tag means; the background is none, and called ``background``.

        A tag that is not in the list stays as it is, and is noted.
        """
        if is_background(tag):
            return "background"
        text = re.sub(r"\s+", " ", unicodedata.normalize("NFC", tag)).strip()
        if self._closed and plain(text) not in self._names:
            self.unknown.setdefault(text, where)
            return text
        known = self._names.setdefault(plain(text), text)
        self._spellings.setdefault(known, set()).add(text)
        return known

    @property
    def names(self) -> tuple[str, ...]:
        """All classes."""
        return tuple(self._names.values())

    @property
    def spellings(self) -> dict[str, tuple[str, ...]]:
        """Classes that are written in several ways -> these."""
        return {n: tuple(sorted(each)) for n, each in self._spellings.items() if len(each) > 1}

    def warnings(self) -> list[str]:
        """The same for people."""
        return [
            f"{' and '.join(map(repr, spellings))} are one class, {name!r}"
            for name, spellings in self.spellings.items()
        ]


def assemble(
    kind: str,
    path: Path,
    files: PhotoFiles,
    entries: Sequence[Entry],
    class_names: Iterable[str] = (),
    *,
    called: str = "its images",
    taken: str = "",
    warnings: Iterable[str] = (),
) -> Source:
    """Joins what a source says about images with the photographs on the disk.

    Args:
        kind: what the source is.
        path: file or folder of the source.
        files: the photographs.
        entries: what is said; several about one image are joined.
        class_names: the source's own list of classes, if it has one.
        called: where the names of images stand, for messages.
        taken: see :class:`Source`.
        warnings: of the source so far.

    Returns:
        :class:`Source`; photographs that no entry names have the tags None.

    Raises:
        DataError: no entry has a photograph, or a name means several.

    Example:

    >>> files, entries = PhotoFiles(Path("photos/cat")), [Entry("1", ("cat",), "line 2")]
    >>> [photo.tags for photo in assemble("table", Path("tags.csv"), files, entries).photographs]
    [('cat',), None, None, None]
    """
    found = files.match({entry.name: entry.where for entry in entries})
    if not found:
        names = dict.fromkeys(entry.name for entry in entries)
        zeros = {photo.stem.lstrip("0") for photo in files.paths} & names.keys()
        hint = " (Excel drops leading zeros unless the column is text)" if zeros else ""
        raise DataError(
            f"{path}: none of {called} ({examples(map(repr, names))}) is a photograph of "
            f"{files.root} ({examples(map(files.relative, files.paths))}); correct the names"
            f"{hint}, or name the folder of the photographs with data.images (--images)"
        )
    classes = Classes(class_names)
    tags: dict[Path, dict[str, None] | None] = dict.fromkeys(files.paths)
    drawn: dict[Path, tuple[Brush, ...]] = {}
    dropped: dict[Dropped, None] = {}
    for entry in entries:
        named = [classes.name(tag, entry.where) for tag in entry.tags or () if tag.strip()]
        if entry.name not in found:
            dropped[Dropped(entry.name, f"no such photograph ({entry.where})")] = None
        elif entry.tags is not None:
            photograph = found[entry.name]
            tags[photograph] = (tags[photograph] or {}) | dict.fromkeys(named)
            if entry.brushes is not None:
                drawn[photograph] = entry.brushes
    others = [f"{count} {suffix}" for suffix, count in files.others.items()]
    unread = [f"files that are no photographs: {', '.join(others)}"] if others else []
    found_tags = {each: None if own is None else tuple(own) for each, own in tags.items()}
    return Source(
        kind=kind,
        path=path,
        images=files.root,
        photographs=tuple(
            replace(photo, brushes=drawn.get(photo.path))
            for photo in photographs(files, found_tags)
        ),
        class_names=classes.names,
        dropped=tuple(dropped),
        taken=taken,
        warnings=(*warnings, *classes.warnings(), *unread),
        unknown=classes.unknown,
        spellings=classes.spellings,
    )


def photographs(
    files: PhotoFiles, tags: Mapping[Path, tuple[str, ...] | None]
) -> tuple[Photograph, ...]:
    """Photographs with ids, in their order."""
    ids = unique_ids([files.relative(path) for path in tags])
    found = [Photograph(name, path, tags[path]) for name, path in zip(ids, tags, strict=True)]
    return tuple(sorted(found, key=lambda photo: (plain(photo.id), photo.id)))
