"""The page as a whole: its sections, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from keras_wsss.inference.report.comparison import differences, scores_of_all
from keras_wsss.inference.report.curves import chart, in_order, legend, quantities
from keras_wsss.inference.report.images import image_sections
from keras_wsss.inference.report.provenance import provenance
from keras_wsss.inference.report.results import Results
from keras_wsss.inference.report.scores import class_scores, confusions, headline_scores, ignored
from keras_wsss.inference.report.style import STYLE
from keras_wsss.pages import page, pictures

Section = tuple[str, str]
"""Title, and the HTML below it; a part without content is left out."""


def report_page(runs: Sequence[Results]) -> str:
    """The report as HTML.

    Args:
        runs: one, or several that are to be compared.
    """
    names = ", ".join(run.name for run in runs)
    if len(runs) == 1:
        (run,) = runs
        scores, *others = _sections_of(run, "")
        sections = [scores, ("Curves", _curves(runs)), *others]
    else:
        sections = [
            ("Comparison", scores_of_all(runs)),
            ("Differences of the configurations", differences(runs)),
            ("Curves", _curves(runs)),
        ]
        for number, run in enumerate(runs):
            inner = _joined(_sections_of(run, f"run{number}-"), 3, f"run{number}-")
            sections.append((run.name, inner))
    sections = [(title, html) for title, html in sections if html]
    links = "".join(
        f'<li><a href="#{_anchor(title)}">{escape(title)}</a></li>' for title, _ in sections
    )
    navigation = f'<nav aria-label="sections"><ul>{links}</ul></nav>\n'
    style = f"<style>\n{STYLE}</style>"
    return page(f"Report: {names}", navigation + _joined(sections, 2), head=style)


def _sections_of(run: Results, prefix: str) -> list[Section]:
    level = 4 if prefix else 3
    return [
        ("Scores", headline_scores(run)),
        ("Classes", class_scores(run)),
        ("Confusion", confusions(run)),
        *image_sections(run, level, prefix),
        ("Ignored pixels", ignored(run)),
        ("How it was made", provenance(run)),
    ]


def _joined(sections: Iterable[Section], level: int, prefix: str = "") -> str:
    return "\n".join(
        f'<section id="{prefix}{_anchor(title)}">\n<h{level}>{escape(title)}</h{level}>\n'
        f"{html}\n</section>"
        for title, html in sections
        if html
    )


def _words(name: str) -> str:
    return "decoder, mIoU" if name == "validation_miou" else name.replace("_", " ")


def _anchor(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())


def _curves(runs: Sequence[Results]) -> str:
    logged = {run.name: quantities(run.metrics) for run in runs}
    titles = in_order({title for found in logged.values() for title in found})
    charts = (
        chart(_words(title), {n: found.get(title, []) for n, found in logged.items()})
        for title in titles
    )
    above = legend(list(logged)) if len(runs) > 1 else ""
    return above + pictures(charts, "17rem") if titles else ""
