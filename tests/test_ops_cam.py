"""CAM fusion and pseudo labels: AFA's reference values, oracles, sparse = full refinement."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_wsss.ops._backend import compiled
from keras_wsss.ops.cam import (
    cam_to_label,
    fuse_multi_scale,
    normalize_cam,
    refined_pseudo_label,
    refined_scores,
)
from keras_wsss.ops.label import present_slots
from keras_wsss.ops.refine import pixel_adaptive_refinement, variation_aware_refinement
from keras_wsss.ops.resize import resize

three_way_label = functools.partial(refined_pseudo_label, high=0.55, low=0.35)


def scene(present, classes=20, size=(24, 32), seed=0):
    """Two images; the first has ``present`` tags, the second one."""
    generator = np.random.default_rng(seed)
    labels = np.zeros((2, classes), np.float32)
    for row, count in zip(labels, (present, 1), strict=True):
        row[generator.choice(classes, count, replace=False)] = 1
    cam = tf.image.resize(generator.random((2, 4, 5, classes)).astype(np.float32), size)
    image = generator.integers(0, 256, (2, *size, 3)).astype(np.float32)
    box = np.array([[0, size[0], 0, size[1]], [3, size[0] - 2, 1, size[1]]], np.int32)
    return cam, labels, image, box


def test_normalisation():
    np.testing.assert_allclose(
        normalize_cam(np.reshape([2.0, 4.0, 6.0], (1, 1, 3, 1)))[0, 0, :, 0],
        [0, 0.49999875, 0.9999975],
        rtol=1e-6,
    )
    assert not np.any(normalize_cam(np.zeros((1, 4, 4, 2), np.float32)))


def test_fusion_flips_back_and_takes_the_stronger_view():
    plain = np.array([[3.0, -1.0, 0.0, 1.0]]).reshape(1, 1, 4, 1)
    mirrored = np.array([[2.0, 0.0, 5.0, -4.0]]).reshape(1, 1, 4, 1)
    fused = fuse_multi_scale([np.concatenate([plain, mirrored])] * 2, (1, 4))[0, 0, :, 0]
    # max((3,-1,0,1), (-4,5,0,2)) = (3,5,0,2), twice
    np.testing.assert_allclose(fused, np.array([6, 10, 0, 4]) / (10 + 1e-5), rtol=1e-6)


def test_thresholds_count_as_below_and_box_is_half_open():
    cam = np.array([0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6], np.float32).reshape(1, 1, 7, 1)
    labels = np.ones((1, 1))
    np.testing.assert_array_equal(cam_to_label(cam, labels, 0.45)[0, 0], [0, 0, 0, 0, 1, 1, 1])
    three_way = cam_to_label(cam, labels, high=0.55, low=0.35, valid_box=[[0, 1, 1, 7]])
    np.testing.assert_array_equal(three_way[0, 0], [255, 0, 255, 255, 255, 255, 1])
    absent = cam_to_label(cam, np.zeros((1, 1)))
    assert not np.any(absent)


def test_threeway_on_constant_maps():
    expected = {0.80: 3, 0.45: 255, 0.20: 0, 0.55: 255, 0.35: 0}
    scores = np.array(list(expected), np.float32)
    cam = np.broadcast_to(scores[:, None, None, None], (5, 16, 16, 4)).astype(np.float32)
    labels = np.tile(np.eye(4, dtype=np.float32)[2], (5, 1))
    image = np.full((5, 16, 16, 3), 90.0, np.float32)
    box = np.tile([[0, 16, 0, 16]], (5, 1))
    for refine in (pixel_adaptive_refinement, variation_aware_refinement):
        label = three_way_label(cam, labels, image, box, refine).numpy()
        for ours, wanted in zip(label, expected.values(), strict=True):
            assert np.all(ours == wanted)
    slots, _ = present_slots(labels)
    soft = refined_scores(
        cam, image, slots[:, :2], labels, lambda image, scores, iterations: scores, (0.55, 0.35)
    )
    np.testing.assert_allclose(soft[0, 0, 0, :, 1], [0.562177, 0.610639], atol=1e-6)


def refined_with_all_channels(cam, labels, image, box, refine, high=0.55, low=0.35):
    """The same label from the refinement of every channel, absent ones at zero."""
    batch, height, width, classes = cam.shape
    half = height // 2, width // 2
    guide = resize(tf.constant(np.floor(image) / 255), half)
    small = resize(cam, half).numpy()
    kept = np.concatenate([np.ones((batch, 1)), labels], axis=1)[:, None, None]

    def argmax(background):
        stack = np.concatenate([np.full_like(small[..., :1], background), small], axis=-1)
        soft = np.exp(stack) * kept
        soft = soft / soft.sum(axis=-1, keepdims=True)
        refined = resize(refine(guide, soft.astype(np.float32)), (height, width)).numpy()
        return np.argmax(np.where(kept > 0, refined, -np.inf), axis=-1)

    strict, loose = argmax(high), argmax(low)
    label = np.where(strict > 0, strict, np.where(loose > 0, 255, 0))
    for i, (y0, y1, x0, x1) in enumerate(box):
        outside = np.ones((height, width), bool)
        outside[y0:y1, x0:x1] = False
        label[i][outside] = 255
    return label


@functools.cache
def compiled_label():
    return compiled(three_way_label)


@pytest.mark.parametrize("present", [1, 3, 4, 5, 9, 17, 20])
def test_few_channels_give_the_label_of_all(present):
    arguments = scene(present)
    refine = variation_aware_refinement if present % 2 else pixel_adaptive_refinement
    wanted = refined_with_all_channels(*arguments, refine)
    assert len(np.unique(wanted)) > min(present, 3)
    for function in (three_way_label, compiled_label()):
        ours = function(*arguments, refine=refine).numpy()
        assert np.mean(ours == wanted) >= 0.999
        assert ours.dtype == np.int32


def test_images_without_tags_and_without_pixels():
    cam, labels, image, box = scene(2)
    labels[:] = 0
    box = np.array([[0, 24, 0, 32], [5, 5, 0, 32]])
    label = three_way_label(cam, labels, image, box, pixel_adaptive_refinement).numpy()
    assert np.all(label[0] == 0) and np.all(label[1] == 255)


def test_any_size_in_one_trace():
    function = tf.function(
        lambda *x: three_way_label(*x, refine=variation_aware_refinement),
        input_signature=[
            tf.TensorSpec([None, None, None, 20]),
            tf.TensorSpec([None, 20]),
            tf.TensorSpec([None, None, None, 3]),
            tf.TensorSpec([None, 4], tf.int32),
        ],
    )
    for size, present in [((24, 32), 2), ((37, 21), 6)]:
        arguments = scene(present, size=size)
        ours = function(*arguments)
        wanted = three_way_label(*arguments, refine=variation_aware_refinement)
        assert np.mean(ours == wanted) >= 0.999
    assert function.experimental_get_tracing_count() == 1


def test_image_fractions_are_cut_off():
    cam, labels, image, box = scene(2)
    label = three_way_label(cam, labels, image, box, pixel_adaptive_refinement)
    again = three_way_label(cam, labels, image + 0.9, box, pixel_adaptive_refinement)
    np.testing.assert_array_equal(label, again)
