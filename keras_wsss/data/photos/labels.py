"""From tags to the rows of labels that a training reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_wsss.class_names import foreground, is_background, plain
from keras_wsss.config.data import Untagged
from keras_wsss.data.classes import chosen_classes, nearest
from keras_wsss.data.photos.columns import NO, YES
from keras_wsss.data.photos.scan import examples
from keras_wsss.data.photos.source import Dropped, Photograph, Source, with_negatives
from keras_wsss.data.tables import SEPARATOR, are_several
from keras_wsss.errors import DataError

FEW = 5  # photographs of a class, below which it is mentioned


@dataclass(frozen=True, eq=False)
class Labelled:
    """Photographs that are trained on.

    Attributes:
        photographs: N of them.
        class_names: C classes.
        labels: float32 [N, C]; a row of zeros is a negative.
        dropped: what was left out, that of the source included.
        warnings: likewise.
        other_tags: how many tags are of classes that were not chosen.
    """

    photographs: tuple[Photograph, ...]
    class_names: tuple[str, ...]
    labels: np.ndarray
    dropped: tuple[Dropped, ...]
    warnings: tuple[str, ...]
    other_tags: int = 0


def label(
    source: Source,
    *,
    classes: Sequence[str] | None = None,
    untagged: Untagged = "error",
    negative: Sequence[str] = (),
    all_classes: bool = False,
) -> Labelled:
    """Chooses classes and photographs.

    Args:
        source: tagged photographs.
        classes: names of the classes wanted, in this order; None: all that have a photograph.
        untagged: what a photograph without any tag is: an error, a negative (nothing of any class
            is on it), or left out. Photographs about which nothing is said are left out; those
            beside folders of classes are negatives, if it says so.
        negative: tags that say that nothing is there (``ok``); ``background`` always does.
        all_classes: whether classes without a photograph stay.

    Returns:
        :class:`Labelled`.

    Raises:
        DataError: a photograph has no tag, or one that is in no class list; a chosen class is not
            known, or no class is left.

    Example:

    >>> from keras_wsss.data.photos.recognise import find_source
    >>> label(find_source(Path("photos")), untagged="negative").labels.shape
    (8, 2)
    """
    source = with_negatives(source, untagged)
    _refuse_unknown(source, negative)
    nothing = {plain(name) for name in negative}
    every = [name for name in source.class_names if plain(name) not in nothing]
    names = chosen_classes(foreground(every, source.path), classes, str(source.path))
    column = {name: number for number, name in enumerate(names)}

    kept: list[Photograph] = []
    rows: list[np.ndarray] = []
    without: list[Photograph] = []
    dropped = list(source.dropped)
    other = 0
    for photo in source.photographs:
        tags = [tag for tag in photo.tags or () if not says_nothing(tag, nothing)]
        columns = [column[tag] for tag in tags if tag in column]
        other += len(tags) - len(columns)
        row = np.zeros(len(names), np.float32)
        row[columns] = 1
        if photo.tags is None:
            dropped.append(Dropped(photo.path.name, "no tags are given for it"))
        elif columns or (photo.tags and not tags) or untagged == "negative":
            kept.append(photo)
            rows.append(row)
        elif photo.tags:
            dropped.append(Dropped(photo.path.name, "no tag of data.classes", True))
        else:
            without.append(photo)
    if without and untagged == "error":
        raise DataError(
            f"{source.path}: {len(without)} photographs have no tag "
            f"({examples(photo.path.name for photo in without)}). If nothing of any class is on "
            "them, say data.untagged=negative (--untagged negative); drop leaves them out"
        )
    dropped += [Dropped(photo.path.name, "no tag", True) for photo in without]
    labels = np.stack(rows) if rows else np.zeros((0, len(names)), np.float32)
    counts = labels.sum(0).astype(int)
    used = [number for number, count in enumerate(counts) if count or all_classes or classes]
    unused = [name for number, name in enumerate(names) if number not in used]
    labels = labels[:, used]
    names = tuple(names[number] for number in used)
    if not labels.any():
        raise DataError(
            f"{source.path}: no photograph has a tag of a class; there is nothing to learn"
        )
    warnings = list(source.warnings)
    if unused:
        warnings.append(f"classes without a photograph are left out: {examples(unused)}")
    return Labelled(
        photographs=tuple(kept),
        class_names=names,
        labels=labels,
        dropped=tuple(dropped),
        warnings=(*warnings, *_of_counts(names, labels)),
        other_tags=other,
    )


def _refuse_unknown(source: Source, negative: Sequence[str]) -> None:
    """Raises for a tag that is in no class list, and for a negative that is no tag."""
    known = {plain(name) for name in source.class_names}
    for tag, where in source.unknown.items():
        if are_several(tag, known):
            raise DataError(f"{where}: {tag!r} are several tags; separate them by {SEPARATOR!r}")
        raise DataError(
            f"{where}: the tag {tag!r} is in no class list{nearest(tag, source.class_names)} "
            "Correct the tag, or add the class to the list"
        )
    if unknown := [name for name in negative if plain(name) not in known]:
        raise DataError(
            f"{source.path}: data.negative (--negative): no photograph has the tag {unknown[0]!r}; "
            f"tags are {', '.join(source.class_names)}"
        )


def says_nothing(tag: str, nothing: set[str]) -> bool:
    """Whether a tag says that nothing of any class is there.

    Args:
        tag: as the source has it.
        nothing: :func:`~keras_wsss.class_names.plain` tags that the user has named for it.
    """
    return plain(tag) in nothing or is_background(tag)


def _of_counts(names: Sequence[str], labels: np.ndarray) -> list[str]:
    """Warnings about classes that cannot be learned, or hardly."""
    warnings = []
    counts = dict(zip(names, labels.sum(0).astype(int).tolist(), strict=True))
    if always := [name for name, count in counts.items() if count == len(labels)]:
        warnings.append(
            f"every photograph has the tag {' and '.join(map(repr, always))}: no method learns a "
            "class from tags without photographs that lack it; add some (with other tags, or as "
            "negatives)"
        )
    if all(name.lower() in YES | NO for name in names):
        warnings.append(
            f"the tags are {' and '.join(map(repr, names))}: if {names[0]!r} means that nothing is "
            f"there, say data.negative=[{names[0]!r}] (--negative {names[0]})"
        )
    if rare := [f"{name} ({count})" for name, count in counts.items() if 0 < count < FEW]:
        warnings.append(f"classes with few photographs: {', '.join(rare)}")
    return warnings


def reasons(dropped: Sequence[Dropped]) -> dict[str, int]:
    """What was left out, reason -> count; the place in a file is no reason of its own."""
    return dict(Counter(each.reason.partition(" (")[0] for each in dropped))
