"""Data sets: readers, augmentation and batches.

A reader makes a :class:`Split` (images and tags of one list), the pipeline makes batches of it.
What needs TensorFlow is imported on first use: photographs are imported and checked without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from keras_wsss.data.loading import load, load_split, load_splits
from keras_wsss.data.split import Split

if TYPE_CHECKING:
    from keras_wsss.data.broken import explain_errors, find_broken
    from keras_wsss.data.pipeline import evaluation_dataset, step_ids, training_dataset

# Names and the modules that import TensorFlow for them.
_LAZY = {
    "evaluation_dataset": "pipeline",
    "explain_errors": "broken",
    "find_broken": "broken",
    "step_ids": "pipeline",
    "training_dataset": "pipeline",
}

__all__ = [
    "Split",
    "evaluation_dataset",
    "explain_errors",
    "find_broken",
    "load",
    "load_split",
    "load_splits",
    "step_ids",
    "training_dataset",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
