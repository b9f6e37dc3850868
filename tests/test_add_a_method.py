"""The example of docs/add-a-method.md is complete: it trains and is scored as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest

from keras_wsss import config as configuration
from keras_wsss.config import load_config
from keras_wsss.errors import ConfigError
from keras_wsss.methods import METHODS
from keras_wsss.training import train

PAGE = Path(__file__).resolve().parents[1] / "docs/add-a-method.md"
SMALL = [
    "backbone.name=mit_tiny",
    "backbone.weights=none",
    "heads.embedding_dim=16",
    "cam.scales=[1.0]",
    "data.crop_size=64",
    "data.batch_size=2",
    "data.shapes={train_images: 4, val_images: 2, image_size: 64}",
    "losses.segmentation.start_step=1",
    "optimizer.warmup_steps=1",
    "training={steps: 3, validate_every: 3, pictures: 0}",
]


def block(language):
    (code,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return code


@pytest.fixture
def seeds(monkeypatch):
    """What the page registers, until the end of the test."""
    for name in ("METHOD_LOSSES", "METHOD_REFINERS", "METHOD_PROPAGATIONS"):
        monkeypatch.setattr(configuration, name, dict(getattr(configuration, name)))
    monkeypatch.setitem(METHODS, "seeds", None)
    code = block("python")
    assert len(code.splitlines()) < 60
    exec(compile(code, str(PAGE), "exec"), {"__name__": "seeds"})


def test_the_example_of_the_page_trains_and_is_scored(seeds, tmp_path):
    path = tmp_path / "shapes_seeds.yaml"
    path.write_text(block("yaml"))
    summary = train(load_config(path, SMALL), tmp_path / "run")
    assert summary["method"] == "seeds" and summary["step"] == 3
    for part in ("decoder", "cam", "pseudo_label"):
        assert 0 <= summary[part]["miou"] <= 100
    last = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert any("segmentation" in line for line in last)


def test_the_example_has_no_refiner(seeds, tmp_path):
    path = tmp_path / "shapes_seeds.yaml"
    path.write_text(block("yaml"))
    assert load_config(path).refiner is None
    with pytest.raises(ConfigError, match="pseudo_label.refiner: .*refiners of seeds: none"):
        load_config(path, ["pseudo_label.refiner=varm"])


def test_labels_of_the_example_are_thresholded_cams(seeds):
    model = METHODS["seeds"](load_config("shapes_tscd", ["backbone.name=mit_tiny"]), 2)
    batch = {
        "labels": np.array([[1, 0]], np.float32),
        "valid_box": np.array([[0, 1, 0, 3]], np.int32),
    }
    cam = np.array([[[[0.9, 0.0], [0.5, 0.0], [0.1, 0.9], [0.9, 0.0]]]], np.float32)
    assert model.seed_labels(batch, cam).numpy().tolist() == [[[1, 255, 0, 255]]]
