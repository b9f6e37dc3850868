"""The one place of ops that touches TensorFlow: resizing to unknown sizes, and XLA."""

import functools

import keras
from keras import ops


def resize_bilinear(x, size):
    """Half-pixel bilinear resize without anti-aliasing; ``size`` may hold tensors."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.image.resize(x, ops.stack([ops.cast(side, "int32") for side in size]))
    return ops.image.resize(x, size, interpolation="bilinear", antialias=False)


def compiled(function):
    """``function`` compiled by XLA on its first call (TensorFlow and JAX)."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return functools.wraps(function)(function)
