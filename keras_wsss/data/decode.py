"""One image decoder for training, evaluation and served graphs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

ORIENTATION_TAG = 0x0112
APP0, EXIF_SEGMENT, APP15, COMMENT = 0xE0, 0xE1, 0xEF, 0xFE


def decode_image(contents: Any) -> Any:
    """Decodes an image file as it is displayed: RGB, EXIF orientation applied.

    Pure TensorFlow operations, so that training and a served model see the same pixels. JPEG is
    decoded with the accurate integer DCT, bit-equal to Pillow. Grey and CMYK become RGB, palettes
    are expanded, transparency is dropped, of 16 bits the upper 8 are kept, and of an animation the
    first frame. The EXIF orientation is read from JPEG files only.

    Args:
        contents: string scalar, the bytes of a JPEG, PNG, GIF, BMP or WebP file.

    Returns:
        uint8 [H, W, 3].

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no complete image.

    Example:

    >>> decode_image(tf.io.read_file("photo.jpg")).dtype
    tf.uint8
    """
    contents = tf.convert_to_tensor(contents)
    is_jpeg = tf.equal(tf.strings.substr(contents, 0, 2), b"\xff\xd8")
    image, orientation = tf.cond(
        is_jpeg,
        lambda: (
            tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE"),
            exif_orientation(contents),
        ),
        lambda: (
            tf.io.decode_image(contents, channels=3, expand_animations=False),
            tf.constant(1, tf.int64),
        ),
    )
    image = tf.ensure_shape(image, [None, None, 3])
    return tf.cond(tf.equal(orientation, 1), lambda: image, lambda: _upright(image, orientation))


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
    data = tf.io.decode_raw(contents, tf.uint8)
    last = tf.size(data, out_type=tf.int64) - 1

    def number(at: Any, length: int, little: Any = False) -> Any:
        # A position beyond the file reads its last byte: nonsense, but never an exception.
        at = tf.minimum(tf.expand_dims(at, -1) + tf.range(length, dtype=tf.int64), last)
        digits = tf.cast(tf.gather(data, at), tf.int64)
        up = tf.constant([256**power for power in range(length)], tf.int64)
        down = tf.constant([256**power for power in reversed(range(length))], tf.int64)
        return tf.reduce_sum(digits * tf.where(little, up, down), -1)

    def is_exif(at: Any) -> Any:
        exif = int.from_bytes(b"Exif\0\0", "big")
        return tf.logical_and(number(at + 1, 1) == EXIF_SEGMENT, number(at + 4, 6) == exif)

    def go_on(at: Any) -> Any:
        marker = number(at + 1, 1)
        application = tf.logical_and(marker >= APP0, marker <= APP15)
        segment = tf.logical_and(number(at, 1) == 0xFF, application | (marker == COMMENT))
        return tf.logical_and(at < last, segment & ~is_exif(at))

    def read(segment: Any) -> Any:
        tiff = segment + 10
        little = number(tiff, 1) == ord("I")
        directory = tiff + number(tiff + 4, 4, little)
        entries = directory + 2 + 12 * tf.range(number(directory, 2, little))
        found = number(entries, 2, little) == ORIENTATION_TAG
        value = tf.reduce_max(tf.where(found, number(entries + 8, 2, little), 0))
        return tf.where((value >= 1) & (value <= 8), value, 1)

    first = tf.constant(2, tf.int64)
    segment = tf.while_loop(go_on, lambda at: [at + 2 + number(at + 2, 2)], [first])[0]
    return tf.cond(is_exif(segment), lambda: read(segment), lambda: tf.constant(1, tf.int64))


def _upright(image: Any, orientation: Any) -> Any:
    """Turns a stored image into the displayed one; EXIF 5..8 swap the axes, then mirror."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    mirrored = tf.reduce_any(orientation == tf.constant([2, 3, 6, 7], tf.int64))
    upside_down = tf.reduce_any(orientation == tf.constant([3, 4, 7, 8], tf.int64))
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    return tf.cond(upside_down, lambda: tf.reverse(image, [0]), lambda: image)
