"""What the methods promise: routing of gradients, schedule, degenerate batches, Keras manners."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ALL_TERMS_AT_ONCE, random_batch, tiny_config

from keras_wsss import losses
from keras_wsss.errors import ConfigError
from keras_wsss.inference import Predictor
from keras_wsss.methods import METHODS, TSCD, Supervised
from keras_wsss.ops.resize import resize
from keras_wsss.training import build_optimizer

EVERY = frozenset(
    {"classification", "segmentation", "affinity", "correspondence", "energy", "equivariance"}
)
CLASSES = 6
PARTS = ("backbone", "classifier", "decoder", "affinity")


@pytest.fixture(scope="module", params=[False, True], ids=["corrected", "parity"])
def tscd(request):
    config = tiny_config(*ALL_TERMS_AT_ONCE, f"parity={str(request.param).lower()}")
    model = TSCD(config, CLASSES)
    model.build()
    return model


def gradients_by_part(model, term):
    """Largest absolute gradient of one loss term in each part of the network."""
    batch = random_batch(classes=CLASSES)
    with tf.GradientTape() as tape:
        outputs = model.forward(batch, EVERY)
        labels = model.pseudo_labels(batch, outputs, EVERY)
        # The upper quarter of noise labels would be all one class; these have every kind.
        labels = tf.where(tf.random.stateless_uniform(labels.shape, [1, 2]) < 0.3, 0, labels)
        value = model.loss_terms(batch, outputs, labels, EVERY)[term]
    variables = model.trainable_variables
    gradients = tape.gradient(value, [v.value for v in variables], unconnected_gradients="zero")
    parts = {}
    for variable, gradient in zip(variables, gradients, strict=True):
        part = next(part for part in PARTS if part in variable.path)
        parts[part] = max(parts.get(part, 0.0), float(tf.reduce_max(tf.abs(gradient))))
    return {part for part, size in parts.items() if size > 0}


ROUTES = {
    "classification": {"backbone", "classifier"},
    "segmentation": {"backbone", "decoder"},
    "affinity": {"backbone", "affinity"},
    "correspondence": {"backbone", "decoder"},
    "energy": {"backbone", "decoder"},
    "equivariance": {"backbone", "classifier"},
}


@pytest.mark.parametrize("term", sorted(ROUTES))
def test_which_loss_reaches_which_part(tscd, term):
    released_constant = tscd.settings.parity and term == "equivariance"
    assert gradients_by_part(tscd, term) == (set() if released_constant else ROUTES[term])


def test_terms_that_have_not_started_are_not_computed(tscd):
    outputs = tscd.forward(random_batch(classes=CLASSES), frozenset({"classification"}))
    assert set(outputs) == {"view"}  # no CAM pass, no second view


def test_active_terms_follow_the_schedule():
    config = tiny_config("losses.segmentation.start_step=3", "losses.affinity.start_step=5")
    model = TSCD(config, CLASSES)
    assert "segmentation" not in model.active_terms(2)
    assert "segmentation" in model.active_terms(3)
    assert "affinity" not in model.active_terms(4)
    assert "affinity" in model.active_terms(5)


def degenerate(kind):
    batch = random_batch(classes=CLASSES)
    if kind == "no tags":
        batch["labels"] = tf.zeros_like(batch["labels"])
    elif kind == "all tags":
        batch["labels"] = tf.ones_like(batch["labels"])
    elif kind == "all padding":
        batch["valid_box"] = tf.zeros_like(batch["valid_box"])
    elif kind == "black image":
        batch["image"] = tf.zeros_like(batch["image"])
    return batch


@pytest.mark.parametrize("kind", ["no tags", "all tags", "all padding", "black image"])
def test_losses_and_gradients_stay_finite(tscd, kind):
    tscd.compile("adam")
    terms, gradients = tscd.terms_and_gradients(degenerate(kind), EVERY)
    assert set(terms) == EVERY | {"loss"}
    for name, value in terms.items():
        assert np.isfinite(float(value)), name
    for variable, gradient in zip(tscd.trainable_variables, gradients, strict=True):
        assert np.all(np.isfinite(gradient)), variable.path


def test_padding_is_never_labelled(tscd):
    batch = random_batch(classes=CLASSES)
    labels = tscd.pseudo_labels(batch, tscd.forward(batch, EVERY), EVERY).numpy()
    y0, y1, x0, x1 = batch["valid_box"][1].numpy()
    inside = np.zeros(labels.shape[1:], bool)
    inside[y0:y1, x0:x1] = True
    assert np.all(labels[1][~inside] == 255)
    tagged = set(np.flatnonzero(batch["labels"][1]) + 1)
    assert set(np.unique(labels[1][inside])) <= tagged | {0, 255}


def test_parity_follows_the_released_affinity():
    released = TSCD(tiny_config("parity=true"), CLASSES)
    corrected = TSCD(tiny_config(), CLASSES)
    assert not released.affinity_head.symmetric and corrected.affinity_head.symmetric


@pytest.mark.parametrize("shape", [(64, 64), (67, 71), (96, 40)])
def test_any_size_and_batch_dict(tscd, shape):
    images = tf.random.stateless_uniform((2, *shape, 3), [0, 1]) * 255
    outputs = tscd(images, request=("cam", "affinity"))
    height, width = (-(-side // 4) for side in shape)
    tokens = -(-shape[0] // 16) * -(-shape[1] // 16)
    assert outputs["segmentation_logits"].shape == (2, height, width, CLASSES + 1)
    assert outputs["image_logits"].shape == (2, CLASSES)
    assert outputs["affinity"].shape == (2, tokens, tokens)
    from_dict = tscd({"image": images})
    assert set(from_dict) == {"image_logits", "segmentation_logits"}
    np.testing.assert_allclose(
        from_dict["segmentation_logits"], outputs["segmentation_logits"], atol=1e-5
    )


@pytest.mark.parametrize("method", [TSCD, Supervised])
def test_saved_and_loaded_model_predicts_the_same(tmp_path, method):
    name = "shapes_tscd" if method is TSCD else "shapes_supervised"
    model = method(tiny_config(config=name), CLASSES)
    images = random_batch()["image"]
    expected = model(images)["segmentation_logits"]
    copy = method.from_config(model.get_config())
    copy.build()
    model.save_weights(tmp_path / "m.weights.h5")
    copy.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_allclose(copy(images)["segmentation_logits"], expected, atol=1e-6)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded(images)["segmentation_logits"], expected, atol=1e-6)


def test_the_largest_cam_is_the_tagged_object():
    """A planted feature: CAM and label find the place where the class evidence is."""
    labelling = ("high=0.4", "low=0.2", "iterations=10")
    model = TSCD(tiny_config(*(f"pseudo_label.{pair}" for pair in labelling)), CLASSES)
    batch = random_batch()
    image = np.full((2, 64, 64, 3), 30.0, np.float32)
    image[:, 16:48, 16:48] = 220.0
    planted = np.zeros((2, 64, 64, CLASSES), np.float32)
    planted[:, 20:44, 20:44] = 1.0
    labels = model.refined_labels(
        {**batch, "image": tf.constant(image), "valid_box": tf.constant([[0, 64, 0, 64]] * 2)},
        tf.constant(planted),
    ).numpy()
    first_tag = int(np.argmax(batch["labels"][0])) + 1
    assert labels[0, 32, 32] == first_tag
    assert labels[0, 17, 17] == first_tag  # refinement reached the object's border
    assert labels[0, 4, 4] == 0


# ---- relation constraints and other trunks -----------------------------------------------------

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


@pytest.mark.parametrize("method", ["tscd", "supervised"])
def test_every_method_can_have_the_relation_terms(method):
    config = tiny_config(*relation_weights(), config=f"shapes_{method}")
    assert config.needs_saliency
    model = METHODS[method](config, CLASSES)
    model.compile("adam")
    batch, active = with_saliency(random_batch(side=64)), frozenset(RELATIONS)
    terms, gradients = model.terms_and_gradients(batch, active)
    assert set(terms) == {*RELATIONS, "loss"} and float(terms["object_distance"]) > 0
    reached = {
        next(part for part in PARTS if part in variable.path)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if np.any(gradient)
    }
    assert reached == {"backbone", "classifier"}

    # Padding counts neither as object nor as background.
    box, cam, tags = [0, 50, 0, 40], model(batch, request=["cam"])["cam"], batch["labels"]
    boxed = {**batch, "valid_box": tf.constant([box, box], tf.int32)}
    view = {"image_logits": tf.zeros((2, CLASSES)), "cam": cam}
    values = model.common_terms(boxed, view, active)
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
    """i2crc.md 8.5: their objective is the classification alone."""
    model = Supervised(tiny_config(*relation_weights(), config="shapes_supervised"), CLASSES)
    model.compile("adam")
    batch = random_batch(side=64)
    batch = {**with_saliency(batch), "labels": batch["labels"]}  # two tags each
    active = frozenset(RELATIONS) | {"classification"}
    terms, _ = model.terms_and_gradients(batch, active)
    assert all(float(terms[name]) == 0 for name in RELATIONS)
    weight = model.loss_settings["classification"].weight
    assert float(terms["loss"]) == weight * float(terms["classification"])


def test_sizes_of_the_decoder_are_trained_together():
    """i2crc.md 8.12: one cross-entropy a size and one of their maximum, labels read nearest."""
    config = tiny_config(
        "losses.segmentation.extra_scales=[0.75, 0.5]",
        "heads.decoder=deeplabv2",
        "evaluation.scales=[1.0, 0.75, 0.5]",
        config="shapes_supervised",
    )
    model = Supervised(config, CLASSES)
    batch = random_batch()
    mask = np.random.default_rng(0).choice([0, 1, 3, 255], (2, 128, 128))
    batch["mask"] = tf.constant(mask, tf.int32)
    outputs = model.forward(batch, frozenset({"segmentation"}))
    logits = [x.numpy().astype(np.float64) for x in outputs["logits"]]
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
    terms = model.loss_terms(batch, outputs, batch["mask"], frozenset({"segmentation"}))
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
        *ALL_TERMS_AT_ONCE,
        f"backbone.name={name}",
        f"heads.decoder={decoder}",
        "heads.classifier_bias=true",
        "cam.scales=[1.0]",
        "optimizer.kind=sgd",
    )
    model = TSCD(config, CLASSES)
    model.build()
    model.compile(build_optimizer(config.optimizer, 8))
    batch = random_batch(side=64)
    terms, gradients = model.terms_and_gradients(batch, EVERY)
    assert set(terms) == EVERY | {"loss"}
    assert all(np.isfinite(float(value)) for value in terms.values())
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    outputs = model(batch, request=["affinity"])
    assert outputs["affinity"].shape == (2, 64, 64)
    sizes = {"vgg16": 32, "vgg16_largefov": 8, "resnet50": 8}
    assert outputs["segmentation_logits"].shape == (2, sizes[name], sizes[name], CLASSES + 1)
