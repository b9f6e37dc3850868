"""Class evidence shall be alike inside the salient object, and unlike the background's.

I2CRC (Chen et al., arXiv 2206.09554), eq. 4 to 6. Saliency knows no classes, so only the
images that carry exactly one tag count.
"""

from keras import ops

from keras_wsss.ops.resize import resize

EPSILON = 1e-5


def class_agnostic_distance(cam, mask, tags):
    """Squared distance of class evidence from its mean over a region (CAD, I2CRC, eq. 5).

    With F the evidence of a class and m the region, `p = sum(m F) / sum(m)` and the distance is
    `sum((m (F - p))^2) / sum(m)`, so that a soft pixel weighs m squared; mean over all classes,
    absent ones included, and over the images with one tag. Gradients flow through p as well.

    Args:
        cam: float `[B,h,w,C]`, raw activations of any sign; resized to the region's size.
        mask: float `[B,H,W,1]` in 0..1, the region: salient pixels, or the others.
        tags: `[B,C]`, 1 = class present.

    Returns:
        float32 scalar, at least 0; 0 where no image has exactly one tag.

    Example:

    >>> cam, mask, tags = np.array([[[[1.0], [3.0]]]]), np.ones((1, 1, 2, 1)), np.array([[1.0]])
    >>> round(float(class_agnostic_distance(cam, mask, tags)), 3)
    1.0
    """
    cam, mask = _same_size(cam, mask)
    offset = mask * (cam - _prototype(cam, mask))
    distance = ops.sum(ops.square(offset), axis=(1, 2)) / _area(mask)[:, 0, 0]
    return _mean_of_single_tags(distance, tags)


def class_specific_distance(cam, saliency, tags, valid=1.0):
    """Lead of the background's mean evidence for the tag over the object's (CSD, I2CRC, eq. 6).

    Without lower bound: only a small weight and :func:`class_agnostic_distance` hold it.

    Args:
        cam: float `[B,h,w,C]`, raw activations of any sign; resized to the saliency's size.
        saliency: float `[B,H,W,1]` in 0..1, 0 where not valid.
        tags: `[B,C]`, 1 = class present.
        valid: float `[B,H,W,1]`, 0 for padding, which is neither object nor background.

    Returns:
        float32 scalar, mean over the images with one tag and over all C classes; 0 where no image
        has exactly one tag.

    Example:

    >>> cam, saliency = np.array([[[[1.0], [3.0]]]]), np.array([[[[0.0], [1.0]]]])
    >>> round(float(class_specific_distance(cam, saliency, np.array([[1.0]]))), 3)
    -2.0
    """
    cam, saliency = _same_size(cam, saliency)
    background = (1.0 - saliency) * valid
    lead = (_prototype(cam, background) - _prototype(cam, saliency))[:, 0, 0]
    return _mean_of_single_tags(lead * ops.cast(tags, "float32"), tags)


def _same_size(cam, mask):
    mask = ops.cast(mask, "float32")
    return resize(ops.cast(cam, "float32"), ops.shape(mask)[1:3]), mask


def _area(mask):
    return ops.sum(mask, axis=(1, 2), keepdims=True) + EPSILON


def _prototype(cam, mask):
    """Weighted mean of each class, `[B,1,1,C]`."""
    return ops.sum(mask * cam, axis=(1, 2), keepdims=True) / _area(mask)


def _mean_of_single_tags(values, tags):
    """Mean of `[B,C]` over the classes and over the images with exactly one tag."""
    count = ops.sum(ops.cast(tags, "float32"), axis=-1)
    single = ops.cast(count == 1, "float32")
    images = ops.maximum(ops.sum(single), 1.0)
    return ops.sum(single * ops.mean(values, axis=-1)) / images
