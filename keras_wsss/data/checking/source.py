"""What a user names on the command line, as a data set to check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_wsss.config import load_config, section
from keras_wsss.config.data import DataConfig, PhotosDataConfig
from keras_wsss.data.voc import IMAGES, LISTS
from keras_wsss.errors import DataError

TRAINING_LISTS = ("train", "train_aug")


def data_of(source: Path, **keys: Any) -> DataConfig:
    """A source as a data set: tagged photographs of any kind, or a folder in VOC layout.

    Sizes are those of the configuration ``photos``.

    Args:
        source: file or folder.
        **keys: of the section ``data`` for photographs: ``images``, ``format``, ``untagged`` ...

    Raises:
        DataError: it is not there, or its lists have other names than ``train`` and ``val``.

    Example:

    >>> data_of(Path("my_set"), untagged="negative").kind
    'photos'
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    usual = load_config("photos", ["data.root=."]).data
    values: dict[str, Any] = {"root": source, "crop_size": usual.crop_size}
    values["follow_links"] = keys.pop("follow_links", False)
    if not ((source / IMAGES).is_dir() and (source / LISTS).is_dir()):
        values |= {**keys, "kind": "photos", "working_size": usual.working_size}
        photos: DataConfig = section(PhotosDataConfig, "check", values)
        return photos
    there = {path.stem for path in (source / LISTS).glob("*.txt")}
    training = [name for name in TRAINING_LISTS if name in there]
    if not training:
        raise DataError(
            f"{source / LISTS}: holds no list {' or '.join(TRAINING_LISTS)}; name yours: "
            f"`--config voc_tscd --set data.root={source} --set data.train_list=NAME`"
        )
    values |= {"train_list": training[0], "val_list": "val" if "val" in there else None}
    values |= {"classes": keys.get("classes"), "kind": "voc"}
    voc: DataConfig = section(DataConfig, "check", values)
    return voc
