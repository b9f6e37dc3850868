"""How long a training is: a recipe is brought to the length that suits the images at hand."""

from __future__ import annotations

from typing import Any

from keras_wsss.config.schema import Config
from keras_wsss.config.validation import merge, validate_as

# Fewer steps teach nothing, however few the images; more earn little, however many.
SHORTEST, LONGEST = 1 / 4, 4


def of_length(config: Config, images: int) -> Config:
    """The configuration with a number of steps, and with all that begins at a step brought to it.

    Args:
        config: with ``training.recipe_steps``; one without is returned as it is.
        images: of the training list; counts where ``training.epochs`` does.

    Example:

    >>> of_length(wsss.load_config("photos", ["data.root=my_set"]), images=300).training.steps
    300
    """
    training = config.training
    recipe_steps = training.recipe_steps
    if recipe_steps is None:
        return config
    steps = training.steps
    if steps is None:
        wanted = round((training.epochs or 0) * images / config.data.batch_size)
        steps = min(max(wanted, round(SHORTEST * recipe_steps)), LONGEST * recipe_steps)

    def brought(step: int) -> int:
        return round(step * steps / recipe_steps)

    def start(step: int) -> int:
        return min(brought(step), steps - 1)

    optimizer = config.optimizer
    changes: dict[str, Any] = {
        "losses": {
            name: {"start_step": start(term.start_step)}
            for name, term in config.losses.items()
            if term.start_step is not None
        },
        "optimizer": {
            "warmup_steps": start(optimizer.warmup_steps),
            "milestones": [max(1, brought(step)) for step in optimizer.milestones],
        },
        "training": {
            "steps": steps,
            "epochs": None,
            "recipe_steps": None,
            "validate_every": max(1, brought(training.validate_every)),
        },
    }
    starts = {key: config.event_starts()[event] for event, key in config.events().items()}
    if hasattr(training, "classifier_steps"):
        starts["training.classifier_steps"] = training.classifier_steps
    for key, step in starts.items():
        section, _, name = key.partition(".")
        changes = merge(changes, {section: {name: start(step)}})
    values = merge(config.model_dump(mode="json", exclude_defaults=True), changes)
    ready: Config = validate_as(type(config), values, [(config.name, values)])
    return ready
