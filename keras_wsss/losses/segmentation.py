"""Pixel-wise cross-entropies of the decoder."""

from keras import ops

from keras_wsss.ops.resize import resize
from keras_wsss.palette import IGNORE_ID


def cross_entropy(labels, logits, ignore_class=IGNORE_ID):
    """Mean cross-entropy over the pixels that are not ignored; 0 where there is none.

    Args:
        labels: int `[B,H,W]`, 0 = background, or ``ignore_class``.
        logits: float `[B,H,W,K]`.
        ignore_class: int.

    Returns:
        float32 scalar, at least 0.

    Example:

    >>> labels, logits = np.array([[[0, 255]]]), np.zeros((1, 1, 2, 21))
    >>> round(float(cross_entropy(labels, logits)), 4)
    3.0445
    """
    labels = ops.cast(labels, "int32")
    return ops.sum(
        _pixel_losses(labels, logits, ignore_class) * _mean_weights(labels != ignore_class)
    )


def balanced_cross_entropy(labels, logits, ignore_class=IGNORE_ID):
    """Half the mean cross-entropy of background pixels plus half that of foreground pixels.

    AFA, eq. 17. An empty half counts 0 (the released code gives NaN).

    Args:
        labels: int `[B,H,W]`, 0 = background, or ``ignore_class``.
        logits: float `[B,H,W,K]`, already of the labels' size.
        ignore_class: int.

    Returns:
        float32 scalar, at least 0.

    Example:

    >>> labels, logits = np.zeros((1, 2, 2), int), np.zeros((1, 2, 2, 21))
    >>> round(float(balanced_cross_entropy(labels, logits)), 4)
    1.5223
    """
    labels = ops.cast(labels, "int32")
    background = labels == 0
    foreground = (labels != 0) & (labels != ignore_class)
    weights = 0.5 * (_mean_weights(background) + _mean_weights(foreground))
    return ops.sum(_pixel_losses(labels, logits, ignore_class) * weights)


def multi_scale_cross_entropy(labels, logits):
    """Cross-entropy of one view at the size of its labels, or of several on their own grids.

    Args:
        labels: int32 `[B,H,W]`, 255 = ignored.
        logits: list of float `[B,h,w,K]`, the image's own size first. Several are joined by their
            maximum on the first one's grid, and each grid reads the nearest labels.

    Returns:
        float32 scalar.

    Example:

    >>> labels = np.zeros((1, 32, 32), int)
    >>> views = [np.zeros((1, side, side, 21)) for side in (8, 4)]
    >>> round(float(multi_scale_cross_entropy(labels, views)), 4)
    9.1336
    """
    if len(logits) == 1:
        return cross_entropy(labels, resize(logits[0], labels.shape[1:3]))
    grid = logits[0].shape[1:3]
    largest = logits[0]
    for other in logits[1:]:
        largest = ops.maximum(largest, resize(other, grid))
    total = 0.0
    for view in [*logits, largest]:
        nearest = ops.image.resize(labels[..., None], view.shape[1:3], interpolation="nearest")
        total = total + cross_entropy(nearest[..., 0], view)
    return total


def _pixel_losses(labels, logits, ignore_class):
    """Cross-entropy of each pixel `[B,H,W]`; of ignored pixels that of background."""
    labels = ops.where(labels == ignore_class, 0, labels)
    logits = ops.cast(logits, "float32")
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def _mean_weights(chosen):
    """Weights that turn a sum into the mean over the chosen pixels; all 0 where there is none."""
    chosen = ops.cast(chosen, "float32")
    return chosen / ops.maximum(ops.sum(chosen), 1.0)
