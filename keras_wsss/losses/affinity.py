"""Affinity learned from attention."""

from keras import ops


def affinity_loss(targets, affinity):
    """Pairs of equal label shall have affinity 1, pairs of different label 0; half each.

    AFA, eq. 19: sums over the pairs divided by their number + 1.

    Args:
        targets: int `[B,N,N]`, 1 = same label, 0 = different, anything else is left out
            (:func:`~keras_wsss.ops.affinity.affinity_targets`).
        affinity: float `[B,N,N]` in 0..1.

    Returns:
        float32 scalar in 0..1.

    Example:

    >>> targets = [[[1, 0], [0, 1]]]
    >>> round(float(affinity_loss(targets, np.full((1, 2, 2), 0.5))), 4)
    0.3333
    """
    affinity = ops.cast(affinity, "float32")
    same, different = (ops.cast(ops.equal(targets, value), "float32") for value in (1, 0))
    missing = ops.sum(same * (1 - affinity)) / (ops.sum(same) + 1)
    excess = ops.sum(different * affinity) / (ops.sum(different) + 1)
    return 0.5 * missing + 0.5 * excess
