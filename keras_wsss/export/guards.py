"""What a served model does before it decodes an image: bad files get a status, not an exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_wsss.data.decode import displayed, stored_image
from keras_wsss.data.headers import jpeg_header, png_header
from keras_wsss.export.metadata import Limits

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


OK = 0
EMPTY, TOO_MANY_BYTES, UNSUPPORTED, BAD_HEADER, PIXELS, FRAMES, NOT_DECODABLE = range(1, 8)


def statuses(limits: Limits) -> list[tuple[str, str]]:
    """Name and message of each status code.

    Example:

    >>> statuses(Limits())[EMPTY]
    ('empty', 'no bytes; send the content of a JPEG or PNG file')
    """
    return [
        ("ok", ""),
        ("empty", "no bytes; send the content of a JPEG or PNG file"),
        ("too_many_bytes", f"more than {limits.max_bytes} bytes; compress or shrink the image"),
        ("unsupported_format", "neither a JPEG nor a PNG file; convert the image"),
        ("bad_header", "no image size where it should be; the file is damaged: save it again"),
        ("too_many_pixels", f"more than {limits.max_pixels} pixels; shrink the image"),
        (
            "too_many_frames",
            f"more than {limits.max_frames} frames or {limits.max_scans} scans; save it as a "
            "plain image",
        ),
        ("not_decodable", "cut off or damaged; save or send the image again"),
    ]


def check(contents: Any, limits: Limits) -> Any:
    """Status code of an encoded image from its length and header alone; int32 scalar.

    Args:
        contents: string scalar.
        limits: what is admitted.

    Example:

    >>> int(check(b"GIF89a", Limits())) == UNSUPPORTED
    True
    """
    size = tf.strings.length(contents)
    is_jpeg = tf.strings.substr(contents, 0, len(JPEG)) == JPEG
    is_png = tf.strings.substr(contents, 0, len(PNG)) == PNG

    def known() -> Any:
        height, width, rounds = tf.cond(
            is_jpeg, lambda: jpeg_header(contents), lambda: png_header(contents)
        )
        most = tf.where(is_jpeg, limits.max_scans, limits.max_frames)
        # A side alone may be too large, and the product of two such sides has no integer.
        pixels = tf.minimum(height, 2**31) * tf.minimum(width, 2**31 - 1)
        return tf.case(
            [
                ((height < 1) | (width < 1), lambda: tf.constant(BAD_HEADER)),
                (pixels > limits.max_pixels, lambda: tf.constant(PIXELS)),
                (rounds > tf.cast(most, tf.int64), lambda: tf.constant(FRAMES)),
            ],
            default=lambda: tf.constant(OK),
        )

    return tf.case(
        [
            (size < 1, lambda: tf.constant(EMPTY)),
            (size > limits.max_bytes, lambda: tf.constant(TOO_MANY_BYTES)),
            (~is_jpeg & ~is_png, lambda: tf.constant(UNSUPPORTED)),
        ],
        default=known,
    )


def decode_or_empty(contents: Any) -> Any:
    """The displayed image of a file, uint8 `[H,W,3]`; no pixels where it cannot be decoded.

    Args:
        contents: string scalar that :func:`check` has let pass.

    Example:

    >>> decode_or_empty(b"").shape
    TensorShape([0, 0, 3])
    """
    return displayed(stored_image(contents, decode=_surviving), contents)


def _surviving(decoder: Callable[[Any], Any], contents: Any) -> Any:
    """Reading through a data set is the one way in which a graph survives a failing decoder."""
    # To optimise a data set of one element takes ten times as long as to read it.
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    images = tf.data.Dataset.from_tensors(contents).map(decoder).ignore_errors()
    none = tf.zeros([0, 0, 3], tf.uint8)
    return images.with_options(options).reduce(none, lambda _, image: image)
