"""Affinity targets, random walk and windows: AFA's reference values."""

import numpy as np
import pytest

from keras_wsss.ops.affinity import affinity_targets, propagate, radius_mask


@pytest.mark.parametrize(("side", "pairs"), [(20, 71824), (32, 222784), (48, 553536)])
def test_window_counts(side, pairs):
    mask = np.asarray(radius_mask(side, side))
    assert mask.sum() == pairs
    assert mask.sum(axis=1).min() == 81 and mask.sum(axis=1).max() == 289


def test_targets_of_four_tokens():
    label = np.zeros((1, 16, 64), np.int32)
    label[0, 0, ::16] = [1, 1, 0, 255]
    target = affinity_targets(label).numpy()[0]
    assert (target == 1).sum() == 5 and (target == 0).sum() == 4 and (target == 255).sum() == 7
    np.testing.assert_array_equal(target, target.T)


def test_targets_outside_the_window_are_unknown():
    label = np.zeros((1, 16, 16 * 12), np.int32)
    target = affinity_targets(label, radius=8).numpy()[0]
    np.testing.assert_array_equal(target == 255, ~radius_mask(1, 12))
    assert np.all(affinity_targets(label, radius=None) == 1)


def test_propagation_of_three_tokens():
    affinity = np.array([[[0.9, 0.5, 0.1], [0.5, 0.8, 0.4], [0.1, 0.4, 0.7]]], np.float32)
    cam = np.array([0.9, 0.4, 0.1], np.float32).reshape(1, 1, 3, 1)
    cam = np.concatenate([cam, np.ones_like(cam)], axis=-1)  # the second class is absent
    ours = propagate(cam, affinity, np.array([[1, 0]]), background_score=0.35).numpy()[0, 0]
    np.testing.assert_allclose(ours[:, 1], (0.552267, 0.483986, 0.398519), atol=1e-6)
    np.testing.assert_allclose(ours[:, 0], (0.362263, 0.429057, 0.469902), atol=1e-6)
    assert not np.any(ours[:, 2])
