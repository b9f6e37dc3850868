"""The two conventions of bilinear resizing, and the one that smooths."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_wsss.config import load_config
from keras_wsss.ops.resize import resize, resize_smooth
from keras_wsss.prediction import as_trained


def oracle(x, size, align_corners):
    """float64, `[H,W,C]`; one axis after the other."""
    for axis, target in enumerate(size):
        source = x.shape[axis]
        if align_corners:
            position = np.arange(target) * (source - 1) / max(target - 1, 1)
        else:
            position = (np.arange(target) + 0.5) * source / target - 0.5
        position = np.clip(position, 0, source - 1)
        first = np.minimum(position.astype(int), source - 1)
        after = np.minimum(first + 1, source - 1)
        weight = (position - first).reshape([-1 if i == axis else 1 for i in range(3)])
        x = (1 - weight) * np.take(x, first, axis) + weight * np.take(x, after, axis)
    return x


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(13, 4), (5, 7), (1, 1), (2, 30)])
def test_equals_the_oracle(size, align_corners):
    x = np.random.default_rng(0).random((2, 5, 7, 3))
    ours = resize(tf.constant(x, tf.float32), size, align_corners)
    wanted = [oracle(each, size, align_corners) for each in x]
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(6, 20), (50, 40), (37, 11), (1, 1)])
def test_smooth_resize_is_that_of_pil(size):
    x = 255 * np.random.default_rng(0).random((2, 37, 53), np.float32)
    wanted = [Image.fromarray(each).resize(size[::-1], Image.Resampling.BILINEAR) for each in x]
    ours = resize_smooth(tf.constant(x[..., None]), size)[..., 0]
    np.testing.assert_allclose(ours, np.array([np.array(each) for each in wanted]), atol=1e-3)


def test_a_network_trained_on_squares_sees_them_as_in_training():
    data = load_config("shapes_tscd", ["data.warp=true", "data.crop_size=32"]).data
    x = 255 * np.random.default_rng(1).random((1, 90, 70, 3), np.float32)
    wanted = tf.image.resize(x, (32, 32), antialias=True)  # the kernel of the augmentation
    np.testing.assert_allclose(as_trained(tf.constant(x), data.square), wanted, atol=1e-3)


@pytest.mark.parametrize("align_corners", [False, True])
def test_sizes_known_only_when_the_graph_runs(align_corners):
    maps, pair = tf.TensorSpec([None, None, None, 2]), tf.TensorSpec([2], tf.int32)

    @tf.function(input_signature=[maps, pair])
    def function(x, size):
        return resize(x, (size[0], size[1]), align_corners)

    x = np.random.default_rng(0).random((1, 5, 7, 2)).astype(np.float32)
    for size in [(3, 9), (10, 2)]:
        np.testing.assert_allclose(function(x, size), resize(x, size, align_corners), atol=1e-6)
    assert function.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("align_corners", [False, True])
def test_keeps_the_type(align_corners):
    x = tf.ones((1, 4, 4, 1), tf.float16)
    assert resize(x, (2, 2), align_corners).dtype == tf.float16
