"""Which photographs there are, and which of them a name in a table means."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from keras_wsss.class_names import plain
from keras_wsss.errors import DataError
from keras_wsss.photographs import PHOTO_SUFFIXES as PHOTO_SUFFIXES

# What lies beside photographs and is not expected to be one.
COMPANIONS = frozenset(
    ".txt .csv .tsv .xlsx .json .jsonl .ndjson .xml .yaml .yml .md .html .db .ini .names .data "
    ".cache .log .zip".split()
)
# Folders of an archive, of a storage device, and of masks.
NOT_PHOTOGRAPHS = frozenset(
    ("__macosx", "@eadir", "segmentationclass", "segmentationobject", "saliency")
)


SUMMARY = "import.json"
"""Marks a folder that an import wrote: copies of photographs, which must not count twice."""


def examples(names: Iterable[object], count: int = 3) -> str:
    """The first names of many, for messages."""
    shown = [str(name) for name in names]
    more = f" and {len(shown) - count} more" if len(shown) > count else ""
    return ", ".join(shown[:count]) + more


def is_ignored(folder: Path) -> bool:
    """Whether a folder holds no photographs that a user means: hidden, imported, or of masks."""
    name = folder.name
    return (
        name.startswith(".") or name.casefold() in NOT_PHOTOGRAPHS or (folder / SUMMARY).is_file()
    )


def visible_files(root: Path) -> Iterator[Path]:
    """All files below a folder in a fixed order, but those of ignored folders and hidden ones."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        # A link to a folder above would never end.
        seen.add(os.path.realpath(folder))
        folders[:] = [
            name
            for name in sorted(folders)
            if not is_ignored(Path(folder, name))
            and os.path.realpath(os.path.join(folder, name)) not in seen
        ]
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


class PhotoFiles:
    """The photographs below a folder.

    Args:
        root: is searched with all its sub-folders.
        exact_ids: whether names are those of files without their suffix, as the ids are that an
            import writes: ``img.jpg`` then means ``img.jpg.webp``.

    Attributes:
        paths: of the photographs, in a fixed order.
        others: suffix -> number of the files that are neither photograph nor table.

    Raises:
        DataError: there is no photograph.

    Example:

    >>> found = PhotoFiles(Path("photos")).match({"cat/1": "tags.csv, line 2"})
    >>> {name: path.as_posix() for name, path in found.items()}
    {'cat/1': 'photos/cat/1.jpg'}
    """

    def __init__(self, root: Path, *, exact_ids: bool = False):
        if not root.is_dir():
            raise DataError(f"{root}: no such folder; change data.images (--images)")
        self.root = root
        files = list(visible_files(root))
        self.paths = [
            path for path in files if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file()
        ]
        suffixes = [path.suffix.lower() if path.is_file() else "broken links" for path in files]
        self.others = Counter(s for s in suffixes if s and s not in {*PHOTO_SUFFIXES, *COMPANIONS})
        if not self.paths:
            found = f"; it holds files {examples(self.others)}" if self.others else ""
            raise DataError(
                f"{root}: holds no photograph ({', '.join(PHOTO_SUFFIXES)}){found}. Name the "
                "folder of the photographs with data.images (--images)"
            )
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for path in self.paths:
            self._by_name.setdefault(plain(path.name), []).append(path)
            self._by_stem.setdefault(plain(path.stem), []).append(path)
        self._exact_ids = exact_ids

    def relative(self, path: Path) -> str:
        """A photograph's path within the folder."""
        return path.relative_to(self.root).as_posix()

    def called(self, name: str) -> list[Path]:
        """Photographs of that file name, with or without its suffix; folders do not count."""
        last = (_parts(name) or [""])[-1]
        if self._exact_ids:
            return self._by_stem.get(last, [])
        found = self._by_name.get(last) or self._by_stem.get(last)
        stem, suffix = os.path.splitext(last)
        if not found and suffix in PHOTO_SUFFIXES:  # it was converted since
            found = self._by_stem.get(stem)
        return found or []

    def match(self, names: Mapping[str, str]) -> dict[str, Path]:
        """The photographs that names mean.

        A name may lack its suffix and its folders, have other folders before it (``C:\\\\Users``),
        and differ in case and in Unicode's composition. Folders that both know must agree, unless
        the file name alone is unique on both sides.

        Args:
            names: name -> where it stands, for messages.

        Returns:
            name -> path, without the names that no photograph has.

        Raises:
            DataError: a name means several photographs, or names of several mean one.
        """
        lasts = Counter(_stem(parts) for parts in {tuple(_parts(name)) for name in names})
        found = {}
        for name, where in names.items():
            candidates = self._candidates(name, lasts)
            if len(candidates) > 1:
                raise DataError(
                    f"{where}: {name!r} may be {' or '.join(map(self.relative, candidates[:2]))}; "
                    "write its folder and suffix as well, or rename one of them"
                )
            if candidates:
                found[name] = candidates[0]
        self._check_one_name_each(found, names)
        return found

    def _candidates(self, name: str, lasts: Mapping[str, int]) -> list[Path]:
        parts, called = _parts(name), self.called(name)
        best: tuple[int, ...] = ()
        chosen: list[Path] = []
        for path in called:
            own = _parts(self.relative(path))
            shared = min(len(own), len(parts)) - 1
            if own[-1 - shared : -1] != parts[-1 - shared : -1]:
                continue
            written = unicodedata.normalize("NFC", name).replace("\\", "/").split("/")[-1]
            on_disk = unicodedata.normalize("NFC", path.name)
            score = (shared, len(own) == len(parts), written in (on_disk, Path(on_disk).stem))
            if score > best:
                best, chosen = score, []
            if score == best:
                chosen.append(path)
        if not chosen and len(called) == 1 and lasts[_stem(parts)] == 1:
            return called
        return chosen

    def _check_one_name_each(self, found: Mapping[str, Path], names: Mapping[str, str]) -> None:
        """Names that only differ in their folders or in their suffix are different photographs."""
        first: dict[Path, str] = {}
        for name, path in found.items():
            other = first.setdefault(path, name)
            folders, others = _parts(name)[:-1], _parts(other)[:-1]
            shared = min(len(folders), len(others))
            if shared and folders[-shared:] != others[-shared:]:
                raise DataError(
                    f"{names[name]}: {name!r} and {other!r} ({names[other]}) are two photographs, "
                    f"but there is only {self.relative(path)}; keep the folders of the names below "
                    f"{self.root}"
                )
            suffixes = {os.path.splitext(_parts(each)[-1])[1] for each in (name, other)}
            if len(suffixes & set(PHOTO_SUFFIXES)) > 1:
                raise DataError(
                    f"{names[name]}: {name!r} and {other!r} ({names[other]}) are two photographs, "
                    f"but there is only {self.relative(path)}; add the other one, or take its name "
                    "out"
                )


def _parts(name: str) -> list[str]:
    parts = plain(name).replace("\\", "/").split("/")
    return [part for part in parts if part not in ("", ".") and not re.fullmatch("[a-z]:", part)]


def _stem(parts: Sequence[str]) -> str:
    stem, suffix = os.path.splitext(parts[-1] if parts else "")
    return stem if suffix in PHOTO_SUFFIXES else stem + suffix


def unique_ids(paths: Sequence[str]) -> list[str]:
    """Short ids that can be file names anywhere, one for each path.

    The file name without suffix; folders and suffix are added where several have the same.

    Args:
        paths: relative ones, with ``/`` between folders.

    Example:

    >>> unique_ids(["cat/1.jpg", "dog/1.jpg", "dog/my photo.png"])
    ['cat_1', 'dog_1', 'my_photo']
    """

    forms = [_forms(path) for path in paths]
    chosen = [0] * len(forms)
    while True:
        names = [plain(form[level]) for form, level in zip(forms, chosen, strict=True)]
        taken = Counter(names)
        longer = [
            number
            for number, name in enumerate(names)
            if taken[name] > 1 and chosen[number] + 1 < len(forms[number])
        ]
        if not longer:
            break
        for number in longer:
            chosen[number] += 1
    # What only differs in characters that are not safe is numbered.
    ids: list[str] = []
    used: set[str] = set()
    for form, level in zip(forms, chosen, strict=True):
        name, number = form[level], 1
        while plain(name) in used:
            number += 1
            name = f"{form[level]}_{number}"
        used.add(plain(name))
        ids.append(name)
    return ids


def _forms(path: str) -> list[str]:
    """Possible ids of a photograph, from short to long."""

    def safe(parts: Sequence[str]) -> str:
        text = unicodedata.normalize("NFC", "_".join(parts))
        return re.sub(r"[^\w.-]+", "_", text).strip("._-") or "photo"

    *folders, name = path.split("/")
    stem, suffix = os.path.splitext(name)
    forms = [safe([*folders[len(folders) - count :], stem]) for count in range(len(folders) + 1)]
    return [*forms, safe([*folders, stem, suffix.lstrip(".")])]
