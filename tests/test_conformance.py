"""The suite that every method passes, by being registered: see conformance.py.

MiT-tiny runs all of it. EfficientNet-Lite0, which takes long, leaves out what does not depend on
the encoder: parity, declarations, schedule and labels. It sees CAMs of one scale, and its step of
`fit` is not traced.
"""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from conformance import (
    BACKBONES,
    CLASSES,
    FROM_BATCH,
    SHARED,
    Case,
    mean_of_halves_step,
    parts_reached,
    step_of,
)

from keras_wsss.config.sections import BY_AFFINITY
from keras_wsss.errors import DataError
from keras_wsss.methods import labeller
from keras_wsss.optimizers import GroupedAdamW
from keras_wsss.registry import METHODS

DEGENERATE = ("no tags", "all tags", "all padding", "black image")
CASES = {
    f"{method}-{backbone}": Case(method, backbone) for method in METHODS for backbone in BACKBONES
}
PARITY = {
    f"{method}-parity": Case(method, "mit_tiny", parity=True)
    for method in METHODS
    if METHODS[method].has_parity
}


@pytest.fixture(autouse=True)
def refinement_without_xla(monkeypatch):
    """Compiling every method's refinement takes longer than all else here: test_ops_compiled."""
    monkeypatch.setattr(labeller, "_compiled", lambda function: function)


def each(cases):
    return pytest.mark.parametrize("case", cases.values(), ids=cases)


all_cases = each(CASES)
with_parity = each(CASES | PARITY)
mit_only = each({name: case for name, case in CASES.items() if case.backbone == "mit_tiny"})


# ---- network ---------------------------------------------------------------------------------


@all_cases
@pytest.mark.parametrize("shape", [(64, 64), (67, 71), (96, 40)], ids=str)
def test_images_of_any_size(case, shape):
    model = case.model
    images = tf.random.stateless_uniform((2, *shape, 3), [0, 1]) * 255
    request = ("cam", "affinity") if model.affinity_head is not None else ("cam",)
    outputs = model(images, request=request)
    height, width = (-(-side // 4) for side in shape)
    tall, wide = (-(-side // 16) for side in shape)
    assert outputs["segmentation_logits"].shape == (2, height, width, CLASSES + 1)
    assert outputs["image_logits"].shape == (2, CLASSES)
    assert outputs["cam"].shape == (2, tall, wide, CLASSES)
    if "affinity" in request:
        assert outputs["affinity"].shape == (2, tall * wide, tall * wide)
    from_dict = model({"image": images})
    assert set(from_dict) == {"image_logits", "segmentation_logits"}
    for name, value in from_dict.items():
        np.testing.assert_allclose(value, outputs[name], atol=1e-5)


@all_cases
def test_exported_call_is_the_decoder_alone(case):
    """What export traces: any size and batch, no CAM, no affinity and none of their variables."""
    signature = [tf.TensorSpec([None, None, None, 3], tf.float32)]
    serve = tf.function(case.model, input_signature=signature, autograph=False)
    traced = serve.get_concrete_function()
    assert set(traced.structured_outputs) == {"image_logits", "segmentation_logits"}
    read = {variable.ref() for variable in traced.graph.variables}
    for variable in case.model.weights:
        training_only = "neck" in variable.path or "affinity" in variable.path
        assert (variable.value.ref() in read) != training_only, variable.path
    for shape in [(1, 67, 71, 3), (3, 64, 96, 3)]:
        images = tf.random.stateless_uniform(shape, [0, 1]) * 255
        for name, value in case.model(images).items():
            np.testing.assert_allclose(serve(images)[name], value, atol=1e-4)


@all_cases
def test_saved_and_loaded_model_predicts_the_same(tmp_path, case):
    model, images = case.model, case.batch()["image"]
    expected = model(images)["segmentation_logits"]
    copy = type(model).from_config(json.loads(json.dumps(model.get_config())))
    assert copy.get_config() == model.get_config() and copy.settings == model.settings
    copy.build()
    model.save_weights(tmp_path / "m.weights.h5")
    copy.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_allclose(copy(images)["segmentation_logits"], expected, atol=1e-6)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded(images)["segmentation_logits"], expected, atol=1e-6)


# ---- losses ----------------------------------------------------------------------------------


@with_parity
def test_which_loss_reaches_which_part(case):
    reached = parts_reached(case.model, case.batch(), case.phase)
    assert reached == {term: case.route(term) for term in case.config.losses}


@pytest.mark.parametrize("method", METHODS)
def test_terms_read_what_they_declare(method):
    """All of it, as released or corrected, and no more: a batch holds nothing else."""
    variants = [case for case in (CASES | PARITY).values() if case.method == method]
    variants = [case for case in variants if case.backbone == "mit_tiny"]
    for term, declared in variants[0].declared.items():
        used, reads = set(), set(declared.reads)
        for case in variants:
            step = step_of(case, term)
            assert step.used <= reads, (term, case)
            # What the method itself makes has a name of the method's own.
            assert not step.own_label or reads - SHARED, (term, case)
            used |= step.used
        assert used == reads & SHARED, term


@mit_only
def test_what_no_term_reads_is_not_computed(case):
    schedule = case.model.schedule
    own = {name for declared in case.declared.values() for name in declared.reads} - SHARED
    for term in case.declared:
        step, reads = step_of(case, term), schedule.only(term).reads
        assert step.maps == ("maps" in reads), term
        assert (step.labels > 0) == ("label" in reads), term
        assert step.affinity == ("affinity" in reads), term
        assert not (own - reads) & step.outputs, term
        if "maps" not in reads:
            assert step.attentions == ("affinity" in reads), term
        if not reads - FROM_BATCH - {"affinity"}:
            assert step.passes == 1, term


@mit_only
def test_a_batch_without_what_a_term_reads_is_one_message(case):
    for key in {"labels", *case.phase.reads} & {"labels", *FROM_BATCH}:
        batch = {name: x for name, x in case.batch().items() if name != key}
        with pytest.raises(DataError, match=f"{case.method} needs '{key}' in every batch"):
            case.model.train_step(batch)


@with_parity
@pytest.mark.parametrize("kind", DEGENERATE)
def test_losses_and_gradients_stay_finite(case, kind):
    model = case.model
    terms, gradients = model.terms_and_gradients(case.degenerate(kind), case.phase)
    assert set(terms) == {"loss", *case.config.losses}
    for name, value in terms.items():
        assert np.isfinite(float(value)), name
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert np.all(np.isfinite(gradient)), variable.path


@mit_only
def test_every_term_can_be_left_out(case):
    for left_out in set(case.config.losses) - {"classification"}:
        settings = case.config.model_dump(mode="json")
        del settings["losses"][left_out]
        if "cam" in settings:
            settings["cam"]["scales"] = [1.0]
        labelling = settings.get("pseudo_label", {})
        if left_out == "affinity" and labelling.get("propagation") in BY_AFFINITY:
            labelling["propagation"] = "none"  # nothing else trains what it reads
        model = case.new_model(case.changed(settings))
        batch, phase = case.batch(), model.schedule.phase(case.config.training.steps)
        outputs = model.forward(batch, phase)
        labels = model.pseudo_labels(batch, outputs, phase)
        assert set(model.loss_terms(batch, outputs, labels, phase)) == set(settings["losses"])


@mit_only
def test_terms_that_have_not_started_cost_nothing(case, monkeypatch):
    model, passes = case.model, []

    def counted(*arguments, encode=case.model.encode, **kwargs):
        passes.append(arguments)
        return encode(*arguments, **kwargs)

    monkeypatch.setattr(model, "encode", counted)
    alone = model.schedule.only("classification", events=case.phase.events)
    terms, _ = model.terms_and_gradients(case.batch(), alone)
    assert set(terms) == {"loss", "classification"}
    assert len(passes) == 1  # no pass for CAMs or second views


@mit_only
def test_terms_start_at_their_step(case):
    terms = set(case.config.losses) - {"classification"}
    starts = {name: 2 + number for number, name in enumerate(sorted(terms))}
    later = {name: {"start_step": step} for name, step in starts.items()}
    settings = case.config.model_dump(mode="json")
    for name, change in later.items():
        settings["losses"][name] |= change
    schedule = case.new_model(case.changed(settings)).schedule
    for name, step in starts.items():
        assert name not in schedule.phase(step - 1).terms and name in schedule.phase(step).terms
    assert "classification" in schedule.phase(0).terms


@mit_only
def test_described_labels_are_of_tags_inside_the_box(case):
    """As evaluation calls it: traced once for images of any size."""
    batch = {name: case.batch()[name] for name in ("image", "labels", "valid_box")}
    kinds = {"image": [None, None, None, 3], "labels": [None, CLASSES], "valid_box": [None, 4]}
    signature = {name: tf.TensorSpec(kinds[name], batch[name].dtype) for name in kinds}
    described = tf.function(case.model.describe, input_signature=[signature], autograph=False)
    cut = {**batch, "image": batch["image"][:, :97, :75]}
    cut["valid_box"] = tf.constant([[0, 97, 0, 75], [0, 90, 0, 60]])
    for part in (batch, cut):
        cam, label, full = (value.numpy() for value in described(part))
        assert label.shape == full.shape == part["image"].shape[:3]
        assert cam.shape == (*label.shape, CLASSES) and cam.dtype == np.float32
        assert np.all((cam >= 0) & (cam <= 1))
        y0, y1, x0, x1 = part["valid_box"][1].numpy()
        inside = np.zeros(label.shape[1:], bool)
        inside[y0:y1, x0:x1] = True
        tagged = set(np.flatnonzero(part["labels"][1]) + 1)
        assert np.all(label[1][~inside] == 255)
        assert set(np.unique(label[1][inside])) <= tagged | {0, 255}
        assert set(np.unique(full[1][inside])) <= tagged | {0}


# ---- training --------------------------------------------------------------------------------


@all_cases
def test_a_step_of_fit(case):
    model = case.new_model()
    model.compile(GroupedAdamW(1e-4), run_eagerly=case.backbone != "mit_tiny")
    before = [variable.numpy() for variable in model.trainable_variables]
    history = model.fit(tf.data.Dataset.from_tensors(case.batch()), verbose=0).history
    assert set(history) == {"loss", *case.config.losses}
    assert all(np.isfinite(value) for (value,) in history.values())
    weighted = sum(term.weight * history[name][0] for name, term in case.config.losses.items())
    np.testing.assert_allclose(history["loss"][0], weighted, rtol=1e-5)
    assert int(model.optimizer.iterations) == 1
    after = [variable.numpy() for variable in model.trainable_variables]
    assert any(np.any(old != new) for old, new in zip(before, after, strict=True))


@all_cases
def test_two_steps_in_mixed_precision(case):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = case.new_model()
        model.compile(GroupedAdamW(1e-4), run_eagerly=True)
        batches = tf.data.Dataset.from_tensors(case.batch()).repeat(2)
        history = model.fit(batches, verbose=0).history
        outputs = model(case.batch())
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert all(np.isfinite(value) for (value,) in history.values())
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert all(value.dtype == "float32" for value in outputs.values())
    for variable in model.weights:
        assert np.all(np.isfinite(variable.numpy())), variable.path


@pytest.fixture(scope="module")
def replicas():
    """One strategy for all cases: a second one would take up the first one's collective keys."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@all_cases
def test_two_replicas_equal_the_mean_of_half_batch_gradients(case, replicas):
    """By the weights after a step. With this epsilon Adam's first one is the gradient, or less.

    A bias in front of a batch norm has no gradient but rounding, up to 1e-6 of the largest: the
    epsilon must not enlarge it, and the weights must not be an unlucky draw.
    """
    keras.utils.set_random_seed(0)

    def compiled_model(strategy, synchronized):
        with strategy.scope():
            model = case.new_model(synchronized=synchronized)
            model.compile(GroupedAdamW(1e-2, epsilon=1e-1), run_eagerly=True)
        return model

    replicated = compiled_model(replicas, synchronized=True)
    single = compiled_model(tf.distribute.get_strategy(), synchronized=False)
    for target, source in zip(single.weights, replicated.weights, strict=True):
        target.assign(source.numpy())
    start = [weight.numpy() for weight in single.weights]

    batch = case.batch(4)
    replicated.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    mean_of_halves_step(single, batch, case.phase)

    moved = 0
    for weight, ours, expected in zip(start, replicated.weights, single.weights, strict=True):
        step = expected.numpy() - weight
        size = np.abs(step).max()
        np.testing.assert_allclose(
            ours.numpy() - weight, step, rtol=0, atol=1e-6 + 1e-3 * size, err_msg=expected.path
        )
        moved += size > 1e-5
    assert moved > 20  # the comparison is of trained weights, not of initial ones
