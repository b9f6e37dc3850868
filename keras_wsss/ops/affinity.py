"""Affinity between the tokens of an image: targets from labels, and spreading scores by it.

Tokens are numbered row by row; N = height x width.
"""

import numpy as np
from keras import ops

from keras_wsss.palette import IGNORE_ID


def radius_mask(height, width, radius=8):
    """Which pairs of tokens lie in each other's square window: |dy| <= radius and |dx| <= radius.

    Args:
        height: int or scalar int tensor, rows of the token grid.
        width: the same, its columns.
        radius: int, in tokens.

    Returns:
        bool `[N,N]`.

    Example:

    >>> radius_mask(1, 4, radius=1).numpy().astype(int)  # each token of a row and its neighbours
    array([[1, 1, 0, 0],
           [1, 1, 1, 0],
           [0, 1, 1, 1],
           [0, 0, 1, 1]])
    """
    tokens = ops.arange(height * width, dtype="int32")
    rows, columns = tokens // width, tokens % width
    near_rows = ops.abs(rows[:, None] - rows) <= radius
    return near_rows & (ops.abs(columns[:, None] - columns) <= radius)


def affinity_targets(label, radius=8, stride=16):
    """Pairwise targets of a label map: 1 = same label, 0 = different, 255 = not known.

    AFA, eq. 18. The label is read at `size // stride` evenly spaced pixels; pairs with an
    ignored pixel and pairs outside the window are not known. A token forms a pair with itself.

    Args:
        label: int `[B,H,W]` of known size, 255 = ignored.
        radius: int, side of the window as in :func:`radius_mask`, or None for all pairs.
        stride: int, pixels per token.

    Returns:
        int32 `[B,N,N]`.

    Example:

    >>> label = np.repeat([[[0, 0, 2, 255]]], 16, axis=1).repeat(16, axis=2)  # [1,16,64]: 4 tokens
    >>> affinity_targets(label).numpy()[0]
    array([[  1,   1,   0, 255],
           [  1,   1,   0, 255],
           [  0,   0,   1, 255],
           [255, 255, 255, 255]], dtype=int32)
    """
    height, width = label.shape[1] // stride, label.shape[2] // stride
    rows = np.arange(height) * label.shape[1] // height
    columns = np.arange(width) * label.shape[2] // width
    label = ops.take(ops.take(ops.cast(label, "int32"), rows, axis=1), columns, axis=2)
    tokens = ops.reshape(label, (-1, height * width))
    known = tokens != IGNORE_ID
    known = known[:, :, None] & known[:, None, :]
    if radius is not None:
        known = known & radius_mask(height, width, radius)
    same = ops.cast(tokens[:, :, None] == tokens[:, None, :], "int32")
    return ops.where(known, same, IGNORE_ID)


def propagate(cam, affinity, tags, background_score=None, radius=8):
    """Spreads the scores of present classes over similar tokens: one step of a random walk.

    AFA, eq. 13 to 15. `W = (affinity within the window)^2`, `R = W / (column sums + 0.1)`, and
    the new score of token j is `sum_i score_i R_ij`.

    Args:
        cam: float `[B,h,w,C]` in 0..1.
        affinity: float `[B,N,N]` in 0..1, N = h * w.
        tags: `[B,C]`, > 0 = class present. Not used without a background score.
        background_score: float, constant score of the background, which is put in front; scores
            are then a softmax over background and present classes, absent ones 0. None: the CAM
            itself is spread, with 1e-4 in place of 0.1.
        radius: int, side of the window as in :func:`radius_mask`, or None for all pairs.

    Returns:
        float32 `[B,h,w,C+1]`, or `[B,h,w,C]` without background.

    Example:

    >>> cam = np.array([[[[1.0], [0.0]]]])  # two tokens that are quite alike
    >>> propagate(cam, np.full((1, 2, 2), 0.8), np.ones((1, 1))).numpy().round(2)[0, 0, :, 0]
    array([0.5, 0.5], dtype=float32)
    >>> propagate(cam, np.ones((1, 2, 2)), np.ones((1, 1)), background_score=0.35).shape[-1]
    2
    """
    height, width, classes = ops.shape(cam)[1:]
    scores = ops.reshape(ops.cast(cam, "float32"), (-1, height * width, classes))
    walk = ops.cast(affinity, "float32")
    if radius is not None:
        walk = walk * ops.cast(radius_mask(height, width, radius), "float32")
    walk = ops.square(walk)
    if background_score is None:
        damping = 1e-4
    else:
        damping = 0.1
        present = ops.cast(tags > 0, "float32")[:, None, :]
        weight = ops.exp(scores) * present
        background = ops.full_like(scores[..., :1], np.exp(background_score))
        weight = ops.concatenate([background, weight], axis=-1)
        scores = weight / ops.sum(weight, axis=-1, keepdims=True)
    walk = walk / (ops.sum(walk, axis=1, keepdims=True) + damping)
    spread = ops.matmul(ops.transpose(walk, (0, 2, 1)), scores)
    return ops.reshape(spread, (-1, height, width, scores.shape[-1]))
