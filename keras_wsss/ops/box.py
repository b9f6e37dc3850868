"""Refinement of what lies in the valid box alone, as if each image had been cut out of its crop.

Boxes differ from image to image, and shapes must not: XLA compiles for one shape. So each box is
read by interpolation matrices onto a grid of half the crop, whose rest repeats the box's last row
and column. That is what refinement does at the border of an image, so the result is the same.
"""

from keras import ops

from keras_wsss.ops.label import inside


def refined_in_box(scores, image, valid_box, refine, iterations=10):
    """Refines scores inside the box at half its size; 0 outside.

    AFA, "Propagation"; BMP, eq. 5. The scores are read corner-aligned, the image and the
    result with half-pixel centres, as in the released code.

    Args:
        scores: float `[B,H,W,K]`.
        image: float `[B,H,W,3]`, RGB 0..255; fractions are cut off.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open.
        refine: one of :mod:`keras_wsss.ops.refine`.
        iterations: int, sweeps of ``refine``.

    Returns:
        float32 `[B,H,W,K]`.

    Example:

    >>> from keras_wsss.ops.refine import pixel_adaptive_refinement
    >>> scores, image = np.ones((1, 8, 8, 1)), np.zeros((1, 8, 8, 3))
    >>> box = np.array([[0, 8, 0, 4]])  # the left half
    >>> refined = refined_in_box(scores, image, box, pixel_adaptive_refinement, iterations=1)
    >>> refined.numpy()[0, 0, :, 0].round(2)
    array([1.01, 1.01, 1.01, 1.01, 0.  , 0.  , 0.  , 0.  ], dtype=float32)
    """
    size = ops.shape(scores)[1:3]
    valid_box = ops.convert_to_tensor(valid_box, "int32")
    rows, columns = (_Side(valid_box[:, i : i + 2], size[i // 2]) for i in (0, 2))
    guide = _read(ops.floor(ops.cast(image, "float32")) / 255.0, rows.shrink(), columns.shrink())
    maps = _read(ops.cast(scores, "float32"), rows.shrink(True), columns.shrink(True))
    extent = ops.stack([rows.half, columns.half], axis=1)
    refined = refine(guide, maps, iterations=iterations, extent=extent)
    refined = _read(refined, rows.grow(), columns.grow())
    return ops.where(inside(valid_box, size)[..., None], refined, 0.0)


class _Side:
    """Reading one side of the boxes onto a half-sized grid, and back."""

    def __init__(self, span, size):
        self.size, self.start = size, span[:, 0]
        self.length = ops.maximum(span[:, 1] - self.start, 1)  # an empty box reads one pixel
        self.half = ops.maximum(self.length // 2, 1)

    def shrink(self, align_corners=False):
        """Weights `[B,size//2,size]` that read the box at half its length."""
        place = ops.minimum(ops.arange(self.size // 2)[None], self.half[:, None] - 1)
        position = _position(place, self.half, self.length, align_corners)
        return _weights(position + _float(self.start), self.size)

    def grow(self):
        """Weights `[B,size,size//2]` that read the half-sized grid at every pixel of the box."""
        place = ops.arange(self.size)[None] - self.start[:, None]
        return _weights(_position(place, self.length, self.half), self.size // 2)


def _position(place, count, length, align_corners=False):
    """Where among ``length`` samples the places 0..``count``-1 read, float `[B,T]`."""
    place, length, count = ops.cast(place, "float32"), _float(length), _float(count)
    if align_corners:
        position = place * (length - 1) / ops.maximum(count - 1, 1.0)
    else:
        position = (place + 0.5) * length / count - 0.5
    return ops.clip(position, 0.0, length - 1)


def _weights(position, size):
    distance = ops.abs(position[..., None] - ops.arange(size, dtype="float32"))
    return ops.relu(1.0 - distance)


def _read(x, rows, columns):
    """`[B,H,W,C]` read by `[B,h,H]` and `[B,w,W]`: `[B,h,w,C]`."""
    x = ops.matmul(columns[:, None], x)
    x = ops.transpose(x, (0, 2, 1, 3))
    return ops.transpose(ops.matmul(rows[:, None], x), (0, 2, 1, 3))


def _float(x):
    return ops.cast(x, "float32")[:, None]
