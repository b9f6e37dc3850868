"""Affinity processing: the reference values of its page, and the pipeline against numpy."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_wsss.ops._backend import compiled
from keras_wsss.ops.affinity_processing import (
    affinity_processing,
    aggregated,
    sinkhorn,
    symmetrised,
)

PAIR = np.array([[[0.6, 0.3], [0.3, 0.8]]], np.float32)
HEIGHT, WIDTH, CLASSES = 4, 5, 3
TAGS = np.array([[1, 0, 1], [0, 1, 0]], np.float32)


def random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


CAM, HEADS = random(2, HEIGHT, WIDTH, CLASSES), random(2, 4, 3, 20, 20, seed=1)


def oracle(
    cam,
    affinity,
    labels,
    aggregate="mean",
    layers=3,
    symmetric=True,
    sinkhorn_rounds=3,
    threshold=True,
    radius=None,
    power=2,
    steps=2,
):
    """The steps of the page, one image and one pair of places at a time, in float64."""
    height, width = cam.shape[1:3]
    result = np.zeros(cam.shape)
    for i, tags in enumerate(labels):
        a = affinity[i].astype(np.float64)
        if a.ndim == 4:
            pool = {"mean": np.mean, "max": np.max, "median": np.median}[aggregate]
            a = pool(pool(a[-layers:], axis=1), axis=0)
        if symmetric:
            a = (a + a.T) / 2
        for _ in range(sinkhorn_rounds):
            a = a / a.sum(axis=1, keepdims=True)
            a = a / a.sum(axis=0, keepdims=True)
        means = a.mean(axis=1)
        for p, q in np.ndindex(a.shape):
            far = max(abs(p // width - q // width), abs(p % width - q % width))
            weak = threshold and a[p, q] < means[p]
            if p != q and (weak or (radius is not None and far > radius)):
                a[p, q] = 0
        a = a**power
        a = a / a.sum(axis=1, keepdims=True)
        for k in np.flatnonzero(tags):
            scores = cam[i, ..., k].astype(np.float64).ravel()
            for _ in range(steps):
                scores = a @ scores
            scores = (scores - scores.min()) / (scores.max() - scores.min())
            result[i, ..., k] = scores.reshape(height, width)
    return result


VARIANTS = [
    {},
    {"aggregate": "max"},
    {"aggregate": "median", "layers": 4},
    {"layers": 1},
    {"symmetric": False},
    {"sinkhorn_rounds": 0},
    {"threshold": False},
    {"radius": 1},
    {"power": 1, "steps": 1},
    {"steps": 4, "threshold": False, "radius": 2},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_variants_equal_numpy(options):
    wanted = oracle(CAM, HEADS, TAGS, **options)
    ours = affinity_processing(CAM, HEADS, TAGS, **options)
    np.testing.assert_allclose(ours, wanted, atol=1e-4)
    if options:  # the variant makes a difference
        assert np.max(np.abs(wanted - oracle(CAM, HEADS, TAGS))) > 1e-2


def test_constant_map_is_unchanged():
    cam = np.broadcast_to(np.float32([0.7, 0.2, 0.4]), CAM.shape)
    ours = affinity_processing(cam, HEADS, TAGS)
    np.testing.assert_allclose(ours, cam * TAGS[:, None, None], rtol=1e-5)


def test_identity_changes_nothing_but_the_range():
    ours = affinity_processing(CAM, np.tile(np.eye(20, dtype=np.float32), (2, 1, 1)), TAGS)
    low, high = CAM.min(axis=(1, 2), keepdims=True), CAM.max(axis=(1, 2), keepdims=True)
    wanted = (CAM - low) / (high - low) * TAGS[:, None, None]
    np.testing.assert_allclose(ours, wanted, atol=1e-6)


def test_symmetrising():
    np.testing.assert_allclose(symmetrised(np.array([[[0.6, 0.4], [0.2, 0.8]]])), PAIR, rtol=1e-6)


def test_two_blocks_stay_apart():
    affinity = np.zeros((1, 20, 20), np.float32)
    affinity[:, :10, :10], affinity[:, 10:, 10:] = random(10, 10), random(10, 10)
    cam = np.zeros((1, HEIGHT, WIDTH, 1), np.float32)
    cam[0, 0, 3] = 1.0
    ours = affinity_processing(cam, affinity, np.ones((1, 1)), steps=6).numpy()
    assert np.all(ours[0, 2:] == 0) and np.sum(ours[0, :2] > 0) > 5


def test_sinkhorn_of_two_places():
    ours = sinkhorn(PAIR)
    np.testing.assert_allclose(np.sum(ours, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.sum(ours, axis=2), 1, atol=0.02)
    assert np.max(np.abs(np.sum(ours, axis=2) - 1)) > 1e-6  # three rounds, not the limit
    assert np.all(np.isfinite(sinkhorn(np.zeros((1, 3, 3)))))


def test_absent_classes_and_empty_maps_are_zero():
    ours = affinity_processing(CAM, HEADS, TAGS).numpy()
    assert np.all(ours.transpose(0, 3, 1, 2)[TAGS == 0] == 0)
    assert not np.any(affinity_processing(0 * CAM, HEADS, TAGS))
    assert np.all(np.isfinite(affinity_processing(CAM, 0 * HEADS, TAGS)))
    assert not np.any(affinity_processing(CAM, HEADS, 0 * TAGS))


def test_diagonal_stays():
    """A place that resembles itself least keeps its own score among others."""
    affinity = 1 - np.eye(20, dtype=np.float32)[None] * 0.9
    kept = {"sinkhorn_rounds": 0, "radius": 0, "power": 1, "steps": 1}
    cam, tags = CAM[:1], np.ones((1, CLASSES))
    ours = affinity_processing(cam, affinity, tags, **kept)
    low, high = cam.min(axis=(1, 2), keepdims=True), cam.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(ours, (cam - low) / (high - low), atol=1e-5)


def test_single_affinity_is_taken_as_it_is():
    np.testing.assert_array_equal(aggregated(PAIR, "max"), PAIR)


def test_compiled_and_any_size():
    options = {"radius": 2, "aggregate": "median"}
    shapes = [[None, None, None, CLASSES], [None, None, None, None, None], [None, CLASSES]]
    any_size = tf.function(
        functools.partial(affinity_processing, **options),
        input_signature=[tf.TensorSpec(shape) for shape in shapes],
        autograph=False,
    )
    arguments = [tf.constant(each) for each in (CAM, HEADS, TAGS)]
    eager = affinity_processing(*arguments, **options)
    for function in (any_size, compiled(functools.partial(affinity_processing, **options))):
        np.testing.assert_allclose(function(*arguments), eager, atol=1e-5)
    other = random(1, 3, 7, CLASSES), random(1, 3, 2, 21, 21), TAGS[:1]
    wanted = affinity_processing(*other, **options)
    np.testing.assert_allclose(any_size(*other), wanted, atol=1e-5)
    assert any_size.experimental_get_tracing_count() == 1
