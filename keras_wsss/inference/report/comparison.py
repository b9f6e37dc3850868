"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from keras_wsss.config import decisive
from keras_wsss.inference.report.results import Results
from keras_wsss.inference.report.scores import protocol
from keras_wsss.inference.report.tables import bar, cell, row_head, table
from keras_wsss.score_names import PER_CLASS, headline, per_class

FACTS = ("method", "supervision", "step", "seconds", "peak_memory_mb")


def scores_of_all(runs: Sequence[Results]) -> str:
    """A column for each run, the best score of a row in bold where they can be compared."""
    scores = {run.name: headline(run.summary) for run in runs}
    comparable = len({str(run.summary["protocol"]) for run in runs}) == 1
    rows = []
    for name in dict.fromkeys(name for found in scores.values() for name in found):
        values = [found.get(name) for found in scores.values()]
        best = max(value for value in values if value is not None)
        cells = (cell(value, comparable and value == best) for value in values)
        rows.append([row_head(name), *cells])
    facts = [
        [row_head(fact.replace("_", " ")), *(cell(run.summary.get(fact)) for run in runs)]
        for fact in FACTS
    ]
    told = [protocol(runs[0])]
    if not comparable:
        told = [
            "These runs were not scored alike, so their scores cannot be compared:",
            *(f"{run.name}: {protocol(run)}" for run in runs),
        ]
    paragraphs = "\n".join(f"<p>{escape(each)}</p>" for each in told)
    return "\n".join(
        [
            table("Of the whole list, in percent", ["score", *scores], rows),
            paragraphs,
            _classes(runs),
            table("Training", ["", *scores], facts),
        ]
    )


def _classes(runs: Sequence[Results]) -> str:
    """The score of each class that says most, of those that there are."""
    scores = [per_class(run.summary) for run in runs]
    score = next((text for text in PER_CLASS if any(text in found for found in scores)), None)
    if score is None:
        return ""
    columns = [found.get(score, {}) for found in scores]
    rows = [
        [row_head(name), *(bar(column.get(name)) for column in columns)]
        for name in dict.fromkeys(name for column in columns for name in column)
    ]
    return table(f"{score} in percent", ["class", *(run.name for run in runs)], rows)


def differences(runs: Sequence[Results]) -> str:
    """What the configurations differ in, of all that decides about the weights."""
    values = [decisive(run.config) for run in runs]
    keys = sorted({key for each in values for key in each})
    rows = [
        [row_head(key), *(cell(each.get(key)) for each in values)]
        for key in keys
        if len({str(each.get(key)) for each in values}) > 1
    ]
    if not rows:
        return "<p>None.</p>"
    return table(
        "Keys that differ; – is the default, or that there is no such key",
        ["key", *(run.name for run in runs)],
        rows,
    )
