"""Finding the files that a training has stumbled over."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import tensorflow as tf

from keras_wsss.data.decode import read_image
from keras_wsss.data.files import THREADS, check_decodes
from keras_wsss.data.split import Split
from keras_wsss.errors import DataError, UnreadableError


def find_broken(split: Split) -> dict[int, str]:
    """Decodes every image and map of a split; slow, for when reading has failed.

    Returns:
        Position of each image that cannot be used -> the file and the fix.

    Example:

    >>> train, val = wsss.data.load("my_set")
    >>> find_broken(train)
    {}
    """

    def message(position: int) -> str | None:
        try:
            _read(split, position)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        texts = pool.map(message, range(len(split)))
        return {position: text for position, text in enumerate(texts) if text}


@contextmanager
def explain_errors(split: Split) -> Iterator[None]:
    """Turns an error of reading in the ``with`` block into one that names the file.

    Raises:
        UnreadableError: reading failed because of the files :func:`find_broken` found.

    Example:

    >>> train, val = wsss.data.load("my_set")
    >>> with explain_errors(val):
    ...     batches = list(wsss.data.evaluation_dataset(val, masks=False))
    """
    try:
        yield
    except tf.errors.OpError as error:
        broken = find_broken(split)
        if not broken:
            raise
        raise UnreadableError(split, broken) from error


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
