"""Guided filter: scores become a locally linear function of the image and so take over its edges.

He et al., *Guided Image Filtering*, ECCV 2010; SGN, eq. 8 and 9. Inside, maps are
channels-first, so that a shifted map is a contiguous piece of memory.
"""

from keras import ops

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))  # of colour channels


def guided_filter(guide, scores, radius=16, epsilon=1e-3, valid=None):
    """Fits every window's scores by a linear function of its colours and averages the fits.

    In a window of side ``2 radius + 1``, clipped at the borders: ``a = (cov(I) + epsilon)^-1
    cov(I, p)`` and ``b = mean(p) - a mean(I)``; the result is ``mean(a) I + mean(b)``. It can
    leave the range of the scores a little: clip it.

    Args:
        guide: float `[B,H,W,3]` in 0..1; H and W may be unknown until the graph runs.
        scores: float `[B,H,W,K]`.
        radius: int, in pixels.
        epsilon: float, at least 1e-5 (single precision): contrasts whose variance lies below it
            are smoothed over.
        valid: `[B,H,W]`, 1 = pixel counts; None: all do. Where no pixel of a window counts the
            result is 0.

    Returns:
        float32 `[B,H,W,K]`.

    Example:

    >>> guide = np.zeros((1, 4, 6, 3))
    >>> guide[:, :, 3:] = 1  # an edge in the image
    >>> scores = np.array([0.0, 0.0, 0.4, 0.6, 1.0, 1.0]).reshape(1, 1, 6, 1).repeat(4, axis=1)
    >>> guided_filter(guide, scores).numpy()[0, 0, :, 0].round(2)
    array([0.13, 0.13, 0.13, 0.87, 0.87, 0.87], dtype=float32)
    """
    return filter_scores(prepare_guide(guide, radius, epsilon, valid), scores)


def prepare_guide(guide, radius=16, epsilon=1e-3, valid=None):
    """What :func:`filter_scores` needs of the guide, for scores that come one after another.

    Args:
        guide: as of :func:`guided_filter`.
        radius: as there.
        epsilon: as there.
        valid: as there.

    Example:

    >>> prepared = prepare_guide(np.zeros((1, 4, 6, 3)), radius=2)
    >>> [ops.shape(filter_scores(prepared, np.ones((1, 4, 6, k)))) for k in (1, 2)]
    [(1, 4, 6, 1), (1, 4, 6, 2)]
    """
    # Around 0 the squares stay small, and so does what their differences lose to rounding.
    colours = _channels_first(guide) - 0.5
    weights = ops.ones_like(colours[:, :1])
    if valid is not None:
        weights = ops.cast(valid, "float32")[:, None]
    count = ops.maximum(_box_sums(weights, radius), 1.0)

    def mean(maps):
        return _box_sums(maps * weights, radius) / count

    centre = mean(colours)
    products = mean(ops.stack([colours[:, i] * colours[:, j] for i, j in PAIRS], axis=1))
    covariance = {
        (i, j): products[:, n] - centre[:, i] * centre[:, j] + epsilon * (i == j)
        for n, (i, j) in enumerate(PAIRS)
    }
    return colours, centre, mean, _factors(covariance)


def filter_scores(prepared, scores):
    """:func:`guided_filter` by a guide that :func:`prepare_guide` has seen.

    Args:
        prepared: what :func:`prepare_guide` has returned.
        scores: float `[B,H,W,K]`.

    Returns:
        float32 `[B,H,W,K]`.

    Example:

    >>> prepared = prepare_guide(np.zeros((1, 4, 6, 3)))
    >>> filter_scores(prepared, np.full((1, 4, 6, 1), 0.3)).numpy().mean().round(3)
    np.float32(0.3)
    """
    colours, centre, mean, factors = prepared
    scores = _channels_first(scores)
    joint = [scores, *(colours[:, i, None] * scores for i in range(3))]
    level, *joint = ops.split(mean(ops.concatenate(joint, axis=1)), 4, axis=1)
    centre = [centre[:, i, None] for i in range(3)]
    slopes = _solved(factors, [joint[i] - centre[i] * level for i in range(3)])
    offset = level - sum(slopes[i] * centre[i] for i in range(3))
    *slopes, offset = ops.split(mean(ops.concatenate([*slopes, offset], axis=1)), 4, axis=1)
    result = offset + sum(slopes[i] * colours[:, i, None] for i in range(3))
    return ops.transpose(result, (0, 2, 3, 1))


def _factors(matrix):
    """L D L' of symmetric 3x3 matrices; the inverse by minors loses half the digits on grey."""
    d0 = matrix[0, 0]
    l10, l20 = matrix[0, 1] / d0, matrix[0, 2] / d0
    d1 = matrix[1, 1] - l10 * matrix[0, 1]
    rest = matrix[1, 2] - l20 * matrix[0, 1]
    l21 = rest / d1
    d2 = matrix[2, 2] - l20 * matrix[0, 2] - l21 * rest
    return [factor[:, None] for factor in (d0, d1, d2, l10, l20, l21)]


def _solved(factors, right):
    d0, d1, d2, l10, l20, l21 = factors
    y1 = right[1] - l10 * right[0]
    y2 = right[2] - l20 * right[0] - l21 * y1
    x2 = y2 / d2
    x1 = y1 / d1 - l21 * x2
    return [right[0] / d0 - l10 * x1 - l20 * x2, x1, x2]


def _box_sums(maps, radius):
    """Sums of `[B,C,H,W]` over windows that are clipped at the borders."""
    height, width = ops.shape(maps)[2:]
    maps = ops.pad(maps, ((0, 0), (0, 0), (radius, radius), (radius, radius)))
    maps = _run_sums(maps, 2 * radius + 1, lambda x, first, last: x[:, :, first:last], height)
    return _run_sums(maps, 2 * radius + 1, lambda x, first, last: x[..., first:last], width)


def _run_sums(x, length, part, count):
    """``count`` sums of ``length`` neighbours, put together from sums of 1, 2, 4, ... of them.

    Half the time of a cumulative sum on a CPU, a quarter when compiled, and no digit is lost to a
    difference of long sums.
    """
    total, first, size = 0.0, 0, 1
    while size <= length:
        if length & size:
            total = total + part(x, first, first + count)
            first += size
        x = part(x, 0, -size) + part(x, size, None)
        size *= 2
    return total


def _channels_first(x):
    return ops.transpose(ops.cast(x, "float32"), (0, 3, 1, 2))
