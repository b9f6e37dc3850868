"""Finding the maps that a training would stumble over, before it does."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_wsss.data.checking.faults_of_pictures import LARGE
from keras_wsss.data.files import THREADS, displayed_size
from keras_wsss.data.labels import TagTable, keep_tagged
from keras_wsss.data.split import Split, identity_map
from keras_wsss.errors import DataError

if TYPE_CHECKING:
    from keras_wsss.config.data import CropConfig

logger = logging.getLogger(__name__)
LOOKED_AT = 200  # photographs of a list
GAP = 4  # between the sides of large and of small photographs


def check_maps(split: Split) -> None:
    """Reads all masks and saliency maps that are image files; other maps cannot be wrong.

    Raises:
        DataError: one does not fit its image, or holds an id that is in no class list; no mask
            holds any class, or no saliency map more than ones.

    Example:

    >>> check_maps(load_split(config.data, "val"))
    """
    if split.mask_paths is not None and split.read_mask is None:
        held, folder = held_ids(split), str(Path(split.mask_paths[0]).parent)
        check_presence(split, np.logical_or.reduce(held), folder)
        empty = np.flatnonzero(~held[:, 1 : len(split.class_names) + 1].any(1))
        if len(empty):
            logger.warning(
                "%s: %d of the %d masks of the list %s hold no pixel of any class, first %s",
                *(folder, len(empty), len(split), split.name, split.ids[empty[0]]),
            )
    if split.saliency_paths is not None and split.read_saliency is None:
        with ThreadPoolExecutor(THREADS) as pool:
            brightest = max(pool.map(lambda place: split.saliency(place).max(), range(len(split))))
        if brightest == 1:
            raise DataError(
                f"{Path(split.saliency_paths[0]).parent}: the saliency maps of the list "
                f"{split.name} hold 0 and 1 alone; write 255 where an object is, in 8 bits"
            )


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
    tagged = keep_tagged(table, split.ids, names)[1] > 0
    strange = held & ~tagged
    for name in split.class_names:
        number = names.index(name)
        wrong = tagged[:, number] & ~held[:, number] & strange.any(1)
        if wrong.any() and 2 * wrong.sum() >= tagged[:, number].sum():
            found = (f"{n + 1} ({names[n]})" for n in np.flatnonzero(strange[wrong].any(0)))
            raise DataError(
                f"{source}: in VOC's numbering, masks of images tagged {name} hold no {number + 1} "
                f"({name}), but {', '.join(found)}; if the ids are others, add classes.txt beside "
                "the tags (one name a line, in the order of the ids)"
            )


def sizes_that_differ(split: Split, crops: CropConfig) -> str | None:
    """What to say of photographs that crops show next to nothing of, or at very different scales.

    Args:
        split: photographs, of which some are looked at.
        crops: how training crops are made; with ``working_size`` or ``warp`` there is nothing to
            say.

    Returns:
        A warning, or None.

    Example:

    >>> sizes_that_differ(split, config.data) is None
    True
    """
    if split.read_image is not None or crops.working_size is not None or crops.warp:
        return None
    looked_at = split.image_paths[:: max(1, len(split) // LOOKED_AT)]
    with ThreadPoolExecutor(THREADS) as pool:
        sides = sorted(pool.map(lambda path: max(displayed_size(path)[0]), looked_at))
    # Without the tenth at either end, so that single photographs say nothing.
    small, large = sides[len(sides) // 10], sides[-1 - len(sides) // 10]
    if large > LARGE * crops.crop_size:
        what = f"are up to {large} pixels large, of which a crop of {crops.crop_size} shows little"
    elif large > GAP * small:
        what = f"are {small} to {large} pixels large, so crops show things at very different scales"
    else:
        return None
    advice = f"data.working_size={2 * crops.crop_size} brings large ones to one size"
    return f"list {split.name}: photographs {what}; {advice}"
