"""RRM: its reference values, label mining against numpy, routing, degenerate batches."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_batch, tiny_config
from test_ops_refine import oracle as refinement_oracle

from keras_wsss.config import load_config
from keras_wsss.errors import ConfigError
from keras_wsss.methods import new_model
from keras_wsss.ops import refine
from keras_wsss.ops._backend import compiled
from keras_wsss.ops.reliability import (
    background_scores,
    crf_winners,
    leading_pixels,
    refined_winners,
    reliable_label,
    reliable_pseudo_label,
    scaled_cam,
)
from keras_wsss.optimizers import PolyWarmup

CLASSES = 6
TERMS = ("classification", "segmentation", "energy")
REFINERS = {"par": refine.pixel_adaptive_refinement, "varm": refine.variation_aware_refinement}


def tiny_rrm(*overrides):
    return new_model(tiny_config(*overrides, config="shapes_rrm", start=0), CLASSES)


def scene(present=(2, 1), classes=CLASSES, size=(48, 64), seed=0):
    """Two images of bright discs on grey; a peaky CAM on each disc, some evidence around it."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    labels = np.zeros((2, classes), np.float32)
    cam = np.zeros((2, *size, classes), np.float32)
    image = generator.integers(90, 110, (2, *size, 3)).astype(np.float32)
    for i, count in enumerate(present):
        for number, k in enumerate(generator.choice(classes, count, replace=False)):
            centre = np.array(size) * (0.5, (number + 1) / (count + 1))
            distance = np.hypot(y - centre[0], x - centre[1])
            radius = 0.35 * size[1] / (count + 1)
            labels[i, k] = 1
            image[i][distance < radius] = generator.integers(0, 256, 3)
            cam[i, ..., k] = np.maximum(1.6 - distance / radius, 0) + 0.02 * (distance < 20)
    absent = generator.random(cam.shape) * (1 - labels[:, None, None])
    box = np.array([[0, size[0], 0, size[1]], [3, size[0] - 2, 1, size[1] - 9]], np.int32)
    return cam + absent.astype(np.float32), labels, image, box


def label_oracle(cam, labels, image, box, name, iterations=10, confidence=0.8):
    """RRM, eq. 3 to 9, step by step and image by image, in float64 with all classes at once."""
    height, width = cam.shape[1:3]
    half = height // 2, width // 2

    def resized(x, size):
        return tf.image.resize(x.astype(np.float32)[None], size)[0].numpy().astype(np.float64)

    results = []
    for tags, c, picture, (y0, y1, x0, x1) in zip(labels, cam, image, box, strict=True):
        present = np.flatnonzero(tags)
        c = np.where(tags, c, 0).astype(np.float64)
        c = c / (c.max(axis=(0, 1)) + 1e-5)
        guide = resized(np.floor(picture) / 255, half)
        small = resized(c, half)[..., present]

        def stack(alpha, small=small, guide=guide):
            background = (1 - small.max(axis=-1, initial=0, keepdims=True)) ** alpha
            scores = np.clip(np.concatenate([background, small], axis=-1), 1e-5, 1)
            scores = scores / scores.sum(axis=-1, keepdims=True)
            refined = refinement_oracle(guide, scores, iterations, name)[0]
            return resized(refined / refined.sum(axis=-1, keepdims=True), (height, width))

        strong, weak = stack(4), stack(32)
        classes = np.array([0, *(present + 1)])
        winner = classes[strong.argmax(axis=-1)]
        label = np.where(winner > 0, winner, 255)  # step 2
        label[weak.argmax(axis=-1) == 0] = 0

        inside = np.zeros((height, width), bool)
        inside[y0:y1, x0:x1] = True
        background = (1 - c.max(axis=-1, keepdims=True)) ** 32  # step 3
        z = np.concatenate([background, c], axis=-1).argmax(axis=-1)
        sure = (z == 0) & (background[..., 0] > 0.8)
        for k in np.unique(winner[winner > 0]):
            values = c[..., k - 1]
            own = (z == k) & (values > 0.1) & inside
            if own.any():
                sure |= own & (values > np.sort(values[own])[int(0.6 * own.sum())])
        both = np.concatenate([weak[..., :1], strong[..., 1:]], axis=-1)  # step 4
        results.append(np.where(sure & (both.max(axis=-1) >= confidence) & inside, label, 255))
    return np.stack(results)


def mined(cam, labels, image, box, name, function=reliable_pseudo_label):
    cam, labels, image, box = map(tf.convert_to_tensor, (cam, labels, image, box))
    return function(scaled_cam(cam, labels), labels, image, box, refine=REFINERS[name])[0]


# ---- label mining --------------------------------------------------------------------------------


def test_background_scores():
    cam = np.reshape([0.1, 0.3, 0.05], (1, 1, 3, 1))
    expected = [(0.6561, 0.03434), (0.2401, 1.104e-5), (0.8145, 0.1937)]
    np.testing.assert_allclose(background_scores(cam)[0, 0], expected, rtol=4e-4)


def test_scaled_cam_keeps_its_minimum():
    cam = np.array([[2.0, 5.0], [4.0, 5.0]], np.float32).reshape(1, 1, 2, 2)
    ours = scaled_cam(cam, [[1, 0]])[0, 0]
    np.testing.assert_allclose(ours, [[2 / (4 + 1e-5), 0], [4 / (4 + 1e-5), 0]], rtol=1e-6)
    assert not np.any(scaled_cam(np.zeros((1, 2, 2, 1)), [[1]]))


@pytest.mark.parametrize(
    ("name", "present"), [("par", (2, 1)), ("varm", (3, 0)), ("par", (6, 4)), ("varm", (2, 2))]
)
def test_labels_equal_those_of_numpy(name, present):
    arguments = scene(present)
    wanted = label_oracle(*arguments, name)
    tagged = [set(np.flatnonzero(tags) + 1) for tags in arguments[1]]
    for label, tags in zip(wanted, tagged, strict=True):
        assert set(np.unique(label)) == tags | {0, 255}  # the scene has every kind
    function = compiled(reliable_pseudo_label) if present == (2, 1) else reliable_pseudo_label
    assert np.mean(mined(*arguments, name, function) == wanted) >= 0.999


def test_both_backgrounds_have_to_agree():
    """Pixel by pixel: winner and score against the strong and the weak background, the label."""
    cases = [
        ((2, 2), (0.9, 0.5), 2),  # a class, sure against the strong background
        ((2, 2), (0.7, 0.9), 255),  # not sure there
        ((0, 2), (0.9, 0.9), 255),  # a class against the weak one only
        ((0, 0), (0.9, 0.7), 255),  # background, not sure when weak
        ((0, 0), (0.6, 0.9), 0),
        ((2, 0), (0.9, 0.85), 0),  # background overwrites a class
    ]
    winner, score, wanted = (np.array([[each]]) for each in zip(*cases, strict=True))
    cam = np.zeros((1, 1, len(cases), 3), np.float32)  # no evidence: all lead as background
    box = np.array([[0, 1, 0, len(cases)]])
    ours = reliable_label(score, winner, cam, np.array([[0, 1, 0]]), box)
    np.testing.assert_array_equal(ours, wanted)
    assert np.all(reliable_label(score, winner, cam + 0.5, np.array([[0, 1, 0]]), box) == 255)


@pytest.mark.parametrize("name", ["par", "varm"])
def test_share_is_free_of_the_growth_of_the_refiner(name):
    """PAR adds 1 % of mass at each sweep and VARM loses it, which 0.8 must not notice."""
    cam, labels, image, _ = scene((1, 1))
    cam = np.broadcast_to(0.5 * labels[:, None, None], cam.shape).astype(np.float32)
    share, winner = refined_winners(cam, labels, image, REFINERS[name])
    assert np.all(winner == labels.argmax(axis=1)[:, None, None, None] + 1)
    np.testing.assert_allclose(share[..., 0], 0.5 / (0.5 + 0.5**4), rtol=1e-5)
    np.testing.assert_allclose(share[..., 1], 0.5 / (0.5 + 1e-5), rtol=1e-5)


def test_constant_map_has_no_leading_pixel():
    cam, labels = np.ones((1, 16, 16, 1), np.float32), np.ones((1, 1), np.float32)
    image, box = np.full((1, 16, 16, 3), 90.0, np.float32), np.array([[0, 16, 0, 16]], np.int32)
    scaled = scaled_cam(cam, labels)
    assert np.all(refined_winners(scaled, labels, image, REFINERS["par"])[1] == 1)
    assert np.all(mined(cam, labels, image, box, "par") == 255)


def test_upper_forty_percent_lead_and_padding_is_not_ranked():
    values = np.array([0.5, 0.9, 0.7, 0.6, 0.8, 0.55, 0.65, 0.0, 0.006, 0.008])
    cam = np.zeros((1, 1, 10, 3), np.float32)
    cam[..., 1] = values
    valid = np.ones((1, 1, 10), bool)
    valid[..., 5:7] = False
    tags, found = np.array([[0, 1, 0]]), np.full((1, 1, 10), 2)
    # Of five ranked pixels position 3 is 0.8, so 0.9 alone leads; c_max < 0.00695 is background.
    ours = leading_pixels(cam, tags, found, valid)[0, 0]
    np.testing.assert_array_equal(np.flatnonzero(ours), [1, 7, 8])
    nowhere = leading_pixels(cam, tags, 0 * found, valid)[0, 0]
    np.testing.assert_array_equal(np.flatnonzero(nowhere), [7, 8])


def test_planted_object_is_labelled_in_its_middle_only():
    image = np.full((1, 64, 64, 3), 30.0, np.float32)
    image[:, 16:48, 16:48] = 220.0
    cam = np.zeros((1, 64, 64, 3), np.float32)
    y, x = np.mgrid[:64, :64] - 31.5
    cam[0, ..., 1] = np.maximum(1 - np.hypot(y, x) / 24, 0)
    box = np.array([[0, 64, 0, 60]], np.int32)
    label = mined(cam, np.eye(3, dtype=np.float32)[[1]], image, box, "par").numpy()[0]
    assert set(np.unique(label)) == {0, 2, 255}
    assert label[32, 32] == 2 and label[2, 2] == 0 and label[18, 18] != 2 and label[2, 62] == 255
    inside = label[16:48, 16:48]
    assert np.all(inside != 0) and 0.1 < np.mean(inside == 2) < 0.6


def test_dense_crf_on_the_host():
    pytest.importorskip("pydensecrf", reason="optional extra: pip install keras_wsss[crf]")
    cam, labels, image, box = scene((2, 0))
    scaled = scaled_cam(cam, labels)
    score, winner = tf.function(crf_winners, autograph=False)(scaled, labels, image)
    label = reliable_label(score, winner, scaled, labels, box).numpy()
    tags = set(np.flatnonzero(labels[0]) + 1)
    assert set(np.unique(label[0])) == tags | {0, 255} and set(np.unique(label[1])) == {0, 255}
    # On so clear an image it finds what our refiner finds, and more sharply.
    ours = mined(cam, labels, image, box, "par").numpy()
    both = (label != 255) & (ours != 255)
    assert np.mean(both) > 0.2 and np.all(label[both] == ours[both])


# ---- the method ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[False, True], ids=["corrected", "parity"])
def rrm(request):
    model = tiny_rrm(f"parity={str(request.param).lower()}")
    model.build()
    return model


def gradients(model, term, labels=None):
    """Parts of the network that a term reaches; its value."""
    batch = random_batch(classes=CLASSES, side=64)
    with tf.GradientTape() as tape:
        outputs = model.forward(batch, model.schedule.last)
        if labels is None:
            labels = tf.random.stateless_uniform((2, 64, 64), [1, 2], 0, 4, tf.int32)
        labels = dict.fromkeys(TERMS, labels)
        value = model.loss_terms(batch, outputs, labels, model.schedule.last)[term]
    variables = model.trainable_variables
    found = tape.gradient(value, [v.value for v in variables], unconnected_gradients="zero")
    parts = ("backbone", "classifier", "decoder")
    reached = {
        next(part for part in parts if part in variable.path)
        for variable, gradient in zip(variables, found, strict=True)
        if np.any(gradient)
    }
    return reached, float(value)


@pytest.mark.parametrize(
    ("term", "parts"),
    [
        ("classification", {"backbone", "classifier"}),
        ("segmentation", {"backbone", "decoder"}),
        ("energy", {"backbone", "decoder"}),
    ],
)
def test_which_loss_reaches_which_part(rrm, term, parts):
    assert gradients(rrm, term)[0] == parts


def test_terms_that_have_not_started_are_not_computed(rrm):
    alone = rrm.schedule.only("classification")
    outputs = rrm.forward(random_batch(classes=CLASSES), alone)
    assert set(outputs) == {"view", "logits"}  # no maps
    assert rrm.pseudo_labels({}, outputs, alone) == {}


def given(model, labels, logits, image):
    size = labels.shape[1:3]
    batch = {
        "image": image,
        "labels": np.ones((1, CLASSES), np.float32),
        "valid_box": np.array([[0, size[0], 0, size[1]]]),
    }
    view = {"image_logits": np.zeros((1, CLASSES)), "segmentation_logits": logits}
    outputs = {"view": view, "logits": model.enlarged(logits, image)}
    labels = dict.fromkeys(TERMS, labels)
    return model.loss_terms(batch, outputs, labels, model.schedule.last)


def test_segmentation_is_the_sum_of_both_sides(rrm):
    labels = np.zeros((1, 8, 8), np.int32)
    labels[:, 2:6] = 3
    labels[:, :, 7] = 255
    image = np.zeros((1, 8, 8, 3), np.float32)
    terms = given(exact_energy(rrm.settings.parity), labels, tf.zeros((1, 2, 2, 21)), image)
    np.testing.assert_allclose(terms["segmentation"], 6.089, rtol=1e-4)
    one_side = given(exact_energy(rrm.settings.parity), 0 * labels, tf.zeros((1, 2, 2, 21)), image)
    np.testing.assert_allclose(one_side["segmentation"], np.log(21), rtol=1e-6)


def test_energy_of_two_pixels(rrm):
    """Reference value 2: two pixels of half resolution, alike, probabilities 0.6 and 0.4."""
    image = np.full((1, 2, 4, 3), 9.0, np.float32)
    logits = tf.constant(np.log([0.6, 0.4]), tf.float32) * tf.ones((1, 2, 4, 1))
    amplitude = 0.46e-7 if rrm.settings.parity else 1e-7
    labels = np.full((1, 2, 4), 255, np.int32)
    model = exact_energy(rrm.settings.parity)
    unlabelled = given(model, labels, logits, image)["energy"]
    np.testing.assert_allclose(unlabelled, -2.079792 * amplitude, rtol=1e-5)
    labels[..., :2] = 1
    first = given(model, labels, logits, image)["energy"]
    np.testing.assert_allclose(first, -1.455854 * amplitude, rtol=1e-5)


@functools.cache
def exact_energy(parity):
    return tiny_rrm(f"parity={str(parity).lower()}", "losses.energy.stride=1")


def test_cam_is_the_mean_over_scales_without_mirror():
    """Against the same by hand: ReLU, to the size of the plain CAM, mean, to the image's size."""
    model = tiny_rrm()
    batch = random_batch(classes=CLASSES)
    raw = {
        scale: model(tf.image.resize(batch["image"], (int(128 * scale),) * 2), request=["cam"])
        for scale in model.settings.cam.scales
    }
    size = raw[1.0]["cam"].shape[1:3]
    maps = [tf.image.resize(tf.nn.relu(view["cam"]), size) for view in raw.values()]
    wanted = tf.image.resize(tf.reduce_mean(maps, axis=0), (128, 128)).numpy()
    wanted = wanted * batch["labels"].numpy()[:, None, None]
    wanted = wanted / (wanted.max(axis=(1, 2), keepdims=True) + 1e-5)
    ours = model.labeller.mean_cam(batch["image"], batch["labels"], raw[1.0]["cam"])
    # Summing the scales instead of averaging shifts the 1e-5, and no more.
    np.testing.assert_allclose(ours, wanted, atol=1e-4)
    assert len(raw) > 1 and np.max(wanted) > 0.9


def degenerate(kind):
    batch = random_batch(classes=CLASSES, side=64)
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
def test_losses_and_gradients_stay_finite(rrm, kind):
    rrm.compile("adam")
    terms, found = rrm.terms_and_gradients(degenerate(kind), rrm.schedule.last)
    assert set(terms) == {*TERMS, "loss"}
    assert all(np.isfinite(float(value)) for value in terms.values())
    for variable, gradient in zip(rrm.trainable_variables, found, strict=True):
        assert np.all(np.isfinite(gradient)), variable.path
    if kind == "all padding":
        assert terms["segmentation"] == 0 and terms["energy"] == 0


def test_only_tags_and_no_padding_in_the_labels(rrm):
    batch = random_batch(classes=CLASSES, side=64)
    every = rrm.schedule.last
    labels = rrm.pseudo_labels(batch, rrm.forward(batch, every), every)
    assert set(labels) == {"segmentation", "energy"}
    assert labels["segmentation"] is labels["energy"]
    labels = labels["segmentation"].numpy()
    assert labels.dtype == np.int32 and labels.shape == (2, 64, 64)
    y0, y1, x0, x1 = batch["valid_box"][1].numpy()
    outside = np.ones(labels.shape[1:], bool)
    outside[y0:y1, x0:x1] = False
    assert np.all(labels[1][outside] == 255)
    for label, tags in zip(labels, batch["labels"].numpy(), strict=True):
        assert set(np.unique(label)) <= set(np.flatnonzero(tags) + 1) | {0, 255}


def test_described_images_of_any_size():
    keras.utils.set_random_seed(1)  # with other weights it may be sure of nothing
    model = tiny_rrm()
    model.build()
    signature = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, CLASSES])]

    @tf.function(input_signature=signature, autograph=False)
    def described(image, labels):
        size = tf.shape(image)
        box = tf.tile([[0, size[1], 0, size[2]]], [size[0], 1])
        return model.describe({"image": image, "labels": labels, "valid_box": box})

    known = []
    for side, present in ((64, 2), (71, 5)):  # one trace, one and two groups of classes
        batch = random_batch(1, CLASSES, side)
        labels = tf.cast(tf.range(CLASSES) < present, tf.float32)[None]
        cam, label, full = described(batch["image"], labels)
        assert cam.shape == (1, side, side, CLASSES) and float(tf.reduce_max(cam)) < 1
        options = {"refine": REFINERS["par"], "iterations": 3}
        wanted = reliable_pseudo_label(cam, labels, batch["image"], batch["valid_box"], **options)
        for ours, eager in zip((label, full), wanted, strict=True):
            assert np.mean(ours == eager) >= 0.999
        assert not np.any(full == 255)
        known.append(np.any(label != 255))
    assert any(known)
    assert described.experimental_get_tracing_count() == 1


def test_crf_is_not_compiled():
    with pytest.raises(ConfigError, match=r"training\.xla"):
        tiny_rrm("pseudo_label.refiner=crf").compile("adam", jit_compile=True)


# ---- shipped configurations ----------------------------------------------------------------------


@pytest.mark.parametrize("data", ["animals5", "shapes"])
def test_same_network_steps_and_rates_as_tscd(data):
    ours, other = (load_config(f"{data}_{name}", ["data.root=."]) for name in ("rrm", "tscd"))
    for section in ("data", "backbone", "optimizer", "training", "evaluation", "seed"):
        assert getattr(ours, section) == getattr(other, section), section
    # RRM has no affinity.
    assert {**ours.heads.model_dump(), "symmetric_affinity": None} == other.heads.model_dump()


def test_published_rate():
    schedule = PolyWarmup(7e-4, total_steps=20000, warmup_steps=0, power=0.9)
    np.testing.assert_allclose(schedule(10000), 3.751e-4, rtol=1e-4)


def test_published_recipe():
    config = load_config("voc_rrm", ["data.root=."])
    assert {name: term.weight for name, term in config.losses.items()} == dict.fromkeys(TERMS, 1.0)
    assert (config.data.crop_size, config.data.batch_size, config.training.steps) == (320, 4, 20000)
    assert config.cam.scales == (1.0, 0.5, 1.5, 2.0) and config.data.scale == (0.7, 1.3)
    assert (config.pseudo_label.refiner, config.pseudo_label.confidence) == ("par", 0.8)
