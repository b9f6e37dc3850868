"""The dense Gaussian filter: exact sum, and the error of the strided one."""

import numpy as np
import pytest
import tensorflow as tf

from keras_wsss.ops import energy
from keras_wsss.ops._backend import compiled
from keras_wsss.ops.energy import gaussian_filter


def oracle(features, values):
    """float64 sum over all pairs of one image's pixels."""
    pixels, loudness = (x.reshape(-1, x.shape[-1]).astype(np.float64) for x in (features, values))
    distance = np.square(pixels[:, None] - pixels[None]).sum(axis=-1)
    return (np.exp(-0.5 * distance) @ loudness).reshape(values.shape)


def random(*shape, scale=1.0, seed=0):
    return (scale * np.random.default_rng(seed).random(shape)).astype(np.float32)


@pytest.mark.parametrize("pairs_at_once", [2**20, 1000])
def test_exact_sum_in_one_and_in_many_pieces(pairs_at_once, monkeypatch):
    monkeypatch.setattr(energy, "PAIRS_AT_ONCE", pairs_at_once)
    features, values = random(2, 9, 11, 5, scale=3.0), random(2, 9, 11, 4, seed=1)
    ours = gaussian_filter(features, values)
    wanted = [oracle(*pair) for pair in zip(features, values, strict=True)]
    np.testing.assert_allclose(ours, wanted, rtol=1e-5)


def test_strided_sum_keeps_the_mass():
    values = np.ones((1, 11, 13, 1), np.float32)
    for stride in (1, 2, 4):
        ours = gaussian_filter(np.zeros((1, 11, 13, 5), np.float32), values, stride)
        np.testing.assert_allclose(ours, 11 * 13 * values, rtol=1e-5)


def photograph(shared, side=80):
    path = sorted((shared / "data" / "JPEGImages").glob("*.jpg"))[0]
    image = tf.io.decode_jpeg(tf.io.read_file(str(path)))
    return tf.image.resize(image, (side, side), antialias=True).numpy()


def test_error_of_the_strided_sum_on_a_photograph(shared):
    image = photograph(shared)
    side = len(image)
    places = np.stack(np.mgrid[:side, :side], axis=-1) / 25  # 50 at the usual 160 x 160
    features = np.concatenate([places, image / 15], axis=-1)[None].astype(np.float32)
    logits = tf.image.resize(3 * tf.random.stateless_normal((1, 8, 8, 6), (1, 2)), (side, side))
    values = tf.nn.softmax(logits)
    filtered = compiled(gaussian_filter)
    exact = filtered(features, values, stride=1).numpy()
    strided = filtered(features, values, stride=4).numpy()
    deviation = np.linalg.norm(strided - exact) / np.linalg.norm(exact)
    total = np.sum(values * strided) / np.sum(values * exact)
    assert 1e-4 < deviation < 0.15
    assert abs(total - 1) < 0.05
