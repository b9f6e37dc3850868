"""The report of a check as one page that needs no other file."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from keras_wsss.data.checking.check import Report
from keras_wsss.data.checking.contents import Item, Mask, Picture
from keras_wsss.data.checking.finding import Finding, name_of
from keras_wsss.data.photos.convert import opened, small
from keras_wsss.errors import DataError
from keras_wsss.palette import overlay_labels

SIDE, MOST_SHOWN = 200, 12
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Check of {title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem }}
h1 {{ font-size: 1.4rem; overflow-wrap: anywhere }}
section {{ border-left: .3rem solid; margin: 1.5rem 0; padding-left: 1rem }}
.error {{ border-color: #c62828 }} .warning {{ border-color: #ef8f00 }}
.info {{ border-color: #78909c }}
h2 {{ font-size: 1rem; margin: 0 }}
p, figcaption {{ margin: .3rem 0; overflow-wrap: anywhere }}
main div {{ display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(min(9rem, 45%), 1fr)) }}
figure {{ margin: 0 }}
img, .none {{ aspect-ratio: 1; background: #8884; object-fit: contain; width: 100% }}
.none {{ align-items: center; display: flex; justify-content: center }}
figcaption {{ font-size: .85rem }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
<main>
{sections}
</main>
</html>
"""


def page_of(report: Report) -> str:
    """The page as HTML; pictures of what was found are part of it.

    Example:

    >>> Path("check.html").write_text(page_of(check(config.data)), "utf-8")
    """
    sections = "\n".join(_section(report, finding) for finding in report.findings)
    return PAGE.format(
        title=escape(str(report.contents.root)),
        summary=escape(report.line),
        sections=sections or "<p>Nothing was found.</p>",
    )


def _section(report: Report, finding: Finding) -> str:
    shown, more = finding.items[:MOST_SHOWN], len(finding.items[MOST_SHOWN:])
    lines = [
        f'<section class="{finding.severity}">',
        f"<h2>{finding.severity}: {finding.kind}</h2>",
        f"<p>{escape(finding.message)}</p>",
    ]
    if shown:
        lines += ["<div>", *(_figure(report, finding, item) for item in shown), "</div>"]
    if more:
        lines.append(f"<p>and {more} more</p>")
    return "\n".join([*lines, "</section>"])


def _figure(report: Report, finding: Finding, item: Item) -> str:
    tags = ", ".join(item.tags or ()) or ("no tag" if item.tags is None else "nothing")
    caption = f"{name_of(item)}: {tags}" if item.path else name_of(item)
    picture = _picture(report, finding, item)
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _picture(report: Report, finding: Finding, item: Item) -> str:
    if item.path is None or not isinstance(item.picture, Picture):
        return '<div class="none">no picture</div>'
    try:
        shown = small(item.path, SIDE)
        shown.thumbnail((SIDE, SIDE))
        if "mask" in finding.kind and isinstance(item.mask, Mask) and item.mask_path:
            if report.contents.mask_colours is None:
                with opened(item.mask_path) as image:
                    ids = image.resize(shown.size, Image.Resampling.NEAREST)
                    shown = Image.fromarray(overlay_labels(np.asarray(shown), np.asarray(ids)))
    except DataError:  # it was changed since
        return '<div class="none">no picture</div>'
    file = io.BytesIO()
    shown.save(file, "JPEG", quality=80)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img alt="" src="data:image/jpeg;base64,{data}">'
