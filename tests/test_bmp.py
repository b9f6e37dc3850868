"""BMP and what AFA brings to it: its reference values, and ``ops.box``."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_batch, tiny_config

from keras_wsss import losses
from keras_wsss.methods import BMP, new_model
from keras_wsss.ops.affinity import propagate
from keras_wsss.ops.box import refined_in_box
from keras_wsss.ops.label import IGNORE_ID, present_slots
from keras_wsss.ops.pseudo_label import (
    background_aware_label,
    confident_classes,
    propagated_pseudo_label,
)
from keras_wsss.ops.refine import pixel_adaptive_refinement, variation_aware_refinement
from keras_wsss.ops.resize import resize

CLASSES = 6


# ---- refinement inside the box ---------------------------------------------------------------


def cut_out_and_refine(scores, image, box, refine):
    """The definition: cut the box out of each image, refine it alone, paste it into zeros."""
    result = np.zeros(scores.shape, np.float32)
    for i, (y0, y1, x0, x1) in enumerate(box):
        half = (y1 - y0) // 2, (x1 - x0) // 2
        guide = resize(tf.constant(image[i : i + 1, y0:y1, x0:x1] / 255.0), half)
        refined = refine(guide, tf.constant(scores[i : i + 1, y0:y1, x0:x1]), iterations=4)
        result[i, y0:y1, x0:x1] = resize(refined, (y1 - y0, x1 - x0))[0]
    return result


@pytest.mark.parametrize("refine", [pixel_adaptive_refinement, variation_aware_refinement])
@pytest.mark.parametrize("xla", [False, True])
def test_refining_in_the_box_is_cutting_out_refining_and_pasting(refine, xla):
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (3, 50, 61, 3)).astype(np.float32)
    scores = generator.uniform(size=(3, 50, 61, 2)).astype(np.float32)
    box = np.array([[0, 50, 0, 61], [7, 50, 0, 44], [3, 36, 20, 59]])
    function = tf.function(
        lambda *inputs: refined_in_box(*inputs, refine, iterations=4),
        jit_compile=xla,
        autograph=False,
    )
    ours = function(scores, image, box)
    np.testing.assert_allclose(ours, cut_out_and_refine(scores, image, box, refine), atol=1e-4)


def test_an_empty_box_gives_zeros():
    image, scores = tf.ones((1, 16, 16, 3)), tf.ones((1, 16, 16, 2))
    ours = refined_in_box(scores, image, [[5, 5, 5, 5]], pixel_adaptive_refinement)
    np.testing.assert_array_equal(ours, np.zeros((1, 16, 16, 2)))


def test_background_aware_label_asks_for_the_inflated_confidence():
    """PAR's mass grows by 1.01 an iteration: 0.46 passes 0.5, 0.44 does not."""
    image, cam = tf.fill((1, 32, 32, 3), 90.0), tf.zeros((1, 32, 32, 3))
    tags, box = tf.constant([[0.0, 1.0, 0.0]]), [[0, 32, 0, 30]]
    for background, label in [(0.46, 0), (0.44, IGNORE_ID)]:
        ours = background_aware_label(
            tf.fill((1, 32, 32), background), cam, tags, image, box, pixel_adaptive_refinement
        ).numpy()
        assert np.all(ours[:, :, :30] == label)
        assert np.all(ours[:, :, 30:] == IGNORE_ID)


def test_background_aware_label_names_present_classes_only():
    image = tf.fill((1, 32, 32, 3), 90.0)
    cam = tf.constant(np.broadcast_to([0.9, 0.8, 0.99], (1, 32, 32, 3)), tf.float32)
    ours = background_aware_label(
        tf.fill((1, 32, 32), 0.1), cam, tf.constant([[0.0, 1.0, 0.0]]), image, [[0, 32, 0, 32]],
        pixel_adaptive_refinement,
    )  # fmt: skip
    assert np.all(ours == 2)


def test_propagated_label_without_box_is_walk_and_refinement_written_out():
    generator = np.random.default_rng(1)
    cam = generator.uniform(size=(2, 4, 5, CLASSES)).astype(np.float32)
    affinity = generator.uniform(size=(2, 20, 20)).astype(np.float32)
    tags = np.zeros((2, CLASSES), np.float32)
    tags[0, [1, 4]] = tags[1, [0, 1, 2, 3, 5]] = 1  # one group of slots, and two
    image = generator.integers(0, 256, (2, 40, 50, 3)).astype(np.float32)
    box = [[0, 40, 0, 50]] * 2
    ours = propagated_pseudo_label(
        cam, affinity, tags, image, box, pixel_adaptive_refinement, 0.55, 0.35, iterations=2
    )
    labels = []
    for score in (0.55, 0.35):
        maps = resize(propagate(cam * tags[:, None, None], affinity, tags, score), (40, 50))
        maps = refined_in_box(maps, image, box, pixel_adaptive_refinement, iterations=2)
        labels.append(np.argmax(maps, axis=-1))
    strict, loose = labels
    expected = np.where((strict == 0) & (loose != 0), 255, strict)
    assert np.mean(ours == expected) > 0.999
    assert len(np.unique(expected)) > 3
    assert present_slots(tags)[1].numpy().sum(axis=1).tolist() == [3, 6]


# ---- losses ----------------------------------------------------------------------------------


def test_soft_margin_of_the_check_list():
    logits = np.zeros((1, 1, 1, 2), np.float32)
    assert np.isclose(losses.class_to_segmentation([[[0]]], logits), 0.693147, atol=1e-6)
    logits[...] = 2, -1
    assert np.isclose(losses.class_to_segmentation([[[0]]], logits), 0.220095, atol=1e-6)


@pytest.mark.parametrize("form", ["bce", "ce"])
def test_c2s_against_numpy(form):
    generator = np.random.default_rng(2)
    logits = generator.normal(size=(2, 5, 6, 4))
    labels = generator.integers(0, 4, (2, 5, 6))
    labels[generator.uniform(size=labels.shape) < 0.3] = 255
    kept, truth = logits[labels != 255], np.eye(4)[labels[labels != 255]]
    if form == "bce":
        probability = 1 / (1 + np.exp(-kept))
        expected = -np.mean(truth * np.log(probability) + (1 - truth) * np.log(1 - probability))
    else:
        softmax = np.exp(kept) / np.exp(kept).sum(axis=1, keepdims=True)
        expected = -np.mean(np.log(np.sum(softmax * truth, axis=1)))
    ours = losses.class_to_segmentation(labels, logits.astype(np.float32), form)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_s2c_of_the_check_list():
    """0.70 is ignored, background is ignored, 0.80 at class 4 teaches the CAM's channel 3."""
    logits = np.full((1, 1, 3, 21), -5.0, np.float32)
    logits[0, 0, 0, 4], logits[0, 0, 1, 0], logits[0, 0, 2, 4] = 0.70, 0.80, 0.80
    labels = confident_classes(logits, np.ones((1, 1, 3), bool))
    np.testing.assert_array_equal(labels, [[[255, 255, 4]]])
    cam = np.random.default_rng(3).normal(size=(1, 1, 3, 20)).astype(np.float32)
    expected = -cam[0, 0, 2, 3] + np.log(np.sum(np.exp(cam[0, 0, 2])))
    np.testing.assert_allclose(losses.segmentation_to_class(labels, cam), expected, rtol=1e-5)


def test_probability_is_the_other_reading_of_the_threshold():
    logits = np.zeros((1, 1, 1, 21), np.float32)
    logits[..., 4] = 2.0  # a logit above 0.75 whose probability is 0.27
    everywhere = np.ones((1, 1, 1), bool)
    assert confident_classes(logits, everywhere)[0, 0, 0] == 4
    unsure = confident_classes(logits, everywhere, threshold_on="probability")
    assert unsure[0, 0, 0] == 255


@pytest.mark.parametrize("form", ["bce", "ce"])
@pytest.mark.parametrize("loss", [losses.class_to_segmentation, losses.segmentation_to_class])
def test_nothing_kept_gives_zero_and_finite_gradients(loss, form):
    logits = tf.random.stateless_normal((2, 4, 4, 5), [0, 1])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(np.full((2, 4, 4), 255), logits, form)
    assert float(value) == 0
    np.testing.assert_array_equal(tape.gradient(value, logits), np.zeros((2, 4, 4, 5)))


# ---- the method ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bmp():
    model = new_model(tiny_config(config="shapes_bmp"), CLASSES)
    model.build()
    return model


def test_gate_scales_what_the_decoder_reads(bmp):
    features = bmp.backbone(random_batch()["image"])
    gate = bmp.objectness(features[-1], (128, 128))
    evidence = resize(bmp.classifier.cam(features[-1]), (128, 128))
    np.testing.assert_allclose(
        gate[..., 0], np.max(1 / (1 + np.exp(-evidence.numpy())), axis=-1), rtol=1e-5
    )
    gated = [x * resize(gate, x.shape[1:3]) for x in features]
    expected = bmp.decoder(gated, training=False)
    np.testing.assert_allclose(bmp.decode(features, (128, 128)), expected, atol=1e-5)
    assert np.abs(expected - bmp.decoder(features, training=False)).max() > 1e-3


def test_maps_of_mirrored_images_are_mirrored_maps(bmp):
    batch = random_batch()
    turned = {**batch, "image": tf.reverse(batch["image"], axis=[2])}
    maps, mirrored = (bmp.labeller.maps(x, events={"propagation"}) for x in (batch, turned))
    for name in ("cam", "segmentation"):
        np.testing.assert_allclose(
            tf.reverse(mirrored[name], axis=[2]), maps[name], atol=1e-4, err_msg=name
        )


def test_affinity_keeps_the_label_of_the_cam_when_the_decoder_gets_another(bmp):
    batch, phase = random_batch(), bmp.schedule.last
    labels = bmp.pseudo_labels(batch, bmp.forward(batch, phase), phase)
    early = bmp.schedule.only(*phase.terms)
    before = bmp.pseudo_labels(batch, bmp.forward(batch, early), early)
    np.testing.assert_array_equal(labels["affinity"], before["affinity"])
    np.testing.assert_array_equal(before["affinity"], before["c2s"])
    assert np.any(labels["c2s"] != labels["affinity"])


def test_what_the_decoder_is_sure_of_needs_no_labeller(bmp):
    """S2C alone: one pass, and labels of the decoder."""
    batch, phase = random_batch(), bmp.schedule.only("s2c", events={"propagation"})
    assert phase.reads == {"prediction"}
    outputs = bmp.forward(batch, phase)
    assert set(outputs) == {"view", "logits"}
    assert set(bmp.pseudo_labels(batch, outputs, phase)) == {"s2c"}


def test_serialised_by_name():
    assert keras.saving.get_registered_name(BMP) == "keras_wsss>BMP"
