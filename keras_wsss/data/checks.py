"""Finding the maps that a training would stumble over, before it does."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_wsss.data.checking.faults_of_pictures import LARGE
from keras_wsss.data.files import THREADS, displayed_size
from keras_wsss.data.masks import check_presence, check_tags_shown, check_turned, held_ids
from keras_wsss.data.split import Split
from keras_wsss.errors import DataError

if TYPE_CHECKING:
    from keras_wsss.config.data import CropConfig

logger = logging.getLogger(__name__)
LOOKED_AT = 200  # photographs of a list
GAP = 4  # between the sides of large and of small photographs


def check_maps(split: Split, drawn: bool = True) -> None:
    """Reads all masks and saliency maps that are image files; other maps cannot be wrong.

    Args:
        split: images and their maps.
        drawn: whether the masks were drawn by people, so that they show what the tags say.

    Raises:
        DataError: one does not fit its image, or holds an id that is in no class list; no mask
            holds any class, or no saliency map more than ones; masks show other classes than tags.

    Example:

    >>> data = wsss.config.DataConfig(kind="voc", root="VOC2012")
    >>> check_maps(wsss.load_split(data, "val"))
    """
    if split.mask_paths is not None and split.read_mask is None:
        held, folder = held_ids(split), str(Path(split.mask_paths[0]).parent)
        check_presence(split, np.logical_or.reduce(held), folder)
        if drawn:
            check_tags_shown(split, held, folder)
            check_turned(split, folder)
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


def sizes_that_differ(split: Split, crops: CropConfig) -> str | None:
    """What to say of photographs that crops show next to nothing of, or at very different scales.

    Args:
        split: photographs, of which some are looked at.
        crops: how training crops are made; with ``working_size`` or ``warp`` there is nothing to
            say.

    Returns:
        A warning, or None.

    Example:

    >>> config = wsss.load_config("photos", ["data.root=my_set"])
    >>> sizes_that_differ(wsss.load_split(config.data, "train"), config.data) is None
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
