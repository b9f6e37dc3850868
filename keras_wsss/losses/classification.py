"""Image classification from tags."""

from keras import ops


def multilabel_soft_margin(tags, logits):
    """Mean over images and classes of the binary cross-entropy (AFA, eq. 16).

    Args:
        tags: `[B,C]` in 0..1, 1 = class present.
        logits: float `[B,C]`.

    Returns:
        float32 scalar, at least 0.

    Example:

    >>> round(float(multilabel_soft_margin(np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]]))), 4)
    0.6931
    """
    tags, logits = ops.cast(tags, "float32"), ops.cast(logits, "float32")
    return ops.mean(ops.softplus(logits) - logits * tags)
