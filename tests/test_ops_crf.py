"""The dense CRF against its own sum over all pairs of pixels."""

import sys

import numpy as np
import pytest

from keras_wsss.errors import ConfigError
from keras_wsss.ops.crf import dense_crf


@pytest.fixture
def extra():
    pytest.importorskip("pydensecrf", reason="the extra 'crf' is not installed")


def mean_field(image, probabilities, iterations, kernels):
    """Every pair of pixels in float64; a kernel is (weight, features [P, F])."""
    unary = np.log(np.clip(probabilities, 1e-5, 1)).reshape(-1, probabilities.shape[-1])
    total = 0.0
    for weight, features in kernels:
        distance = np.square(features[:, None] - features[None]).sum(-1)
        kernel = np.exp(-distance / 2)
        norm = 1 / np.sqrt(kernel.sum(1))  # symmetric normalisation
        total = total + weight * norm[:, None] * kernel * norm[None]
    q = np.exp(unary) / np.exp(unary).sum(1, keepdims=True)
    for _ in range(iterations):
        scores = unary + total @ q
        q = np.exp(scores - scores.max(1, keepdims=True))
        q /= q.sum(1, keepdims=True)
    return q.reshape(probabilities.shape)


def test_certain_probabilities_on_a_uniform_image_stay(extra):
    """I2CRC, reference value 13."""
    image = np.full((24, 30, 3), 90, np.uint8)
    labels = np.zeros((24, 30), int)
    labels[5:20, 8:24] = 3
    refined = dense_crf(image, np.eye(4)[labels])
    np.testing.assert_array_equal(refined.argmax(-1), labels)
    np.testing.assert_allclose(refined.sum(-1), 1, atol=1e-5)


def test_label_spreads_over_its_colour_and_stops_at_the_edge(extra):
    image = np.zeros((20, 32, 3), np.uint8)
    image[:, 16:] = (200, 40, 40)
    probabilities = np.full((20, 32, 2), 0.5)
    probabilities[:, 20:30] = 0.3, 0.7  # a part of the red half is seen
    probabilities[:, :12] = 0.7, 0.3
    refined = dense_crf(image, probabilities).argmax(-1)
    np.testing.assert_array_equal(refined, np.tile(np.arange(32) >= 16, (20, 1)))


@pytest.mark.parametrize("iterations", [1, 3])
def test_equals_the_sum_over_all_pairs(extra, iterations):
    """The package's filter is an approximation; each wrong constant is off by 0.008 or more."""
    generator = np.random.default_rng(0)
    labels = np.kron(generator.integers(0, 3, (3, 3)), np.ones((7, 7), int))
    colours = np.array([[30, 60, 200], [200, 80, 40], [90, 200, 90]])
    image = colours[labels] + generator.integers(-3, 4, (21, 21, 3))
    probabilities = 0.75 * generator.dirichlet([2.0] * 3, (21, 21)) + 0.25 * np.eye(3)[labels]
    place = np.stack(np.mgrid[:21, :21], -1).reshape(-1, 2)
    kernels = [(3, place / 1), (4, np.concatenate([place / 67, image.reshape(-1, 3) / 3], -1))]
    expected = mean_field(image, probabilities, iterations, kernels)
    refined = dense_crf(image, probabilities, iterations)
    assert np.mean(np.abs(refined - expected)) < 0.005


def test_float_images_round_instead_of_wrapping(extra):
    generator = np.random.default_rng(1)
    image = generator.integers(0, 256, (10, 14, 3))
    probabilities = generator.dirichlet([1.0, 1.0], (10, 14))
    noisy = np.clip(image + generator.uniform(-0.4, 0.4, image.shape), -0.4, 255.4)
    one, two = dense_crf(image.astype(np.uint8), probabilities), dense_crf(noisy, probabilities)
    np.testing.assert_array_equal(one, two)


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    with pytest.raises(ConfigError, match=r"pip install .*keras_wsss\[crf\]"):
        dense_crf(np.zeros((4, 4, 3)), np.ones((4, 4, 1)))
