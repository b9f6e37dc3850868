"""Pseudo labels from class activation and saliency maps: I2CRC's rules, in NumPy on one image.

Saliency knows where an object is but not what; a class activation map knows what but only part of
where. Labels are made once between two trainings and kept as files, hence NumPy.
"""

import numpy as np

from keras_wsss.palette import IGNORE_ID

EPSILON = 1e-8
FOREGROUND = 0.3  # a weaker score counts as none
ATTENTION = 0.5  # a stronger class activation is an object, whatever saliency says
CONFLICT = 0.9  # two scores above it contradict each other
SALIENT = 32  # of 255
OBJECT_RATIO = 0.01  # an image whose objects cover less teaches nothing
CUBIC = -0.75  # slope of the interpolation kernel at distance 1


def attention_map(cam, size):
    """Class activation map as it is exported: 8 bits, at the size of the image.

    I2CRC (Chen et al., IEEE TMM 2023, arXiv 2206.09554), eq. 7: ReLU, over its
    maximum, truncated to 8 bits on the grid of the network, then cubic interpolation.

    Args:
        cam: float `[h,w,C]`, raw class activations.
        size: pair (H, W).

    Returns:
        numpy uint8 `[H,W,C]`.

    Example:

    >>> attention_map(np.array([[[-1.0], [2.0]], [[2.0], [4.0]]]), (2, 2))[..., 0]
    array([[  0, 127],
           [127, 255]], dtype=uint8)
    """
    cam = np.maximum(np.asarray(cam, np.float32), 0)
    cam = cam / (cam.max(axis=(0, 1)) + EPSILON)
    levels = np.trunc(cam * 255)
    for axis, length in enumerate(size):
        matrix = _cubic_matrix(levels.shape[axis], length)
        levels = np.moveaxis(np.tensordot(matrix, levels, (1, axis)), 0, axis)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def saliency_guided_label(attention, saliency, tags):
    """Label of an image from the maps of its tags and its saliency map.

    I2CRC, eq. 8 to 11. A pixel takes the strongest of the tags' maps, each stretched to [0,1],
    and of background, which is what is not salient. It stays open (255) where two scores
    contradict each other, or where it came out as background though a map says object.

    Args:
        attention: uint8 `[H,W,C]`, see :func:`attention_map`.
        saliency: uint8 `[H,W]`, 255 = salient.
        tags: `[C]`, > 0 = the image has the class.

    Returns:
        numpy uint8 `[H,W]`: 0 background, 1..C classes, 255 ignore; 255 alone where objects cover
        less than 1 % of the image.

    Example:

    >>> attention = np.array([[[0], [255], [255]]], np.uint8)
    >>> saliency = np.array([[0, 0, 255]], np.uint8)
    >>> saliency_guided_label(attention, saliency, np.array([1]))
    array([[  0, 255,   1]], dtype=uint8)
    """
    classes = np.flatnonzero(np.asarray(tags) > 0)
    # float32, as released: it decides between levels that tie.
    present = np.asarray(attention)[..., classes].astype(np.float32)
    low, high = (f(present, axis=(0, 1)) if present.size else 0.0 for f in (np.min, np.max))
    present = (present - low) / (high - low + EPSILON)
    saliency = np.asarray(saliency, np.float32)
    scores = np.concatenate([1 - saliency[..., None] / 255, present], axis=-1)
    scores = np.where(scores < FOREGROUND, 0, scores)
    # The first channel wins where all are 0.
    label = np.concatenate([[0], classes + 1])[np.argmax(scores, axis=-1)].astype(np.uint8)
    is_object = (saliency >= SALIENT) | np.any(present > ATTENTION, axis=-1)
    contradiction = np.sum(scores > CONFLICT, axis=-1) > 1
    label[contradiction | ((label == 0) & is_object)] = IGNORE_ID
    return _unless_empty(label)


def object_guided_label(prediction, label, tags):
    """OGLR: what a network learned from a label, held against the label and the tags.

    I2CRC, eq. 12 to 15. Classes that the image does not have are open; in images of several
    classes the old label's objects are kept; and where a class is lost altogether, background is
    not to be trusted.

    Args:
        prediction: int `[H,W]`, label map of the segmentation network.
        label: int `[H,W]`, see :func:`saliency_guided_label`.
        tags: `[C]`, > 0 = the image has the class.

    Returns:
        numpy uint8 `[H,W]`, as of :func:`saliency_guided_label`.

    Example:

    >>> prediction, label = np.array([[1, 2, 0]]), np.array([[0, 0, 0]])
    >>> object_guided_label(prediction, label, np.array([1, 0]))  # the image has no class 2
    array([[  1, 255,   0]], dtype=uint8)
    """
    classes = np.flatnonzero(np.asarray(tags) > 0) + 1
    refined = np.asarray(prediction).astype(np.uint8)
    refined[~np.isin(refined, [0, *classes])] = IGNORE_ID
    if len(classes) > 1:
        refined = np.where(refined == 0, label, refined).astype(np.uint8)
    if not np.all(np.isin(classes, refined)):
        refined[refined == 0] = IGNORE_ID
    return _unless_empty(refined)


def _unless_empty(label):
    """The label, or ignore everywhere where its objects are too small."""
    if np.mean((label > 0) & (label < IGNORE_ID)) < OBJECT_RATIO:
        return np.full_like(label, IGNORE_ID)
    return label


def _cubic_matrix(source, target):
    """Weights `[target, source]` of cubic convolution along one axis (half-pixel centres).

    Keys' kernel with the slope -0.75 and the border repeated, not widened when shrinking.
    """
    centre = (np.arange(target) + 0.5) * source / target - 0.5
    first = np.floor(centre).astype(int) - 1
    matrix = np.zeros((target, source))
    for tap in range(4):
        d = np.abs(centre - first - tap)
        near = (CUBIC + 2) * d**3 - (CUBIC + 3) * d**2 + 1
        far = CUBIC * (d**3 - 5 * d**2 + 8 * d - 4)
        place = np.clip(first + tap, 0, source - 1)
        np.add.at(matrix, (np.arange(target), place), np.where(d <= 1, near, far))
    return matrix
