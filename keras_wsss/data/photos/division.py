"""Training and validation images: stratified by tags, what looks alike together."""

from __future__ import annotations

import numpy as np

FEWEST = 2  # validation images, if there are enough of others


def for_validation(
    labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int = 0
) -> np.ndarray:
    """Which images are for validation.

    Iterative stratification (Sechidis et al., "On the Stratification of Multi-label Data", 2011):
    of the tag with the fewest images left, each group goes to the part that lacks most of this tag.
    Negatives count as a tag. Every class keeps training images.

    Args:
        labels: [N, C], 1 where an image has the tag.
        groups: int [N]; images of one group stay together.
        fraction: of the images that are for validation, 0 to 1.
        seed: decides between equals.

    Returns:
        bool [N].

    Example:

    >>> labels = np.eye(2)[[0, 0, 0, 0, 1, 1, 1, 1]]
    >>> int(for_validation(labels, np.arange(8), 0.25).sum())
    2
    """
    names, of_image = np.unique(groups, return_inverse=True)
    tags = np.column_stack([labels > 0, ~(labels > 0).any(1)])
    counts = np.zeros((len(names), tags.shape[1]))  # images of each tag in each group
    np.add.at(counts, of_image, tags)
    sizes = np.bincount(of_image)
    generator = np.random.default_rng(seed)
    # Large groups first, so that small ones can balance them.
    order = np.lexsort((generator.random(len(names)), -sizes))

    shares = np.array([1 - fraction, fraction])
    lacking = shares[:, None] * counts.sum(0)  # [2, tags]
    lacking_images = shares * len(labels)
    part = np.full(len(names), -1)
    while (part < 0).any():
        left = ((counts > 0) & (part < 0)[:, None]).sum(0)
        tag = int(np.argmin(np.where(left > 0, left, len(names) + 1)))
        for group in order:
            if part[group] >= 0 or not counts[group, tag]:
                continue
            best = max((0, 1), key=lambda p: (lacking[p, tag], lacking_images[p], -p))
            part[group] = best
            lacking[best] -= counts[group]
            lacking_images[best] -= sizes[group]
    _complete(part, counts[:, :-1], sizes, order, FEWEST if fraction else 0)
    return np.asarray(part[of_image] == 1)


def _complete(
    part: np.ndarray, counts: np.ndarray, sizes: np.ndarray, order: np.ndarray, fewest: int
) -> None:
    """Leaves every class in the training, and at least ``fewest`` images for validation."""
    for tag in range(counts.shape[1]):
        holders = [group for group in order if counts[group, tag]]
        if holders and not any(part[group] == 0 for group in holders):
            part[holders[-1]] = 0
    for group in order[::-1]:  # the smallest first
        if sizes[part == 1].sum() >= fewest:
            break
        rest = (part == 0) & (np.arange(len(part)) != group)
        present = counts[part == 0].any(0)
        if part[group] == 0 and rest.any() and (counts[rest].any(0) == present).all():
            part[group] = 1
