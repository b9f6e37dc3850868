"""Results as short tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_wsss.score_names import headline


def table(facts: Mapping[str, Any]) -> list[str]:
    """A line for each fact.

    Args:
        facts: mapping, name -> value.

    Example:

    >>> table({"seconds_per_step": 1.2})
    ['seconds per step  1.2']
    """
    width = max(map(len, facts), default=0)
    return [f"{name.replace('_', ' '):{width}}  {value}" for name, value in facts.items()]


def score_table(summary: Mapping[str, Any]) -> list[str]:
    """What a training or an evaluation has found, as lines.

    Args:
        summary: dict of :func:`keras_wsss.inference.evaluate_run.evaluate_run`.
    """
    protocol = summary["protocol"]
    lines = [f"{protocol['images']} images of {protocol['list']}, in percent"]
    lines += table(headline(summary))
    columns = {
        "IoU of the decoder": summary.get("decoder", {}).get("per_class"),
        "average precision of the classifier": summary.get("classifier", {}).get(
            "average_precision"
        ),
    }
    for title, by_class in columns.items():
        if isinstance(by_class, Mapping):
            shown = {name: "-" if value is None else value for name, value in by_class.items()}
            lines += ["", title, *table(shown)]
    if "decoder" not in summary:
        lines += ["", "There are no masks to hold the decoder against: look at the pictures."]
    return lines
