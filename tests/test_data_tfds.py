"""The TFDS builder under TFDS's own builder test."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from data_folder import CLASSES, write_list, write_voc
from PIL import Image

from keras_wsss.config import DataConfig
from keras_wsss.data import load_split
from keras_wsss.data.tfds_voc import VocFolder, VocFolderConfig


class VocFolderTest(tfds.testing.DatasetBuilderTestCase):
    """Runs the builder test of TFDS on a written folder."""

    DATASET_CLASS = VocFolder
    SPLITS = {"train": 4, "val": 2}  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = [  # noqa: RUF012
        VocFolderConfig(name="animals", class_names=CLASSES, lists=("train", "val"))
    ]

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = tempfile.mkdtemp()
        root = write_voc(Path(cls.EXAMPLE_DIR))
        write_list(root, "train", [f"image_{n}" for n in range(4)])
        write_list(root, "val", [f"image_{n}" for n in (4, 5)])
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.EXAMPLE_DIR)


def test_examples_are_the_files(tmp_path):
    photos = write_voc(tmp_path / "photos")
    settings = VocFolderConfig(name="two", class_names=("horse", "cat"), lists=("val",))
    builder = VocFolder(data_dir=str(tmp_path / "prepared"), config=settings)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=str(photos))
    )
    data = DataConfig(kind="voc", root=photos, classes=("horse", "cat"))
    split = load_split(data, "val")
    examples = list(builder.as_dataset(split="val").as_numpy_iterator())
    assert len(examples) == len(split) == 4
    for example in examples:
        position = split.ids.index(example["id"].decode())
        image = np.asarray(Image.open(split.image_paths[position]))
        np.testing.assert_array_equal(example["image"], image)
        np.testing.assert_array_equal(example["mask"][..., 0], split.mask(position))
        assert example["tags"].tolist() == np.flatnonzero(split.labels[position]).tolist()
