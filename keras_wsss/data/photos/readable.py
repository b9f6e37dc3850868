"""Photographs of any kind as files that the decoder of trainings reads. Knows no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from keras_wsss.data.photos.convert import save_converted
from keras_wsss.photographs import CONVERTED_SUFFIXES


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """The photograph itself, or for the ``with`` block what an import would make of it.

    Args:
        path: TIFF, HEIC and AVIF files are converted, by their suffix.

    Raises:
        DataError: it has to be converted, and cannot be decoded.

    Example:

    >>> from PIL import Image
    >>> Image.open("photo.jpg").save("scan.tif")
    >>> with readable(Path("scan.tif")) as file:
    ...     file.name
    'scan.jpg'
    """
    if path.suffix.lower() not in CONVERTED_SUFFIXES:
        yield path
        return
    with TemporaryDirectory() as scratch:
        yield save_converted(path, Path(scratch, path.stem))
