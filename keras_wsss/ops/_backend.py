"""The one place of ``ops`` that touches TensorFlow: resizing to unknown sizes, XLA, the host."""

import functools

import keras
from keras import ops

from keras_wsss.errors import ConfigError


def resize_bilinear(x, size):
    """Half-pixel bilinear resize without anti-aliasing; the sizes may be scalar tensors."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # keras.ops.image.resize takes no size that is only known when the graph runs.
        return tf.image.resize(x, ops.stack([ops.cast(side, "int32") for side in size]))
    return ops.image.resize(x, size, interpolation="bilinear", antialias=False)


def on_host(function, tensors, dtypes):
    """Calls ``function`` on numpy arrays, also from a graph; no gradient, not under XLA.

    Args:
        function: takes as many numpy arrays as there are ``tensors``, returns a tuple of arrays.
        tensors: list.
        dtypes: names of the dtypes of the results, whose shapes are not known in a graph.

    Raises:
        ConfigError: the backend is not TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            "the dense CRF runs beside the graph, which only TensorFlow can do; use "
            "`pseudo_label.refiner: par`, or KERAS_BACKEND=tensorflow"
        )
    import tensorflow as tf

    return tf.numpy_function(function, tensors, [tf.as_dtype(name) for name in dtypes])


def compiled(function):
    """Compiles ``function`` with XLA on its first call (TensorFlow and JAX).

    Args:
        function: takes tensors as positional arguments and Python values as keywords; it is
            compiled again for new shapes and for new values of the keywords.

    Example:

    >>> double = compiled(lambda x, times: x * times)
    >>> double(ops.ones((2,)), times=2).numpy()
    array([2., 2.], dtype=float32)
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        @functools.cache
        def specialised(keywords):
            return jax.jit(functools.partial(function, **dict(keywords)))

        return lambda *tensors, **keywords: specialised(tuple(keywords.items()))(*tensors)
    return function
