"""Whether the masks of a list show what its tags say, in the numbering of the class list."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from keras_wsss.data.files import SWAPPED, displayed_size, has_unread_orientation
from keras_wsss.data.labels import TagTable, keep_tagged
from keras_wsss.data.split import Split, identity_map
from keras_wsss.errors import DataError

logger = logging.getLogger(__name__)
THREADS = 8


def held_ids(split: Split) -> np.ndarray:
    """bool [N, 256]: which ids the masks hold."""

    def held(position: int) -> np.ndarray:
        return np.bincount(split.mask(position).ravel(), minlength=256) > 0

    with ThreadPoolExecutor(THREADS) as pool:
        return np.stack(list(pool.map(held, range(len(split)))))


def check_presence(split: Split, held: np.ndarray, source: str) -> None:
    """Looks for the classes of the tags in the masks of a list.

    Args:
        split: tags.
        held: bool [256], which ids the masks of the list hold.
        source: folder or file of the masks, for messages.

    Raises:
        DataError: no mask holds a pixel of any class. Of a single class it is said in the log.
    """
    classes = held[1 : len(split.class_names) + 1]
    if not classes.any():
        ids = zip(split.file_ids()[1:], split.class_names[:3], strict=False)
        names = ", ".join(f"{number} {name}" for number, name in ids)
        more = " ..." if len(split.class_names) > 3 else ""
        raise DataError(
            f"{source}: no mask of the list {split.name} holds a pixel of any class (only "
            f"{' and '.join(map(str, np.flatnonzero(held)))}: 0 is background, 255 is ignored); "
            f"write the ids of the classes into the objects ({names}{more})"
        )
    for name in np.asarray(split.class_names)[split.labels.any(0) & ~classes]:
        logger.warning(
            "%s: images of the list %s are tagged %s, but no mask holds a pixel of it",
            *(source, split.name, name),
        )


def check_tags_shown(split: Split, held: np.ndarray, source: str) -> None:
    """Compares masks with tags: a class list in another order than the ids shows here.

    Args:
        split: tags.
        held: bool [N, 256], which ids each mask holds.
        source: folder of the masks, for messages.

    Raises:
        DataError: most tags are not shown by their masks, which show other classes. Of some
            classes it is said in the log, and of classes that are mostly shown without their tag.
    """
    tagged, ids = split.labels > 0, split.file_ids()[1:]
    held = held[:, 1 : tagged.shape[1] + 1]
    lost, mostly, found = _not_shown(tagged, held)
    for number in np.flatnonzero(mostly):
        others = ", ".join(f"{ids[n]} ({split.class_names[n]})" for n in found[number])
        what = (
            f"{source}: most masks of images of the list {split.name} that are tagged "
            f"{split.class_names[number]} hold no {ids[number]}, but {others}"
        )
        if 2 * lost.sum() >= tagged.sum():
            raise DataError(
                f"{what}; bring the class list into the order of the ids (the background, 0, is no "
                "class), or correct the tags"
            )
        logger.warning("%s", what)
    untagged = (held & ~tagged).sum(0)
    for number in np.flatnonzero(2 * untagged > held.sum(0)):
        logger.warning(
            "%s: %d masks of the list %s show %d (%s), which is no tag of their images",
            *(source, untagged[number], split.name, ids[number], split.class_names[number]),
        )


def check_numbering(split: Split, table: TagTable, source: Path) -> None:
    """Compares masks with tags where the ids are taken for VOC's because nothing says otherwise.

    Args:
        split: with masks.
        table: its tags, of all classes.
        source: folder of the masks, for messages.

    Raises:
        DataError: most images of a class have masks of other classes, which are not their tags.
    """
    names = table.class_names
    held = held_ids(replace(split, mask_map=identity_map(len(names))))[:, 1 : len(names) + 1]
    _, mostly, found = _not_shown(keep_tagged(table, split.ids, names)[1] > 0, held)
    for number in (names.index(name) for name in split.class_names):
        if mostly[number]:
            others = ", ".join(f"{n + 1} ({names[n]})" for n in found[number])
            raise DataError(
                f"{source}: in VOC's numbering, masks of images tagged {names[number]} hold no "
                f"{number + 1} ({names[number]}), but {others}; if the ids are others, add "
                "classes.txt beside the tags (one name a line, in the order of the ids)"
            )


def _not_shown(
    tagged: np.ndarray, held: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Tags that masks do not show although they show something else, which is no tag.

    Args:
        tagged, held: bool [N, C], classes of the tags and of the masks.

    Returns:
        bool [N, C], those tags; bool [C], classes for which these are half of their tags or more;
        and for each class the others that such masks show.
    """
    strange = held & ~tagged
    lost = tagged & ~held & strange.any(1, keepdims=True)
    mostly = lost.any(0) & (2 * lost.sum(0) >= tagged.sum(0))
    return lost, mostly, [np.flatnonzero(strange[rows].any(0)) for rows in lost.T]


def check_turned(split: Split, source: str) -> None:
    """Says where a size does not tell whether a mask was drawn on the displayed photograph.

    Of photographs that EXIF turns by 180 degrees or mirrors, and of turned squares, masks are taken
    as drawn on what is displayed. That is in doubt unless all others that are turned bear it out.
    The orientation of other files than JPEG is not applied, though viewers may do so.

    Args:
        split: with masks that are image files.
        source: their folder, for messages.
    """
    if split.read_image is not None:
        return
    unclear: list[str] = []
    stored: list[str] = []
    displayed: list[str] = []
    unread: list[str] = []
    for image, mask, name in zip(split.image_paths, split.mask_paths or (), split.ids, strict=True):
        shown, orientation = displayed_size(image)
        if has_unread_orientation(image):
            unread.append(Path(image).name)
        if orientation == 1:
            continue
        if orientation not in SWAPPED or shown[0] == shown[1]:
            unclear.append(name)
        else:
            (displayed if displayed_size(mask)[0] == shown else stored).append(name)
    if unclear and (stored or not displayed):
        evidence = f", though that of {stored[0]} is not" if stored else ""
        logger.warning(
            "%s: %d photographs of the list %s are mirrored or turned by EXIF, and size does not "
            "tell whether their masks are; they are taken as drawn on the displayed photograph%s, "
            "first %s",
            *(source, len(unclear), split.name, evidence, unclear[0]),
        )
    if unread:
        logger.warning(
            "%s: %d photographs of the list %s say how they are to be turned, which is read from "
            "JPEG files alone; save them as JPEG, or turned, if their masks were drawn on what a "
            "viewer shows, first %s",
            *(source, len(unread), split.name, unread[0]),
        )
