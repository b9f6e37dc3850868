"""Refinement of what lies in the valid box alone, as if each image had been cut out of its crop.

Boxes differ from image to image, and shapes must not: XLA compiles for one shape. So each box is
read by interpolation matrices onto a grid of half the crop, whose rest repeats the box's last row
and column. That is what refinement does at the border of an image, so the result is the same.
"""

from keras import ops

from keras_wsss.ops.affinity import propagate
from keras_wsss.ops.cam import (
    GROUP,
    IGNORE_ID,
    inside,
    merge_last,
    strongest_class,
    take_channels,
    three_way,
)
from keras_wsss.ops.resize import resize


def refined_in_box(scores, image, valid_box, refine, iterations=10):
    """Refines scores inside the box at half its size; 0 outside.

    afa.md section 3.4, bmp.md section 3.2. The scores are read corner-aligned, the image and the
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

    >>> refined_in_box(scores, image, valid_box, pixel_adaptive_refinement).shape
    (2, 320, 320, 4)
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


def propagated_pseudo_label(
    cam, affinity, labels, image, valid_box, refine, high=0.55, low=0.35, iterations=10, radius=8
):
    """Three-way label of a CAM that has first walked one step over alike tokens.

    AFA, afa.md section 3.4.

    Args:
        cam: float `[B,h,w,C]` in 0..1, on the grid of the tokens.
        affinity: float `[B,N,N]` in 0..1, N = h * w.
        labels: `[B,C]`, > 0 = class present.
        image: float `[B,H,W,3]`, RGB 0..255.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open; pixels outside are ignored.
        refine: one of :mod:`keras_wsss.ops.refine`.
        high, low: background scores.
        iterations: int, sweeps of ``refine``.
        radius: int, window of the walk in tokens.

    Returns:
        int32 `[B,H,W]`: 0 = background, c + 1 = class c, 255 = ignored.

    Example:

    >>> propagated_pseudo_label(cam, affinity, labels, image, box, pixel_adaptive_refinement).shape
    (2, 320, 320)
    """
    batch, *size = ops.shape(image)[:3]
    labels = ops.convert_to_tensor(labels)
    present = cam * ops.cast(labels > 0, "float32")[:, None, None, :]
    walked = [propagate(present, affinity, labels, score, radius) for score in (high, low)]

    def scores_of(slots):
        maps = ops.stack([take_channels(scores, slots) for scores in walked], axis=3)
        maps = refined_in_box(resize(merge_last(maps), size), image, valid_box, refine, iterations)
        return ops.reshape(maps, (batch, *size, 2, GROUP))

    _, label = strongest_class(scores_of, labels, (batch, *size, 2))
    return three_way(label, valid_box)


def background_aware_label(
    background, cam, labels, image, valid_box, refine, confidence=0.5, iterations=10
):
    """Label of a CAM against the background that the decoder sees (BSP).

    BMP, bmp.md section 3.2. No background score has to be chosen; the refined maxima grow by 1 %
    an iteration under PAR, so the confidence 0.5 asks for 0.4526 before refinement.

    Args:
        background: float `[B,H,W]` in 0..1, from the decoder's background logits.
        cam: float `[B,H,W,C]` in 0..1.
        labels: `[B,C]`, > 0 = class present.
        image: float `[B,H,W,3]`, RGB 0..255.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open; pixels outside are ignored.
        refine: one of :mod:`keras_wsss.ops.refine`.
        confidence: float, pixels whose refined maximum lies below are ignored; 0 labels all.
        iterations: int, sweeps of ``refine``.

    Returns:
        int32 `[B,H,W]`: 0 = background, c + 1 = class c, 255 = ignored.

    Example:

    >>> background_aware_label(background, cam, labels, image, box, refine).shape
    (2, 320, 320)
    """
    batch, *size = ops.shape(image)[:3]
    maps = ops.concatenate([background[..., None], cam], axis=-1)

    def scores_of(slots):
        chosen = take_channels(maps, slots)
        return refined_in_box(chosen, image, valid_box, refine, iterations)

    score, label = strongest_class(scores_of, labels, (batch, *size))
    label = ops.where(score < confidence, IGNORE_ID, label)
    return ops.where(inside(valid_box, size), label, IGNORE_ID)


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
