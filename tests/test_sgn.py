"""SGN: its reference values (numbers in brackets), and numpy oracles."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import random_batch, tiny_config

from keras_wsss.config import load_config
from keras_wsss.errors import ConfigError
from keras_wsss.inference.checkpoints import load_checkpoint, save_checkpoint, taken_from
from keras_wsss.losses import agreement_loss, balanced_cross_entropy
from keras_wsss.methods import new_model
from keras_wsss.ops.guided_filter import guided_filter
from keras_wsss.ops.pseudo_label import margin_label
from keras_wsss.ops.self_affinity import pool_to, random_walk, self_affinity
from keras_wsss.run_folder import RunDirectory

CLASSES = 6
PARTS = ("backbone", "classifier", "decoder")


def random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def build(*overrides):
    starts = ("losses.segmentation.start_step=0", "sgn.mix_start=2", "sgn.mix_end=6")
    model = new_model(tiny_config(*starts, *overrides, config="shapes_sgn"), CLASSES)
    model.build()
    return model


@pytest.fixture(scope="module")
def sgn():
    return build()


@pytest.fixture(scope="module")
def agreeing():
    return build("losses.agreement={weight: 0.05}")


# ---- affinity and random walk ----------------------------------------------------------------

COSINES = np.array([[1, 0.9, 0.1], [0.9, 1, 0.2], [0.1, 0.2, 1]])
THREE = (COSINES[None] ** 4).astype(np.float32)
MAP = np.reshape([1.0, 0, 0], (1, 1, 3, 1)).astype(np.float32)


def test_affinity_of_the_grid_of_a_crop_of_321():  # [1]
    levels, valid = [random(1, 41, 41, 5), random(1, 41, 41, 3, seed=1) - 0.3], np.ones((1, 41, 41))
    valid[:, :, 30:] = 0
    affinity = self_affinity(levels, valid).numpy()[0]
    assert affinity.shape == (1681, 1681)
    np.testing.assert_array_equal(affinity, affinity.T)
    inside = valid.ravel() > 0
    np.testing.assert_array_equal(np.diag(affinity), inside)
    assert not affinity[~inside].any()

    places = [level.reshape(1681, -1).astype(np.float64) for level in levels]
    places = [x - x[inside].mean(axis=0) for x in places]
    places = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in places]
    for i, j, near in [(0, 8, True), (0, 9, False), (5, 5 + 41 * 8 - 5, True), (5, 374, False)]:
        cosine = np.mean([x[i] @ x[j] for x in places])
        assert affinity[i, j] == pytest.approx(near * max(cosine, 0) ** 4, abs=1e-6), (i, j)

    constant = tf.constant(0.7 * valid[..., None], tf.float32)
    for restart in (0.0, 0.2):  # rows of T sum to 1, so a constant map is a fixed point
        np.testing.assert_allclose(
            random_walk(constant, affinity[None], 8, restart), constant, atol=1e-5
        )


def test_random_walk_of_three_places():  # [2]
    row = random_walk(tf.reshape(tf.eye(3), (1, 1, 3, 3)), THREE, steps=1, restart=0.0)
    np.testing.assert_allclose(row[0, 0, 0], [0.603792, 0.396148, 0.000060], atol=1e-6)
    expected = {
        1: [0.683033, 0.316631, 0.000080],
        2: [0.630274, 0.369075, 0.000523],
        3: [0.621410, 0.377679, 0.000940],
        300: [0.619152, 0.378902, 0.002650],
    }
    # The page's numbers belong to the walk "into" a place: start (1,0,0) reaches 2 by T_21.
    for steps, scores in expected.items():
        np.testing.assert_allclose(
            random_walk(MAP, THREE, steps, 0.2)[0, 0, :, 0], scores, atol=2e-6, err_msg=str(steps)
        )


def test_agreement_of_three_places():  # [3]
    cam = 80.0 * MAP - 40.0  # whose sigmoid is MAP
    labels = tf.ones((1, 1))
    pairs = np.sum(COSINES**4 * np.square(np.subtract.outer([1, 0, 0], [1, 0, 0])))
    assert pairs == pytest.approx(1.3124)
    assert float(agreement_loss(THREE, cam, labels)) == pytest.approx(0.304106, abs=1e-6)
    assert float(agreement_loss(THREE, 0 * cam + 3.0, labels)) == pytest.approx(0, abs=1e-7)


def test_agreement_is_the_sum_over_pairs_and_present_classes():
    cam, affinity = 4 * random(2, 3, 4, 5) - 2, random(2, 12, 12, seed=1)
    affinity = (affinity + affinity.transpose(0, 2, 1)) / 2
    labels = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 0, 0]], np.float32)
    expected = 0.0
    for b in range(2):
        s = 1 / (1 + np.exp(-cam[b].reshape(12, 5).astype(np.float64)))
        squares = np.square(s[:, None] - s[None])[..., labels[b] > 0].sum(axis=-1)
        expected += (affinity[b] * squares).sum() / (labels[b].sum() * affinity[b].sum()) / 2
    assert float(agreement_loss(affinity, cam, labels)) == pytest.approx(expected, rel=1e-5)
    assert float(agreement_loss(affinity, cam, 0 * labels)) == 0.0
    assert float(agreement_loss(0 * affinity, cam, labels)) == 0.0


def test_pooling_is_that_of_the_backbone():
    x = random(2, 81, 10, 3)
    pooled = tf.nn.avg_pool2d(x, 2, 2, "SAME")
    assert pooled.shape[1:3] == (41, 5)
    np.testing.assert_allclose(pool_to(x, (41, 5)), pooled, atol=1e-6)
    np.testing.assert_array_equal(pool_to(x, (81, 10)), x)


# ---- guided filter ---------------------------------------------------------------------------

STEP = np.repeat([0.0, 1.0], 4) * np.ones((1, 8, 1))
GREY = np.repeat(STEP[..., None], 3, axis=-1).astype(np.float32)
SOFT = (np.array([1, 1, 0.5, 0.5, 0.5, 0.5, 0, 0]) * np.ones((1, 8, 1)))[..., None]
ROW, COLUMN = np.mgrid[:8, :8] / 7


def oracle(guide, scores, radius, epsilon, valid):
    """One image, float64, window by window."""
    height, width = scores.shape
    shape = height, width
    slopes, offsets, result = np.zeros((*shape, 3)), np.zeros(shape), np.zeros(shape)
    windows = {
        (y, x): np.s_[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
        for y in range(height)
        for x in range(width)
    }
    for place, window in windows.items():
        chosen = valid[window] > 0
        if not chosen.any():
            continue
        colours, p = guide[window][chosen].astype(np.float64), scores[window][chosen]
        centre = colours.mean(axis=0)
        covariance = (colours - centre).T @ (colours - centre) / len(p) + epsilon * np.eye(3)
        slopes[place] = np.linalg.solve(covariance, (colours - centre).T @ (p - p.mean()) / len(p))
        offsets[place] = p.mean() - slopes[place] @ centre
    for place, window in windows.items():
        chosen, count = valid[window] > 0, max(valid[window].sum(), 1)
        result[place] = slopes[window][chosen].sum(axis=0) @ guide[place] / count
        result[place] += offsets[window][chosen].sum() / count
    return result


@pytest.mark.parametrize(("radius", "epsilon"), [(1, 1e-4), (2, 1e-3), (3, 1e-1), (20, 1e-3)])
def test_guided_filter_equals_the_oracle(radius, epsilon):
    guide, scores = random(2, 11, 14, 3), random(2, 11, 14, 2, seed=1)
    valid = np.ones((2, 11, 14))
    valid[1, 6:], valid[1, :, :3] = 0, 0
    ours = guided_filter(guide, scores, radius, epsilon, valid).numpy()
    for b in range(2):
        for k in range(2):
            expected = oracle(guide[b], scores[b, ..., k], radius, epsilon, valid[b])
            np.testing.assert_allclose(ours[b, ..., k], expected, atol=2e-5)
    np.testing.assert_array_equal(
        guided_filter(guide, scores, radius, epsilon),
        guided_filter(guide, scores, radius, epsilon, np.ones((2, 11, 14))),
    )


@pytest.mark.parametrize("epsilon", [1e-3, 1e-4])
def test_guided_filter_keeps_its_digits_on_black_and_white(epsilon):
    """The worst case: three equal channels of full contrast, a covariance of rank one."""
    guide = np.repeat((random(1, 12, 12, 1) > 0.5).astype(np.float32), 3, axis=-1)
    scores = random(1, 12, 12, 1, seed=1)
    expected = oracle(guide[0], scores[0, ..., 0], 3, epsilon, np.ones((12, 12)))
    ours = guided_filter(guide, scores, 3, epsilon)[0, ..., 0]
    np.testing.assert_allclose(ours, expected, atol=2e-4)


@pytest.mark.parametrize("guide", [random(1, 40, 50, 3), np.zeros((1, 40, 50, 3)), GREY])
def test_guided_filter_keeps_a_constant(guide):  # [4]
    scores = 0.3 * np.ones((*guide.shape[:3], 1))
    np.testing.assert_allclose(guided_filter(guide, scores), scores, atol=1e-5)


@pytest.mark.parametrize(
    ("radius", "epsilon", "expected"),
    [
        (2, 1e-3, "0.777743 0.749951 0.699933 0.633183 0.366817 0.300067 0.250049 0.222257"),
        (2, 1e-1, "0.774904 0.745812 0.694211 0.620648 0.379352 0.305789 0.254188 0.225096"),
        (4, 1e-3, "0.749773 0.735868 0.702137 0.676818 0.323182 0.297863 0.264132 0.250227"),
    ],
)
def test_guided_filter_on_a_step(radius, epsilon, expected):  # [5]
    row = guided_filter(GREY, SOFT, radius, epsilon)[0, 4, :, 0]
    np.testing.assert_allclose(row, [float(x) for x in expected.split()], atol=1e-5)


def test_guided_filter_on_a_ramp():  # [6]
    guide = np.stack([COLUMN, ROW, 0 * ROW + 0.5], axis=-1)[None]
    scores = np.zeros((1, 8, 8, 1))
    scores[:, 2:6, 2:6] = 1
    result = guided_filter(guide, scores, 2, 1e-2).numpy()[0, ..., 0]
    assert result[3, 3] == pytest.approx(0.782646, abs=1e-5)
    assert result[0, 0] == pytest.approx(-0.154316, abs=1e-5)
    assert result[3, 6] == pytest.approx(0.398816, abs=1e-5)
    assert result.sum() == pytest.approx(17.610533, abs=1e-4)


def test_guided_filter_at_its_limits():  # [7]
    grey = np.repeat(random(1, 12, 12, 1), 3, axis=-1)
    np.testing.assert_allclose(
        guided_filter(grey, grey[..., :1], 2, 1e-5), grey[..., :1], atol=5e-3
    )
    scores = random(1, 12, 12, 1, seed=1)

    def box(x):
        padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
        return sum(padded[:, y : y + 12, z : z + 12] for y in range(5) for z in range(5))

    def mean(x):
        return box(x) / box(np.ones_like(x))

    np.testing.assert_allclose(guided_filter(grey, scores, 2, 1e6), mean(mean(scores)), atol=1e-5)


def test_label_operators_take_sizes_of_run_time():
    guide, maps = random(2, 11, 14, 3), random(2, 11, 14, 2, seed=1)
    valid = np.ones((2, 11, 14), np.float32)

    def every(guide, maps, valid):
        affinity = self_affinity([guide, maps], valid, 2)
        half = (tf.shape(maps)[1] + 1) // 2, (tf.shape(maps)[2] + 1) // 2
        return (
            guided_filter(guide, maps, 3, 1e-3, valid),
            random_walk(maps, affinity, 2),
            pool_to(maps, half),
        )

    specs = [tf.TensorSpec([None, None, None, *x.shape[3:]]) for x in (guide, maps, valid)]
    dynamic = tf.function(every, input_signature=specs, autograph=False)
    for ours, expected in zip(dynamic(guide, maps, valid), every(guide, maps, valid), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


# ---- maps and labels -------------------------------------------------------------------------


def test_labels_of_scores():  # [8]
    best = np.array([[[0.36, 0.36, 0.20, 0.14, 0.36, 0.35]]], np.float32)
    second = np.array([[[0.10, 0.33, 0.00, 0.00, 0.10, 0.00]]], np.float32)
    winner = np.array([[[3, 3, 3, 3, 3, 2]]])
    box = np.array([[0, 1, 0, 6]])
    label = margin_label(best, second, winner, box, 0.35, 0.15, 0.05)
    np.testing.assert_array_equal(label, [[[3, 255, 255, 0, 3, 2]]])
    box = np.array([[0, 1, 0, 4]])
    label = margin_label(best, second, winner, box, 0.35, 0.15, 0.05)
    np.testing.assert_array_equal(label, [[[3, 255, 255, 0, 255, 255]]])


@pytest.mark.parametrize(("pixels", "trusted"), [(2, False), (3, True)])
def test_an_image_with_hardly_any_foreground_is_ignored(pixels, trusted):
    best, second = np.zeros((1, 16, 16)), np.zeros((1, 16, 16))
    best[0, 0, :pixels] = 1
    label = margin_label(
        best, second, np.ones((1, 16, 16), int), [[0, 16, 0, 16]], 0.35, 0.15, 0.05
    )
    assert np.any(label == 0) == trusted  # 1 % of 256 pixels are 2.56


def test_class_maps(sgn):
    """M0 of eq. 3 against numpy, before the decoder has a say and with it."""
    batch = random_batch(classes=CLASSES)
    sgn.trained_steps = 0
    images, tags = batch["image"], batch["labels"].numpy()
    passes = [sgn(x, request=["cam"]) for x in (images, images[:, :, ::-1])]
    evidence = (passes[0]["cam"] + passes[1]["cam"][:, :, ::-1]).numpy() / 2
    valid = np.ones((2, 8, 8))
    valid[1, :, 7:], valid[1, 7:] = 0, 0  # centres at 120 lie outside a box that ends at 114 or 118
    maps = np.maximum(evidence, 0) * tags[:, None, None] * valid[..., None]
    maps /= maps.max(axis=(1, 2), keepdims=True) + 1e-5
    for events in ((), ("mixing",)):
        ours = sgn.labeller.maps(batch, events=events)["localization"]
        np.testing.assert_allclose(ours, maps, atol=1e-5)

    def opinion(view):
        weight = np.exp(view["segmentation_logits"].numpy().astype(np.float64))
        weight[..., 1:] *= tags[:, None, None]
        weight = (weight / weight.sum(axis=-1, keepdims=True))[..., 1:]
        return weight.reshape(2, 8, 4, 8, 4, CLASSES).mean(axis=(2, 4))

    views = [opinion(view) for view in passes]
    decoder = (views[0] + views[1][:, :, ::-1]) / 2 * valid[..., None]
    sgn.trained_steps = 5  # w = 0.5 (5 - 2) / (6 - 2)
    mixed = sgn.labeller.maps(batch)["localization"]
    np.testing.assert_allclose(mixed, 0.625 * maps + 0.375 * decoder, atol=1e-5)
    sgn.trained_steps = 0


def test_weight_of_the_decoder_follows_the_steps():
    model = build()
    assert model.labeller.mixing_weight() == 0 and not model.compiled
    model.compile("adam")
    for step, weight in [(0, 0), (2, 0), (3, 0.125), (6, 0.5), (8, 0.5)]:
        model.optimizer.iterations.assign(step)
        assert float(model.labeller.mixing_weight()) == pytest.approx(weight), step
    assert not model.schedule.phase(1).events and model.schedule.phase(2).events == {"mixing"}
    assert not build("sgn.mix=0").schedule.phase(8).events


def test_weight_of_the_decoder_is_that_of_the_checkpoint(tmp_path):
    model, run = build(), RunDirectory(tmp_path)
    save_checkpoint(run, "last", *taken_from(model, step=4))
    again = build()
    load_checkpoint(again, run.checkpoint("last"))
    assert float(again.labeller.mixing_weight()) == pytest.approx(0.25)


def test_every_present_class_is_refined(sgn):
    """One, none, and more classes than a group of other methods holds, against all at once."""
    batch = random_batch(size=3, classes=CLASSES, side=64)
    tags = np.array([[0, 0, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1], [0] * 6], np.float32)
    batch |= {"labels": tf.constant(tags), "valid_box": [[0, 64, 0, 64], [3, 60, 0, 50]] * 2}
    batch["valid_box"] = tf.constant(batch["valid_box"][:3])
    maps = random(3, 4, 4, CLASSES) * tags[:, None, None]
    found = [x.numpy() for x in sgn.labeller.strongest_classes(batch, tf.constant(maps))]

    valid = np.ones((3, 64, 64, 1), np.float32)
    valid[1, :3], valid[1, 60:], valid[1, :, 50:] = 0, 0, 0
    up = tf.image.resize(maps, (64, 64))
    scores = guided_filter(batch["image"] / 255, up, 16, 1e-3, valid[..., 0]).numpy()
    scores = np.clip(scores, 0, 1) * valid
    scores /= scores.max(axis=(1, 2), keepdims=True) + 1e-5
    ordered = np.sort(scores, axis=-1)
    np.testing.assert_allclose(found[0], ordered[..., -1], atol=1e-4)
    np.testing.assert_allclose(found[1], ordered[..., -2], atol=1e-4)
    clear = ordered[..., -1] > ordered[..., -2] + 1e-3
    np.testing.assert_array_equal(found[2][clear], scores.argmax(axis=-1)[clear] + 1)


@pytest.mark.parametrize("source", ["localization", "affinity", "image"])
def test_labels_from_each_depth(source):
    model, batch = build(f"sgn.labels_from={source}"), random_batch(classes=CLASSES)
    guidance = model.labeller.maps(batch, events=())
    spread = np.abs(guidance["maps"] - guidance["localization"]).max() > 1e-3
    assert spread == (source != "localization")
    best, *_ = model.labeller.strongest_classes(batch, guidance["maps"])
    enlarged = tf.reduce_max(tf.image.resize(guidance["maps"], (128, 128)), axis=-1)
    assert (np.abs(best - enlarged)[0].max() > 1e-3) == (source == "image")


def test_with_the_agreement_term_nothing_is_spread(agreeing):
    guidance = agreeing.labeller.maps(random_batch(classes=CLASSES), events=())
    np.testing.assert_array_equal(guidance["maps"], guidance["localization"])


def test_affinity_compares_the_configured_levels(sgn):
    batch = random_batch(classes=CLASSES)
    features = sgn.backbone(batch["image"], training=False)
    valid = np.ones((2, 8, 8))
    valid[1, :, 7:], valid[1, 7:] = 0, 0

    def expected(*indices):
        return self_affinity([pool_to(features[i], (8, 8)) for i in indices], valid)

    def ours(model):
        model.backbone.set_weights(sgn.backbone.get_weights())
        return model.labeller.maps(batch, events=())["affinity"]

    np.testing.assert_allclose(ours(sgn), expected(1, 2, 3), atol=1e-4)
    single = build("sgn.levels=[1]")
    np.testing.assert_allclose(ours(single), expected(1), atol=1e-4)
    single.backbone.intermediate_levels = (0, 1, 2)  # a backbone that names its own
    np.testing.assert_allclose(ours(single), expected(0), atol=1e-4)


def test_labels_are_tags_background_or_ignored(sgn):
    batch = random_batch(classes=CLASSES)
    every = sgn.schedule.last
    labels = sgn.pseudo_labels(batch, sgn.forward(batch, every), every)
    assert set(labels) == {"segmentation"}
    for label, tags, (y0, y1, x0, x1) in zip(
        labels["segmentation"].numpy(),
        batch["labels"].numpy(),
        batch["valid_box"].numpy(),
        strict=True,
    ):
        assert set(np.unique(label)) <= {*(np.flatnonzero(tags) + 1), 0, 255}  # [8]
        outside = np.ones(label.shape, bool)
        outside[y0:y1, x0:x1] = False
        assert np.all(label[outside] == 255)


def test_described_photographs_of_any_size(sgn):
    described = tf.function(
        lambda image, tags, box: sgn.describe({"image": image, "labels": tags, "valid_box": box}),
        input_signature=[
            tf.TensorSpec([None, None, None, 3]),
            tf.TensorSpec([None, CLASSES]),
            tf.TensorSpec([None, 4], tf.int32),
        ],
        autograph=False,
    )
    for height, width in [(67, 71), (96, 40)]:
        image, tags = 255 * random(1, height, width, 3), [[0.0, 1, 0, 0, 1, 0]]
        cam, label, full = (x.numpy() for x in described(image, tags, [[0, height, 0, width]]))
        assert cam.shape == (1, height, width, CLASSES)
        assert cam.min() >= 0 and cam.max() <= 1 and not cam[..., [0, 2, 3, 5]].any()
        assert label.shape == full.shape == (1, height, width)
        assert set(np.unique(full)) <= {0, 2, 5}
        trusted = label != 255
        np.testing.assert_array_equal(label[trusted & (label > 0)], full[trusted & (label > 0)])
        assert not full[label == 0].any()


def test_the_image_gives_the_label_its_edges(sgn):
    """A planted object: a coarse map around it becomes a label that fits it."""
    truth = np.zeros((1, 96, 96), int)
    truth[:, 29:75, 21:70] = 3
    image = np.where(truth[..., None] > 0, [200.0, 120, 40], [60.0, 90, 80])
    image = np.clip(image + 12 * (random(1, 96, 96, 3) - 0.5), 0, 255).astype(np.float32)
    batch = {
        "image": tf.constant(image),
        "labels": tf.one_hot([2], CLASSES),
        "valid_box": tf.constant([[0, 96, 0, 96]]),
    }
    coarse = np.zeros((1, 6, 6, CLASSES), np.float32)
    coarse[:, 2:5, 1:5, 2] = [[0.6, 0.8, 0.8, 0.4], [0.8, 1, 1, 0.5], [0.5, 0.7, 0.7, 0.3]]

    def overlap(model):
        found = model.labeller.strongest_classes(batch, tf.constant(coarse))
        label = margin_label(*found, batch["valid_box"], 0.35, 0.35, 0.0).numpy()
        assert set(np.unique(label)) == {0, 3}
        return np.sum((label == 3) & (truth == 3)) / np.sum((label == 3) | (truth == 3))

    assert overlap(sgn) > 0.98
    assert overlap(build("sgn.labels_from=affinity")) < 0.8


# ---- training --------------------------------------------------------------------------------


def test_balanced_loss():  # [9]
    foreground = [np.log(0.5), np.log(0.5), -50.0]
    background = [np.log(0.25), np.log(0.375), np.log(0.375)]
    logits = tf.constant([[foreground, background, background, background]], tf.float32)[None]
    label = tf.constant([[[1, 0, 0, 0]]])
    assert float(balanced_cross_entropy(label, logits)) == pytest.approx(1.039721, abs=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = balanced_cross_entropy(0 * label + 255, logits)
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, logits), tf.zeros_like(logits))


def parts_reached(model, term, phase):
    batch = random_batch(classes=CLASSES)
    with tf.GradientTape() as tape:
        outputs = model.forward(batch, phase)
        labels = model.pseudo_labels(batch, outputs, phase)
        for name, label in labels.items():  # noise gives few labels; these have every kind
            some = tf.random.stateless_uniform(label.shape, [1, 2]) < 0.3
            labels[name] = tf.where(some, 0, label)
        value = model.loss_terms(batch, outputs, labels, phase)[term]
    variables = model.trainable_variables
    gradients = tape.gradient(value, [v.value for v in variables], unconnected_gradients="zero")
    reached = {
        variable.path
        for variable, gradient in zip(variables, gradients, strict=True)
        if np.any(gradient)
    }
    return {part for part in PARTS if any(part in path for path in reached)}


def test_which_loss_reaches_which_part(agreeing):  # [10]
    early, every = agreeing.schedule.only("classification"), agreeing.schedule.last
    assert parts_reached(agreeing, "classification", early) == {"backbone", "classifier"}
    assert parts_reached(agreeing, "segmentation", every) == {"backbone", "decoder"}
    assert parts_reached(agreeing, "agreement", every) == {"backbone", "classifier"}


def test_the_label_path_gives_no_gradient(sgn):  # [10]
    with tf.GradientTape() as tape:
        guidance = sgn.labeller.maps(random_batch(classes=CLASSES), events=("mixing",))
        value = sum(tf.reduce_sum(x) for x in guidance.values())
    gradients = tape.gradient(value, [v.value for v in sgn.trainable_variables])
    assert all(gradient is None for gradient in gradients)


def test_before_its_start_the_label_path_does_not_run(sgn):
    batch, phase = random_batch(classes=CLASSES), sgn.schedule.only("classification")
    outputs = sgn.forward(batch, phase)
    assert set(outputs) == {"view", "logits"} and sgn.pseudo_labels(batch, outputs, phase) == {}
    assert set(sgn.loss_terms(batch, outputs, {}, phase)) == {"classification"}


@pytest.mark.parametrize("kind", ["no tags", "all tags", "all padding", "black image"])
def test_losses_and_gradients_stay_finite(agreeing, kind):
    batch = random_batch(classes=CLASSES)
    if kind == "no tags":
        batch["labels"] = tf.zeros_like(batch["labels"])
    elif kind == "all tags":
        batch["labels"] = tf.ones_like(batch["labels"])
    elif kind == "all padding":
        batch["valid_box"] = tf.zeros_like(batch["valid_box"])
    else:
        batch["image"] = tf.zeros_like(batch["image"])
    agreeing.compile("adam")
    agreeing.optimizer.iterations.assign(5)
    terms, gradients = agreeing.terms_and_gradients(batch, agreeing.schedule.last)
    assert set(terms) == {"classification", "segmentation", "agreement", "loss"}
    for name, value in terms.items():
        assert np.isfinite(float(value)), name
    for variable, gradient in zip(agreeing.trainable_variables, gradients, strict=True):
        assert np.all(np.isfinite(gradient)), variable.path


# ---- configuration ---------------------------------------------------------------------------


def test_recipe_of_the_page():
    """As its page has it."""
    config = load_config("voc_sgn", ["data.root=photos"])
    sgn = config.sgn
    assert (sgn.mix, sgn.mix_start, sgn.mix_end) == (0.5, 8000, 14000)
    assert (sgn.affinity_radius, sgn.walk_steps, sgn.restart) == (8, 8, 0.2)
    assert (sgn.guided_radius, sgn.epsilon, sgn.levels) == (16, 1e-3, (1, 2, 3))
    assert (sgn.class_score, sgn.background_score, sgn.margin) == (0.35, 0.15, 0.05)
    assert {name: (t.weight, config.start_of(name)) for name, t in config.losses.items()} == {
        "classification": (1.0, 0),
        "segmentation": (1.0, 2000),
    }
    assert (config.training.steps, config.data.batch_size) == (20000, 10)
    assert (config.data.scale, config.data.crop_size) == ((0.7, 1.5), 320)
    coco = load_config("coco_sgn", ["data.root=photos"])
    assert coco.training.steps == 60000 and coco.start_of("segmentation") == 6000
    assert (coco.sgn.mix_start, coco.sgn.mix_end) == (24000, 42000)


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("sgn.mix_start=14000", ["sgn.mix_start", "less than sgn.mix_end (14000)"]),
        ("sgn.background_score=0.4", ["sgn.background_score", "less than sgn.class_score (0.35)"]),
        ("sgn.levels=[4]", ["sgn.levels", "4"]),
        ("sgn.epsilon=0", ["sgn.epsilon", "1e-05"]),
        (
            "sgn.labels_from=M2",
            ["sgn.labels_from", "'M2'", "'localization', 'affinity' or 'image'"],
        ),
    ],
)
def test_wrong_values_are_one_message(override, parts):
    with pytest.raises(ConfigError) as caught:
        load_config("voc_sgn", ["data.root=photos", override])
    for part in [f"--set {override}: ", "allowed:", *parts]:
        assert part in str(caught.value)
