"""Methods beyond the conformance suite: parity, a planted object, relation terms, other trunks."""

import numpy as np
import pytest
import tensorflow as tf
from conformance import parts_reached
from conftest import random_batch, tiny_config

from keras_wsss import losses
from keras_wsss.errors import ConfigError
from keras_wsss.methods import new_model
from keras_wsss.ops.resize import resize
from keras_wsss.optimizers import build_optimizer
from keras_wsss.prediction import Predictor
from keras_wsss.registry import METHODS

CLASSES = 6


def test_parity_follows_the_released_affinity():
    released = new_model(tiny_config("parity=true"), CLASSES)
    corrected = new_model(tiny_config(), CLASSES)
    assert not released.affinity_head.symmetric and corrected.affinity_head.symmetric


def test_the_largest_cam_is_the_tagged_object():
    """A planted feature: CAM and label find the place where the class evidence is."""
    labelling = ("high=0.4", "low=0.2", "iterations=10")
    config = tiny_config(*(f"pseudo_label.{pair}" for pair in labelling))
    model = new_model(config, CLASSES)
    batch = random_batch()
    image = np.full((2, 64, 64, 3), 30.0, np.float32)
    image[:, 16:48, 16:48] = 220.0
    planted = np.zeros((2, 64, 64, CLASSES), np.float32)
    planted[:, 20:44, 20:44] = 1.0
    labels = model.labeller.from_cam(
        {**batch, "image": tf.constant(image), "valid_box": tf.constant([[0, 64, 0, 64]] * 2)},
        tf.constant(planted),
    ).numpy()
    first_tag = int(np.argmax(batch["labels"][0])) + 1
    assert labels[0, 32, 32] == first_tag
    assert labels[0, 17, 17] == first_tag  # refinement reached the object's border
    assert labels[0, 4, 4] == 0


# ---- relation constraints and other trunks -----------------------------------------------------

PARTS = ("backbone", "classifier", "decoder", "affinity")
RELATIONS = ("object_distance", "background_distance", "class_distance")


def with_saliency(batch, seed=0):
    """The batch with saliency maps and masks, its first image with one tag."""
    generator = np.random.default_rng(seed)
    labels = batch["labels"].numpy()
    labels[0] = np.eye(CLASSES)[2]
    saliency = generator.random((*batch["image"].shape[:3], 1)).astype(np.float32)
    maps = {"saliency": tf.constant(saliency), "mask": tf.zeros(saliency.shape[:3], tf.int32)}
    return {**batch, "labels": tf.constant(labels), **maps}


def relation_weights():
    return [f"losses.{name}={{weight: 0.1}}" for name in RELATIONS]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_have_the_relation_terms(method):
    config = tiny_config(*relation_weights(), config=f"shapes_{method}")
    assert config.needs_saliency
    model = new_model(config, CLASSES)
    model.compile("adam")
    batch, phase = with_saliency(random_batch(side=64)), model.schedule.only(*RELATIONS)
    assert phase.reads == {"saliency"}
    terms, _ = model.terms_and_gradients(batch, phase)
    assert set(terms) == {*RELATIONS, "loss"} and float(terms["object_distance"]) > 0
    route = {"backbone", "classifier"}
    assert parts_reached(model, batch, phase) == dict.fromkeys(RELATIONS, route)

    # Padding counts neither as object nor as background.
    box, cam, tags = [0, 50, 0, 40], model(batch, request=["cam"])["cam"], batch["labels"]
    boxed = {**batch, "valid_box": tf.constant([box, box], tf.int32)}
    view = {"image_logits": tf.zeros((2, CLASSES)), "cam": cam}
    values = model.loss_terms(boxed, {"view": view}, {}, phase)
    valid = np.zeros((2, 64, 64, 1), np.float32)
    valid[:, :50, :40] = 1
    salient = batch["saliency"] * valid
    expected = {
        "object_distance": losses.class_agnostic_distance(cam, salient, tags),
        "background_distance": losses.class_agnostic_distance(cam, valid - salient, tags),
        "class_distance": losses.class_specific_distance(cam, salient, tags, valid),
    }
    for name in RELATIONS:
        np.testing.assert_allclose(values[name], expected[name], rtol=1e-6)


def test_images_of_several_tags_see_no_relation_term():
    """I2CRC, reference value 5: their objective is the classification alone."""
    config = tiny_config(*relation_weights(), config="shapes_supervised")
    model = new_model(config, CLASSES)
    model.compile("adam")
    batch = random_batch(side=64)
    batch = {**with_saliency(batch), "labels": batch["labels"]}  # two tags each
    phase = model.schedule.only("classification", *RELATIONS)
    terms, _ = model.terms_and_gradients(batch, phase)
    assert all(float(terms[name]) == 0 for name in RELATIONS)
    weight = config.losses["classification"].weight
    assert float(terms["loss"]) == weight * float(terms["classification"])


def test_sizes_of_the_decoder_are_trained_together():
    """I2CRC, eq. 3: a cross-entropy a size and one of their maximum, labels read nearest."""
    config = tiny_config(
        "losses.segmentation.extra_scales=[0.75, 0.5]",
        "heads.decoder=deeplabv2",
        "evaluation.scales=[1.0, 0.75, 0.5]",
        config="shapes_supervised",
    )
    model = new_model(config, CLASSES)
    batch, phase = random_batch(), model.schedule.only("segmentation")
    mask = np.random.default_rng(0).choice([0, 1, 3, 255], (2, 128, 128))
    batch["mask"] = tf.constant(mask, tf.int32)
    outputs = model.forward(batch, phase)
    logits = [outputs["view"]["segmentation_logits"], *outputs["other_sizes"]]
    logits = [x.numpy().astype(np.float64) for x in logits]
    assert [x.shape[1] for x in logits] == [8, 6, 4]
    enlarged = [tf.image.resize(x, (8, 8)).numpy() for x in logits]
    logits.append(np.max(enlarged, axis=0))

    total = 0.0
    for x in logits:
        places = ((np.arange(x.shape[1]) + 0.5) * 128 / x.shape[1]).astype(int)
        labels = mask[:, places][:, :, places]
        known = labels != 255
        scores = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
        chosen = np.take_along_axis(scores, np.where(known, labels, 0)[..., None], -1)[..., 0]
        total -= chosen[known].mean()
    terms = model.loss_terms(batch, outputs, {}, phase)
    np.testing.assert_allclose(terms["segmentation"], total, rtol=1e-5)

    fused = Predictor(model, config.evaluation.scales).logits(batch["image"])
    views = [model(resize(batch["image"], (n, n)))["segmentation_logits"] for n in (128, 96, 64)]
    largest = np.max([resize(x, (8, 8)) for x in views], axis=0)
    np.testing.assert_allclose(fused, resize(tf.constant(largest), (128, 128)), 1e-4, 1e-5)


def test_extra_sizes_are_for_the_supervised_method():
    with pytest.raises(ConfigError, match="losses.segmentation.extra_scales.*supervised"):
        tiny_config("losses.segmentation.extra_scales=[0.5]")


@pytest.mark.parametrize(
    ("name", "decoder"),
    [("vgg16", "segformer"), ("vgg16_largefov", "largefov"), ("resnet50", "deeplabv2")],
)
def test_methods_run_on_trunks_of_stride_8(name, decoder):
    config = tiny_config(
        f"backbone.name={name}",
        f"heads.decoder={decoder}",
        "heads.classifier_bias=true",
        "cam.scales=[1.0]",
        "optimizer.kind=sgd",
        start=0,
    )
    model = new_model(config, CLASSES)
    model.compile(build_optimizer(config.optimizer, 8))
    batch, phase = random_batch(side=64), model.schedule.phase(0)
    terms, gradients = model.terms_and_gradients(batch, phase)
    assert set(terms) == {*config.losses, "loss"}
    assert all(np.isfinite(float(value)) for value in terms.values())
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    outputs = model(batch, request=["affinity"])
    assert outputs["affinity"].shape == (2, 64, 64)
    sizes = {"vgg16": 32, "vgg16_largefov": 8, "resnet50": 8}
    assert outputs["segmentation_logits"].shape == (2, sizes[name], sizes[name], CLASSES + 1)
