"""Runs from the configuration to the summary, on the smallest network."""

import json
import logging
import math
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_batch, tiny_config
from data_folder import write_voc
from PIL import Image

from keras_wsss.data import load_split, training_dataset
from keras_wsss.errors import ConfigError, TrainingError, WSSSError
from keras_wsss.inference import evaluate, load
from keras_wsss.inference.evaluate_run import evaluate_run
from keras_wsss.methods import build_model, new_model
from keras_wsss.optimizers import GroupedAdamW, build_optimizer
from keras_wsss.run_folder import RunDirectory
from keras_wsss.training import train
from keras_wsss.training.callbacks import StopOnNaN
from keras_wsss.training.distribution import set_threads


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "tiny"
    summary = train(tiny_config("training.pictures=2"), path)
    return path, summary


def test_summary_says_what_was_scored_and_how(finished_run):
    path, summary = finished_run
    assert summary == json.loads((path / "summary.json").read_text())
    for part in ("decoder", "cam", "pseudo_label"):
        assert 0 <= summary[part]["miou"] <= 100
        assert len(summary[part]["per_class"]) == 7
    assert summary["decoder"]["tags_used"] is False
    assert summary["cam"]["tags_used"] and summary["pseudo_label"]["tags_used"]
    assert 0 <= summary["classifier"]["f1"] <= 1
    assert summary["protocol"]["scales"] == [1.0] and summary["protocol"]["crf"] is False
    assert summary["step"] == 8 and summary["best"]["step"] in (4, 8)
    assert summary["seconds"] > 0 and summary["peak_memory_mb"] > 0


def test_without_validation_masks_there_is_something_to_look_at(tmp_path):
    config = tiny_config("data.val_list=null", "training.steps=4", "data.shapes.val_images=3")
    summary = train(config, tmp_path)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert not {"decoder", "cam", "pseudo_label", "best"} & set(summary)
    # Four columns in place of five: there is no truth.
    assert Image.open(tmp_path / "contact_sheet.png").width == 4 * 196 + 4
    # The agreement, from the outside.
    model, split = load(tmp_path), load_split(config.data, "val")
    assert set(summary["classifier"]["average_precision"]) == set(split.class_names)
    equal = []
    for position, tags in enumerate(split.labels):
        image = split.read_image(position)
        box = np.array([[0, image.shape[0], 0, image.shape[1]]], np.int32)
        batch = {"image": np.float32(image[None]), "labels": tags[None], "valid_box": box}
        equal.append(np.asarray(model.describe(batch).full)[0] == model.segment(image))
    assert summary["agreement"]["pixels"] == pytest.approx(100 * np.mean(equal), abs=0.02)


def test_run_folder_holds_what_is_promised(finished_run):
    path, _ = finished_run
    records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    steps = [r["step"] for r in records if "loss" in r]
    assert steps == [2, 4, 6, 8]
    assert {"validation_miou", "step"} in [set(r) for r in records]
    assert (path / "checkpoints/last.safetensors").exists()
    assert (path / "contact_sheet.png").exists()
    assert any((path / "tensorboard").iterdir())
    assert not list(path.rglob(".partial-*"))


def test_terms_start_at_their_step(finished_run):
    path, _ = finished_run
    config = tiny_config()
    start = config.start_of("segmentation")
    for line in (path / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        if "loss" in record:
            assert ("segmentation" in record) == (record["step"] > start)


def test_evaluate_recomputes_the_summary(finished_run):
    path, summary = finished_run
    again = evaluate_run(path)
    for part in ("decoder", "cam", "pseudo_label", "classifier", "best"):
        assert again[part] == summary[part]


def test_a_training_that_watched_no_masks_can_be_scored_on_masks(finished_run, tmp_path):
    path = shutil.copytree(finished_run[0], tmp_path / "run")
    RunDirectory(path).checkpoint("best").unlink()
    scores = evaluate_run(path)
    assert scores["decoder"] == finished_run[1]["decoder"] and "best" not in scores


def test_evaluation_fuses_scales_and_flip(finished_run):
    path, _ = finished_run
    report = evaluate_run(path, scales=[0.75, 1.0], flip=True)
    assert report["protocol"]["scales"] == [0.75, 1.0] and report["protocol"]["flip"] is True


def test_images_of_one_pixel_can_be_scored(finished_run):
    path, _ = finished_run
    model = load(path)
    split = load_split(tiny_config().data, "val").take(3)
    sizes = [(1, 1), (1, 90), (40, 3)]
    images = [np.full((*size, 3), 100, np.uint8) for size in sizes]
    masks = [np.zeros(size, np.uint8) for size in sizes]
    tiny = replace(split, read_image=images.__getitem__, read_mask=masks.__getitem__)
    assert evaluate(model, tiny)["protocol"]["images"] == 3


def test_a_run_is_never_overwritten(finished_run):
    path, _ = finished_run
    with pytest.raises(ConfigError, match="--resume"):
        train(tiny_config(), path)


def test_a_run_of_another_configuration_is_not_resumed(finished_run):
    path, _ = finished_run
    before = (path / "config.yaml").read_text()
    says = r"another configuration \(other losses\.energy\.weight, training\.steps\)"
    with pytest.raises(ConfigError, match=says):
        train(tiny_config("losses.energy.weight=9", "training.steps=9"), path, resume=True)
    assert (path / "config.yaml").read_text() == before


def test_failed_write_keeps_the_old_file(tmp_path):
    run = RunDirectory(tmp_path)
    run.write_json(run.summary_file, {"kept": True})

    def full_disk(path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(TrainingError, match="No space left.*--resume"):
        run.write(run.summary_file, full_disk)
    assert json.loads(run.summary_file.read_text()) == {"kept": True}
    assert not list(tmp_path.glob(".partial-*"))


def test_unusable_run_folder_is_one_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WSSSError, match="cannot be written"):
        train(tiny_config(), tmp_path / "file" / "run")


def test_loss_that_is_not_a_number_stops_with_the_images(tmp_path):
    run = RunDirectory(tmp_path)
    guard = StopOnNaN(lambda step: [f"photo{step}a", f"photo{step}b"], run)
    guard.step = 7
    guard.on_step({"loss": 1.0})
    says = (
        "step 6.*affinity.*photo6a, photo6b; go on from the last .*--resume --run-dir .*clip_norm"
    )
    with pytest.raises(TrainingError, match=says):
        guard.on_step({"loss": math.nan, "classification": 0.5, "affinity": math.nan})


def test_masks_are_not_read_by_training(tmp_path):
    """Bit-identical weights with the mask folder deleted."""
    voc_folder = write_voc(tmp_path / "data")
    weights = []
    for name in ("with", "without"):
        if name == "without":
            shutil.rmtree(voc_folder / "SegmentationClass")
        overrides = ["data.kind=voc", f"data.root={voc_folder}", "data.train_list=train"]
        config = tiny_config(*overrides, "data.val_list=train", start=0)
        train(config, tmp_path / name)
        model = load(tmp_path / name)
        weights.append([weight.numpy() for weight in model.weights])
    for one, two in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_threads_of_an_earlier_run_are_said(monkeypatch, caplog):
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 3)
    for threads, said in ((None, True), (3, False)):
        caplog.clear()
        settings = tiny_config().training.model_copy(update={"threads": threads})
        with caplog.at_level(logging.WARNING):
            set_threads(settings)
        assert ("TensorFlow has 3 from before in this process" in caplog.text) == said


def test_fit_in_a_notebook():
    config = tiny_config()
    split = load_split(config.data, "train")
    model = build_model(config, num_classes=6)
    model.compile(build_optimizer(config.optimizer, 4))
    data = training_dataset(split, config.data, seed=1, steps=4, batch_size=2)
    history = model.fit(data, verbose=0)
    assert math.isfinite(history.history["loss"][0])
    assert evaluate(model, load_split(config.data, "val"), tags=False)["decoder"]["miou"] >= 0


def test_fit_ends_with_the_steps_of_the_configuration():
    model = new_model(tiny_config(), 6)
    model.compile(GroupedAdamW())
    assert model.steps == 8
    model.optimizer.iterations.assign(8)
    with pytest.raises(TrainingError, match="the 8 steps for which.*are done; compile it again"):
        model.fit(tf.data.Dataset.from_tensors(random_batch()), verbose=0)


def test_supervised_twin_learns_from_masks(tmp_path):
    config = tiny_config(config="shapes_supervised")
    summary = train(config, tmp_path / "run")
    assert summary["method"] == "supervised"


def test_head_rates_are_ten_times_the_backbone_rate_and_norms_stay():
    config = tiny_config(start=0)
    model = new_model(config, 6)
    model.build()
    model.compile(GroupedAdamW(1e-3, head_multiplier=10.0, weight_decay=0.0))
    before = {v.path: v.numpy() for v in model.weights}
    model.fit(tf.data.Dataset.from_tensors(random_batch()), verbose=0)
    norms = 0
    for variable in model.weights:
        change = np.abs(variable.numpy() - before[variable.path])
        if "backbone" not in variable.path:
            # A bias in front of the decoder's batch norm has no gradient but rounding.
            no_gradient = "projection" in variable.path and variable.path.endswith("bias")
            if variable.trainable and not no_gradient:
                # Adam's first step is the rate itself wherever the gradient is not tiny.
                assert 0.5e-2 < change.max() <= 1.001e-2, variable.path
        elif "norm" in variable.path:
            norms += 1
            assert change.max() == 0, variable.path
        else:
            assert 0.5e-3 < change.max() <= 1.001e-3, variable.path
    assert norms > 20


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_xla_and_mixed_precision_run(precision):
    keras.mixed_precision.set_global_policy(precision)
    try:
        model = new_model(tiny_config(start=0), 6)
        model.build()
        optimizer = GroupedAdamW(1e-4)
        model.compile(optimizer, jit_compile=precision == "float32")
        batch = random_batch()
        history = model.fit(tf.data.Dataset.from_tensors(batch).repeat(2), verbose=0)
        assert all(math.isfinite(values[-1]) for values in history.history.values())
        assert model(batch)["segmentation_logits"].dtype == "float32"
    finally:
        keras.mixed_precision.set_global_policy("float32")
