"""Pseudo labels of the methods, for whole batches; what all of them share is in ``ops.label``."""

from keras import ops

from keras_wsss.ops.affinity import propagate
from keras_wsss.ops.box import refined_in_box
from keras_wsss.ops.label import (
    GROUP,
    IGNORE_ID,
    inside,
    merge_last,
    strongest_class,
    take_channels,
    three_way,
)
from keras_wsss.ops.resize import resize

LEAST_FOREGROUND = 0.01  # part of the image's area below which SGN's labels are not trusted


def propagated_pseudo_label(
    cam, affinity, tags, image, valid_box, refine, high, low, iterations=10, radius=8
):
    """Three-way label of a CAM that has first walked one step over alike tokens.

    AFA, "Propagation".

    Args:
        cam: float `[B,h,w,C]` in 0..1, on the grid of the tokens.
        affinity: float `[B,N,N]` in 0..1, N = h * w.
        tags: `[B,C]`, > 0 = class present.
        image: float `[B,H,W,3]`, RGB 0..255.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open; pixels outside are ignored.
        refine: one of :mod:`keras_wsss.ops.refine`.
        high: background score that a class has to beat.
        low: background score that has to beat all classes.
        iterations: int, sweeps of ``refine``.
        radius: int, window of the walk in tokens.

    Returns:
        int32 `[B,H,W]`: 0 = background, c + 1 = class c, 255 = ignored.

    Example:

    >>> from keras_wsss.ops.refine import pixel_adaptive_refinement as refine
    >>> cam, affinity = np.ones((1, 2, 2, 1)), np.ones((1, 4, 4))
    >>> tags, image, box = np.array([[1]]), np.zeros((1, 32, 32, 3)), np.array([[0, 32, 0, 16]])
    >>> label = propagated_pseudo_label(cam, affinity, tags, image, box, refine, 0.55, 0.35)
    >>> label.numpy()[0, 0, ::8]
    array([  1,   1, 255, 255], dtype=int32)
    """
    batch, *size = ops.shape(image)[:3]
    tags = ops.convert_to_tensor(tags)
    present = cam * ops.cast(tags > 0, "float32")[:, None, None, :]
    walked = [propagate(present, affinity, tags, score, radius) for score in (high, low)]

    def scores_of(slots):
        maps = ops.stack([take_channels(scores, slots) for scores in walked], axis=3)
        maps = refined_in_box(resize(merge_last(maps), size), image, valid_box, refine, iterations)
        return ops.reshape(maps, (batch, *size, 2, GROUP))

    _, label = strongest_class(scores_of, tags, (batch, *size, 2))
    return three_way(label, valid_box)


def background_aware_label(
    background, cam, tags, image, valid_box, refine, confidence=0.5, iterations=10
):
    """Label of a CAM against the background that the decoder sees (BSP).

    BMP, eq. 5 and 6. No background score has to be chosen; the refined maxima grow by 1 %
    an iteration under PAR, so the confidence 0.5 asks for 0.4526 before refinement.

    Args:
        background: float `[B,H,W]` in 0..1, from the decoder's background logits.
        cam: float `[B,H,W,C]` in 0..1.
        tags: `[B,C]`, > 0 = class present.
        image: float `[B,H,W,3]`, RGB 0..255.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open; pixels outside are ignored.
        refine: one of :mod:`keras_wsss.ops.refine`.
        confidence: float, pixels whose refined maximum lies below are ignored; 0 labels all.
        iterations: int, sweeps of ``refine``.

    Returns:
        int32 `[B,H,W]`: 0 = background, c + 1 = class c, 255 = ignored.

    Example:

    >>> from keras_wsss.ops.refine import pixel_adaptive_refinement as refine
    >>> background, cam = np.zeros((1, 8, 8)), np.zeros((1, 8, 8, 1))
    >>> background[:, :, :4], cam[:, :, 4:] = 0.9, 0.8
    >>> tags, image, box = np.array([[1]]), np.zeros((1, 8, 8, 3)), np.array([[0, 8, 0, 8]])
    >>> label = background_aware_label(background, cam, tags, image, box, refine, iterations=1)
    >>> label.numpy()[0, 0]
    array([  0,   0,   0,   0, 255,   1,   1,   1], dtype=int32)
    """
    batch, *size = ops.shape(image)[:3]
    maps = ops.concatenate([background[..., None], cam], axis=-1)

    def scores_of(slots):
        chosen = take_channels(maps, slots)
        return refined_in_box(chosen, image, valid_box, refine, iterations)

    score, label = strongest_class(scores_of, tags, (batch, *size))
    label = ops.where(score < confidence, IGNORE_ID, label)
    return ops.where(inside(valid_box, size), label, IGNORE_ID)


def confident_classes(logits, valid, threshold=0.75, threshold_on="logit"):
    """Labels the decoder is sure enough of to teach the CAM; no gradient.

    BMP, eq. 9: the released code compares the raw logit with 0.75.

    Args:
        logits: float `[B,H,W,K]` of the decoder.
        valid: bool `[B,H,W]`; other pixels are ignored.
        threshold: float; pixels strictly below are ignored.
        threshold_on: ``"logit"`` or ``"probability"`` (softmax).

    Returns:
        int32 `[B,H,W]`: c + 1 = class c, 255 = ignored, which all background is.

    Example:

    >>> logits = np.array([[[[0.0, 0.9], [0.0, 0.5], [0.9, 0.0]]]])
    >>> confident_classes(logits, np.ones((1, 1, 3), bool)).numpy()
    array([[[  1, 255, 255]]], dtype=int32)
    """
    logits = ops.stop_gradient(ops.cast(logits, "float32"))
    scores = ops.softmax(logits) if threshold_on == "probability" else logits
    label = ops.cast(ops.argmax(logits, axis=-1), "int32")
    sure = valid & (ops.max(scores, axis=-1) >= threshold) & (label != 0)
    return ops.where(sure, label, IGNORE_ID)


def margin_label(
    best,
    second,
    winner,
    valid_box,
    class_score,
    background_score,
    margin,
    least_foreground=LEAST_FOREGROUND,
):
    """A class where it is strong and alone, background where all are weak, else 255 (SGN, eq. 10).

    Args:
        best: float `[B,H,W]`, largest class score of a pixel.
        second: float `[B,H,W]`, second largest.
        winner: int `[B,H,W]`, class (1..C) of the largest.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open: pixels outside are ignored.
        class_score: least score of a trusted class.
        background_score: scores below it are background.
        margin: least lead over the second class.
        least_foreground: part of the valid area; an image with less foreground is ignored.

    Returns:
        int32 `[B,H,W]`: 0 = background, c + 1 = class c, 255 = ignored.

    Example:

    >>> best, second = np.array([[[0.9, 0.9, 0.1]]]), np.array([[[0.1, 0.88, 0.0]]])
    >>> winner, box = np.array([[[2, 2, 1]]]), np.array([[0, 1, 0, 3]])
    >>> margin_label(best, second, winner, box, 0.35, 0.15, 0.05).numpy()
    array([[[  2, 255,   0]]], dtype=int32)
    """
    trusted = (best >= class_score) & (best - second >= margin)
    label = ops.where(best < background_score, 0, IGNORE_ID)
    label = ops.cast(ops.where(trusted, winner, label), "int32")
    valid = inside(valid_box, ops.shape(best)[1:3])
    label = ops.where(valid, label, IGNORE_ID)
    area, foreground = (
        ops.sum(ops.cast(pixels, "float32"), axis=(1, 2)) for pixels in (valid, trusted & valid)
    )
    scarce = foreground < least_foreground * area
    return ops.where(scarce[:, None, None], IGNORE_ID, label)
