"""Images that should be looked at: the best, the worst, and those whose tags may be wrong."""

from __future__ import annotations

from html import escape

from keras_wsss.inference.report.results import Results
from keras_wsss.inference.report.tables import swatch
from keras_wsss.pages import figure, pictures
from keras_wsss.palette import IGNORE_ID
from keras_wsss.pictures import percentage

# Five beside each other on a desktop, two on a phone.
WIDTH = "min(13.5rem, 45%)"


def image_sections(run: Results, level: int, prefix: str) -> list[tuple[str, str]]:
    """Titles and HTML of the sections.

    Args:
        run: whose images.
        level: of the headings of single images.
        prefix: of the anchors of this run.
    """
    rows = _Rows(run, level, prefix)
    lists, score = run.images["lists"], run.images["score"]
    if score is None:
        return [("Images", _legend(run) + rows.of([*lists["worst"], *lists["best"]]))]
    truth = score.endswith("truth")
    least = "Worst images" if truth else "Least agreement"
    most = "Best images" if truth else "Most agreement"
    told = f"<p>By {escape(score)}. The pictures are small copies.</p>\n{_legend(run)}\n"
    return [
        (least, told + rows.of(lists["worst"]) if lists["worst"] else ""),
        (most, told + rows.of(lists["best"]) if lists["best"] else ""),
        ("Suspects", _suspects(run, rows)),
    ]


def _suspects(run: Results, rows: _Rows) -> str:
    if "suspects" not in run.images:
        return ""
    lists, counts = run.images["lists"], run.images["suspects"]
    parts = []
    for name, told in (
        ("missing", "images have a tag of which the classifier sees nothing"),
        ("extra", "images lack the tag of a class that the classifier sees"),
    ):
        parts.append(f"<p>{counts[name]} of {run.images['images']} {told}.</p>")
        parts.append(rows.of(lists[name]))
    parts.append("<p>Either the tag is wrong, or the network is.</p>")
    return "\n".join(parts)


class _Rows:
    """Images with their pictures side by side; those that stand further above as links."""

    def __init__(self, run: Results, level: int, prefix: str) -> None:
        self.run, self.level, self.prefix = run, level, prefix
        self.anchors: dict[str, str] = {}

    def of(self, ids: list[str]) -> str:
        before = [image for image in ids if image in self.anchors]
        links = "".join(
            f'<li><a href="#{self.anchors[image]}">{escape(image)}</a> (above): '
            f"{escape(self._caption(image))}</li>"
            for image in before
        )
        rows = [self._row(image) for image in ids if image not in before]
        return "\n".join([f"<ul>{links}</ul>" if links else "", *rows])

    def _row(self, image: str) -> str:
        anchor = self.anchors[image] = f"{self.prefix}image{len(self.anchors)}"
        shown = self.run.images["shown"][image]["pictures"]
        figures = (
            figure(picture["source"], title, alt=f"{title} of {image}: {picture['shows']}")
            for title, picture in shown.items()
        )
        return (
            f'<section id="{anchor}">\n<h{self.level}>{escape(image)}</h{self.level}>\n'
            f"<p>{escape(self._caption(image))}</p>\n{pictures(figures, WIDTH)}\n</section>"
        )

    def _caption(self, image: str) -> str:
        entry = self.run.images["shown"][image]
        tags = ", ".join(entry["tags"]) or "none"
        told = [f"score {percentage(entry['score'])}", f"tags: {tags}"]
        if "seen" in entry:
            sees = [f"{name} {percentage(value)}" for name, value in entry["seen"].items()]
            told.append(f"classifier: {', '.join(sees) or 'nothing'}")
        missed = [f"{name} {percentage(value)}" for name, value in entry.get("missing", {}).items()]
        if missed:
            told.append(f"not seen: {', '.join(missed)}")
        if "ignored" in entry:
            told.append(f"ignored {percentage(entry['ignored'])}")
        return "; ".join(told).replace(" %", "\N{NO-BREAK SPACE}%")


def _legend(run: Results) -> str:
    """Which colour is which class."""
    colours = {**dict(enumerate(run.images["images_with"], start=1)), IGNORE_ID: "ignored"}
    items = "".join(f"<li>{swatch(n)}{escape(name)}</li>" for n, name in colours.items())
    return f'<ul class="legend">{items}</ul>'
