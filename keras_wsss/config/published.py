"""Where a model without a configuration file takes its settings from: the published recipe."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from keras_wsss.config.files import load_config
from keras_wsss.config.schema import Config, ModelConfig, model_config_class
from keras_wsss.config.stages import stage_configs
from keras_wsss.config.validation import merge, validate_as
from keras_wsss.errors import ConfigError
from keras_wsss.registry import METHODS


@functools.cache
def published_config(method: str) -> Config | None:
    """The recipe of a method on PASCAL VOC, of its first stage; None for a method of one's own.

    Example:

    >>> published_config("bmp").training.steps
    20000
    """
    if METHODS[method].recipe is None:
        return None
    return stage_configs(load_config(METHODS[method].recipe, ["data.root=."]))[0][1]


def model_settings(method: str, **sections: Any) -> ModelConfig:
    """Settings of a model from keyword arguments, on top of the published recipe.

    Args:
        method: its name.
        **sections: keys and sections of :class:`ModelConfig`. A mapping is merged into the recipe's
            section; ``losses`` replaces the recipe's.

    Raises:
        ConfigError: a value cannot be used, or a method of one's own is given no ``losses``.

    Example:

    >>> model_settings("bmp", pseudo_label={"high": 0.4, "low": 0.2}).pseudo_label.low
    0.2
    """
    recipe = published_config(method)
    values: dict[str, Any] = {"method": method}
    if recipe is not None:
        values = recipe.for_model().model_dump(mode="json")
        if sections.get("losses") is not None:
            del values["losses"]
            sections["losses"] = _waiting(method, sections["losses"], recipe)
    _refuse_what_is_no_models(method, sections)
    known = model_config_class(method).model_fields
    given = {k: value for k, value in sections.items() if value is not None or k not in known}
    if recipe is None and "losses" not in given:
        terms = ", ".join(METHODS[method].terms)
        raise ConfigError(f"{method}(losses=...): is needed; its terms are {terms}")
    settings: ModelConfig = validate_as(
        model_config_class(method), merge(values, given), [(f"{method}(...)", given)]
    )
    return settings


# Sections of a configuration that a model does not have -> where Python says the same.
SAID_ELSEWHERE = {
    "data": "split.batches(...)",
    "optimizer": "compile(...)",
    "training": "compile(...) and fit(...)",
    "evaluation": "segment(...)",
    "writes": "a configuration file alone",
    "stages": "a configuration file alone",
}


def _refuse_what_is_no_models(method: str, sections: Mapping[str, Any]) -> None:
    for key, place in SAID_ELSEWHERE.items():
        if key in sections:
            raise ConfigError(f"{method}({key}=...): is no part of a model; say it in {place}")


def _waiting(method: str, losses: Any, recipe: Config) -> Any:
    """Loss terms that wait for the classifier as in the recipe, where they do not say how long."""
    declared = METHODS[method].terms
    classifier_steps = getattr(recipe.training, "classifier_steps", 0)

    def started(name: str, term: Any) -> Any:
        waits = name in declared and declared[name].waits
        if not waits or not isinstance(term, Mapping) or term.get("start_step") is not None:
            return term
        return {**term, "start_step": classifier_steps}

    if not isinstance(losses, Mapping):
        return losses
    return {name: started(name, term) for name, term in losses.items()}
