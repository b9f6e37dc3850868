"""What a data set holds, in few characters: whether a training that goes on sees the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_wsss.data.split import Split


def contents(training: Split, validation: Split) -> dict[str, Any]:
    """Classes, and digests of lists, tags and files of a data set.

    Files count by their names and sizes, wherever they lie.

    Args:
        training, validation: what a training reads.

    Returns:
        What people call a part -> what it holds.

    Example:

    >>> train, val = wsss.data.load("my_set")
    >>> list(contents(train, val))[:2]
    ['the classes', 'the training list']
    """
    found: dict[str, Any] = {"the classes": list(training.class_names)}
    for part, split in (("training", training), ("validation", validation)):
        found |= {
            f"the {part} list": _digest(split.ids),
            f"the {part} tags": _digest([np.ascontiguousarray(split.labels).tobytes().hex()]),
            f"the {part} photographs": _digest(_files(split.image_paths)),
            f"the {part} masks": _digest(_files(split.mask_paths or ())),
        }
    return found


def _files(paths: Iterable[str]) -> Iterable[str]:
    for path in paths:
        try:
            size: int | None = os.path.getsize(path)
        except OSError:  # generated, or in an archive
            size = None
        yield f"{os.path.basename(path)} {size}"


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
