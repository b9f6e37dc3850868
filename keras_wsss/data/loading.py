"""From a name or a configuration to the lists of a data set, by any reader; without TensorFlow."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from keras_wsss.config import Config, DataConfig, section
from keras_wsss.data.checks import check_maps
from keras_wsss.data.files import check_pixels
from keras_wsss.data.places import check_inside
from keras_wsss.data.split import Split
from keras_wsss.errors import ConfigError
from keras_wsss.registry import READERS

logger = logging.getLogger(__name__)


def load(
    root: str | Path | None = None,
    kind: str | None = None,
    *,
    masks: bool = False,
    saliency: bool = False,
    **keys: Any,
) -> tuple[Split, Split]:
    """Training and validation images of a data set, by any reader.

    Args:
        root: folder of the data set, or file with its tags.
        kind: name of a reader: ``photos``, ``voc``, ``coco``, ``shapes`` or a registered one; None:
            ``voc`` where the folder holds ``ImageSets``, else ``photos``; ``shapes`` without root.
        masks: the training images must have masks (for a method that reads them).
        saliency: the training images must have saliency maps.
        **keys: of the section ``data``: ``train_list``, ``val_list``, ``classes``, ``labels``,
            ``shapes`` ... (docs/configuration.md).

    Returns:
        Pair of :class:`Split`.

    Raises:
        ConfigError: a value cannot be used.
        DataError: something about the data has to be put right; file and fix are named.

    Example:

    >>> train, val = load("my_set")  # what `keras-wsss import` has written
    >>> train.class_names
    ('cat', 'dog')
    """
    if kind is None and root is not None:
        kind = "voc" if (Path(root) / "ImageSets").is_dir() else "photos"
    kind = kind or "shapes"
    values = {"kind": kind, "root": root, **keys}
    data = section(READERS[kind].section, "load(...)", values)
    return load_split(data, "train", masks, saliency), load_split(data, "val")


def load_split(
    data: DataConfig,
    part: Literal["train", "val"],
    require_masks: bool = False,
    require_saliency: bool | None = False,
) -> Split:
    """Reads the training or validation list of a configuration and checks its files.

    Training masks are looked for only when required, and then in ``data.masks`` if that is set;
    validation masks are used when there. Several lists are joined by ``+``. Where there is no
    validation list (``data.val_list: null``) it is the training list, whose masks stay closed.

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

    >>> len(load_split(wsss.load_config("photos", ["data.root=my_set"]).data, "train"))
    6
    """
    own_masks = data.masks if part == "train" and require_masks else None
    validates = part == "val" and data.val_list is not None
    masks = False if own_masks else require_masks or (None if validates else False)
    split: Split = READERS[data.kind](data, part, masks=masks, saliency=require_saliency)
    if own_masks:
        split = split.with_masks(Path(own_masks))
        check_inside(split.mask_paths or (), Path(own_masks), data.follow_links)
    elif part == "val" and not validates:
        split = replace(split, mask_paths=None, read_mask=None)
    check_pixels(split.picture_files(), data.max_pixels)
    check_maps(split, drawn=not own_masks)
    return split


def load_splits(config: Config, masks: Path | None = None) -> tuple[Split, Split]:
    """The training and the validation list, with all that a training and its label files read.

    Args:
        config: of a training, or of one stage.
        masks: folder of the label files of an earlier stage, for ``data.masks: stage:NAME``.

    Returns:
        Pair of :class:`Split`.

    Raises:
        ConfigError: the configuration trains on the labels of a stage, and there is none.
        DataError: something about the data has to be put right; file and fix are named.

    Example:

    >>> train, val = load_splits(wsss.load_config("photos", ["data.root=my_set"]))
    >>> len(train), len(val)
    (6, 2)
    """
    data = config.data
    if masks is not None:
        data = data.model_copy(update={"masks": str(masks)})
    elif config.labels_stage is not None:
        raise ConfigError(
            f"data.masks: value {data.masks!r}; allowed here: a folder, since the configuration "
            "has no stages"
        )
    writes_saliency = config.writes == "saliency_labels"
    training = load_split(
        data,
        "train",
        require_masks=config.declaration.needs_masks,
        require_saliency=config.needs_saliency or writes_saliency,
    )
    # Labels of the validation list are scored where its saliency maps are there.
    validation = load_split(data, "val", require_saliency=None if writes_saliency else False)
    for split in (training, validation):
        for reason, count in split.dropped.items():
            logger.info("%s: %s: %s", split.name, reason, count)
    return training, validation
