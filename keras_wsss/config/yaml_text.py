"""YAML of people and of strangers: small, flat, without surprises."""

from __future__ import annotations

import re
from typing import Any

import yaml

MOST_BYTES = 1_000_000
MOST_DEPTH = 30
MOST_NODES = 20_000
"""With every alias counted as what it stands for: ten lines can stand for a billion nodes."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers (1e-4 is one), and no key twice, of which PyYAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            fault = None
            if not isinstance(key, str | int):
                fault = f"{key!r} is no key; allowed: text"
            elif key in keys:
                fault = f"key {key!r} stands twice"
            if fault:
                raise yaml.constructor.ConstructorError(None, None, fault, key_node.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read_yaml(text: bytes | str) -> Any:
    """What a text says, if a person may have written it.

    Raises:
        yaml.YAMLError: no YAML, a key twice or no text, or more than :data:`MOST_BYTES`,
            :data:`MOST_DEPTH` or :data:`MOST_NODES`.

    Example:

    >>> read_yaml("optimizer: {learning_rate: 1e-4}")
    {'optimizer': {'learning_rate': 0.0001}}
    """
    if len(text) > MOST_BYTES:
        raise yaml.YAMLError(f"is of {len(text)} bytes; at most {MOST_BYTES} are read")
    try:
        _check_size(text)
        return yaml.load(text, _Loader)
    except (ValueError, OverflowError) as error:  # a month 13, a number of thousands of digits
        raise yaml.YAMLError(str(error)) from error


def _check_size(text: bytes | str) -> None:
    """Refuses deep nesting and aliases that multiply, before anything is built."""
    sizes: dict[str, int] = {}  # of what an anchor names
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]  # anchor, and nodes so far
    for event in yaml.parse(text, yaml.SafeLoader):
        anchor, size = getattr(event, "anchor", None), 0
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((anchor, 1))
            if len(open_nodes) > MOST_DEPTH:
                raise yaml.YAMLError(f"is nested more than {MOST_DEPTH} deep")
            continue
        if isinstance(event, yaml.AliasEvent):
            if anchor not in sizes:  # PyYAML says so of one that is nowhere
                raise yaml.YAMLError(f"the anchor {anchor!r} holds itself, or is not there")
            size = sizes[anchor]
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        if anchor is not None and not isinstance(event, yaml.AliasEvent):
            sizes[anchor] = size
        of, before = open_nodes[-1]
        if before + size > MOST_NODES:
            raise yaml.YAMLError(f"stands for more than {MOST_NODES} values")
        open_nodes[-1] = of, before + size
