"""Random rescaling, mirroring, placing and colour jitter of a training image.

The distribution is the one of the published recipe (AFA, arXiv 2203.02664, section 4): uniform
scale, mirror with probability 0.5, padding to the crop at a uniform offset, uniform crop. All
decisions come from one vector of uniform draws, a pure function of (seed, epoch, index).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_wsss.palette import IGNORE_ID

DRAWS = 8
"""Uniform numbers an image uses: scale, mirror, top, left and four for the jitter."""

GREY = np.array([[0.299], [0.587], [0.114]], np.float32)
"""Luma weights."""


class Geometry(NamedTuple):
    """Where an image comes to lie in the crop. All are int32 scalars, ``mirror`` is bool.

    ``size`` is the rescaled [height, width], ``offset`` the [top, left] of the rescaled image in
    crop coordinates: negative where the crop lies inside, positive where there is padding.
    """

    size: Any
    offset: Any
    mirror: Any


def uniform_draws(seed: Any, epoch: Any, index: Any) -> Any:
    """float32 [8] in [0, 1), a pure function of three integers.

    Example:

    >>> uniform_draws(1, 0, 17).shape
    TensorShape([8])
    """
    key = tf.random.experimental.stateless_fold_in(epoch_key(seed, epoch), index)
    return tf.random.stateless_uniform([DRAWS], key, alg="philox")


def epoch_key(seed: Any, epoch: Any) -> Any:
    """int64 [2], key of an epoch for the stateless random functions."""
    return tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])


def random_geometry(
    draws: Any,
    size: Any,
    crop_size: int,
    scale: Sequence[float] = (0.5, 2.0),
    flip: float = 0.5,
    warp: bool = False,
) -> Geometry:
    """Draws where the image comes to lie.

    Mirroring the finished crop instead of the image is the same in distribution, because the
    offset is uniform; it costs less.

    Args:
        draws: float32 [4 or more] in [0, 1).
        size: int32 [2], height and width of the image.
        crop_size: side of the crop.
        scale: smallest and largest factor, uniform in between.
        flip: probability of mirroring.
        warp: the image fills the crop exactly, whatever its proportions; ``scale`` does not count.

    Returns:
        :class:`Geometry`.

    Example:

    >>> random_geometry(uniform_draws(1, 0, 17), [240, 320], 224).size
    <tf.Tensor: shape=(2,), dtype=int32, ...>
    """
    if warp:
        whole = tf.constant([crop_size, crop_size])
        return Geometry(whole, tf.zeros_like(whole), draws[1] < flip)
    factor = scale[0] + draws[0] * (scale[1] - scale[0])
    new_size = tf.maximum(tf.cast(factor * tf.cast(size, tf.float32), tf.int32), 1)
    room = crop_size - new_size
    steps = tf.cast(tf.abs(room) + 1, tf.float32)
    # A draw just below 1 times a large number may round up to it.
    offset = tf.minimum(tf.cast(draws[2:4] * steps, tf.int32), tf.abs(room))
    return Geometry(new_size, tf.sign(room) * offset, draws[1] < flip)


def valid_box(geometry: Geometry, crop_size: int) -> Any:
    """int32 [4]: (y0, y1, x0, x1), half-open, the part of the crop that shows the image."""
    start = tf.maximum(geometry.offset, 0)
    stop = tf.minimum(geometry.offset + geometry.size, crop_size)
    left, right = start[1], stop[1]
    columns = tf.where(geometry.mirror, [crop_size - right, crop_size - left], [left, right])
    return tf.stack([start[0], stop[0], columns[0], columns[1]])


def place_image(image: Any, geometry: Geometry, crop_size: int) -> Any:
    """Rescales (bilinear, anti-aliased when shrinking), pads with 0 and crops in one operation.

    Args:
        image: uint8 [H, W, C].
        geometry: :class:`Geometry`.
        crop_size: side S of the crop.

    Returns:
        float32 [S, S, C], whole numbers 0..255.

    Example:

    >>> image = np.full((240, 320, 3), 255, np.uint8)
    >>> geometry = random_geometry(uniform_draws(1, 0, 17), image.shape[:2], 224)
    >>> place_image(image, geometry, 224).shape
    TensorShape([224, 224, 3])
    """
    scale = tf.cast(geometry.size, tf.float32) / tf.cast(tf.shape(image)[:2], tf.float32)
    crop = tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=[crop_size, crop_size],
        scale=scale,
        translation=tf.cast(geometry.offset, tf.float32),
        kernel_type="triangle",
        antialias=True,
    )[0]
    crop = tf.clip_by_value(tf.round(crop), 0.0, 255.0)
    return tf.ensure_shape(_mirror(crop, geometry.mirror), [crop_size, crop_size, None])


def place_mask(mask: Any, geometry: Geometry, crop_size: int) -> Any:
    """Nearest neighbour of ``place_image``; padding becomes 255 (ignore).

    Args:
        mask: int32 [H, W].

    Returns:
        int32 [S, S].
    """
    for axis in (0, 1):
        position = tf.range(crop_size) - geometry.offset[axis]
        length, new_length = tf.shape(mask)[axis], geometry.size[axis]
        # floor((position + 1/2) * length / new_length) in whole numbers
        source = (2 * position + 1) * length // (2 * new_length)
        inside = (position >= 0) & (position < new_length)
        taken = tf.gather(mask, tf.clip_by_value(source, 0, length - 1), axis=axis)
        mask = tf.where(tf.expand_dims(inside, 1 - axis), taken, IGNORE_ID)
    return tf.ensure_shape(_mirror(mask, geometry.mirror), [crop_size, crop_size])


def jitter(
    image: Any,
    box: Any,
    draws: Any,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> Any:
    """Colour jitter: multiplies brightness, contrast and saturation, and turns the hue.
    The padding stays black.

    Each factor is uniform in 1 - x .. 1 + x; the hue turns by at most ``hue`` of a full circle.

    Args:
        image: float32 [H, W, 3], 0..255, whole numbers.
        box: int32 [4], :func:`valid_box`.
        draws: float32 [4] in [0, 1).

    Returns:
        float32 [H, W, 3], 0..255, whole numbers; unchanged where all strengths are 0.

    Example:

    >>> image, box = tf.fill([224, 224, 3], 100.0), tf.constant([0, 224, 0, 224])
    >>> draws = tf.constant([0.0, 0.5, 0.5, 0.5])
    >>> jitter(image, box, draws, brightness=0.3)[0, 0].numpy()
    array([70., 70., 70.], dtype=float32)
    """
    if not (brightness or contrast or saturation or hue):
        return image
    y0, y1, x0, x1 = tf.unstack(box)
    signed = 2.0 * draws - 1.0
    part = image[y0:y1, x0:x1] * (1.0 + brightness * signed[0])
    mean = tf.reduce_mean(part @ GREY)
    part = mean + (part - mean) * (1.0 + contrast * signed[1])
    grey = part @ GREY
    part = tf.clip_by_value(grey + (part - grey) * (1.0 + saturation * signed[2]), 0.0, 255.0)
    if hue:
        part = 255.0 * tf.image.adjust_hue(part / 255.0, hue * signed[3])
    part = tf.clip_by_value(tf.round(part), 0.0, 255.0)
    height, width = tf.unstack(tf.shape(image)[:2])
    padded = tf.pad(part, [[y0, height - y1], [x0, width - x1], [0, 0]])
    return tf.ensure_shape(padded, image.shape)


def _mirror(crop: Any, mirror: Any) -> Any:
    return tf.cond(mirror, lambda: tf.reverse(crop, [1]), lambda: crop)
