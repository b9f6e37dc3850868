"""Bilinear reads and cosine similarity, with their gradients."""

import numpy as np
import tensorflow as tf

from keras_wsss.ops.correspondence import cosine_correspondence, sample_points


def read(x, coordinates):
    """float64 read of one map `[H,W,C]` at `[P,2]`."""
    height, width = x.shape[:2]
    result = []
    for u, v in coordinates:
        column, row = (u + 1) / 2 * (width - 1), (v + 1) / 2 * (height - 1)
        x0, y0 = min(int(column), width - 2), min(int(row), height - 2)
        a, b = column - x0, row - y0
        top = (1 - a) * x[y0, x0] + a * x[y0, x0 + 1]
        bottom = (1 - a) * x[y0 + 1, x0] + a * x[y0 + 1, x0 + 1]
        result.append((1 - b) * top + b * bottom)
    return np.stack(result)


def test_reads_between_pixels():
    generator = np.random.default_rng(0)
    x = generator.random((2, 7, 5, 3))
    coordinates = generator.uniform(-1, 1, (2, 40, 2))
    coordinates[:, 0] = [-1, 1]  # corners
    coordinates[:, 1] = 1
    ours = sample_points(tf.constant(x, tf.float32), tf.constant(coordinates, tf.float32))
    wanted = [read(*pair) for pair in zip(x, coordinates, strict=True)]
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)


def test_gradient_is_the_transposed_read():
    generator = np.random.default_rng(1)
    x, cotangent = generator.random((1, 4, 6, 2)), generator.random((1, 30, 2))
    coordinates = generator.uniform(-1, 1, (1, 30, 2))
    x_tensor = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x_tensor)
        value = tf.reduce_sum(sample_points(x_tensor, coordinates) * cotangent)
    gradient = tape.gradient(value, x_tensor).numpy()
    direction = generator.normal(size=x.shape)
    wanted = np.sum(read(direction[0], coordinates[0]) * cotangent[0])
    np.testing.assert_allclose(np.sum(gradient * direction), wanted, rtol=1e-5)


def test_places_outside_are_moved_to_the_border():
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)
    ours = sample_points(x, np.array([[[-3.0, -3.0], [3.0, 3.0]]], np.float32))
    np.testing.assert_array_equal(ours[0, :, 0], [0, 5])


def test_one_pixel_wide_maps():
    x = np.array([1.0, 3.0], np.float32).reshape(1, 2, 1, 1)
    assert sample_points(x, np.array([[[0.3, 0.0]]], np.float32))[0, 0, 0] == 2


def test_zero_vectors_have_no_similarity_and_no_gradient():
    a = tf.constant([[[0.0, 0.0], [3.0, 4.0]]])
    with tf.GradientTape() as tape:
        tape.watch(a)
        value = cosine_correspondence(a, tf.constant([[[1.0, 0.0]]]))
    np.testing.assert_allclose(value[0, :, 0], [0, 0.6], rtol=1e-6)
    assert np.all(np.isfinite(tape.gradient(value, a)))
    assert cosine_correspondence(tf.cast(a, tf.float16), tf.cast(a, tf.float16)).dtype == tf.float32
