"""Numbers that cannot be are refused before anything is read or trained."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import random_batch, tiny_config

from keras_wsss.__main__ import main
from keras_wsss.data import load_split
from keras_wsss.errors import ConfigError, DataError
from keras_wsss.inference import evaluate, segment
from keras_wsss.methods import new_model
from keras_wsss.training import dry_run, train

pytestmark = pytest.mark.usefixtures("eager")


def fails(capsys, *arguments):
    """The message of a command that refuses its arguments, which takes no data and no training."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The configuration of a run is all that these commands come to see."""
    path = tmp_path_factory.mktemp("run")
    (path / "config.yaml").write_text(tiny_config().to_yaml())
    return str(path)


@pytest.mark.parametrize("seed", [2**32, -1, 1.5])
def test_seeds(capsys, seed):
    said = fails(capsys, "train", "--config", "shapes_tscd", "--set", f"seed={seed}")
    assert said.startswith(f"error: --set seed={seed}: seed: value {seed}; allowed:")


@pytest.mark.parametrize("scales", ["0", "-1", "nan", "inf", "1,0", "a", ""])
def test_scales(run, capsys, scales):
    for command in (["evaluate"], ["predict", "x.jpg", "-o", "y"]):
        said = fails(capsys, *command, "--run", run, f"--scales={scales}")
        assert f"--scales: {scales!r}: allowed: numbers above 0" in said


def test_places_for_scores_that_cannot_be_written(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_wsss.commands.evaluate.import_tensorflow", pytest.fail)
    said = fails(capsys, "evaluate", "--run", run, "-o", str(tmp_path))
    assert said == f"error: -o {tmp_path}: is a folder; name a file in it"


def test_scores_are_shown_before_a_full_disk_says_so(run, capsys, monkeypatch):
    scores = {
        "decoder": {"miou": 12.5, "per_class": {}},
        "protocol": {"images": 1, "list": "val"},
    }
    target = "keras_wsss.inference.evaluate_run.evaluate_run"
    monkeypatch.setattr(target, lambda *_, **__: scores)
    with pytest.raises(SystemExit):
        main(["evaluate", "--run", run, "-o", "/dev/full", "--json"])
    out, err = capsys.readouterr()
    assert '"miou": 12.5' in out
    assert err == "error: -o /dev/full: cannot be written (No space left on device)\n"


def test_crops_that_a_later_term_cannot_take(tmp_path):
    """The small view of TSCD is 0.3 of the crop, at the smallest scale of the CAM."""
    says = "data.crop_size: value 64; tscd also looks at views of 19 .* the encoder needs 29"
    config = tiny_config("data.crop_size=64", start=3)
    with pytest.raises(ConfigError, match=says):
        train(config, tmp_path / "run", verbose=False)
    assert not (tmp_path / "run" / "config.yaml").exists()
    with pytest.raises(ConfigError, match=says):
        dry_run(config, verbose=False)
    model = new_model(config, 6)
    model.compile("adam", steps=8)
    data = tf.data.Dataset.from_tensors(random_batch(side=64))
    with pytest.raises(ConfigError, match=says):
        model.fit(data.repeat(8), verbose=0)
    new_model(tiny_config("cam.scales=[1.0,0.5]"), 6).check_crop(224)
    with pytest.raises(ConfigError, match="views of 28"):
        new_model(tiny_config("cam.scales=[1.0,0.5]"), 6).check_crop(191)
    new_model(tiny_config(config="shapes_supervised", start=0), 6).check_crop(32)


def test_an_image_that_asks_for_too_much_memory_is_named(monkeypatch):
    """As TensorFlow says it, in evaluation and in `segment`."""
    config = tiny_config(config="shapes_supervised", start=0)
    model, split = new_model(config, 6), load_split(config.data, "val")
    model.build()

    def too_much(self, images, training=None, request=()):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(type(model), "call", too_much)
    says = "144x144 pixels ask for more memory than there is; train with data.working_size"
    with pytest.raises(DataError, match=f"{split.ids[0]}: {says}"):
        evaluate(model, split)
    with pytest.raises(DataError, match=f"an image: {says}"):
        segment(model, np.zeros((144, 144, 3), np.uint8))
