"""Reading maps at points, and cosine similarity between points."""

from keras import ops


def sample_points(x, coordinates):
    batch, height, width, channels = ops.shape(x)
    fx = (coordinates[..., 0] + 1) / 2 * ops.cast(width - 1, "float32")
    fy = (coordinates[..., 1] + 1) / 2 * ops.cast(height - 1, "float32")
    x0, y0 = ops.floor(fx), ops.floor(fy)
    flat = ops.reshape(x, (-1, channels))
    base = ops.reshape(ops.arange(batch, dtype="int32"), (-1, 1)) * (height * width)
    total = 0.0
    for dy in (0, 1):
        for dx in (0, 1):
            cx = ops.clip(ops.cast(x0, "int32") + dx, 0, width - 1)
            cy = ops.clip(ops.cast(y0, "int32") + dy, 0, height - 1)
            weight = (1 - ops.abs(fx - x0 - dx)) * (1 - ops.abs(fy - y0 - dy))
            total = total + ops.take(flat, base + cy * width + cx, axis=0) * weight[..., None]
    return total


def cosine_correspondence(a, b):
    def unit(v):
        return v / ops.maximum(ops.sqrt(ops.maximum(ops.sum(v * v, -1, keepdims=True), 1e-20)), 1e-10)

    return ops.matmul(unit(a), ops.transpose(unit(b), (0, 2, 1)))
