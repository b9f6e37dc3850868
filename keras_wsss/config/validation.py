"""From nested values to a checked configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pydantic

from keras_wsss.config.keys import foreign_keys, known_keys
from keras_wsss.config.messages import Layer, problem
from keras_wsss.config.schema import Config, Names, config_class
from keras_wsss.config.sections import section_keys
from keras_wsss.errors import ConfigError


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge: mappings are merged, everything else is replaced.

    Example:

    >>> merge({"data": {"flip": 0.5, "root": "a"}}, {"data": {"root": "b"}})
    {'data': {'flip': 0.5, 'root': 'b'}}
    """
    merged = dict(base)
    for key, value in overrides.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def chosen_class(
    values: Mapping[str, Any], layers: list[Layer], source: str | None = None
) -> type[Config]:
    """The kind of configuration whose method and kind of data ``values`` name.

    Raises:
        ConfigError: they name none, or unknown ones.
    """
    try:
        names = Names.model_validate_json(json.dumps(values, default=str), strict=True)
    except pydantic.ValidationError as error:
        raise ConfigError(_problems(error, layers, source, Config)) from None
    return config_class(names.method, names.data.kind)


def validate(values: Mapping[str, Any], layers: list[Layer], source: str | None = None) -> Config:
    """The configuration that ``values`` describe.

    Args:
        values: nested, as YAML has them.
        layers: where they come from, for messages.
        source: is blamed for what no layer says.

    Raises:
        ConfigError: one line for each value that cannot be used.
    """
    config: Config = validate_as(chosen_class(values, layers, source), values, layers, source)
    return config


def validate_as(
    kind: type[Any], values: Mapping[str, Any], layers: list[Layer], source: str | None = None
) -> Any:
    """As :func:`validate`, where the kind of configuration is known."""
    terms = values.get("losses")
    if isinstance(terms, Mapping):
        known = {key.removeprefix("losses.") for key in known_keys() if key.startswith("losses.")}
        kept = {name: t for name, t in terms.items() if t is not None or name not in known}
        values = {**values, "losses": kept}
    try:
        # JSON, because strict checking of Python objects would refuse a list for a tuple.
        return kind.model_validate_json(json.dumps(values, default=_plain), strict=True)
    except pydantic.ValidationError as error:
        raise ConfigError(_problems(error, layers, source, kind)) from None


def section(kind: type[Any], source: str, values: Mapping[str, Any]) -> Any:
    """One section from keyword arguments.

    Args:
        kind: its class.
        source: the call, for messages.
        values: its keys.

    Raises:
        ConfigError: one line for each value that cannot be used.

    Example:

    >>> section(wsss.config.CamConfig, "cam(...)", {"scales": [1.0, 2.0]}).scales
    (1.0, 2.0)
    """
    return validate_as(kind, values, [(source, values)])


def _plain(value: Any) -> Any:
    """Numbers and arrays of NumPy as those of Python, a path as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _problems(
    error: pydantic.ValidationError, layers: list[Layer], source: str | None, kind: type[Any]
) -> str:
    known, foreign = section_keys(kind), foreign_keys(kind)
    details = error.errors()
    # A list whose only item is wrong is not also too short.
    wrong = {each["loc"][:-1] for each in details}
    details = [d for d in details if not (d["type"] == "too_short" and d["loc"] in wrong)]
    return "\n".join(problem(each, layers, source, known, foreign) for each in details)
