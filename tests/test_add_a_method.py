"""The examples of docs/add-a-method.md and docs/add-a-backbone.md are complete: they train."""

import re
from pathlib import Path

import numpy as np
import pytest

from keras_wsss.config import load_config
from keras_wsss.errors import ConfigError
from keras_wsss.methods import new_model
from keras_wsss.registry import BACKBONES, METHODS
from keras_wsss.training import train

DOCS = Path(__file__).resolve().parents[1] / "docs"
SMALL = [
    "backbone.name=mit_tiny",
    "backbone.weights=none",
    "heads.embedding_dim=16",
    "cam.scales=[1.0]",
    "data.crop_size=64",
    "data.batch_size=2",
    "data.shapes={train_images: 4, val_images: 2, image_size: 64}",
    "optimizer.warmup_steps=1",
    "training={steps: 3, classifier_steps: 1, validate_every: 3, pictures: 0}",
]


def block(page, language):
    (code,) = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return code


def run(page, module):
    exec(compile(block(page, "python"), page, "exec"), {"__name__": module})


@pytest.fixture
def seeds(tmp_path):
    """What the page registers, until the end of the test, and its configuration."""
    assert len(block("add-a-method.md", "python").splitlines()) < 75
    run("add-a-method.md", "seeds")
    path = tmp_path / "shapes_seeds.yaml"
    path.write_text(block("add-a-method.md", "yaml"))
    yield path
    METHODS.unregister("seeds")


def test_the_method_of_the_page_trains_and_is_scored(seeds, tmp_path):
    summary = train(load_config(seeds, SMALL), tmp_path / "run")
    assert summary["method"] == "seeds" and summary["step"] == 3
    for part in ("decoder", "cam", "pseudo_label"):
        assert 0 <= summary[part]["miou"] <= 100
    last = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert any("segmentation" in line and "sharpness" in line for line in last)


def test_its_keys_are_checked_like_ours(seeds):
    config = load_config(seeds)
    assert config.losses["sharpness"].power == 4 and config.start_of("sharpness") == 0
    assert config.start_of("segmentation") == 200  # of the data set's file
    with pytest.raises(ConfigError, match="did you mean losses.sharpness.power"):
        load_config(seeds, ["losses.sharpness.powr=3"])
    with pytest.raises(ConfigError, match="pseudo_label.refiner belongs to afa"):
        load_config(seeds, ["pseudo_label.refiner=varm"])
    with pytest.raises(ConfigError, match="sgn: unknown key.*sgn belongs to sgn"):
        load_config(seeds, ["sgn.mix=0"])


def test_its_labels_are_thresholded_cams(seeds):
    model = new_model(load_config(seeds, [*SMALL, "pseudo_label={high: 0.55, low: 0.35}"]), 2)
    batch = {
        "labels": np.array([[1, 0]], np.float32),
        "valid_box": np.array([[0, 1, 0, 3]], np.int32),
    }
    cam = np.array([[[[0.9, 0.0], [0.5, 0.0], [0.1, 0.9], [0.9, 0.0]]]], np.float32)
    label = model.labeller.label(batch, {"cam": cam})
    assert label.numpy().tolist() == [[[1, 255, 0, 255]]]


def test_the_backbone_of_the_page_trains(tmp_path):
    run("add-a-backbone.md", "mobile")
    try:
        config = load_config(
            "shapes_supervised",
            [
                *(override for override in SMALL if not override.startswith("training")),
                "backbone.name=mobile_v2",
                "training={steps: 2, validate_every: 2, pictures: 0}",
            ],
        )
        summary = train(config, tmp_path / "run")
    finally:
        BACKBONES.unregister("mobile_v2")
    assert summary["step"] == 2 and 0 <= summary["decoder"]["miou"] <= 100


def test_names_of_ours_cannot_be_taken():
    for registry, name in ((METHODS, "tscd"), (BACKBONES, "mit_b1")):
        with pytest.raises(ConfigError, match=f"{name}: is one of the library's"):
            registry.register(name, object())
