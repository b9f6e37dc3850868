"""Data sets: readers, augmentation and batches.

A reader makes a :class:`Split` (images and tags of one list), the pipeline makes batches of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from keras_wsss.data.checks import check_maps, explain_errors, find_broken
from keras_wsss.data.pipeline import evaluation_dataset, step_ids, training_dataset
from keras_wsss.data.split import Split
from keras_wsss.registry import READERS

if TYPE_CHECKING:
    from keras_wsss.config import DataConfig

__all__ = [
    "Split",
    "evaluation_dataset",
    "explain_errors",
    "find_broken",
    "load_split",
    "step_ids",
    "training_dataset",
]


def load_split(
    data: DataConfig,
    part: Literal["train", "val"],
    require_masks: bool = False,
    require_saliency: bool | None = False,
) -> Split:
    """Reads the training or validation list of a configuration and checks its files.

    Training masks are looked for only when required, and then in ``data.masks`` if that is set;
    validation masks are used when there. Several lists are joined by ``+``.

    Args:
        data: the ``data`` section of a configuration.
        part: ``"train"`` or ``"val"``.
        require_masks: masks must be there.
        require_saliency: saliency maps must be there; None: used when there.

    Returns:
        :class:`Split`.

    Raises:
        DataError: something about the data has to be put right; file and fix are named.

    Example:

    >>> len(load_split(load_config("animals5_tscd").data, "val"))
    125
    """
    own_masks = data.masks if part == "train" and require_masks else None
    masks = False if own_masks else require_masks or (None if part == "val" else False)
    split: Split = READERS[data.kind](data, part, masks=masks, saliency=require_saliency)
    if own_masks:
        split = split.with_masks(Path(own_masks))
    check_maps(split)
    return split
