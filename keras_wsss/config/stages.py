"""Methods that train several networks one after another."""

from __future__ import annotations

from typing import Any

from keras_wsss.config.identity import digest
from keras_wsss.config.keys import foreign_keys, without
from keras_wsss.config.messages import Layer, shown
from keras_wsss.config.schema import Config
from keras_wsss.config.validation import chosen_class, merge, validate
from keras_wsss.errors import ConfigError


def stage_configs(config: Config) -> list[tuple[str, Config]]:
    """The stages of a multi-stage method in their order, as pairs of name and configuration.

    A stage is the configuration with the stage's overrides merged into it; with ``extends`` those
    of an earlier stage come first. A method of one stage gives ``[("", config)]``.

    Raises:
        ConfigError: a stage cannot be used, or names another one that is not before it.

    Example:

    >>> [name for name, _ in stage_configs(wsss.load_config("voc_i2crc", ["data.root=VOC2012"]))]
    ['classifier', 'segmentation', 'retraining']
    """
    # Without defaults, because a stage of another method has its own.
    base = config.model_dump(mode="json", exclude={"stages"}, exclude_defaults=True)
    stages: list[tuple[str, Config]] = []
    resolved: dict[str, dict[str, Any]] = {}
    for stage, overrides in config.stages.items():
        where = f"{config.name}, stage {stage}"
        parent = overrides.get("extends")
        if parent not in (None, *resolved):
            known = ", ".join(resolved) or "none here"
            raise ConfigError(
                f"{where}: extends: value {shown(parent)}; allowed: an earlier stage ({known})"
            )
        own = {key: value for key, value in overrides.items() if key != "extends"}
        overrides = resolved[stage] = merge(resolved.get(parent or "", {}), own)
        layers: list[Layer] = [(where, overrides)]
        foreign = foreign_keys(chosen_class(merge(base, overrides), layers))
        of_stage = validate(merge(without(base, foreign), overrides), layers)
        earlier = [name for name, other in stages if other.writes != "none"]
        if of_stage.labels_stage not in (None, *earlier):
            known = ", ".join(f"stage:{name}" for name in earlier) or "none here"
            raise ConfigError(
                f"{where}: data.masks: value {of_stage.data.masks!r}; allowed: an earlier stage "
                f"that writes labels ({known}), or a folder"
            )
        stages.append((stage, of_stage))
    return stages or [("", config)]


def stage_digests(config: Config) -> dict[str, str]:
    """Digest of every stage; another one of a stage also changes those that use its labels.

    Example:

    >>> list(stage_digests(wsss.load_config("voc_i2crc", ["data.root=VOC2012"])))
    ['classifier', 'segmentation', 'retraining']
    """
    digests: dict[str, str] = {}
    for stage, of_stage in stage_configs(config):
        digests[stage] = digest(of_stage, digests.get(of_stage.labels_stage or "", ""))
    return digests
