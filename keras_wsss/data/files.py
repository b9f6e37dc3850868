"""Image and mask files: cheap checks before a training, and reading masks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from keras_wsss.data.decodable import HEAD, check_decodable, is_webp
from keras_wsss.data.ids import called_otherwise
from keras_wsss.data.orientation import file_orientation
from keras_wsss.data.places import check_inside, check_regular
from keras_wsss.errors import DataError
from keras_wsss.photographs import IMAGE_SUFFIXES

THREADS = 8  # files that are read at once
TAIL = 64
"""Bytes at a file's end that are searched for the end marker; a few may follow it."""

# Reverses EXIF orientations on arrays: swap the axes, mirror, turn upside down.
SWAPPED, MIRRORED, UPSIDE_DOWN = {5, 6, 7, 8}, {2, 3, 6, 7}, {3, 4, 7, 8}


def files_by_stem(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> dict[str, str]:
    """File name without suffix -> path, for all images of a folder; {} where there is none."""
    if not folder.is_dir():
        return {}
    order = {suffix: rank for rank, suffix in enumerate(suffixes)}
    found: dict[str, tuple[int, str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            rank = order.get(suffix.lower())
            if rank is None or not os.path.isfile(entry):  # a pipe would be waited for
                continue
            if stem not in found or rank < found[stem][0]:
                found[stem] = (rank, entry.path)
    return {stem: path for stem, (_, path) in found.items()}


def find_files(
    folder: Path, ids: Sequence[str], suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> tuple[str, ...]:
    """Paths of the ids' files.

    Raises:
        DataError: an id has no file.
    """
    files = files_by_stem(folder, suffixes)
    missing = [image for image in ids if image not in files]
    if missing:
        suffix = suffixes[0] if len(suffixes) == 1 else ".*"
        more = f" (nor are {len(missing) - 1} others of the list)" if len(missing) > 1 else ""
        more += called_otherwise(missing[0], files)
        raise DataError(
            f"{folder / missing[0]}{suffix}: is not there{more}; add the file, or take its id out "
            "of the list"
        )
    return tuple(files[image] for image in ids)


def find_maps(folder: Path, ids: Sequence[str]) -> tuple[str, ...]:
    """Paths of the ids' masks or saliency maps, which are PNG files."""
    return find_files(folder, ids, (".png",))


def find_saliency(
    folder: Path, ids: Sequence[str], needed: bool | None, follow_links: bool = False
) -> tuple[str, ...] | None:
    """Paths of the ids' saliency maps.

    Args:
        follow_links: whether maps may be links out of their folder.
        needed: True: they must be there; None: used when there; False: not even looked for.

    Raises:
        DataError: an id has no map.
    """
    if not (holds_any(folder, ids) if needed is None else needed):
        return None
    try:
        maps = find_maps(folder, ids)
    except DataError as error:
        raise DataError(
            f"{error}. Saliency maps are made with `python -m keras_wsss.data.saliency` or any "
            "other detector; data.saliency names their folder"
        ) from None
    check_inside(maps, folder, follow_links)
    return maps


def holds_any(folder: Path, ids: Sequence[str]) -> bool:
    """Whether the folder holds the PNG file of at least one id."""
    return not files_by_stem(folder, (".png",)).keys().isdisjoint(ids)


def check_image_file(path: str) -> None:
    """Looks at the first and last bytes of an image file.

    Raises:
        DataError: empty, cut off, not an image, or of a kind that TensorFlow does not decode.

    Example:

    >>> check_image_file("photo.jpg")
    """
    check_regular(path)
    try:
        with open(path, "rb") as file:
            head, size = file.read(HEAD), os.fstat(file.fileno()).st_size
            file.seek(max(0, size - TAIL))
            tail = file.read()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {_REPLACE}") from error
    if not head:
        raise DataError(f"{path}: the file is empty (0 bytes); {_REPLACE}")
    if head.startswith(b"\xff\xd8"):
        complete = b"\xff\xd9" in tail
    elif head.startswith(b"\x89PNG\r\n\x1a\n"):
        complete = b"IEND" in tail
    elif head.startswith(b"GIF8"):
        complete = b";" in tail
    elif is_webp(head):
        complete = int.from_bytes(head[4:8], "little") + 8 <= size
    elif head.startswith(b"BM"):
        complete = True  # looked at below
    else:
        raise DataError(f"{path}: not a JPEG, PNG, GIF, BMP or WebP file; {_REPLACE}")
    check_decodable(path, head, size)
    if not complete:  # a camera may write more behind the end marker, so read before complaining
        check_decodes(path)


def check_pixels(paths: Iterable[str], most: int) -> None:
    """Looks at the size of images before any is decoded; a few kilobytes can be gigabytes then.

    Args:
        paths: of images and of their maps.
        most: ``data.max_pixels``.

    Raises:
        DataError: an image has more pixels, or what says its size cannot be read.

    Example:

    >>> check_pixels(["photo.jpg", "mask.png"], 10**6)
    """

    def check(path: str) -> None:
        with _opened(path) as image:
            check_size(path, image.size, most)

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(check, paths):
            pass


def check_size(path: str | Path, size: tuple[int, int], most: int) -> None:
    """Refuses an image of more than so many pixels; (width, height) is its size."""
    if size[0] * size[1] > most:
        raise DataError(
            f"{path}: has {size[0]}x{size[1]} pixels; data.max_pixels allows {most}; shrink it"
        )


def check_decodes(path: str) -> None:
    """Decodes the whole image.

    Raises:
        DataError: it cannot be decoded.
    """
    with _opened(path) as image:
        image.load()


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    """An image file in Pillow's hands; its many kinds of errors become one message."""
    check_regular(path)
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be decoded ({error}); {_REPLACE}") from error


_REPLACE = "replace the file, or take its id out of the list"


def displayed_size(path: str) -> tuple[tuple[int, int], int]:
    """(width, height) of an image as displayed, and its EXIF orientation 1..8.

    The orientation is what :func:`keras_wsss.data.decode.decode_image` finds; it turns JPEG only.
    """
    with _opened(path) as image:
        width, height = image.size
    orientation = file_orientation(path)
    return ((height, width) if orientation in SWAPPED else (width, height)), orientation


def has_unread_orientation(path: str) -> bool:
    """Whether a file that is no JPEG says that it is to be turned, which viewers do and we do not.

    Example:

    >>> has_unread_orientation("photo.jpg")
    False
    """
    try:
        with _opened(path) as image:
            if image.format in ("JPEG", "MPO"):
                return False
            return image.getexif().get(ExifTags.Base.Orientation) in range(2, 9)
    except DataError:  # broken EXIF data say nothing
        return False


def read_map(path: str, image_path: str) -> np.ndarray:
    """Reads a mask or saliency map in the orientation in which the image is displayed.

    A map that has the size of the displayed image is taken as it is. A map that only fits the
    image as stored, before its EXIF orientation is applied, is turned like the image.

    Args:
        path: one-channel PNG; of a palette the indices count, not the colours.
        image_path: file of the image it belongs to.

    Returns:
        uint8 [H, W].

    Raises:
        DataError: not readable, several channels, more than 8 bits, JPEG, or another size.

    Example:

    >>> read_map("mask.png", "photo.jpg").shape
    (48, 64)
    """
    values, size = read_values(path)
    return upright(values, turn_of(path, size, image_path))


def read_values(path: str) -> tuple[np.ndarray, tuple[int, int]]:
    """uint8 [H, W] of a one-channel PNG as stored, and its (width, height); see :func:`read_map`.

    Raises:
        DataError: not readable, several channels, more than 8 bits, or compressed with losses.
    """
    with _opened(path) as file:
        values, mode, size = np.array(file), file.mode, file.size
        if file.format in ("JPEG", "MPO"):
            raise DataError(
                f"{path}: is a JPEG file, whose values are not exactly those that were saved; save "
                "it anew as PNG, from its source"
            )
    if mode not in ("P", "L", "1"):
        raise DataError(
            f"{path}: is a {mode} image; a mask needs one channel of 8 bits, grey or palette, "
            "whose values are class ids, a saliency map one whose values are 255 on objects"
        )
    return values.astype(np.uint8), size


def turn_of(path: str, size: tuple[int, int], image_path: str) -> int:
    """How a map of (width, height) is turned to lie on its image, see :func:`read_map`.

    Args:
        path: of the map, for messages.
        size: of the map.
        image_path: file of the image it belongs to.

    Returns:
        EXIF orientation 1..8; 1: it lies there as it is.

    Raises:
        DataError: it has another size.
    """
    shown, orientation = displayed_size(image_path)
    if size == shown:
        return 1
    if size != (shown[::-1] if orientation in SWAPPED else shown):
        raise DataError(
            f"{path}: is {size[0]}x{size[1]} pixels, its image {image_path} is "
            f"{shown[0]}x{shown[1]}; make both the same size (masks with nearest neighbour)"
        )
    return orientation


def upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Applies an EXIF orientation to a [H, W] array."""
    if orientation in SWAPPED:
        values = values.T
    if orientation in MIRRORED:
        values = values[:, ::-1]
    if orientation in UPSIDE_DOWN:
        values = values[::-1]
    return np.ascontiguousarray(values, np.uint8)
