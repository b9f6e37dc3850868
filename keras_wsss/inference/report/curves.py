"""Curves as SVG, a small chart for each quantity, so that none hides another's scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Line = list[tuple[float, float]]
"""Points of a curve: step and value."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 320, 190, 52, 10, 28, 24
MOST_POINTS = 300  # more than a chart has room for
DASHES = ("none", "7 3", "2 2", "9 3 2 3", "4 4", "1 3")
NOT_DRAWN = ("step", "images_per_second")


def quantities(metrics: Iterable[Mapping[str, Any]]) -> dict[str, Line]:
    """Name -> curve of everything that was logged.

    Args:
        metrics: records of ``metrics.jsonl``, in the order of their steps.
    """
    found: dict[str, Line] = {}
    for record in metrics:
        for name, value in record.items():
            if name not in NOT_DRAWN and math.isfinite(value):
                found.setdefault(name, []).append((record["step"], value))
    return found


def in_order(names: Iterable[str]) -> list[str]:
    """Names of quantities: the score first, then the losses, then the learning rate.

    Example:

    >>> in_order(["affinity", "learning_rate", "loss", "validation_miou"])
    ['validation_miou', 'loss', 'affinity', 'learning_rate']
    """
    first = ("validation_miou", "loss")

    def place(name: str) -> tuple[int, str]:
        return (first.index(name) if name in first else 2 + (name == "learning_rate"), name)

    return sorted(names, key=place)


def chart(title: str, lines: Mapping[str, Line]) -> str:
    """One quantity over the steps.

    Args:
        title: text above the chart.
        lines: name of the run -> curve, empty where a run has none. Runs of the same place look
            alike in all charts.

    Example:

    >>> svg = chart("loss", {"photos": [(10, 0.7), (20, 0.3)]})
    """
    steps = [step for line in lines.values() for step, _ in line]
    values = [value for line in lines.values() for _, value in line]
    low, high = min(values), max(values)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 1
    low, high = low - margin, high + margin
    first, last = min(0, *steps), max(steps)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - first) / ((last - first) or 1)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(_in_words(title, lines))}">',
        f'<text class="title" x="{LEFT}" y="16">{escape(title)}</text>',
    ]
    for tick in ticks(low, high):
        place = y(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {place:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="left" x="{LEFT - 6}" y="{place + 4:.1f}">{tick:.4g}</text>')
    for tick in ticks(first, last):
        place = x(tick)
        parts.append(f'<text class="below" x="{place:.1f}" y="{HEIGHT - 6}">{tick:.6g}</text>')
    for number, line in enumerate(lines.values()):
        if not line:
            continue
        points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in thinned(line))
        if len(line) == 1:  # which a line would not show
            across, down = points.split(",")
            parts.append(f'<circle {look(number)} cx="{across}" cy="{down}" r="3"/>')
        else:
            parts.append(f'<polyline {look(number)} points="{points}"/>')
    return "\n".join([*parts, "</svg>"])


def look(number: int) -> str:
    """Attributes of the curve of a run: its colour, and its dashes for those who see no colours."""
    of = number % len(DASHES)
    return f'class="curve" style="--own: var(--run-{of})" stroke-dasharray="{DASHES[of]}"'


def legend(names: Sequence[str]) -> str:
    """Which curve is which run's."""
    items = (
        f'<li><svg viewBox="0 0 40 10" aria-hidden="true"><path {look(number)} d="M0 5H40"/></svg>'
        f"{escape(name)}</li>"
        for number, name in enumerate(names)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def thinned(line: Line) -> Line:
    """So many points as can be told apart; the last one is among them."""
    every = -(-len(line) // MOST_POINTS)
    return line[::-1][::every][::-1]


def ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers between two.

    Example:

    >>> ticks(0, 120)
    [0.0, 50.0, 100.0]
    """
    span = (high - low) or 1
    unit = 10.0 ** math.floor(math.log10(span / 2))
    step = next(unit * of for of in (5, 2, 1) if span / (unit * of) >= 2)
    return [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _in_words(title: str, lines: Mapping[str, Line]) -> str:
    told = (
        f"{name}: {line[0][1]:.4g} at step {line[0][0]:g}, {line[-1][1]:.4g} at step "
        f"{line[-1][0]:g}"
        for name, line in lines.items()
        if line
    )
    return f"{title} over steps. {'; '.join(told)}"
