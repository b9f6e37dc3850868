"""The identity of a run: what decides about its weights and label files, and nothing else.

Two runs are the same if their methods read the same values. Only what differs from the default is
part of the identity, so a new key with a default leaves all earlier runs what they are. Changing a
default is another matter, and an event to be listed in ``FORMER_DEFAULTS``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras_wsss.config.sections import Section, fields_of

if TYPE_CHECKING:
    from keras_wsss.config.schema import Config

FORMER_DEFAULTS: dict[str, Any] = {}
"""Dotted key -> the default that it had in the first release, for keys whose default has changed.

A key whose default differs between methods is written ``"tscd: pseudo_label.refiner"``.

The identity goes on leaving out the first default, so that a run has the same identity before and
after the change, whether it named the value or not.
"""

# They say where a run stands, what it may read and how it is watched.
INDIFFERENT = (
    *("name", "stages", "data.root", "data.follow_links", "data.max_pixels"),
    "evaluation.max_images",
)
# Of the section ``training`` nothing else decides; a term's start is listed with the term.
TRAINING = ("training.steps", "training.mixed_precision")


def decisive(config: Config) -> dict[str, Any]:
    """All that decides about the weights and label files of a run and is no default, by dotted key.

    Example:

    >>> decisive(wsss.load_config("voc_tscd", ["data.root=VOC2012", "seed=2"]))["seed"]
    2
    """
    method = config.declaration
    ignored = {*method.reported, "losses", "training"}
    values = flat(config.model_dump(mode="json", exclude=ignored))
    former = {key.removeprefix(f"{method.name}: "): v for key, v in FORMER_DEFAULTS.items()}
    defaults = default_values(type(config)) | {k: v for k, v in former.items() if ":" not in k}
    found = {key: value for key, value in values.items() if key not in INDIFFERENT}
    found |= {key: getattr(config.training, key.partition(".")[2]) for key in TRAINING}
    for name, term in config.losses.items():
        values = flat(term.model_dump(mode="json", exclude={"start_step"}), f"losses.{name}.")
        found |= values | {f"losses.{name}.start_step": config.start_of(name)}
        defaults[f"losses.{name}.start_step"] = 0
    return {
        key: value
        for key, value in sorted(found.items())
        if key not in defaults or value != defaults[key]
    }


def digest(config: Config, source: str = "") -> str:
    """Hash of :func:`decisive`.

    Args:
        config: of one stage.
        source: digest of the stage whose labels this one trains on.

    Example:

    >>> config, other = (wsss.load_config("shapes_tscd", [f"seed={seed}"]) for seed in (1, 2))
    >>> len(digest(config)), digest(config) == digest(other)
    (16, False)
    """
    text = source + json.dumps(decisive(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def default_values(section: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> default, as JSON has it, of all keys of a section that have one.

    Example:

    >>> default_values(wsss.config.CamConfig)
    {'scales': [1.0, 0.5, 1.5]}
    """
    defaults: dict[str, Any] = {}
    for name, kind in fields_of(section).items():
        if fields_of(kind):
            defaults |= default_values(kind, f"{prefix}{name}.")
        elif issubclass(section, Section) and not section.model_fields[name].is_required():
            value = section.model_fields[name].default
            defaults[prefix + name] = list(value) if isinstance(value, tuple) else value
    return defaults


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted key."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = isinstance(value, Mapping)
        found |= flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return found
