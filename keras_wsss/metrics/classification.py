"""Scores of predicted image tags."""

import numpy as np


def multilabel_f1(tags, predictions):
    """Mean over images of F1 = 2 x hits / (tags + predicted tags).

    An image without any hit counts 0; one that has no tag, and of which none is predicted, 1.

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
    return float(np.mean(np.where(marked == 0, 1.0, 2 * hits / np.maximum(marked, 1))))


def average_precision(tags, scores):
    """Average precision of each class: mean of the precision at every image that has the tag.

    Images of equal score count as found together.

    Args:
        tags: array `[N,C]`, > 0 = tag present.
        scores: array `[N,C]`, higher = more likely.

    Returns:
        float64 `[C]` in 0..1; NaN where no image has the tag.

    Example:

    >>> average_precision([[1], [0], [1]], [[0.9], [0.5], [0.1]])
    array([0.83333333])
    """
    tags, scores = np.asarray(tags) > 0, np.asarray(scores)
    precisions = np.full(tags.shape[1], np.nan)
    for column in range(tags.shape[1]):
        wanted, score = tags[:, column], scores[:, column]
        if wanted.any():
            above = score[None] >= score[wanted][:, None]
            precisions[column] = np.mean(np.sum(above & wanted, axis=1) / np.sum(above, axis=1))
    return precisions
