"""PAR and VARM: reference values of AFA and TSCD, and a numpy oracle."""

import numpy as np
import pytest
import tensorflow as tf

from keras_wsss.ops.refine import (
    DILATIONS,
    pixel_adaptive_refinement,
    variation_aware_refinement,
)

REFINERS = [pixel_adaptive_refinement, variation_aware_refinement]


def random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def oracle(image, scores, iterations, name, dilations=DILATIONS):
    """One image `[H,W,3]` and its scores `[H,W,K]`, float64, straight from the method pages."""
    image, scores = image.astype(np.float64), scores.astype(np.float64)
    height, width = image.shape[:2]
    steps = [
        (d * dy, d * dx) for d in dilations for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx
    ]

    def shifted(x, dy, dx):
        rows = np.clip(np.arange(height) + dy, 0, height - 1)
        columns = np.clip(np.arange(width) + dx, 0, width - 1)
        return x[rows][:, columns]

    def softmax(x):
        x = np.exp(x - x.max(axis=0))
        return x / x.sum(axis=0)

    neighbours = np.stack([shifted(image, *step) for step in steps])
    deviation = neighbours.std(axis=0, ddof=1) + 1e-8
    factor = 1 / 0.3 if name == "par" else 4
    weights = softmax(-np.square(factor * np.abs(neighbours - image) / deviation).mean(axis=-1))
    if name == "par":
        distance = np.array([np.hypot(*step) for step in steps])
        position = softmax(-np.square(distance / distance.std(ddof=1) / 0.3))
        weights = weights + 0.01 * position[:, None, None]
    else:
        down, right = np.zeros_like(neighbours), np.zeros_like(neighbours)
        down[:, :-1] = neighbours[:, :-1] - neighbours[:, 1:]
        right[:, :, :-1] = neighbours[:, :, :-1] - neighbours[:, :, 1:]
        weights = weights - 0.01 * softmax((down**2 + right**2).mean(axis=-1))
    for _ in range(iterations):
        moved = np.stack([shifted(scores, *step) for step in steps])
        scores = np.sum(weights[..., None] * moved, axis=0)
    return scores, weights


def grid_image(size=6):
    y, x, c = np.mgrid[:size, :size, :3]
    return (((7 * y + 3 * x + 5 * c) % 11) / 10).astype(np.float32)


def halves(size, column):
    mask = np.broadcast_to(np.arange(size) < column, (size, size)).astype(np.float32)
    return np.stack([mask, 1 - mask], axis=-1)


@pytest.mark.parametrize("name", ["par", "varm"])
@pytest.mark.parametrize("size", [(13, 17), (31, 30)])
def test_equals_the_oracle(name, size):
    image, scores = random(*size, 3), random(*size, 4, seed=1)
    ours = REFINERS[name == "varm"](image[None], scores[None], iterations=3)
    np.testing.assert_allclose(ours[0], oracle(image, scores, 3, name)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("refine", "mass"), zip(REFINERS, (1.104622, 0.904382), strict=True))
def test_mass_after_ten_iterations(refine, mass):
    image = np.stack([np.full((9, 12, 3), 0.4), random(9, 12, 3)])
    scores = np.full((2, 9, 12, 1), 0.7, np.float32)
    np.testing.assert_allclose(refine(image, scores), 0.7 * mass * np.ones_like(scores), rtol=1e-4)


GOLDEN = {
    ("par", 1): [(1.009814, 0.000186), (1.003376, 0.006624), (0.000186, 1.009814)],
    ("par", 10): [(1.075352, 0.029270), (0.892525, 0.212097), (0.046647, 1.057975)],
    ("varm", 1): [(0.992318, -0.002318), (0.996248, -0.006248), (-0.002500, 0.992500)],
    ("varm", 10): [(0.936848, -0.032465), (0.827018, 0.077364), (-0.018909, 0.923291)],
}


@pytest.mark.parametrize(("name", "iterations"), GOLDEN)
def test_numbers_of_the_method_pages(name, iterations):
    refine = REFINERS[name == "varm"]
    ours = refine(grid_image()[None], halves(6, 3)[None], iterations).numpy()[0]
    np.testing.assert_allclose(
        [ours[0, 0], ours[2, 3], ours[5, 5]], GOLDEN[name, iterations], atol=1e-4
    )


def test_variation_weights():
    weights = oracle(grid_image(), halves(6, 3), 0, "varm")[1]
    assert round(weights.min(), 6) == -0.000343  # the oracle itself: TSCD, reference value 2


@pytest.mark.parametrize("refine", REFINERS)
def test_labels_snap_to_the_edge(refine):
    image = np.broadcast_to((np.arange(64) >= 32)[:, None], (1, 64, 64, 3)).astype(np.float32)
    label = np.argmax(refine(image, halves(64, 36)[None])[0], axis=-1)
    np.testing.assert_array_equal(label, np.tile(np.arange(64) >= 32, (64, 1)))


@pytest.mark.parametrize("refine", REFINERS)
def test_small_scores_are_enlarged_to_the_image(refine):
    image, scores = random(1, 12, 20, 3), random(1, 6, 10, 2)
    assert refine(image, scores, 1).shape == (1, 12, 20, 2)
    assert refine(image.astype(np.float16), scores.astype(np.float16), 1).dtype == tf.float32


@pytest.mark.parametrize("refine", REFINERS)
def test_any_size_in_one_trace(refine):
    spec = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, None, None, 2])]
    function = tf.function(refine, input_signature=spec)
    for size in [(5, 7), (26, 9)]:
        image, scores = random(1, *size, 3), random(1, *size, 2, seed=1)
        np.testing.assert_allclose(function(image, scores), refine(image, scores), atol=1e-6)
    assert function.experimental_get_tracing_count() == 1
