"""BMP's two directions: the CAM teaches the decoder (C2S), the decoder teaches the CAM (S2C)."""

from keras import ops

from keras_wsss.losses.segmentation import cross_entropy
from keras_wsss.palette import IGNORE_ID


def class_to_segmentation(labels, logits, form="bce"):
    """C2S: labels made from the CAM supervise the decoder's logits.

    BMP (Zhu et al., arXiv 2308.04949), eq. 7 and 8.

    Args:
        labels: int `[B,H,W]`, 0 = background, 255 = ignored.
        logits: float `[B,H,W,K]`, already of the labels' size.
        form: ``"bce"``: K independent sigmoids, mean over pixels and channels; ``"ce"``: softmax
            cross-entropy.

    Returns:
        float32 scalar, at least 0; 0 where all is ignored.

    Example:

    >>> labels, logits = np.zeros((1, 2, 2), int), np.zeros((1, 2, 2, 21))
    >>> round(float(class_to_segmentation(labels, logits)), 4)
    0.6931
    """
    if form == "ce":
        return cross_entropy(labels, logits)
    labels = ops.cast(labels, "int32")
    logits = ops.cast(logits, "float32")
    kept = ops.cast(labels != IGNORE_ID, "float32")
    # An ignored label is outside of 0..K-1 and gives a row of zeros, which the mask leaves out.
    truth = ops.one_hot(labels, logits.shape[-1], dtype="float32")
    loss = ops.mean(ops.softplus(logits) - truth * logits, axis=-1)
    return ops.sum(loss * kept) / ops.maximum(ops.sum(kept), 1.0)


def segmentation_to_class(labels, logits, form="ce"):
    """S2C: classes the decoder is sure of supervise the CAM's logits; background never does.

    BMP, eq. 10.

    Args:
        labels: int `[B,H,W]`, c + 1 = class c (:func:`confident_classes`); 0 and 255 are left out.
        logits: float `[B,H,W,C]`, the CAM's, of the labels' size and without background.
        form: ``"ce"`` or ``"bce"``, as for :func:`class_to_segmentation`.

    Returns:
        float32 scalar, at least 0; 0 where all is left out.

    Example:

    >>> labels, logits = np.full((1, 2, 2), 4), np.zeros((1, 2, 2, 20))
    >>> round(float(segmentation_to_class(labels, logits)), 4)
    2.9957
    """
    labels = ops.cast(labels, "int32")
    classes = ops.where((labels == 0) | (labels == IGNORE_ID), IGNORE_ID, labels - 1)
    return class_to_segmentation(classes, logits, form)
