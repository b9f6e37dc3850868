"""Loss terms: numbers of the method pages, float64 oracles with gradients, degenerate batches."""

import numpy as np
import pytest
import tensorflow as tf

from keras_wsss import losses
from keras_wsss.ops._backend import compiled
from keras_wsss.ops.affinity import affinity_targets

RANDOM = np.random.default_rng(0)


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def value_and_gradient(function, x):
    x = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return float(value), tape.gradient(value, x).numpy()


def check(function, oracle, x):
    """Value, and the gradient along random directions against differences of the oracle."""
    value, gradient = value_and_gradient(function, x)
    np.testing.assert_allclose(value, oracle(x), rtol=1e-5)
    for _ in range(3):
        step = 1e-4 * RANDOM.normal(size=x.shape)
        slope = (oracle(x + step) - oracle(x - step)) / 2
        largest = np.linalg.norm(gradient) * np.linalg.norm(step)
        np.testing.assert_allclose(np.sum(gradient * step), slope, rtol=1e-3, atol=1e-4 * largest)


# ---- classification and segmentation -----------------------------------------------------------


def test_soft_margin():
    labels = RANDOM.integers(0, 2, (4, 6))
    logits = 4 * RANDOM.normal(size=(4, 6))
    check(
        lambda x: losses.multilabel_soft_margin(labels, x),
        lambda x: np.mean(np.log1p(np.exp(-x * (2 * labels - 1)))),
        logits,
    )
    undecided = losses.multilabel_soft_margin(labels, np.zeros((4, 6)))
    np.testing.assert_allclose(undecided, np.log(2), rtol=1e-6)
    sure = losses.multilabel_soft_margin([[1, 1, 0, 0]], [[1000.0, -1000.0, 1000.0, -1000.0]])
    assert sure == 500


def cross_entropy_oracle(labels, logits, chosen):
    if not chosen.any():
        return 0.0
    probability = np.take_along_axis(softmax(logits), np.where(chosen, labels, 0)[..., None], -1)
    return -np.mean(np.log(probability[..., 0][chosen]))


@pytest.mark.parametrize("ids", [[0, 1, 2, 4, 255], [0, 255], [3, 1], [0], [255]])
def test_cross_entropies(ids):
    labels = RANDOM.choice(ids, (2, 5, 7))
    logits = 2 * RANDOM.normal(size=(2, 5, 7, 5))
    background, foreground = labels == 0, (labels != 0) & (labels != 255)
    check(
        lambda x: losses.balanced_cross_entropy(labels, x),
        lambda x: (
            0.5 * cross_entropy_oracle(labels, x, background)
            + 0.5 * cross_entropy_oracle(labels, x, foreground)
        ),
        logits,
    )
    check(
        lambda x: losses.cross_entropy(labels, x),
        lambda x: cross_entropy_oracle(labels, x, labels != 255),
        logits,
    )


def test_cross_entropy_of_an_undecided_decoder():
    labels, logits = np.array([[[0, 7, 255]]]), np.zeros((1, 1, 3, 21), np.float32)
    np.testing.assert_allclose(losses.balanced_cross_entropy(labels, logits), np.log(21), rtol=1e-6)


# ---- affinity ------------------------------------------------------------------------------------


def test_affinity_of_four_tokens():
    label = np.zeros((1, 16, 64), np.int32)
    label[0, 0, ::16] = [1, 1, 0, 255]
    targets = affinity_targets(label)
    loss = losses.affinity_loss(targets, np.full((1, 4, 4), 0.5))
    np.testing.assert_allclose(loss, 0.408333, rtol=1e-5)


@pytest.mark.parametrize("values", [[0, 1, 255], [1], [0, 255], [255]])
def test_affinity(values):
    targets = RANDOM.choice(values, (2, 9, 9))
    same, different = targets == 1, targets == 0
    check(
        lambda x: losses.affinity_loss(targets, x),
        lambda x: (
            0.5 * np.sum((1 - x)[same]) / (same.sum() + 1)
            + 0.5 * np.sum(x[different]) / (different.sum() + 1)
        ),
        RANDOM.random((2, 9, 9)),
    )


# ---- correspondence ------------------------------------------------------------------------------


def as_map(vectors):
    """Points as the pixels of maps `[1,1,P,C]`, and the places that read them."""
    vectors = np.asarray(vectors, np.float32)
    places = np.stack([np.linspace(-1, 1, len(vectors)), np.zeros(len(vectors))], axis=-1)
    return tf.constant(vectors[None, None]), tf.constant(places[None], tf.float32)


def correspondence(cam, small_cam, logits, small_logits):
    (cam, one), (small_cam, two) = as_map(cam), as_map(small_cam)
    logits, small_logits = as_map(logits)[0], as_map(small_logits)[0]
    with tf.GradientTape() as tape:
        tape.watch([cam, small_cam, logits, small_logits])
        value = losses.correspondence_distillation(cam, small_cam, logits, small_logits, one, two)
    return float(value), tape.gradient(value, [cam, small_cam, logits, small_logits])


A, B = (1.0, 0.0), (0.0, 1.0)


@pytest.mark.parametrize(
    ("teacher", "student", "small_student", "expected"),
    [
        ([A, A, A, B], [A, A, A, B], [A, A, A, B], -0.578125),
        ([A, A, A, B], [A] * 4, [A] * 4, -0.625),
        ([A, A, A, B], [A] * 4, [(-1.0, 0.0)] * 4, 0.0),
        ([A, A, B, B], [A, A, B, B], [A, A, B, B], -0.5),
        ([A, A, B, B], [A] * 4, [A] * 4, -0.5),
    ],
)
def test_toy_correspondence(teacher, student, small_student, expected):
    value, gradients = correspondence(teacher, teacher, student, small_student)
    assert value == pytest.approx(expected, abs=1e-6)
    if expected == 0.0:
        assert not np.any(gradients[2]) and not np.any(gradients[3])


F = [[1, 2, 0], [0, 1, 1], [3, 0, 1], [0.5, 0.5, 0.5]]
F2 = [[2, 1, 0], [0, 0, 1], [1, 1, 1], [0, 2, 1]]
G = [[1, -1, 0.5], [0.2, 0.3, -0.7], [-1, 0, 1], [2, 1, 0]]
G2 = [[0.5, -0.5, 1], [1, 1, 1], [-1, 0.2, 0.1], [0, -1, 0.3]]


def test_correspondence_numbers_scale_and_gradient_routing():
    value, gradients = correspondence(F, F2, G, G2)
    assert value == pytest.approx(-0.174222, abs=1e-6)
    assert gradients[0] is None and gradients[1] is None
    assert np.any(gradients[2]) and np.any(gradients[3])
    scaled, _ = correspondence(3 * np.array(F), F2, 0.2 * np.array(G), 7 * np.array(G2))
    assert scaled == pytest.approx(value, abs=1e-6)


def test_correspondence_against_the_oracle():
    def unit(x):
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    vectors = RANDOM.random((2, 12, 3))
    students = RANDOM.normal(size=(2, 12, 4))
    teacher = unit(vectors[0]) @ unit(vectors[1]).T
    teacher = teacher - teacher.mean(axis=1, keepdims=True) + teacher.mean()
    (cam, one), (small_cam, two), small = *map(as_map, vectors), as_map(students[1])[0]
    check(
        lambda x: losses.correspondence_distillation(
            cam, small_cam, x[None, None], small, one, two
        ),
        lambda x: -np.mean(np.maximum(unit(x) @ unit(students[1]).T, 0) * teacher),
        students[0],
    )


# ---- equivariance --------------------------------------------------------------------------------


def test_equivariance_compares_present_classes():
    cam = np.zeros((1, 4, 4, 2), np.float32)
    cam[0, :2, :, 0] = 8.0  # stretched to 1
    cam[0, ..., 1] = RANDOM.random((4, 4))  # absent
    small = np.zeros((1, 2, 2, 2), np.float32)
    small[0, 0, :, 0] = 2.0
    labels = np.array([[1.0, 0.0]])
    np.testing.assert_allclose(losses.cam_equivariance(cam, small, labels), 0, atol=1e-5)
    small[0, 1, 1, 0] = 1.0  # one of 2 x 2 x 2 values is off by a half
    np.testing.assert_allclose(losses.cam_equivariance(cam, small, labels), 1 / 16, atol=1e-5)
    _, gradient = value_and_gradient(lambda x: losses.cam_equivariance(x, small, labels), cam)
    assert np.any(gradient[..., 0]) and not np.any(gradient[..., 1])


def test_released_equivariance_leaves_out_the_first_class():
    cam, small = np.zeros((1, 4, 4, 3), np.float32), np.zeros((1, 2, 2, 3), np.float32)
    small[..., 0] = 1.0
    assert losses.cam_equivariance_released(cam, small) == 0
    small[..., 1] = 1.0
    assert losses.cam_equivariance_released(cam, small) == 0.5


# ---- relations -----------------------------------------------------------------------------------

TOY = np.stack([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 8.0]]], axis=-1)[None]
TOY_SALIENCY = np.array([[1.0, 0.0], [0.0, 1.0]])[None, ..., None]


def test_relation_distances_of_the_page():
    """I2CRC, reference values 2 and 3."""
    tags = [[0.0, 1.0]]
    distance = losses.class_agnostic_distance
    inner, outer = (distance(TOY, mask, tags) for mask in (TOY_SALIENCY, 1 - TOY_SALIENCY))
    specific = losses.class_specific_distance(TOY, TOY_SALIENCY, tags)
    np.testing.assert_allclose([inner, outer, specific], [9.125, 0.125, -2.0], atol=1e-3)
    total = 0.01 * inner + 0.025 * outer + 0.1 * specific
    np.testing.assert_allclose(total, -0.105625, atol=1e-4)
    np.testing.assert_allclose(distance(TOY, np.full((1, 2, 2, 1), 0.5), tags), 3.3125, atol=1e-3)


def test_relation_distances_without_variation_or_region():
    """I2CRC, reference value 4: nothing to pull together, no salient pixel."""
    mask = RANDOM.random((1, 6, 7, 1))
    constant = np.full((1, 2, 3, 4), 5.0)
    assert losses.class_agnostic_distance(constant, mask, [[1, 0, 0, 0]]) < 1e-8
    value, gradient = value_and_gradient(
        lambda x: losses.class_agnostic_distance(x, np.zeros((1, 2, 2, 1)), [[0, 1]]), TOY
    )
    assert value == 0 and not np.any(gradient)


def test_class_distance_pulls_the_tag_alone():
    """I2CRC, reference value 6: up on salient pixels of the tag, down on others, else still."""
    _, gradient = value_and_gradient(
        lambda x: losses.class_specific_distance(x, TOY_SALIENCY, [[0.0, 1.0]]), TOY
    )
    salient = TOY_SALIENCY[..., 0] == 1
    assert np.all(gradient[..., 1][salient] < 0) and np.all(gradient[..., 1][~salient] > 0)
    assert not np.any(gradient[..., 0])


def relation_oracle(cam, mask, background, tags):
    """Both distances, image by image; the sizes are equal or the mask's twice the CAM's."""
    if mask.shape[1] != cam.shape[1]:
        cam = tf.image.resize(tf.constant(cam, tf.float64), mask.shape[1:3]).numpy()
    agnostic, specific = [], []
    for f, m, n, y in zip(cam, mask, background, tags, strict=True):
        if y.sum() != 1:
            continue
        p, q = ((w * f).sum(axis=(0, 1)) / (w.sum() + 1e-5) for w in (m, n))
        agnostic.append(np.square(m * (f - p)).sum(axis=(0, 1)) / (m.sum() + 1e-5))
        specific.append((q - p) * y)
    return (np.mean(agnostic), np.mean(specific)) if agnostic else (0.0, 0.0)


@pytest.mark.parametrize("size", [(5, 7), (10, 14)])
@pytest.mark.parametrize("tags", [[[1, 0, 0], [0, 0, 1], [1, 1, 0]], [[0, 1, 1], [0] * 3, [1] * 3]])
def test_relation_distances_against_the_oracle(size, tags):
    tags, cam = np.array(tags, np.float64), RANDOM.normal(size=(3, 5, 7, 3))
    valid = np.ones((3, *size, 1))
    valid[1, :, 4:] = 0
    mask = RANDOM.random((3, *size, 1)) * valid
    rest = valid - mask
    check(
        lambda x: losses.class_agnostic_distance(x, mask, tags),
        lambda x: relation_oracle(x, mask, rest, tags)[0],
        cam,
    )
    check(
        lambda x: losses.class_specific_distance(x, mask, tags, valid),
        lambda x: relation_oracle(x, mask, rest, tags)[1],
        cam,
    )


# ---- energy --------------------------------------------------------------------------------------

ONE_HOT = [[100.0, 0.0], [0.0, 100.0]]


@pytest.mark.parametrize(
    ("logits", "labels", "energy", "pull"),
    [
        (np.log([[0.6, 0.4]] * 2), [255, 255], -2.079792, [(-2.399760, -1.599840)] * 2),
        (
            np.log([[0.6, 0.4]] * 2),
            [1, 255],
            -1.455854,
            [(-0.959904, -0.639936), (-2.399760, -1.599840)],
        ),
        (ONE_HOT, [0, 1], 0.0, [(0.0, 0.0)] * 2),
    ],
)
def test_energy_of_two_pixels(logits, labels, energy, pull):
    """RRM, reference value 2: two pixels of the half-size grid, each 2 x 2 pixels of the image."""
    image = np.full((1, 2, 4, 3), 77.0, np.float32)
    labels = np.repeat(labels, 2)[None, None] * np.ones((1, 2, 1), int)
    logits = np.tile(np.repeat(logits, 2, axis=0)[None, None], (1, 2, 1, 1))
    value, gradient = value_and_gradient(
        lambda x: losses.dense_energy(image, labels, x, [[0, 2, 0, 4]]), logits
    )
    assert value * 1e7 == pytest.approx(energy, abs=1e-5)
    # To the logits through the softmax; the four pixels of a cell share its gradient.
    probability = softmax(logits[0, 0, ::2])
    mean_pull = np.sum(probability * pull, axis=-1, keepdims=True)
    gradient = 1e7 * gradient.reshape(2, 2, 2, 2).sum(axis=(0, 2))
    np.testing.assert_allclose(gradient, probability * (np.array(pull) - mean_pull), atol=1e-5)


def energy_oracle(image, labels, logits, box):
    """Value and gradient with respect to the logits, float64, times 1e7."""
    batch, height, width = labels.shape
    h, w = height // 2, width // 2
    probabilities = softmax(logits)
    value, gradient = 0.0, np.zeros_like(logits)
    places = np.stack(np.mgrid[:h, :w], axis=-1).reshape(-1, 2) / 50
    for i, (y0, y1, x0, x1) in enumerate(box):
        s = probabilities[i, : 2 * h, : 2 * w].reshape(h, 2, w, 2, -1).mean(axis=(1, 3))
        region = np.zeros((height, width))
        region[y0:y1, x0:x1] = 1
        region = region[: 2 * h : 2, : 2 * w : 2].reshape(-1, 1)
        label = labels[i, : 2 * h : 2, : 2 * w : 2].reshape(-1, 1)
        colours = image[i, : 2 * h : 2, : 2 * w : 2].reshape(-1, 3) / 15
        features = np.concatenate([places, colours], axis=-1)
        kernel = np.exp(-0.5 * np.square(features[:, None] - features[None]).sum(axis=-1))
        s = s.reshape(h * w, -1)
        confidence = np.maximum(region - s.max(axis=-1, keepdims=True), 0)
        gate = np.where(label == 255, 1.0, confidence)
        pull = gate * (kernel @ (region * s))
        value -= np.sum(region * s * pull) / batch
        cell = (-2 / batch * region * pull).reshape(h, 1, w, 1, -1) / 4
        pixel = np.zeros_like(logits[i])
        pixel[: 2 * h, : 2 * w] = np.broadcast_to(cell, (h, 2, w, 2, cell.shape[-1])).reshape(
            2 * h, 2 * w, -1
        )
        p = probabilities[i]
        gradient[i] = p * (pixel - np.sum(p * pixel, axis=-1, keepdims=True))
    return value, gradient


@pytest.mark.parametrize("size", [(16, 20), (15, 13)])
def test_energy_against_the_oracle(size):
    image = RANDOM.integers(0, 90, (2, *size, 3))
    labels = RANDOM.choice([0, 1, 255], (2, *size))
    logits = RANDOM.normal(size=(2, *size, 4))
    box = [[0, size[0], 0, size[1]], [3, size[0] - 4, 1, size[1] - 3]]
    value, gradient = value_and_gradient(
        lambda x: losses.dense_energy(image, labels, x, box), logits
    )
    wanted, wanted_gradient = energy_oracle(image, labels, logits, box)
    assert value * 1e7 == pytest.approx(wanted, rel=1e-4)
    peak = np.abs(wanted_gradient).max()
    np.testing.assert_allclose(1e7 * gradient, wanted_gradient, rtol=1e-4, atol=1e-5 * peak)


def test_energy_of_padding_is_zero():
    value, gradient = value_and_gradient(
        lambda x: losses.dense_energy(
            np.zeros((1, 8, 8, 3)), np.full((1, 8, 8), 255), x, [[0, 0, 0, 0]]
        ),
        RANDOM.normal(size=(1, 8, 8, 3)),
    )
    assert value == 0 and not np.any(gradient)


def test_strided_energy_is_close():
    smooth = tf.image.resize(RANDOM.normal(size=(1, 4, 4, 3)), (96, 96)).numpy()
    image = 20 * smooth + 128
    labels = np.full((1, 96, 96), 255)
    box = [[0, 96, 0, 96]]
    exact, strided = (
        value_and_gradient(
            lambda x, stride=stride: losses.dense_energy(image, labels, x, box, stride=stride),
            smooth,
        )
        for stride in (1, 4)
    )
    assert strided[0] == pytest.approx(exact[0], rel=0.05) and strided[0] != exact[0]
    deviation = np.linalg.norm(strided[1] - exact[1]) / np.linalg.norm(exact[1])
    assert deviation < 0.1


# ---- all of them ---------------------------------------------------------------------------------


def terms(level):
    """Every loss as a function of what is learned, on a batch that is constant at ``level``."""
    full, small = (2, 8, 8), (2, 4, 4)
    places = np.zeros((2, 5, 2), np.float32)
    image = np.full((*full, 3), 255 * (level > 0), np.float32)
    box = np.array([[0, 8, 0, 8], [0, 0, 0, 0]])
    zero_cam, logits = np.zeros((*full, 3), np.float32), np.full((*small, 4), level, np.float32)
    maps = np.full((*full, 4), level, np.float32)
    cases = {
        "soft_margin": (
            lambda x: losses.multilabel_soft_margin(np.zeros((2, 3)), x),
            np.full((2, 3), level, np.float32),
        ),
        "affinity": (
            lambda x: losses.affinity_loss(np.full((2, 4, 4), 255), x),
            np.full((2, 4, 4), level, np.float32),
        ),
        "correspondence": (
            lambda x: losses.correspondence_distillation(
                zero_cam, zero_cam, x, logits, places, places
            ),
            maps,
        ),
        "equivariance": (
            lambda x: losses.cam_equivariance(x, np.zeros((*small, 4)), np.zeros((2, 4))),
            maps,
        ),
    }
    for kind, tags in (("none", [[0] * 4] * 2), ("single", [[0, 1, 0, 0], [1, 1, 0, 0]])):
        for part, mask in (("empty", np.zeros((*full, 1))), ("full", np.ones((*full, 1)))):
            cases |= {
                f"agnostic_{kind}_{part}": (
                    lambda x, m=mask, t=tags: losses.class_agnostic_distance(x, m, t),
                    maps[:, ::2, ::2],
                ),
                f"specific_{kind}_{part}": (
                    lambda x, m=mask, t=tags: losses.class_specific_distance(x, m, t),
                    maps[:, ::2, ::2],
                ),
            }
    for label in (0, 1, 255):
        labels = np.full(full, label)
        cases |= {
            f"balanced_{label}": (
                lambda x, y=labels: losses.balanced_cross_entropy(y, x),
                maps,
            ),
            f"plain_{label}": (lambda x, y=labels: losses.cross_entropy(y, x), maps),
            f"energy_{label}": (lambda x, y=labels: losses.dense_energy(image, y, x, box), maps),
        }
    return cases


@pytest.mark.parametrize("level", [0.0, 1e4, -1e4])
def test_degenerate_batches_are_finite(level):
    for name, (function, x) in terms(level).items():
        value, gradient = value_and_gradient(function, x)
        assert np.isfinite(value) and np.all(np.isfinite(gradient)), name


def test_float16_is_computed_in_float32():
    for name, (function, x) in terms(0.0).items():
        assert function(tf.constant(x, tf.float16)).dtype == tf.float32, name


@pytest.mark.parametrize("name", terms(0.0))
def test_compiled_equals_eager(name):
    function, x = terms(0.5)[name]

    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return value, tape.gradient(value, x)

    x = tf.constant(x) + tf.random.stateless_uniform(x.shape, (1, 2))
    for ours, wanted in zip(compiled(both)(x), both(x), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-7)
