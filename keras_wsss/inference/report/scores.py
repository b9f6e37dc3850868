"""Scores of one run: of the whole list, of each class, and what is taken for what."""

from __future__ import annotations

from html import escape

import numpy as np

from keras_wsss.inference.report.results import Results
from keras_wsss.inference.report.tables import bar, cell, row_head, shade, table
from keras_wsss.pictures import percentage
from keras_wsss.score_names import headline, per_class

LARGEST_MATRIX, MOST_CONFUSED = 25, 10


def headline_scores(run: Results) -> str:
    """The scores, and how they were measured."""
    rows = [[row_head(name), bar(value)] for name, value in headline(run.summary).items()]
    told = [
        f"<p>{escape(protocol(run))} The checkpoint is the {run.summary['checkpoint']} one, of "
        f"step {run.summary['step']}.</p>"
    ]
    if "pseudo_label" in run.summary:
        told.append(
            "<p>CAM and pseudo labels are made with the tags of each image, which nobody has for "
            "a new photograph: they show how good the supervision is, not the model.</p>"
        )
    if "decoder" not in run.summary:
        told.append(
            "<p>There are no masks to hold the decoder against. How well the classifier finds the "
            "tags, and how far decoder and pseudo labels agree, can tell that something went "
            "wrong, not that all is well: look at the pictures.</p>"
        )
    return "\n".join([table("Of the whole list, in percent", ["score", "percent"], rows), *told])


def protocol(run: Results) -> str:
    """How the scores were measured, in words."""
    how = run.summary["protocol"]
    scales = ", ".join(f"{scale:g}" for scale in how["scales"])
    return (
        f"{how['images']} images of the list {how['list']}, at their own size; scale {scales}, "
        f"{'with' if how['flip'] else 'no'} mirror image, CRF: {how['crf'] or 'none'}. The "
        "decoder never sees tags."
    )


def class_scores(run: Results) -> str:
    """A row for each class."""
    names = ["background", *run.images["images_with"]]
    columns = per_class(run.summary)
    rows = [
        [
            row_head(name, number),
            cell(run.images["images_with"].get(name)),
            *(bar(values.get(name)) for values in columns.values()),
        ]
        for number, name in enumerate(names)
    ]
    if not any("IoU" in head for head in columns):
        del rows[0]  # nothing is said about the background
    return table("Of each class, in percent", ["class", "images with it", *columns], rows)


def confusions(run: Results) -> str:
    """What is taken for what, where there are masks."""
    if "confusion" not in run.images:
        return ""
    counts = np.asarray(run.images["confusion"])
    names = ["background", *run.images["images_with"]]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = shares * (1 - np.eye(len(names)))
    order = np.argsort(-wrong, axis=None)[:MOST_CONFUSED]
    pairs = [divmod(int(place), len(names)) for place in order]
    items = "".join(
        f"<li>{percentage(wrong[true, told])} of {escape(names[true])} is taken for "
        f"{escape(names[told])}</li>"
        for true, told in pairs
        if wrong[true, told] > 0
    )
    told = f"<ul>{items}</ul>"
    if len(names) > LARGEST_MATRIX:
        return told
    rows = [
        [row_head(name, number), *map(shade, shares[number].tolist())]
        for number, name in enumerate(names)
    ]
    return told + table("Rows: the truth; columns: its pixels in percent", ["truth", *names], rows)


def ignored(run: Results) -> str:
    """Where training has no label."""
    if "ignored" not in run.images:
        return ""
    shares = run.images["ignored_by_class"]
    rows = [
        [row_head(name, number), bar(100 * shares[name])]
        for number, name in enumerate(run.images["images_with"], start=1)
    ]
    return (
        f"<p>{percentage(run.images['ignored'])} of the pixels have no sure pseudo label, and are "
        "ignored where the network learns from it. In the pseudo labels above they are pale.</p>"
        + table("Of the images with a class, in percent", ["class", "ignored"], rows)
    )
