"""Similarity between places of two maps: reading maps at points, and cosine similarity."""

from keras import ops

EPSILON = 1e-10


def sample_points(x, coordinates):
    """Bilinear read of a map at continuous places.

    Corner-aligned: -1 is the centre of the first pixel, 1 that of the last.

    Args:
        x: float `[B,H,W,C]`.
        coordinates: float `[B,P,2]`, (x, y) in [-1,1]; places outside are moved to the border.

    Returns:
        float `[B,P,C]`.

    Example:

    >>> sample_points(np.array([[[[0.0], [2.0]]]]), np.array([[[0.0, 0.0]]])).numpy()
    array([[[1.]]])
    """
    batch, height, width = ops.shape(x)[:3]
    coordinates = ops.cast(coordinates, x.dtype)

    def taps(coordinate, size):
        last = ops.cast(size - 1, x.dtype)
        position = ops.clip((coordinate + 1) / 2 * last, 0, last)
        first = ops.floor(position)
        after = position - first
        first = ops.cast(first, "int32")
        return (first, ops.minimum(first + 1, size - 1)), (1 - after, after)

    columns, column_weights = taps(coordinates[..., 0], width)
    rows, row_weights = taps(coordinates[..., 1], height)
    # One gather of all four taps has one gradient of the map's size; four gathers have four.
    index = ops.stack([row * width + column for row in rows for column in columns], axis=1)
    weights = ops.stack([a * b for a in row_weights for b in column_weights], axis=1)
    index = index + (ops.arange(batch, dtype="int32") * (height * width))[:, None, None]
    pixels = ops.reshape(x, (batch * height * width, x.shape[-1]))
    return ops.sum(ops.take(pixels, index, axis=0) * weights[..., None], axis=1)


def cosine_correspondence(a, b):
    """Cosine similarity of every vector of ``a`` with every vector of ``b``.

    TSCD, eq. 5: vectors are divided by max(length, 1e-10), so a zero vector stays zero.

    Args:
        a: float `[B,P,C]`.
        b: float `[B,Q,C]`.

    Returns:
        float32 `[B,P,Q]` in [-1,1].

    Example:

    >>> cosine_correspondence(np.array([[[1, 0]]]), np.array([[[2, 0], [0, 3]]])).numpy()
    array([[[1., 0.]]], dtype=float32)
    """
    return ops.matmul(_unit(a), ops.transpose(_unit(b), (0, 2, 1)))


def _unit(x):
    x = ops.cast(x, "float32")
    # The bound inside the root: the gradient of a zero vector is zero instead of not a number.
    squared = ops.sum(ops.square(x), axis=-1, keepdims=True)
    return x / ops.sqrt(ops.maximum(squared, EPSILON**2))
