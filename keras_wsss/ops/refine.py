"""Local refinement of class scores by the image: PAR (AFA) and VARM (TSCD).

Both replace every score, again and again, by a weighted sum over 48 neighbours (8 directions at 6
distances) whose weights depend on the image alone. Inside, maps are channels-first, so that a
shifted map is a contiguous piece of memory and XLA turns the sum into one vectorised loop.
"""

import numpy as np
from keras import ops

from keras_wsss.ops.resize import resize

DILATIONS = (1, 2, 4, 8, 12, 24)
DIRECTIONS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
EPSILON = 1e-8
PAR_BANDWIDTH = 0.3  # of colour and of position, in standard deviations of the neighbours
PAR_POSITION_WEIGHT = 0.01
VARM_COLOUR_FACTOR = 4.0
VARM_VARIATION_WEIGHT = 0.01


def pixel_adaptive_refinement(image, scores, iterations=10, dilations=DILATIONS, extent=None):
    """PAR: neighbours of similar colour, and near ones a little, share their scores.

    AFA (Ru et al., CVPR 2022, arXiv 2203.02664), eq. 9 to 12. The weights of a pixel sum to
    1.01, so each iteration adds 1 % of mass; take an argmax, not a threshold.

    Args:
        image: float `[B,H,W,3]` in 0..1.
        scores: float `[B,h,w,K]`; resized (corner-aligned) to the image if it differs in size.
        iterations: int, number of sweeps.
        dilations: distances of the neighbours in pixels.
        extent: int `[B,2]`, the rows and columns that count, from the upper left corner; the rest
            must repeat the last ones, and what it gives means nothing. None: all count.

    Returns:
        float32 `[B,H,W,K]`.

    Example:

    >>> image = np.zeros((1, 8, 8, 3))
    >>> image[:, :, 4:] = 1  # an edge
    >>> scores = np.array([0, 0, 0, 0.4, 0.6, 1, 1, 1]).reshape(1, 1, 8, 1).repeat(8, axis=1)
    >>> pixel_adaptive_refinement(image, scores, iterations=5).numpy()[0, 4, :, 0].round(2)
    array([0.01, 0.02, 0.02, 0.03, 1.03, 1.03, 1.03, 1.04], dtype=float32)
    """
    image = _channels_first(image)
    distance = np.array([d * np.hypot(*step) for d in dilations for step in DIRECTIONS])
    position = -np.square(distance / (np.std(distance, ddof=1) + EPSILON) / PAR_BANDWIDTH)
    position = np.exp(position) / np.sum(np.exp(position))
    position = np.reshape(PAR_POSITION_WEIGHT * position, (-1, 1, 1, 1)).astype("float32")
    weights = _colour_weights(image, 1 / PAR_BANDWIDTH, dilations) + position
    return _spread(scores, weights, iterations, dilations, extent)


def variation_aware_refinement(image, scores, iterations=10, dilations=DILATIONS, extent=None):
    """VARM: as PAR, but neighbours that lie in a locally varying area lose weight.

    TSCD (Xu et al., AAAI 2023, arXiv 2302.13765), eq. 1 to 4. The weights of a pixel sum to
    0.99 and single ones may be slightly negative.

    Args:
        image: float `[B,H,W,3]` in 0..1.
        scores: float `[B,h,w,K]`; resized (corner-aligned) to the image if it differs in size.
        iterations: int, number of sweeps.
        dilations: distances of the neighbours in pixels.
        extent: int `[B,2]`, the rows and columns that count, from the upper left corner; the rest
            must repeat the last ones, and what it gives means nothing. None: all count.

    Returns:
        float32 `[B,H,W,K]`.

    Example:

    >>> image = np.zeros((1, 8, 8, 3))
    >>> image[:, :, 4:] = 1  # an edge
    >>> scores = np.array([0, 0, 0, 0.4, 0.6, 1, 1, 1]).reshape(1, 1, 8, 1).repeat(8, axis=1)
    >>> variation_aware_refinement(image, scores, iterations=5).numpy()[0, 4, :, 0].round(2)
    array([0.  , 0.  , 0.  , 0.  , 0.95, 0.95, 0.95, 0.95], dtype=float32)
    """
    image = _channels_first(image)
    variation = _softmax(_variation(image, dilations, extent))
    weights = _colour_weights(image, VARM_COLOUR_FACTOR, dilations)
    weights = weights - VARM_VARIATION_WEIGHT * variation
    return _spread(scores, weights, iterations, dilations, extent)


def _colour_weights(image, factor, dilations):
    """Softmax over the neighbours of -(factor x colour difference / deviation)^2: `[N,B,H,W]`."""
    neighbours = _neighbours(image, dilations)
    count = len(neighbours)
    mean = sum(neighbours) / count
    variance = sum(ops.square(each - mean) for each in neighbours) / (count - 1)
    scale = factor / (ops.sqrt(variance) + EPSILON)
    closeness = [-ops.mean(ops.square((each - image) * scale), axis=1) for each in neighbours]
    return _softmax(ops.stack(closeness))


def _variation(image, dilations, extent):
    """Squared forward differences of the image as seen from each neighbour: `[N,B,H,W]`.

    The image that is shifted and continued at its borders has differences like the image itself,
    but none across the last row and column of the *unshifted* grid.
    """
    height, width = size = ops.shape(image)[2:4]
    margin = max(dilations) + 1  # one more, for the difference at the far end
    padded = _extend(image, margin)
    down = ops.mean(ops.square(padded[:, :, 1:] - padded[:, :, :-1]), axis=1, keepdims=True)
    right = ops.mean(ops.square(padded[..., 1:] - padded[..., :-1]), axis=1, keepdims=True)
    rows, columns = (height, width) if extent is None else _rows_and_columns(extent)
    inside_rows = ops.cast(ops.arange(height)[:, None] < rows - 1, "float32")
    inside_columns = ops.cast(ops.arange(width) < columns - 1, "float32")
    pairs = zip(
        _shifted(down, margin, size, dilations),
        _shifted(right, margin, size, dilations),
        strict=True,
    )
    return ops.stack([d[:, 0] * inside_rows + r[:, 0] * inside_columns for d, r in pairs])


def _softmax(x):
    """Softmax over the first axis; the library's own moves that axis last: 7 times slower."""
    x = ops.exp(x - ops.max(x, axis=0))
    return x / ops.sum(x, axis=0)


def _spread(scores, weights, iterations, dilations, extent):
    """``iterations`` weighted sums over the neighbours; back to channels-last."""
    scores = resize(ops.cast(scores, "float32"), ops.shape(weights)[2:4], align_corners=True)

    def sweep(_, scores):
        if extent is not None:
            scores = _repeat_last(scores, extent)
        neighbours = _neighbours(scores, dilations)
        return sum(weights[i][:, None] * each for i, each in enumerate(neighbours))

    scores = ops.fori_loop(0, iterations, sweep, ops.transpose(scores, (0, 3, 1, 2)))
    return ops.transpose(scores, (0, 2, 3, 1))


def _repeat_last(x, extent):
    """``x`` `[B,K,H,W]` with its last row and column that count repeated to the end."""
    height, width = ops.shape(x)[2:4]
    rows, columns = _rows_and_columns(extent[:, None])
    row, column = ops.arange(height)[:, None], ops.arange(width)
    last = ops.sum(ops.where(row == rows - 1, x, 0.0), axis=2, keepdims=True)
    x = ops.where(row < rows, x, last)
    last = ops.sum(ops.where(column == columns - 1, x, 0.0), axis=3, keepdims=True)
    return ops.where(column < columns, x, last)


def _rows_and_columns(extent):
    """The two numbers of ``extent`` `[...,2]`, each with two axes of length 1 behind it."""
    return tuple(ops.expand_dims(extent[..., i], (-2, -1)) for i in range(2))


def _neighbours(x, dilations):
    """The maps `[B,C,H,W]` of all neighbours, dilation by dilation; borders are repeated."""
    margin = max(dilations)
    return _shifted(_extend(x, margin), margin, ops.shape(x)[2:4], dilations)


def _shifted(padded, margin, size, dilations):
    height, width = size
    tops = [margin + dy * d for d in dilations for dy, _ in DIRECTIONS]
    lefts = [margin + dx * d for d in dilations for _, dx in DIRECTIONS]
    return [
        padded[:, :, top : top + height, left : left + width]
        for top, left in zip(tops, lefts, strict=True)
    ]


def _extend(x, margin):
    """Repeats the border rows and columns ``margin`` times."""
    x = ops.concatenate(
        [ops.repeat(x[:, :, :1], margin, 2), x, ops.repeat(x[:, :, -1:], margin, 2)], axis=2
    )
    return ops.concatenate(
        [ops.repeat(x[..., :1], margin, 3), x, ops.repeat(x[..., -1:], margin, 3)], axis=3
    )


def _channels_first(image):
    return ops.transpose(ops.cast(image, "float32"), (0, 3, 1, 2))
