"""Finding the files that a training would stumble over, before it or after it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import tensorflow as tf

from keras_wsss.data.decode import decode_image
from keras_wsss.data.files import check_decodes
from keras_wsss.data.split import Split
from keras_wsss.errors import DataError

THREADS = 8


def check_maps(split: Split) -> None:
    """Reads all masks and saliency maps that are image files; other maps cannot be wrong.

    Raises:
        DataError: one does not fit its image, or holds an id that is in no class list.

    Example:

    >>> check_maps(load_split(config.data, "val"))
    """
    readers: list[Callable[[int], object]] = []
    if split.mask_paths is not None and split.read_mask is None:
        readers.append(split.mask)
    if split.saliency_paths is not None and split.read_saliency is None:
        readers.append(split.saliency)
    with ThreadPoolExecutor(THREADS) as pool:
        for reader in readers:
            for _ in pool.map(reader, range(len(split))):
                pass


def find_broken(split: Split) -> list[str]:
    """Decodes every image and mask of a split; slow, for when reading has failed.

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
        try:
            decode_image(tf.io.read_file(path))
        except tf.errors.OpError as error:
            raise DataError(
                f"{path}: cannot be decoded ({error.message}); save it again as JPEG or PNG"
            ) from error
    if split.mask_paths is not None:
        split.mask(position)
