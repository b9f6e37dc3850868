"""What a served model does before it decodes an image: bad files get a status, not an exception."""

from __future__ import annotations

from typing import Any

import pydantic
import tensorflow as tf

from keras_wsss.data.decode import decode_image
from keras_wsss.data.headers import jpeg_header, png_header

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


class Limits(pydantic.BaseModel):
    """What a served model admits, fixed when it is exported.

    Attributes:
        max_bytes: of the encoded file.
        max_pixels: width x height of the image. A PNG file of 49 kB can decode to 1.2 GB.
        max_frames: of an animated PNG file, whose first frame is taken.
        max_scans: of a progressive JPEG file, each of which goes over the whole image.
        working_size: larger images are shrunk to this longer side for the network; their masks
            still have the size of the image.

    Example:

    >>> Limits(working_size=768).max_pixels
    25000000
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    max_bytes: pydantic.PositiveInt = 10 * 2**20
    max_pixels: pydantic.PositiveInt = 25_000_000
    max_frames: pydantic.PositiveInt = 1
    max_scans: pydantic.PositiveInt = 100
    working_size: int = pydantic.Field(default=512, ge=64)


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
    """The image of a file, uint8 `[H,W,3]`, with no pixels where it cannot be decoded.

    Reading it through a data set is the one way in which a graph survives a failing decoder.

    Args:
        contents: string scalar that :func:`check` has let pass.

    Example:

    >>> decode_or_empty(b"").shape
    TensorShape([0, 0, 3])
    """
    images = tf.data.Dataset.from_tensors(contents).map(decode_image).ignore_errors()
    none = tf.zeros([0, 0, 3], tf.uint8)
    return tf.ensure_shape(images.reduce(none, lambda _, image: image), [None, None, 3])
