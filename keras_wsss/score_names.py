"""What the scores of a run's summary are called where people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORDS = {
    "decoder": "decoder, mIoU",
    "decoder_crf": "decoder after CRF, mIoU",
    "pseudo_label": "pseudo labels (tags used), mIoU",
    "cam": "class activation maps (tags used), mIoU",
    "agreement": "decoder and pseudo labels agree, mIoU",
}


PER_CLASS = {
    "decoder, IoU": ("decoder", "per_class"),
    "pseudo label, IoU": ("pseudo_label", "per_class"),
    "CAM, IoU": ("cam", "per_class"),
    "classifier, AP": ("classifier", "average_precision"),
}


def headline(summary: Mapping[str, Any]) -> dict[str, float]:
    """The scores of a summary in percent, by what they are called.

    Args:
        summary: dict of :func:`keras_wsss.inference.evaluate_run.evaluate_run`.

    Example:

    >>> headline({"decoder": {"miou": 70.79}, "classifier": {"f1": 0.931}})
    {'decoder, mIoU': 70.79, 'classifier, F1': 93.1}
    """
    found = {text: summary[key]["miou"] for key, text in WORDS.items() if key in summary}
    if "classifier" in summary:
        found["classifier, F1"] = round(100 * summary["classifier"]["f1"], 1)
    return found


def per_class(summary: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """The scores of each class in percent, by what they are called; None: no image shows it.

    Example:

    >>> per_class({"decoder": {"miou": 68.2, "per_class": {"cat": 68.2}}})
    {'decoder, IoU': {'cat': 68.2}}
    """
    return {text: summary[part][key] for text, (part, key) in PER_CLASS.items() if part in summary}
