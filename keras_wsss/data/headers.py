"""What image files say about themselves before they are decoded; TensorFlow operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_wsss.data.orientation import (
    APP0,
    APP15,
    COMMENT,
    EXIF,
    EXIF_SEGMENT,
    MOST_PARTS,
    ORIENTATION_TAG,
    TABLES,
)

FRAMES = tuple(marker for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC))
SCAN = 0xDA


def byte_reader(contents: Any) -> tuple[Callable[..., Any], Any]:
    """A reader of numbers in a file.

    Args:
        contents: string scalar, at least one byte.

    Returns:
        Pair of a function ``number(at, length, little=False)``, int64, and the last position, int64
        scalar. Positions are int64 of any shape; one beyond the file reads its last byte: nonsense,
        but never an exception.

    Example:

    >>> number, last = byte_reader(b"RIFF")
    >>> int(number(tf.constant(0, tf.int64), 2)) == 0x5249
    True
    """
    data = tf.io.decode_raw(contents, tf.uint8)
    last = tf.size(data, out_type=tf.int64) - 1

    def number(at: Any, length: int, little: Any = False) -> Any:
        at = tf.minimum(tf.expand_dims(at, -1) + tf.range(length, dtype=tf.int64), last)
        digits = tf.cast(tf.gather(data, at), tf.int64)
        up = tf.constant([256**power for power in range(length)], tf.int64)
        down = tf.constant([256**power for power in reversed(range(length))], tf.int64)
        return tf.reduce_sum(digits * tf.where(little, up, down), -1)

    return number, last


def _walk(start: int, last: Any, goes_on: Callable[..., Any], length: Callable[..., Any]) -> Any:
    """Position of the first part, from ``start``, at which ``goes_on`` is false."""
    return tf.while_loop(
        lambda at: tf.logical_and(at < last, goes_on(at)),
        lambda at: [at + length(at)],
        [tf.constant(start, tf.int64)],
        maximum_iterations=MOST_PARTS,
    )[0]


def _segment(
    number: Callable[..., Any], last: Any, wanted: Callable[..., Any] | None = None
) -> Any:
    """Position of a JPEG file's first segment that is no table, comment or application data.

    Args:
        number, last: of :func:`byte_reader`.
        wanted: stop also where this is true.
    """

    def fills(at: Any) -> Any:
        return number(at + 1, 1) == 0xFF  # any number of these may stand before a marker

    def goes_on(at: Any) -> Any:
        marker = number(at + 1, 1)
        application = tf.logical_and(marker >= APP0, marker <= APP15)
        known = application | _one_of(marker, (*TABLES, COMMENT)) & (number(at + 2, 2) >= 2)
        passed = tf.logical_and(number(at, 1) == 0xFF, known | fills(at))
        return passed if wanted is None else passed & ~wanted(at)

    def length(at: Any) -> Any:
        return tf.where(fills(at), tf.constant(1, tf.int64), 2 + number(at + 2, 2))

    return _walk(2, last, goes_on, length)


def _one_of(marker: Any, markers: tuple[int, ...]) -> Any:
    return tf.reduce_any(marker == tf.constant(markers, tf.int64))


def exif_orientation(contents: Any) -> Any:
    """Orientation entry of a JPEG file's EXIF segment (TIFF tag 0x0112).

    Args:
        contents: string scalar, the bytes of a JPEG file.

    Returns:
        int64 scalar 1..8; 1 (upright) where there is none or it makes no sense.

    Example:

    >>> int(exif_orientation(tf.io.read_file("photo.jpg")))
    1
    """
    number, last = byte_reader(contents)

    def is_exif(at: Any) -> Any:
        exif = int.from_bytes(EXIF, "big")
        return tf.logical_and(number(at + 1, 1) == EXIF_SEGMENT, number(at + 4, 6) == exif)

    def read(segment: Any) -> Any:
        tiff = segment + 10
        little = number(tiff, 1) == ord("I")
        directory = tiff + number(tiff + 4, 4, little)
        entries = directory + 2 + 12 * tf.range(number(directory, 2, little))
        found = number(entries, 2, little) == ORIENTATION_TAG
        value = tf.reduce_max(tf.where(found, number(entries + 8, 2, little), 0))
        return tf.where((value >= 1) & (value <= 8), value, 1)

    segment = _segment(number, last, is_exif)
    return tf.cond(is_exif(segment), lambda: read(segment), lambda: tf.constant(1, tf.int64))


def jpeg_header(contents: Any) -> tuple[Any, Any, Any]:
    """Size of a JPEG file's image, and how often its decoder will pass over it.

    Stricter than decoders, so that none can find another frame than this: whatever stands before
    the frame must be a table, a comment or application data.

    Args:
        contents: string scalar, the bytes of a JPEG file.

    Returns:
        int64 scalars height, width (0 where there is no frame) and the number of scans.

    Example:

    >>> [int(n) for n in jpeg_header(tf.io.read_file("photo.jpg"))]
    [48, 64, 1]
    """
    number, last = byte_reader(contents)
    frame = _segment(number, last)
    found = (number(frame, 1) == 0xFF) & _one_of(number(frame + 1, 1), FRAMES) & (frame + 8 <= last)
    height, width = (tf.where(found, number(frame + at, 2), 0) for at in (5, 7))
    data = tf.io.decode_raw(contents, tf.uint8)
    # In compressed data a zero follows each 0xFF, so that this marker stands nowhere else.
    scans = tf.logical_and(data[:-1] == 0xFF, data[1:] == SCAN)
    return height, width, tf.math.count_nonzero(scans)


def png_header(contents: Any) -> tuple[Any, Any, Any]:
    """Size of a PNG file's image, and its number of frames where it is an animation.

    Args:
        contents: string scalar, the bytes of a PNG file.

    Returns:
        int64 scalars height, width (0 where there is no header) and the number of frames.

    Example:

    >>> [int(n) for n in png_header(tf.io.read_file("mask.png"))]
    [48, 64, 1]
    """
    number, last = byte_reader(contents)

    def chunk(at: Any, name: bytes) -> Any:
        return number(at + 4, 4) == int.from_bytes(name, "big")

    first = tf.constant(8, tf.int64)
    found = (number(first, 4) == 13) & chunk(first, b"IHDR") & (last >= 32)
    height, width = (tf.where(found, number(first + at, 4), 0) for at in (12, 8))

    def goes_on(at: Any) -> Any:
        return ~chunk(at, b"IDAT") & ~chunk(at, b"acTL")

    part = _walk(8, last, goes_on, lambda at: 12 + number(at, 4))
    frames = tf.where(chunk(part, b"acTL"), number(part + 8, 4), 1)
    return height, width, frames
