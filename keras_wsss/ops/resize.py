"""Bilinear resizing in the two conventions of the field, and with anti-aliasing."""

from keras import ops

from keras_wsss.ops._backend import resize_bilinear


def resize(x, size, align_corners=False):
    """Bilinear resize without anti-aliasing.

    Args:
        x: float tensor `[B,H,W,C]`.
        size: pair (height, width) of the result, ints or scalar int tensors.
        align_corners: bool. False: pixels are areas and their centres lie at half positions
            (``tf.image.resize``). True: the centres of the corner pixels of input and output
            coincide (``align_corners=True`` of the released methods).

    Returns:
        Tensor `[B,height,width,C]` of the dtype of ``x``.

    Example:

    >>> resize(np.array([[[[0.0], [2.0]]]]), (1, 3), align_corners=True).numpy()[0, 0, :, 0]
    array([0., 1., 2.])
    """
    if not align_corners:
        return ops.cast(resize_bilinear(x, size), x.dtype)
    height, width = ops.shape(x)[1:3]
    return _interpolate(
        x,
        _interpolation_matrix(height, size[0], x.dtype),
        _interpolation_matrix(width, size[1], x.dtype),
    )


def resize_smooth(x, size):
    """Bilinear resize with anti-aliasing, as PIL shrinks photographs.

    Written as products of matrices, which every export format has.

    Args:
        x: float tensor `[B,H,W,C]`.
        size: pair (height, width) of the result, ints or scalar int tensors.

    Returns:
        Tensor `[B,height,width,C]` of the dtype of ``x``.

    Example:

    >>> row = np.array([[[[0.0], [0.0], [4.0], [4.0]]]])
    >>> resize_smooth(row, (1, 2)).numpy()[0, 0, :, 0].round(3)
    array([0.571, 3.429])
    """
    height, width = ops.shape(x)[1:3]
    return _interpolate(
        x, _triangle_matrix(height, size[0], x.dtype), _triangle_matrix(width, size[1], x.dtype)
    )


def _interpolate(x, rows, columns):
    """Columns first: each is one product of a matrix with the rows of the image."""
    x = ops.transpose(ops.matmul(columns, x), (0, 2, 1, 3))
    return ops.transpose(ops.matmul(rows, x), (0, 2, 1, 3))


def _triangle_matrix(source, target, dtype):
    """Weights `[target, source]` of a triangle as wide as two pixels of the coarser side."""
    source, target = (ops.arange(side, dtype="float32") + 0.5 for side in (source, target))
    ratio = ops.cast(ops.shape(source)[0], "float32") / ops.cast(ops.shape(target)[0], "float32")
    distance = ops.abs(target[:, None] * ratio - source[None]) / ops.maximum(ratio, 1.0)
    weights = ops.relu(1.0 - distance)
    return ops.cast(weights / ops.sum(weights, axis=1, keepdims=True), dtype)


def _interpolation_matrix(source, target, dtype):
    """Weights `[target, source]` of the corner-aligned bilinear read along one axis."""
    last_source = ops.cast(source - 1, "float32")
    last_target = ops.maximum(ops.cast(target - 1, "float32"), 1.0)
    position = ops.arange(target, dtype="float32") * (last_source / last_target)
    distance = ops.abs(position[:, None] - ops.arange(source, dtype="float32")[None])
    return ops.cast(ops.relu(1.0 - distance), dtype)
