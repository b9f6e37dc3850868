"""Bilinear resizing in the two conventions of the field."""

from keras import ops

from keras_wsss.ops._backend import resize_bilinear


def resize(x, size, align_corners=False):
    height, width = ops.shape(x)[1:3]
    if not align_corners:
        return resize_bilinear(x, size)
    rows = interpolation_matrix(height, size[0], x.dtype)
    columns = interpolation_matrix(width, size[1], x.dtype)
    x = ops.einsum("ih,bhwc->biwc", rows, x)
    return ops.einsum("jw,biwc->bijc", columns, x)


def interpolation_matrix(source, target, dtype):
    position = ops.arange(target, dtype="float32")
    step = (ops.cast(source, "float32") - 1) / ops.maximum(ops.cast(target, "float32") - 1, 1)
    position = ops.expand_dims(position * step, -1)
    nodes = ops.expand_dims(ops.arange(source, dtype="float32"), 0)
    return ops.cast(ops.relu(1 - ops.abs(position - nodes)), dtype)
