"""One clear message for every value that cannot be used: file, key, value, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import ErrorDetails, PydanticCustomError

from keras_wsss.registry import closest, did_you_mean

# What a file, or one --set, says: where it stands, for messages, and its values.
Layer = tuple[str, Mapping[str, Any]]

# pydantic's kinds of errors -> what is allowed, in the words of a configuration.
ALLOWED = {
    "bool_type": "true or false",
    "dict_type": "a mapping of keys to values",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "more than {gt:.12g}",
    "greater_than_equal": "{ge:.12g} or more",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt:.12g}",
    "less_than_equal": "at most {le:.12g}",
    "model_type": "a mapping of keys to values",
    "missing": "a value; there is no default",
    "string_type": "text",
    "too_long": "at most {max_length} entries",
    "too_short": "at least {min_length} entry",
    "tuple_type": "a list",
}


def impossible(key: str, value: Any, allowed: str) -> PydanticCustomError:
    """A value that is ruled out by other values, for a validator to raise.

    Args:
        key: dotted, relative to the section.
        value: that it has.
        allowed: text, what it may be.

    Example:

    >>> impossible("low", 0.6, "less than pseudo_label.high (0.55)").message()
    'less than pseudo_label.high (0.55)'
    """
    context = {"key": key, "value": value, "allowed": allowed}
    return PydanticCustomError("impossible", "{allowed}", context)


def problem(
    detail: ErrorDetails,
    layers: list[Layer],
    source: str | None,
    known: Iterable[str],
    elsewhere: Mapping[str, list[str]],
) -> str:
    """The message for one error of pydantic's.

    Args:
        detail: the error.
        layers: what was read, in order; the last one that says the key is blamed.
        source: is blamed for what no layer says.
        known: dotted names of the keys that the configuration may have.
        elsewhere: keys that it may not have -> the methods or kinds of data that have them.
    """
    place = [str(part) for part in detail["loc"]]
    value, allowed, nearest = detail["input"], what_is_allowed(detail), ""
    if detail["type"] == "impossible":
        place += detail["ctx"]["key"].split(".")
        value = detail["ctx"]["value"]
    elif detail["type"] == "missing":
        value = None
    elif place[-1:] == ["[key]"]:  # not what stands there is wrong, but its name
        place = place[:-2]
    elif detail["type"] == "literal_error":
        nearest = did_you_mean(closest(str(value), re.findall(r"'([^']*)'", allowed)))
    elif detail["type"] == "extra_forbidden":
        allowed, nearest = _unknown(place, list(known), elsewhere)
    key = ".".join(place)
    blamed = next((name for name, layer in reversed(layers) if _says(layer, place)), None)
    where = blamed or source or layers[-1][0]
    unknown = "unknown key, " if detail["type"] == "extra_forbidden" else ""
    return f"{where}: {key}: {unknown}value {shown(value)}; allowed: {allowed}{nearest}"


def what_is_allowed(detail: ErrorDetails) -> str:
    """What an error of pydantic's says would be right, in our words."""
    words = ALLOWED.get(detail["type"])
    if words is not None:
        return words.format(**detail.get("ctx", {}))
    return detail["msg"].removeprefix("Input should be ")


def _unknown(
    place: list[str], known: list[str], elsewhere: Mapping[str, list[str]]
) -> tuple[str, str]:
    """What is allowed in place of an unknown key, and what was probably meant."""
    key, parent = ".".join(place), ".".join(place[:-1])
    siblings = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == parent]
    allowed = f"the keys {', '.join(siblings)}"
    if key in elsewhere:
        return allowed, f"; {key} belongs to {', '.join(elsewhere[key])}"
    if near := closest(place[-1], siblings):
        return allowed, did_you_mean(".".join([*place[:-1], near]))
    everywhere = {name.rpartition(".")[2]: name for name in (*elsewhere, *known)}
    return allowed, did_you_mean(everywhere.get(closest(place[-1], everywhere), ""))


def _says(values: Any, place: list[str]) -> bool:
    """Whether ``values`` hold the key at ``place``, or a list or scalar on the way to it."""
    for part in place:
        if not isinstance(values, Mapping):
            return True
        if part not in values:
            return False
        values = values[part]
    return True


def shown(value: Any) -> str:
    """A value as messages show it, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
