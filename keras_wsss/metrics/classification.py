"""Score of predicted image tags."""

import numpy as np


def multilabel_f1(tags, predictions):
    """Mean over images of F1 = 2 x hits / (tags + predicted tags).

    An image without any hit counts 0, also when it has no tag and none is predicted.

    Args:
        tags: array `[N,C]`, > 0 = tag present.
        predictions: array `[N,C]`, > 0 = tag predicted.

    Returns:
        float in 0..1.

    Example:

    >>> multilabel_f1([[1, 0, 1]], [[1, 1, 0]])
    0.5
    """
    tags, predictions = np.asarray(tags) > 0, np.asarray(predictions) > 0
    hits = np.sum(tags & predictions, axis=1)
    marked = np.sum(tags, axis=1) + np.sum(predictions, axis=1)
    return float(np.mean(2 * hits / np.maximum(marked, 1)))
