"""Cleaning a predicted affinity before a CAM is spread by it.

Affinity processing, eq. 1 to 7. The page holds a place for "3M: An Affinity Processing Method
for Weakly Supervised Semantic Segmentation" (2023), of which only the title could be had; the
pipeline here is our own.
"""

from keras import ops

from keras_wsss.ops.affinity import radius_mask

EPSILON = 1e-8
LEAST_CONTRAST = 1e-5  # of a map that is stretched; what is less is rounding
REDUCTIONS = {"mean": ops.mean, "max": ops.max, "median": ops.median}


def affinity_processing(
    cam,
    affinity,
    tags,
    *,
    aggregate="mean",
    layers=3,
    symmetric=True,
    sinkhorn_rounds=3,
    threshold=True,
    radius=None,
    power=2.0,
    steps=2,
):
    """Spreads the scores of present classes by an affinity that is first balanced and thinned.

    Aggregate, symmetrise, balance (:func:`sinkhorn`), drop what is below the mean of its row,
    sharpen, and replace every score by the weighted mean of all scores, ``steps`` times.

    Args:
        cam: float `[B,h,w,C]` in 0..1.
        affinity: float `[B,N,N]` or of several layers and heads `[B,L,H,N,N]`, at least 0,
            N = h * w, tokens numbered row by row.
        tags: `[B,C]`, > 0 = class present.
        aggregate: ``"mean"``, ``"max"`` or ``"median"``: over heads, then over layers.
        layers: int, how many of the last layers count.
        symmetric: bool, average the affinity with its transpose.
        sinkhorn_rounds: int, 0 = not balanced.
        threshold: bool, drop values below the mean of their row; the diagonal stays.
        radius: int, also drop pairs whose rows or columns are further apart, or None.
        power: float, element-wise.
        steps: int, how often scores are spread.

    Returns:
        float32 `[B,h,w,C]` in 0..1: each present class stretched to 0..1 unless it is constant,
        absent classes 0.

    Example:

    >>> cam = np.random.default_rng(0).random((1, 4, 4, 3))
    >>> tags = np.array([[1, 1, 0]])
    >>> spread = affinity_processing(cam, np.ones((1, 16, 16)), tags, radius=1)
    >>> ops.shape(spread), spread.numpy().max(axis=(0, 1, 2))
    ((1, 4, 4, 3), array([1., 1., 0.], dtype=float32))
    """
    batch, height, width, classes = ops.shape(cam)
    walk = aggregated(affinity, aggregate, layers)
    if symmetric:
        walk = symmetrised(walk)
    walk = sinkhorn(walk, sinkhorn_rounds)
    kept = ops.ones_like(walk, dtype="bool")
    if threshold:
        kept = walk >= ops.mean(walk, axis=-1, keepdims=True)
    if radius is not None:
        kept = kept & radius_mask(height, width, radius)
    walk = ops.where(kept | radius_mask(height, width, 0), walk, 0.0)
    walk = normalised(ops.power(walk, power), axis=-1)

    scores = ops.cast(cam, "float32") * ops.cast(tags > 0, "float32")[:, None, None, :]
    scores = ops.reshape(scores, (batch, height * width, classes))
    for _ in range(steps):
        scores = ops.matmul(walk, scores)
    least = ops.min(scores, axis=1, keepdims=True)
    contrast = ops.max(scores, axis=1, keepdims=True) - least
    stretched = (scores - least) / ops.maximum(contrast, LEAST_CONTRAST)
    scores = ops.where(contrast > LEAST_CONTRAST, stretched, scores)
    return ops.reshape(scores, (batch, height, width, classes))


def aggregated(affinity, aggregate="mean", layers=3):
    """One affinity of the heads and last layers of a network.

    Args:
        affinity: float `[B,L,H,N,N]`.
        aggregate: ``"mean"``, ``"max"`` or ``"median"``: over heads, then over layers.
        layers: int, how many of the last layers count.

    Returns:
        float32 `[B,N,N]`.

    Example:

    >>> affinity = np.arange(3.0).reshape(1, 3, 1, 1, 1)  # three layers of one head
    >>> aggregated(affinity, "mean", layers=2).numpy().item()
    1.5
    """
    affinity = ops.cast(affinity, "float32")
    if len(affinity.shape) == 3:
        return affinity
    reduce = REDUCTIONS[aggregate]
    return reduce(reduce(affinity[:, -layers:], axis=2), axis=1)


def symmetrised(affinity):
    """Mean of an affinity float `[B,N,N]` and its transpose.

    Example:

    >>> symmetrised(np.array([[[1.0, 0.2], [0.6, 1.0]]])).numpy()[0]
    array([[1. , 0.4],
           [0.4, 1. ]])
    """
    return (affinity + ops.transpose(affinity, (0, 2, 1))) / 2


def sinkhorn(affinity, rounds=3):
    """Divides rows and then columns by their sums, ``rounds`` times: both come near to 1.

    Without it a place that resembles everything would win wherever scores are spread.

    Args:
        affinity: float `[B,N,N]`, at least 0.
        rounds: int.

    Returns:
        float `[B,N,N]`.

    Example:

    >>> sinkhorn(np.array([[[0.6, 0.3], [0.3, 0.8]]])).numpy().sum(axis=1)
    array([[1., 1.]])
    """
    for _ in range(rounds):
        affinity = normalised(normalised(affinity, axis=-1), axis=-2)
    return affinity


def normalised(affinity, axis):
    """An affinity float `[B,N,N]` over its sums along ``axis``; a sum below 1e-8 counts as that.

    Example:

    >>> normalised(np.array([[[1.0, 3.0], [0.0, 0.0]]]), axis=-1).numpy()[0]
    array([[0.25, 0.75],
           [0.  , 0.  ]])
    """
    return affinity / ops.maximum(ops.sum(affinity, axis=axis, keepdims=True), EPSILON)
