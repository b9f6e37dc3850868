"""Whatever hits a run, it goes on exactly or says in one line what to do."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import tiny_config
from data_folder import write_voc

from keras_wsss.__main__ import main
from keras_wsss._command import run_command
from keras_wsss.config import load_config, load_run_config
from keras_wsss.data import load_splits
from keras_wsss.data.contents import contents
from keras_wsss.errors import (
    ConfigError,
    DivergenceError,
    InterruptionError,
    TrainingError,
    UnreadableError,
    WeightsError,
)
from keras_wsss.inference import checkpoints, load
from keras_wsss.inference.checkpoint_file import read_file, write_file
from keras_wsss.output import new_file, new_folder, remove_partial, scratch_folder
from keras_wsss.run_folder import RunDirectory
from keras_wsss.training import train
from keras_wsss.training.saving import Saver

pytestmark = pytest.mark.usefixtures("eager")


class BlowError(Exception):
    """Stands for whatever ends a process."""


# Dropout and stochastic depth: random states have to go on, too. The method is the cheapest.
DRAWN = "heads.dropout=0.1", "backbone.drop_path_rate=0.1", "training.log_every=3"


def config_of(*overrides):
    return tiny_config(*DRAWN, *overrides, config="shapes_supervised", start=0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing has hit."""
    path = tmp_path_factory.mktemp("whole") / "run"
    train(config_of(), path, verbose=False)
    return path


def give_up():
    raise BlowError


def blown(config, path, number, blow=give_up, error=BlowError):
    """A run that is hit after so many steps, before anything is logged or saved of the last."""

    class Blow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == number:
                blow()

    fit = keras.Model.fit

    def with_blow(self, data, callbacks, **options):
        return fit(self, data, callbacks=[Blow(), *callbacks], **options)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(error) as caught:
        patch.setattr(keras.Model, "fit", with_blow)
        train(config, path, verbose=False)
    return path if error is BlowError else caught.value


@pytest.fixture(scope="module")
def blown_at_7(tmp_path_factory):
    """Of 8 steps, with a checkpoint at 4."""
    return blown(config_of(), tmp_path_factory.mktemp("blown") / "run", 7)


@pytest.fixture
def halted(blown_at_7, tmp_path):
    """A copy of one's own."""
    return shutil.copytree(blown_at_7, tmp_path / "halted")


def start(path, *overrides, **options):
    return train(config_of(*overrides), path, verbose=False, **options)


def resume(path, *overrides, **options):
    return train(load_run_config(path, overrides), path, resume=True, verbose=False, **options)


def weights_of(path):
    return [np.array(variable) for variable in load(path).weights]


def records(path):
    """metrics.jsonl without the pace, which no two runs share."""
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [{**json.loads(line), "images_per_second": None} for line in lines]


def assert_equal(path, whole):
    for one, other in zip(weights_of(path), weights_of(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    assert records(path) == records(whole)
    assert RunDirectory(path).summary_file.exists()


# ---- kills -----------------------------------------------------------------------------------


def test_a_run_goes_on_from_its_checkpoint(halted, whole):
    left_by_a_dead_writer(halted)
    with (halted / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # cut off in the middle of a line
    resume(halted)
    assert_equal(halted, whole)
    assert not list(halted.rglob(".partial-*"))


def test_a_run_goes_on_before_its_first_checkpoint(tmp_path, whole, caplog):
    blown(config_of(), tmp_path, 2)
    with caplog.at_level("INFO"):
        resume(tmp_path)
    assert "has no checkpoint yet; the training begins anew" in caplog.text
    assert_equal(tmp_path, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_step(tmp_path, whole, number):
    handler = signal.getsignal(number)
    stop = blown(config_of(), tmp_path, 2, lambda: signal.raise_signal(number), InterruptionError)
    assert "after step 2, which is saved; go on with: keras-wsss train --resume" in str(stop)
    assert stop.exit_code == 128 + number and signal.getsignal(number) == handler
    assert read_file(RunDirectory(tmp_path).checkpoint("last"))[1]["step"] == 2
    if number == signal.SIGTERM:  # the two differ in nothing from here on
        resume(tmp_path)
        assert_equal(tmp_path, whole)


def test_a_signal_in_the_last_step_ends_it_too(tmp_path, whole):
    """The scores may take minutes."""
    blown(config_of(), tmp_path, 8, lambda: signal.raise_signal(signal.SIGTERM), InterruptionError)
    assert not RunDirectory(tmp_path).summary_file.exists()
    resume(tmp_path)
    assert_equal(tmp_path, whole)


def test_an_interruption_is_not_lost_in_garbage_collection():
    def interrupt(phase, info):
        if phase == "start":
            gc.callbacks.remove(interrupt)
            signal.raise_signal(signal.SIGINT)

    def command():
        gc.callbacks.append(interrupt)
        gc.collect()
        time.sleep(1)
        return 0

    with pytest.raises(SystemExit) as end:
        run_command(command)
    assert end.value.code == 130


def test_an_interruption_before_the_command_has_begun(monkeypatch):
    monkeypatch.setattr(
        "keras_wsss.__main__.Parser", lambda **_: signal.raise_signal(signal.SIGINT)
    )
    with pytest.raises(SystemExit) as end:
        main(["check", "my_set"])
    assert end.value.code == 130


def test_a_blow_between_two_checkpoint_files_costs_nothing(tmp_path, whole, monkeypatch):
    written = []

    def write(run, which, *content):
        if written == ["best"]:
            raise BlowError
        written.append(which)
        checkpoints.save_checkpoint(run, which, *content)

    monkeypatch.setattr("keras_wsss.training.saving.save_checkpoint", write)
    with pytest.raises(BlowError):
        start(tmp_path)
    monkeypatch.undo()
    assert not RunDirectory(tmp_path).checkpoint("last").exists()
    resume(tmp_path)
    assert_equal(tmp_path, whole)


def test_a_run_that_is_there_is_not_begun_anew(whole, tmp_path):
    with pytest.raises(ConfigError, match="holds a run already; continue it with --resume"):
        start(whole)
    with pytest.raises(ConfigError, match="no run to resume"):
        RunDirectory(tmp_path / "none").check(resume=True)


# ---- checkpoints -----------------------------------------------------------------------------


def test_every_flipped_bit_is_recognised(tmp_path):
    path, random = tmp_path / "c.safetensors", np.random.default_rng(0)
    arrays = {"weights/0000": random.normal(size=(5, 7)).astype(np.float32)}
    arrays |= {"random/0000": np.array([1, 2], np.uint32), "optimizer/0000": np.array(3)}
    state = {"step": 4, "best": 12.5}
    write_file(path, arrays, state)
    read, told = read_file(path)
    assert told == state and set(read) == set(arrays)
    for name, array in arrays.items():
        assert read[name].shape == array.shape and read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    good = path.read_bytes()
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1 << random.integers(8)
        path.write_bytes(bad)
        with pytest.raises(WeightsError, match="c.safetensors: is damaged"):
            read_file(path)
    for length in range(0, len(good), 13):
        path.write_bytes(good[:length])
        with pytest.raises(WeightsError, match="c.safetensors: is damaged"):
            read_file(path)


@pytest.mark.parametrize("damaged", [("last",), ("last", "previous")])
def test_an_older_checkpoint_is_used_and_said(tmp_path, whole, caplog, damaged):
    path = shutil.copytree(whole, tmp_path / "run")
    run = RunDirectory(path)
    run.summary_file.unlink()
    steps = {which: read_file(run.checkpoint(which))[1]["step"] for which in ("last", "previous")}
    assert steps == {"last": 8, "previous": 4}
    for which in damaged:
        run.checkpoint(which).write_bytes(run.checkpoint(which).read_bytes()[:-100])
    resume(path)
    assert_equal(path, whole)
    used = "previous" if damaged == ("last",) else "best"
    for which in damaged:
        assert f"{which}.safetensors: is damaged" in caplog.text
    assert f"going on from {used}, step" in caplog.text


def test_if_all_are_damaged_it_is_said(halted):
    for path in (halted / "checkpoints").iterdir():
        path.write_bytes(b"rubbish")
    with pytest.raises(WeightsError, match="last.safetensors: is damaged"):
        resume(halted)


def test_a_checkpoint_that_cannot_be_written_stops_the_training(halted, whole, monkeypatch):
    def full(path, arrays, state):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_file", full)
        with pytest.raises(TrainingError, match=r"safetensors: cannot be written \(No space left"):
            resume(halted)
    resume(halted)
    assert_equal(halted, whole)


def test_writing_in_the_background_keeps_what_was_copied(tmp_path, whole):
    """The step after goes on changing the weights."""
    model, saver = load(whole), Saver(RunDirectory(tmp_path))
    before = [np.array(variable) for variable in model.weights]
    saver.save(model, ("last",), step=8)
    for variable in model.weights:
        variable.assign(variable + 1)
    saver.wait()
    arrays, _ = read_file(RunDirectory(tmp_path).checkpoint("last"))
    for number, value in enumerate(before):
        np.testing.assert_array_equal(arrays[f"weights/{number:04}"], value)


def test_weights_that_are_not_finite_are_not_saved(whole):
    model = load(whole)
    model.weights[3].assign(model.weights[3] * np.nan)
    with pytest.raises(TrainingError, match="after step 7 a weight is not finite"):
        checkpoints.taken_from(model, step=7)


# ---- divergence ------------------------------------------------------------------------------


def diverge():
    raise DivergenceError("step 6: the loss is not finite")


def test_a_training_that_diverged_is_scored_where_that_is_asked_for(tmp_path, whole):
    config = config_of("training.on_divergence=last_good")
    blown(config, tmp_path, 7, diverge, DivergenceError)
    summary = json.loads(RunDirectory(tmp_path).summary_file.read_text())
    assert summary["diverged"] == "step 6: the loss is not finite"
    assert summary["step"] == 4 and "decoder" in summary
    resume(tmp_path)
    assert_equal(tmp_path, whole)
    assert "diverged" not in json.loads(RunDirectory(tmp_path).summary_file.read_text())


def test_a_training_that_diverged_stops(tmp_path):
    blown(config_of(), tmp_path / "at_7", 7, diverge, DivergenceError)
    early = config_of("training.on_divergence=last_good")  # no checkpoint yet
    blown(early, tmp_path / "at_2", 2, diverge, DivergenceError)
    assert not list(tmp_path.rglob("summary.json"))


# ---- photographs that cannot be read ---------------------------------------------------------


@pytest.fixture
def voc(tmp_path):
    """Configuration and lists of a folder of photographs; the first one is for validation."""
    root = write_voc(tmp_path / "voc", lists=("train", "val"))
    overrides = f"data.root={root}", "data.train_list=train", "data.val_list=val"
    config = tiny_config(*DRAWN, *overrides, config="voc_supervised", start=0)
    training, validation = load_splits(config)
    return config, (training, validation.take(1))


def share(config, value):
    training = config.training.model_copy(update={"unreadable_share": value})
    return config.model_copy(update={"training": training})


def test_photographs_that_cannot_be_read_are_left_out(voc, tmp_path, caplog):
    config, (training, validation) = voc
    train(config, tmp_path / "known", verbose=False, splits=(training.without({1}), validation))
    broken = Path(training.image_paths[1])
    broken.write_bytes(broken.read_bytes()[:-200])
    some = share(config, 1 / len(training))
    summary = train(some, tmp_path / "met", verbose=False, splits=(training, validation))
    assert summary["unreadable"] == [training.ids[1]]
    assert f"{broken}: " in caplog.text and "1 of" in caplog.text
    assert_equal(tmp_path / "met", tmp_path / "known")
    with pytest.raises(UnreadableError, match=str(broken)):
        train(config, tmp_path / "none", verbose=False, splits=(training, validation))


def test_what_was_left_out_is_remembered(voc, tmp_path):
    """After the last step nothing is read that would tell again."""
    config, (training, validation) = voc
    broken = Path(training.image_paths[1])
    broken.write_bytes(broken.read_bytes()[:-200])
    some = share(config, 0.5)
    train(some, tmp_path, verbose=False, splits=(training, validation))
    RunDirectory(tmp_path).summary_file.unlink()
    summary = train(some, tmp_path, resume=True, verbose=False, splits=(training, validation))
    assert summary["unreadable"] == [training.ids[1]]


def test_validation_leaves_nothing_out(voc, tmp_path):
    config, (training, validation) = voc
    broken = Path(validation.image_paths[0])
    broken.write_bytes(broken.read_bytes()[:-200])
    splits = training.without({0}), validation
    with pytest.raises(UnreadableError, match=f"{broken}: cannot be decoded"):
        train(share(config, 1.0), tmp_path / "run", verbose=False, splits=splits)


def test_the_next_image_stands_in(voc):
    _, (training, _) = voc
    ids, last = training.ids, len(training) - 1
    some = training.without({0, 1, last})
    assert some.ids == (ids[2], ids[2], *ids[2:last], ids[2])
    assert some.image_paths[0] == training.image_paths[2]
    np.testing.assert_array_equal(some.labels[1], training.labels[2])
    np.testing.assert_array_equal(some.mask(last), training.mask(2))


# ---- other inputs ----------------------------------------------------------------------------


def test_other_classes_or_tags_are_refused(halted):
    config = load_run_config(halted)
    training, validation = load_splits(config)
    swapped = replace(training, class_names=training.class_names[::-1])
    says = r"trained on other data \(the classes are not as they were\).*--accept-changes"
    with pytest.raises(ConfigError, match=says):
        train(config, halted, resume=True, splits=(swapped, validation))
    retagged = replace(training, labels=1 - training.labels)
    with pytest.raises(ConfigError, match="the training tags are not as they were"):
        train(config, halted, resume=True, splits=(retagged, validation))


def test_changes_can_be_accepted(halted, caplog):
    config = load_run_config(halted)
    training, validation = load_splits(config)
    splits = training.take(6), validation
    summary = train(config, halted, resume=True, verbose=False, splits=splits, accept_changes=True)
    assert summary["step"] == 8
    assert "the training list are not as they were" in caplog.text


def test_files_that_were_rewritten_are_other_data(tmp_path):
    root = write_voc(tmp_path, lists=("train", "val"))
    config = load_config("voc_supervised", [f"data.root={root}", "data.train_list=train"])
    before = contents(*load_splits(config))
    photograph = root / "JPEGImages" / "image_0.jpg"
    photograph.write_bytes(photograph.read_bytes() + b"more")
    after = contents(*load_splits(config))
    differ = {what for what in before if before[what] != after[what]}
    assert differ == {"the training photographs", "the validation photographs"}


def test_another_length_is_refused_and_another_rate_is_not(halted, caplog):
    with pytest.raises(ConfigError, match="another configuration .*training.steps"):
        resume(halted, "training.steps=12")
    resume(halted, "optimizer.learning_rate=1e-6", "optimizer.clip_norm=1")
    assert "optimizer.learning_rate was" in caplog.text
    rates = [record["learning_rate"] for record in records(halted) if "learning_rate" in record]
    assert rates[-1] <= 1e-6 < rates[0]
    assert load_run_config(halted).optimizer.learning_rate == 1e-6


# ---- two at once -----------------------------------------------------------------------------


def test_the_second_of_two_trainings_is_refused(tmp_path):
    run = RunDirectory(tmp_path)
    with run.locked():
        with pytest.raises(ConfigError, match=f"process {os.getpid()} of .* trains here"):
            start(tmp_path)
    with run.locked():
        pass


def test_a_lock_goes_with_its_process(tmp_path):
    code = (
        "import os, sys; from keras_wsss.run_folder import RunDirectory\n"
        "lock = RunDirectory(sys.argv[1]).locked(); lock.__enter__()\n"
        "print('locked', flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(ConfigError, match=f"process {other.pid} of"):
            start(tmp_path)
        other.kill()
    with RunDirectory(tmp_path).locked():
        pass


# ---- files -----------------------------------------------------------------------------------


def test_leftovers_go_and_nothing_else(tmp_path):
    kept = tmp_path / "checkpoints" / "last.safetensors"
    with new_file(kept) as file:
        file.write_text("whole")
    left_by_a_dead_writer(tmp_path / "checkpoints")
    left_by_a_dead_writer(tmp_path)
    with scratch_folder(tmp_path / "checkpoints") as lives:
        remove_partial(tmp_path)
        assert lives.exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]
    assert not list(tmp_path.rglob(".partial-*"))


def test_who_writes_anew_removes_what_was_left(tmp_path):
    left_by_a_dead_writer(tmp_path)
    with new_file(tmp_path / "metadata.json") as file:
        file.write_text("{}")
    assert [path.name for path in tmp_path.iterdir()] == ["metadata.json"]


def test_a_folder_with_nothing_but_leftovers_may_be_written(tmp_path):
    left_by_a_dead_writer(tmp_path)
    with new_folder(tmp_path, "labels.json") as folder:
        (folder / "labels.json").write_text("{}")
    assert [path.name for path in tmp_path.iterdir()] == ["labels.json"]


def left_by_a_dead_writer(folder):
    (folder / ".partial-1").mkdir()
    (folder / ".partial-1" / "last.safetensors").write_text("half")


def test_a_board_on_a_full_disk_is_one_message(tmp_path, whole):
    import tensorflow as tf

    from keras_wsss.training.board import Board

    (tmp_path / "tensorboard").write_text("no folder")
    with pytest.raises(TrainingError, match="tensorboard: cannot be written"):
        with Board(RunDirectory(tmp_path)).at(1):
            tf.summary.scalar("loss", 1.0)
