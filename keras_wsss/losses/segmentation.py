"""Pixel-wise cross-entropies of the decoder."""

from keras import ops

from keras_wsss.ops.cam import IGNORE_ID


def cross_entropy(labels, logits, ignore_id=IGNORE_ID):
    """Mean cross-entropy over the pixels that are not ignored; 0 where there is none.

    Args:
        labels: int `[B,H,W]`, 0 = background, or ``ignore_id``.
        logits: float `[B,H,W,K]`.
        ignore_id: int.

    Returns:
        float32 scalar, at least 0.

    Example:

    >>> cross_entropy(ops.zeros((1, 2, 2), "int32"), ops.zeros((1, 2, 2, 21)))
    3.0445224
    """
    labels = ops.cast(labels, "int32")
    return ops.sum(_pixel_losses(labels, logits, ignore_id) * _mean_weights(labels != ignore_id))


def balanced_cross_entropy(labels, logits, ignore_id=IGNORE_ID):
    """Half the mean cross-entropy of background pixels plus half that of foreground pixels.

    AFA, afa.md section 3.5. An empty half counts 0 (the released code gives NaN).

    Args:
        labels: int `[B,H,W]`, 0 = background, or ``ignore_id``.
        logits: float `[B,H,W,K]`, already of the labels' size.
        ignore_id: int.

    Returns:
        float32 scalar, at least 0.

    Example:

    >>> balanced_cross_entropy(ops.zeros((1, 2, 2), "int32"), ops.zeros((1, 2, 2, 21)))
    1.5222612
    """
    labels = ops.cast(labels, "int32")
    background = labels == 0
    foreground = (labels != 0) & (labels != ignore_id)
    weights = 0.5 * (_mean_weights(background) + _mean_weights(foreground))
    return ops.sum(_pixel_losses(labels, logits, ignore_id) * weights)


def _pixel_losses(labels, logits, ignore_id):
    """Cross-entropy of each pixel `[B,H,W]`; of ignored pixels that of background."""
    labels = ops.where(labels == ignore_id, 0, labels)
    logits = ops.cast(logits, "float32")
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def _mean_weights(chosen):
    """Weights that turn a sum into the mean over the chosen pixels; all 0 where there is none."""
    chosen = ops.cast(chosen, "float32")
    return chosen / ops.maximum(ops.sum(chosen), 1.0)
