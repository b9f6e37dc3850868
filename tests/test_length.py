"""A recipe is brought to the length that suits the images, or that the user asks for."""

import pytest

from keras_wsss.config import load_config, of_length
from keras_wsss.errors import ConfigError

RECIPE = """
extends: [bmp, animals5]
name: recipe
data: {root: x, batch_size: 10}
pseudo_label: {propagation_start: 160}
losses: {c2s: {start_step: 200}}
optimizer: {warmup_steps: 40, milestones: [100, 300]}
training:
  {steps: null, epochs: 20, recipe_steps: 400, classifier_steps: 100, validate_every: 50}
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


def test_all_that_begins_at_a_step_is_brought_to_the_length(recipe):
    config = of_length(load_config(recipe), images=100)  # 20 epochs of 10 batches: half the recipe
    assert config.training.steps == 200
    assert config.training.classifier_steps == config.start_of("s2c") == 50
    assert config.start_of("c2s") == 100 and config.start_of("classification") == 0
    assert config.pseudo_label.propagation_start == 80
    assert config.optimizer.warmup_steps == 20 and config.optimizer.milestones == (50, 150)
    assert config.training.validate_every == 25
    # What was made so is an ordinary configuration, and stays as it is.
    assert config.training.epochs is config.training.recipe_steps is None
    assert of_length(config, images=5000) is config


@pytest.mark.parametrize(("images", "steps"), [(10, 100), (50, 100), (300, 600), (99999, 1600)])
def test_few_images_are_seen_more_often_and_many_less(recipe, images, steps):
    assert of_length(load_config(recipe), images).training.steps == steps


def test_a_length_that_is_asked_for_counts(recipe):
    config = of_length(load_config(recipe, ["training.steps=40"]), images=100)
    assert config.training.steps == 40 and config.training.classifier_steps == 10
    assert config.pseudo_label.propagation_start == 16
    shortest = of_length(load_config(recipe, ["training.steps=1"]), images=100)
    assert {shortest.start_of(name) for name in shortest.losses} == {0}
    assert shortest.training.validate_every == 1


def test_other_configurations_stay(recipe):
    config = load_config("animals5_bmp", ["data.root=x"])
    assert of_length(config, images=7) is config


@pytest.mark.parametrize(
    ("config", "override", "expected"),
    [
        ("animals5_bmp", "training.steps=null", "training.steps: .*null with training.epochs"),
        (None, "training.recipe_steps=null", "training.steps: value None"),
        (None, "training.classifier_steps=400", "less than training.recipe_steps .400."),
        (None, "training.epochs=0", "training.epochs: value 0"),
    ],
)
def test_what_has_no_length_is_refused(recipe, config, override, expected):
    with pytest.raises(ConfigError, match=expected):
        load_config(config or recipe, ["data.root=x", override])
