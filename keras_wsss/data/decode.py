"""One image decoder for training, evaluation and served graphs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_wsss.data.headers import exif_orientation


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


def _upright(image: Any, orientation: Any) -> Any:
    """Turns a stored image into the displayed one; EXIF 5..8 swap the axes, then mirror."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    mirrored = tf.reduce_any(orientation == tf.constant([2, 3, 6, 7], tf.int64))
    upside_down = tf.reduce_any(orientation == tf.constant([3, 4, 7, 8], tf.int64))
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    return tf.cond(upside_down, lambda: tf.reverse(image, [0]), lambda: image)
