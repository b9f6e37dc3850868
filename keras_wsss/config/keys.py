"""Which keys there are, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_wsss.config.schema import Config, config_class
from keras_wsss.config.sections import section_keys
from keras_wsss.registry import METHODS, READERS


def known_keys() -> list[str]:
    """Dotted names of all keys of all methods and kinds of data, sections included.

    Example:

    >>> "data.crop_size" in known_keys()
    True
    """
    return list(owners())


def owners() -> dict[str, list[str]]:
    """Dotted name of every key -> the methods and kinds of data that have it."""
    found: dict[str, list[str]] = {}
    for method in METHODS:
        for key in section_keys(config_class(method, "voc")):
            found.setdefault(key, []).append(method)
    for kind in READERS:
        for key in section_keys(READERS[kind].section, "data."):
            found.setdefault(key, []).append(f"data.kind {kind}")
    return found


def foreign_keys(kind: type[Config]) -> dict[str, list[str]]:
    """Keys that a kind of configuration does not have -> the methods and kinds of data that do."""
    own = section_keys(kind)
    return {key: whose for key, whose in owners().items() if key not in own}


def without(
    values: Mapping[str, Any], keys: Mapping[str, Any], prefix: str = "", options: bool = False
) -> dict[str, Any]:
    """Nested values without those at the dotted ``keys``; loss terms always stay.

    Args:
        values: of a configuration.
        keys: are left out.
        prefix: of the keys of ``values``.
        options: whether options of loss terms are left out as well.

    Example:

    >>> without({"heads": {"object_gate": True, "pooling": "max"}}, {"heads.object_gate": ["bmp"]})
    {'heads': {'pooling': 'max'}}
    """
    kept = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        stays = key.startswith("losses.") and not (options and key.count(".") > 1)
        if key not in keys or stays:
            inner = isinstance(value, Mapping)
            kept[name] = without(value, keys, f"{key}.", options) if inner else value
    return kept
