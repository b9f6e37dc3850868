"""When loss terms count: the schedule itself, and that `fit` keeps to it, however Keras runs it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_batch, tiny_config

from keras_wsss.backbones import adapted
from keras_wsss.config import load_config
from keras_wsss.methods import TSCD, Supervised, new_model
from keras_wsss.methods._step_tensorflow import TrainingStep
from keras_wsss.methods.schedule import Phase, Schedule
from keras_wsss.optimizers import GroupedAdamW

# ---- the schedule ----------------------------------------------------------------------------


def schedule_of(config="shapes_bmp", *overrides, **options):
    return Schedule(load_config(config, overrides).for_model(), **options)


def test_terms_and_events_begin_at_their_steps():
    """BMP: the classifier for 200 of 460 steps, then all terms; BSP from step 270 on."""
    schedule, waiting = schedule_of(), {"c2s", "s2c", "affinity"}
    assert schedule.starts == {"classification": 0, **dict.fromkeys(waiting, 200)}
    assert schedule.events == {"propagation": 270}
    for step, terms, events in [
        (0, set(), set()),
        (199, set(), set()),
        (200, waiting, set()),
        (269, waiting, set()),
        (270, waiting, {"propagation"}),
        (10**9, waiting, {"propagation"}),
    ]:
        phase = schedule.phase(step)
        assert (phase.terms, phase.events) == ({"classification", *terms}, events), step
    assert schedule.phase(270) == schedule.last
    assert list(schedule.phases(460)) == [schedule.phase(step) for step in (0, 200, 270)]
    assert list(schedule.phases(270)) == [schedule.phase(step) for step in (0, 200)]


def test_a_start_of_its_own_beats_the_common_one():
    schedule = schedule_of("shapes_bmp", "losses.s2c.start_step=250", "losses.c2s.start_step=0")
    assert schedule.starts == {"classification": 0, "c2s": 0, "s2c": 250, "affinity": 200}


@pytest.mark.parametrize("method", ["i2crc", "supervised"])
def test_what_comes_with_the_data_does_not_wait(method):
    schedule = schedule_of(f"shapes_{method}", classifier_steps=50)
    assert len(schedule.starts) > 1 and set(schedule.starts.values()) == {0}


def test_a_scaled_schedule_is_rounded_to_whole_steps():
    """AFA on VOC: terms from step 2,001 on, the CAM is spread from 6,001 on."""
    short = schedule_of("voc_afa", "data.root=.", scale=0.0201)
    assert short.starts == {"classification": 0, "segmentation": 40, "affinity": 40}
    assert short.events == {"propagation": 121} and short.scale == 0.0201
    long = schedule_of("voc_afa", "data.root=.", scale=2.0)
    assert set(long.starts.values()) == {0, 4002} and long.events == {"propagation": 12002}


def test_classifier_steps_move_the_terms_that_wait_and_nothing_else():
    schedule = schedule_of("voc_afa", "data.root=.", scale=0.01, classifier_steps=7)
    assert schedule.starts == {"classification": 0, "segmentation": 7, "affinity": 7}
    assert schedule.events == {"propagation": 60}
    assert schedule_of(classifier_steps=0).phase(0).terms == {*schedule_of().starts}


def test_weights_and_terms_are_those_of_the_configuration_in_the_order_of_the_method():
    schedule = schedule_of("shapes_tscd", "losses.energy=null")
    terms = ["classification", "segmentation", "affinity", "correspondence", "equivariance"]
    assert list(schedule.terms) == list(schedule.weights) == list(schedule.starts) == terms
    assert schedule.weights["segmentation"] == 0.1 and schedule.terms["affinity"].teaches
    assert "energy" not in schedule.last.terms


STARTS = ["losses.c2s.start_step=3", "losses.s2c.start_step=5", "losses.affinity.start_step=3"]


def test_the_next_change_is_the_next_other_phase():
    schedule = schedule_of("shapes_bmp", *STARTS, "pseudo_label.propagation_start=8")
    phases = [schedule.phase(step) for step in range(12)]
    for step in range(11):
        later = [n for n in range(step + 1, 12) if phases[n] != phases[step]]
        assert schedule.next_change(step) == (later[0] if later else float("inf")), step
    assert [schedule.next_change(step) for step in (0, 3, 5, 8)] == [3, 5, 8, float("inf")]


def test_a_phase_reads_what_its_terms_read():
    schedule = schedule_of("shapes_tscd")
    assert schedule.phase(0).reads == frozenset()
    assert schedule.last.reads == {"label", "maps", "affinity", "small_view"}
    assert schedule.only("segmentation").reads == {"label", "maps"}  # labels are made from maps
    assert schedule.only("equivariance").reads == {"maps", "small_view"}
    assert schedule_of("shapes_supervised").last.reads == {"mask"}


def test_a_phase_of_chosen_terms():
    schedule = schedule_of()
    phase = schedule.only("affinity", "s2c", events={"propagation"})
    assert phase.terms == {"affinity", "s2c"} and phase.events == {"propagation"}
    assert not schedule.only("affinity").events
    # Functions are traced once for every phase that is another one.
    again = Phase(frozenset({"s2c", "affinity"}), phase.events, phase.reads)
    assert phase == again and hash(phase) == hash(again)
    assert schedule.only("affinity") != phase


def test_readers_are_the_terms_that_count_in_the_order_of_the_method():
    schedule = schedule_of("shapes_tscd")
    assert schedule.readers(schedule.last, "label") == ["segmentation", "energy", "affinity"]
    assert schedule.readers(schedule.only("affinity", "equivariance"), "label") == ["affinity"]
    assert schedule.readers(schedule.phase(0), "label") == []


def test_compile_brings_the_published_schedule_to_the_length_of_the_training():
    model = TSCD(3, "mit_tiny", weights=None)
    assert model.schedule.starts["affinity"] == 2001
    model.compile(steps=200)
    assert set(model.schedule.starts.values()) == {0, 20}
    model.compile("sgd", steps=400, classifier_steps=5)
    assert model.schedule.starts["affinity"] == 5
    # A configuration is made for the steps that it names.
    model = new_model(tiny_config(start=3), 6)
    model.compile("sgd")
    assert set(model.schedule.starts.values()) == {0, 3}
    model.compile("sgd", steps=16)
    assert set(model.schedule.starts.values()) == {0, 6}


# ---- fit keeps to it -------------------------------------------------------------------------

TERMS, STEPS = ("classification", "c2s", "s2c", "affinity"), 16


class StandIn(TrainingStep, keras.Model):
    """One weight a loss term; writes down which batch each term has seen at each step."""

    xla = False

    def __init__(self, *starts, events=None):
        super().__init__()
        self.built = True
        overrides = [f"losses.{name}.start_step={n}" for name, n in zip(TERMS, starts, strict=True)]
        if events is not None:
            overrides.append(f"pseudo_label.propagation_start={events}")
        self.schedule = schedule_of("shapes_bmp", *overrides)
        self.weight = self.add_weight(shape=(len(TERMS),), initializer="ones", name="weight")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in ("loss", *TERMS)}
        self.seen = tf.Variable(-tf.ones((STEPS, len(TERMS)), tf.int32), trainable=False)
        self.event_steps = tf.Variable(tf.zeros(STEPS, tf.int32), trainable=False)

    def checked_batch(self, batch, needed):
        return batch

    def forward(self, batch, phase):
        step = tf.cast(self.optimizer.iterations, "int32")
        if phase.events:
            self.event_steps.scatter_nd_update([[step]], [1])
        return {"step": step}

    def pseudo_labels(self, batch, outputs, phase):
        return {}

    def loss_terms(self, batch, outputs, labels, phase):
        terms = {}
        for number, name in enumerate(TERMS):
            if name in phase.terms:
                place = [[outputs["step"], number]]
                self.seen.scatter_nd_update(place, [batch["number"]])
                target = tf.cast(batch["number"] + number, "float32")
                terms[name] = tf.square(self.weight[number] - target)
        return terms


def trained(model, batches, epochs=1, **options):
    model.compile(keras.optimizers.Adam(0.1), **options)
    model.optimizer.build(model.trainable_variables)
    return model.fit(batches, epochs=epochs, shuffle=False, verbose=0).history


def numbered(length):
    return tf.data.Dataset.range(length, output_type=tf.int32).map(lambda n: {"number": n})


def of_unknown_length(length):
    return numbered(length).filter(lambda batch: batch["number"] >= 0)


def check_seen(model, length, steps):
    """Every term has seen the batches from its start on, and no other."""
    for step in range(STEPS):
        for number, name in enumerate(TERMS):
            counted = model.schedule.starts[name] <= step < steps
            assert model.seen[step, number] == (step % length if counted else -1), (step, name)
        counted = model.schedule.events["propagation"] <= step < steps
        assert model.event_steps[step] == counted, step


# Starts of the terms: on an execution, inside one, several in one, and where the data end.
@pytest.mark.parametrize("starts", [(0, 4, 8, 8), (0, 2, 5, 7), (0, 5, 6, 7), (0, 6, 6, 9)])
@pytest.mark.parametrize(
    ("make", "length"), [(numbered, 12), (numbered, 6), (of_unknown_length, 6)]
)
@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_several_steps_an_execution_train_the_same_phases(starts, make, length, run_eagerly):
    single, several = (StandIn(*starts, events=3) for _ in range(2))
    # Keras' own function for single steps counts one without data after a length it did not know.
    options = {"epochs": 12 // length, "run_eagerly": run_eagerly}
    expected = trained(single, numbered(length), **options)
    history = trained(several, make(length), steps_per_execution=4, **options)
    for model in (single, several):
        assert int(model.optimizer.iterations) == 12
        check_seen(model, length, 12)
    np.testing.assert_array_equal(several.weight, single.weight)
    assert history.keys() == expected.keys() == {"loss", *TERMS}
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-6, err_msg=name)


def test_several_steps_an_execution_under_several_fits():
    """Another fit goes on with the phases, wherever in an execution the last one has ended."""
    model = StandIn(0, 5, 6, 13)
    trained(model, numbered(6), steps_per_execution=4)
    for _ in range(2):
        model.fit(numbered(5), shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 16
    first = [model.schedule.starts[name] for name in TERMS]
    np.testing.assert_array_equal((model.seen.numpy() >= 0).argmax(axis=0), first)


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_steps_that_the_optimiser_leaves_out_do_not_end_an_execution(steps_per_execution):
    """The loss scale of mixed precision skips updates, gradient accumulation makes few of them."""
    model = StandIn(0, 3, 3, 9)
    model.seen = tf.Variable(tf.zeros((1, len(TERMS)), tf.int32), trainable=False)
    model.event_steps = tf.Variable(tf.zeros(1, tf.int32), trainable=False)
    calls = []
    model.forward = lambda batch, phase: {"step": tf.constant(0)}
    run_steps = model._run_steps

    def watched(phase, steps, iterator):
        calls.append(steps)
        return run_steps(phase, steps, iterator)

    model._run_steps = watched
    model.compile(
        keras.optimizers.Adam(0.1, gradient_accumulation_steps=2),
        steps_per_execution=steps_per_execution,
    )
    model.fit(numbered(12), shuffle=False, verbose=0)
    assert int(model.optimizer._iterations) == 12 and sum(calls) == 12


def small_network():
    """Masks count from step 3 on. The decoder's dropout draws at random in every step."""
    images = x = keras.Input((None, None, 3))
    for stride, channels in [(4, 4), (2, 8), (2, 16)]:
        x = keras.layers.Conv2D(channels, 3, stride, padding="same", activation="relu")(x)
    return Supervised(
        6,
        adapted(keras.Model(images, x), scale=1 / 255),
        heads={"embedding_dim": 8, "dropout": 0.1},
        losses={"classification": {"weight": 1}, "segmentation": {"weight": 1, "start_step": 3}},
        steps=12,
    )


def test_a_network_trains_the_same_with_several_steps_an_execution():
    """Six batches in executions of four, twice."""

    def fitted(**options):
        keras.utils.set_random_seed(1)
        model = small_network()
        model.compile(GroupedAdamW(1e-3), **options)
        history = model.fit(tf.data.Dataset.from_tensor_slices(batches), epochs=2, verbose=0)
        assert int(model.optimizer.iterations) == 12
        return model, history.history

    batch = random_batch(12, side=64)
    batch["mask"] = tf.random.stateless_uniform((12, 64, 64), [0, 1], 0, 7, tf.int32)
    batches = {name: tf.reshape(x, (6, 2, *x.shape[1:])) for name, x in batch.items()}
    (single, expected), (several, history) = fitted(), fitted(steps_per_execution=4)
    assert history.keys() == expected.keys() == {"loss", "classification", "segmentation"}
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
    for ours, theirs in zip(several.weights, single.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6, err_msg=ours.path)


# ---- fit goes on where it was ----------------------------------------------------------------


class Crash(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 5:
            raise InterruptedError("the machine goes down after six steps")


@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_a_restored_fit_goes_on_with_the_phase_of_its_step(tmp_path, steps_per_execution):
    """Keras' BackupAndRestore restores the optimiser when fit has begun already."""

    def fit(*callbacks):
        model = StandIn(0, 3, 5, 7)
        model.compile(keras.optimizers.Adam(0.1), steps_per_execution=steps_per_execution)
        model.optimizer.build(model.trainable_variables)
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=2)
        try:
            model.fit(numbered(8), shuffle=False, verbose=0, callbacks=[backup, *callbacks])
        except InterruptedError:
            pass
        return model

    first = fit(Crash())
    assert int(first.optimizer.iterations) == 6
    second = fit()
    steps = int(second.optimizer.iterations)
    assert steps == 14
    seen = second.seen.numpy() >= 0
    for number, name in enumerate(TERMS):
        start = max(6, second.schedule.starts[name])
        np.testing.assert_array_equal(np.flatnonzero(seen[:, number]), np.arange(start, steps))


def test_a_checkpoint_that_a_callback_loads_brings_its_phase():
    model = StandIn(0, 4, 4, 10)

    class Load(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.optimizer.iterations.assign(9)

    model.compile(keras.optimizers.Adam(0.1))
    model.optimizer.build(model.trainable_variables)
    model.fit(numbered(2), shuffle=False, verbose=0, callbacks=[Load()])
    np.testing.assert_array_equal(model.seen[9:11].numpy() >= 0, [[1, 1, 1, 0], [1, 1, 1, 1]])


def test_a_callback_may_set_the_step_between_epochs():
    model = StandIn(0, 2, 2, 4)

    class Back(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.iterations.assign(0)

    model.compile(keras.optimizers.Adam(0.1))
    model.optimizer.build(model.trainable_variables)
    ran, run_steps = [], model._run_steps

    def watched(phase, steps, iterator):
        ran.append((int(model.optimizer.iterations), phase))
        return run_steps(phase, steps, iterator)

    model._run_steps = watched
    model.fit(numbered(4), epochs=2, shuffle=False, verbose=0, callbacks=[Back()])
    assert [step for step, _ in ran] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert all(phase == model.schedule.phase(step) for step, phase in ran)
