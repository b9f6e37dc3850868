"""The report of a check as one page that needs no other file."""

from __future__ import annotations

from html import escape

import numpy as np
from PIL import Image

from keras_wsss.data.checking.check import Report
from keras_wsss.data.checking.contents import Item, Mask, Picture
from keras_wsss.data.checking.finding import Finding, name_of
from keras_wsss.data.photos.convert import opened, small
from keras_wsss.errors import DataError
from keras_wsss.pages import data_address, figure, page, pictures
from keras_wsss.palette import overlay_labels

SIDE, MOST_SHOWN = 200, 12


def page_of(report: Report) -> str:
    """The page as HTML; pictures of what was found are part of it.

    Example:

    >>> from keras_wsss.data.checking.check import check
    >>> data = wsss.config.DataConfig(kind="voc", root="VOC2012", train_list="train")
    >>> "overlapping-lists" in page_of(check(data))
    True
    """
    sections = "\n".join(_section(report, finding) for finding in report.findings)
    root = str(report.contents.root)
    body = f"<p>{escape(report.line)}</p>\n{sections or '<p>Nothing was found.</p>'}"
    return page(f"Check of {root}", body)


def _section(report: Report, finding: Finding) -> str:
    shown, more = finding.items[:MOST_SHOWN], len(finding.items[MOST_SHOWN:])
    lines = [
        f'<section class="finding {finding.severity}">',
        f"<h2>{finding.severity}: {finding.kind}</h2>",
        f"<p>{escape(finding.message)}</p>",
    ]
    if shown:
        lines.append(pictures((_figure(report, finding, item) for item in shown), "9rem"))
    if more:
        lines.append(f"<p>and {more} more</p>")
    return "\n".join([*lines, "</section>"])


def _figure(report: Report, finding: Finding, item: Item) -> str:
    tags = ", ".join(item.tags or ()) or ("no tag" if item.tags is None else "nothing")
    caption = f"{name_of(item)}: {tags}" if item.path else name_of(item)
    return figure(_picture(report, finding, item), caption, f"photograph {name_of(item)}")


def _picture(report: Report, finding: Finding, item: Item) -> str | None:
    if item.path is None or not isinstance(item.picture, Picture):
        return None
    try:
        shown = small(item.path, SIDE)
        shown.thumbnail((SIDE, SIDE))
        if "mask" in finding.kind and isinstance(item.mask, Mask) and item.mask_path:
            if report.contents.mask_colours is None:
                with opened(item.mask_path) as image:
                    ids = image.resize(shown.size, Image.Resampling.NEAREST)
                    shown = Image.fromarray(overlay_labels(np.asarray(shown), np.asarray(ids)))
    except DataError:  # it was changed since
        return None
    return data_address(shown)
