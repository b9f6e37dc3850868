"""TensorFlow Datasets builder for folders in VOC layout."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_wsss.class_names import foreground
from keras_wsss.config import DataConfig
from keras_wsss.data.classes import VOC_CLASSES
from keras_wsss.data.decode import read_image
from keras_wsss.data.voc import load_voc
from keras_wsss.palette import IGNORE_ID


@dataclasses.dataclass
class VocFolderConfig(tfds.core.BuilderConfig):  # type: ignore[misc]
    """Which lists, tags and classes of the folder to build.

    Attributes:
        class_names: foreground classes; other known classes are left out.
        lists: names under ``ImageSets/Segmentation``; each becomes a split of that name.
        labels_key: which tags of a labels.json, see :class:`~keras_wsss.config.DataConfig`.
    """

    class_names: tuple[str, ...] = VOC_CLASSES
    lists: tuple[str, ...] = ("train", "val")
    labels_key: str = "labels_from_boxes"


class VocFolder(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """Images with tags, and masks where the list has any (else all 255, ignore).

    An example has ``id``, ``image`` uint8 [H, W, 3] as displayed, ``tags`` (class numbers from 0)
    and ``mask`` uint8 [H, W, 1]: 0 background, class number + 1, 255 ignore.

    Example:

    >>> pets = VocFolderConfig(name="pets", class_names=("cat", "dog"), lists=("train", "val"))
    >>> builder = VocFolder(data_dir="prepared", config=pets)
    >>> manual = tfds.download.DownloadConfig(manual_dir="VOC2012")
    >>> builder.download_and_prepare(download_config=manual)
    Downloading and preparing dataset ... to prepared/voc_folder/pets/1.0.0...
    ...
    >>> len(builder.as_dataset(split="train"))
    4
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir is a folder in VOC layout: JPEGImages, ImageSets/Segmentation and the tags in "
        "labels.json, labels.csv or Annotations; SegmentationClass if there are masks."
    )
    BUILDER_CONFIGS = [VocFolderConfig(name="voc", description="The 20 classes of VOC.")]

    def _info(self) -> Any:
        names = list(foreground(self.builder_config.class_names, "class_names"))
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images with tags and masks from a folder in VOC layout.",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    # Stored without loss: training is to see the pixels of the original file.
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                    "tags": tfds.features.Sequence(tfds.features.ClassLabel(names=names)),
                    "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
                }
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        root = dl_manager.manual_dir
        return {name: self._generate_examples(root, name) for name in self.builder_config.lists}

    def _generate_examples(self, root: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        config = self.builder_config
        data = DataConfig(
            kind="voc",
            root=Path(os.fspath(root)),
            labels_key=config.labels_key,
            classes=config.class_names,
        )
        split = load_voc(data, name)
        for position, image_id in enumerate(split.ids):
            image = read_image(split.image_paths[position]).numpy()
            mask = np.full(image.shape[:2], IGNORE_ID)
            if split.mask_paths is not None:
                mask = split.mask(position)
            yield (
                image_id,
                {
                    "id": image_id,
                    "image": image,
                    "tags": np.flatnonzero(split.labels[position]).tolist(),
                    "mask": mask.astype(np.uint8)[..., None],
                },
            )
