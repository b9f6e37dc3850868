"""One image decoder for training, evaluation and served graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_wsss.data.decodable import HEAD, check_decodable
from keras_wsss.data.headers import exif_orientation
from keras_wsss.data.places import check_regular
from keras_wsss.errors import DataError

Decode = Callable[[Callable[[Any], Any], Any], Any]


def read_image(path: str) -> Any:
    """Decodes an image file, or says what is wrong with it.

    Returns:
        uint8 [H, W, 3], see :func:`decode_image`.

    Raises:
        DataError: no image, cut off, or of a kind that is not read.

    Example:

    >>> read_image("photo.jpg").shape
    TensorShape([48, 64, 3])
    """
    check_regular(path)
    try:
        contents = tf.io.read_file(path)
        head, size = tf.strings.substr(contents, 0, HEAD), tf.strings.length(contents)
        check_decodable(path, head.numpy(), int(size))
        return decode_image(contents)
    except tf.errors.OpError as error:
        raise DataError(
            f"{path}: cannot be read as an image ({_plain(error)}); save it again as JPEG or PNG"
        ) from error


def _plain(error: tf.errors.OpError) -> str:
    """What an operation has said, without where it ran."""
    return str(error.message.rpartition("}} ")[2].partition(" [Op:")[0])


def decode_image(contents: Any, working_size: int | None = None) -> Any:
    """Decodes an image file as it is displayed: RGB, EXIF orientation applied.

    Pure TensorFlow operations, so that training and a served model see the same pixels. JPEG is
    decoded with the accurate integer DCT, bit-equal to Pillow. Grey and CMYK become RGB, palettes
    of PNG and GIF are expanded, transparency is dropped, of 16 bits the upper 8 are kept, and of an
    animation the first frame. The EXIF orientation is read from JPEG files only. Palettes of BMP
    and animated WebP fail; :func:`~keras_wsss.data.decodable.check_decodable` finds them.

    Args:
        contents: string scalar, the bytes of a JPEG, PNG, GIF, BMP or WebP file.
        working_size: longer side that is wanted in the end. A JPEG file of at least four times of
            it is decoded at a fraction of its size, never below twice the wanted one: in a tenth
            of the time.

    Returns:
        uint8 [H, W, 3].

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no complete image.

    Example:

    >>> decode_image(tf.io.read_file("photo.jpg")).dtype
    tf.uint8
    """
    if working_size is None:
        return displayed(stored_image(contents), contents)

    def fraction(ratio: int) -> Callable[[], Any]:
        return lambda: tf.io.decode_jpeg(
            contents, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE"
        )

    def longer_side() -> Any:
        return tf.reduce_max(tf.io.extract_jpeg_shape(contents)[:2])

    side = tf.cond(_is_jpeg(contents), longer_side, lambda: 0)
    whole = lambda: stored_image(contents)  # noqa: E731
    image = tf.case(
        [(side >= 2 * ratio * working_size, fraction(ratio)) for ratio in (8, 4, 2)], whole
    )
    return displayed(image, contents)


def stored_image(
    contents: Any, decode: Decode = lambda decoder, contents: decoder(contents)
) -> Any:
    """The image as it stands in the file, before its orientation is applied.

    Args:
        contents: string scalar.
        decode: calls one of the decoders; a served model hands in one that survives failures.

    Returns:
        uint8 [H, W, 3].
    """

    def jpeg(contents: Any) -> Any:
        return tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")

    def other(contents: Any) -> Any:
        return tf.io.decode_image(contents, channels=3, expand_animations=False)

    image = tf.cond(
        _is_jpeg(contents), lambda: decode(jpeg, contents), lambda: decode(other, contents)
    )
    return tf.ensure_shape(image, [None, None, 3])


def displayed(image: Any, contents: Any) -> Any:
    """An image uint8 [H, W, 3] from the file ``contents``, turned as its EXIF data say."""
    upright = tf.constant(1, tf.int64)
    orientation = tf.cond(_is_jpeg(contents), lambda: exif_orientation(contents), lambda: upright)
    return tf.cond(tf.equal(orientation, 1), lambda: image, lambda: _upright(image, orientation))


def _is_jpeg(contents: Any) -> Any:
    return tf.equal(tf.strings.substr(contents, 0, 2), b"\xff\xd8")


def _upright(image: Any, orientation: Any) -> Any:
    """Turns a stored image into the displayed one; EXIF 5..8 swap the axes, then mirror."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    mirrored = tf.reduce_any(orientation == tf.constant([2, 3, 6, 7], tf.int64))
    upside_down = tf.reduce_any(orientation == tf.constant([3, 4, 7, 8], tf.int64))
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    return tf.cond(upside_down, lambda: tf.reverse(image, [0]), lambda: image)
