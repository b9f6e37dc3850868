"""Finding the files that a training would stumble over, before it or after it did."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_wsss.data.decode import read_image
from keras_wsss.data.files import check_decodes
from keras_wsss.data.masks import check_presence, check_tags_shown, check_turned, held_ids
from keras_wsss.data.split import Split
from keras_wsss.errors import DataError

logger = logging.getLogger(__name__)
THREADS = 8


def check_maps(split: Split, drawn: bool = True) -> None:
    """Reads all masks and saliency maps that are image files; other maps cannot be wrong.

    Args:
        split: images and their maps.
        drawn: whether the masks were drawn by people, so that they show what the tags say.

    Raises:
        DataError: one does not fit its image, or holds an id that is in no class list; no mask
            holds any class, or no saliency map more than ones; masks show other classes than tags.

    Example:

    >>> check_maps(load_split(config.data, "val"))
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


def find_broken(split: Split) -> list[str]:
    """Decodes every image and map of a split; slow, for when reading has failed.

    Returns:
        One message for each file that cannot be used: the file and the fix.

    Example:

    >>> find_broken(split)
    ['JPEGImages/a.jpg: cannot be decoded (image file is truncated); replace the file, ...']
    """

    def message(position: int) -> str | None:
        try:
            _read(split, position)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        return [text for text in pool.map(message, range(len(split))) if text]


@contextmanager
def explain_errors(split: Split) -> Iterator[None]:
    """Turns an error of reading in the ``with`` block into one that names the file.

    Raises:
        DataError: reading failed because of the files :func:`find_broken` found.

    Example:

    >>> with explain_errors(split):
    ...     model.fit(training_dataset(split, config.data, seed=1, steps=10, batch_size=4))
    """
    try:
        yield
    except tf.errors.OpError as error:
        broken = find_broken(split)
        if not broken:
            raise
        more = f" (and {len(broken) - 1} more files)" if len(broken) > 1 else ""
        raise DataError(broken[0] + more) from error


def _read(split: Split, position: int) -> None:
    path = split.image_paths[position]
    if split.read_image is None:
        check_decodes(path)
        image = read_image(path)
    else:
        image = split.read_image(position)
    height, width = image.shape[:2]
    for paths, read in ((split.mask_paths, split.mask), (split.saliency_paths, split.saliency)):
        if paths is not None and (shape := read(position).shape) != (height, width):
            raise DataError(
                f"{paths[position]}: is {shape[1]}x{shape[0]} pixels, its image {path} is decoded "
                f"to {width}x{height}; save the image again as PNG"
            )
