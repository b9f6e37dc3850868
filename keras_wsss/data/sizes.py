"""Large photographs at the size at which networks see them, in training as in use."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def shrunk(images: Any, working_size: int) -> Any:
    """Images as a network sees them: float32, the longer side at most ``working_size``.

    Args:
        images: uint8 or float32 `[N,H,W,K]`.
        working_size: int.

    Returns:
        float32 `[N,h,w,K]`, shrunk with anti-aliasing where they were larger, else as they were.

    Example:

    >>> shrunk(tf.zeros([1, 3000, 4000, 3], tf.uint8), 512).shape
    TensorShape([1, 384, 512, 3])
    """
    size = tf.shape(images)[1:3]
    factor = working_size / tf.reduce_max(size)
    smaller = tf.cast(tf.round(tf.cast(size, tf.float64) * factor), tf.int32)
    return tf.cond(
        factor < 1,
        lambda: tf.image.resize(images, tf.maximum(smaller, 1), antialias=True),
        lambda: tf.cast(images, tf.float32),
    )
