"""Large photographs are seen at one size: in training, evaluation, predictions and exports."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from data_folder import photograph
from PIL import Image

import keras_wsss
from keras_wsss.config import load_config
from keras_wsss.config.data import CropConfig
from keras_wsss.data import Split, training_dataset
from keras_wsss.data.checks import sizes_that_differ
from keras_wsss.errors import ConfigError
from keras_wsss.export.metadata import limits_of
from keras_wsss.inference import evaluate
from keras_wsss.inference.evaluation import _row
from keras_wsss.inference.scores import Seen
from keras_wsss.methods import new_model
from keras_wsss.prediction import Predictor

SIZE = 128  # that the network sees
OVERRIDES = ("data.working_size=128", "data.crop_size=96")


def split_of(images, masks=None):
    ids = tuple(f"image_{number}" for number in range(len(images)))
    return Split(
        name="list",
        ids=ids,
        class_names=("cat", "dog"),
        labels=np.eye(2, dtype=np.float32)[[n % 2 for n in range(len(images))]],
        image_paths=ids,
        mask_paths=ids if masks else None,
        read_image=lambda position: images[position],
        read_mask=(lambda position: masks[position]) if masks else None,
    )


def shrunk_by_pillow(image):
    """The longer side at 128; Pillow's bilinear filter smooths as it shrinks."""
    height, width = image.shape[:2]
    factor = min(1, SIZE / max(height, width))
    size = (round(width * factor), round(height * factor))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


@pytest.fixture(scope="module")
def photographs():
    """A large one, a tall one, one that fits, and a small one."""
    sizes = ((240, 400), (600, 300), (96, 128), (70, 60))
    return [photograph(number, *size) for number, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def model():
    model = new_model(tiny_config(*OVERRIDES, config="shapes_supervised"), 2)
    model.build()
    return model


def test_crops_are_those_of_smaller_photographs(photographs):
    data = tiny_config(*OVERRIDES).data
    masks = [np.uint8(image[..., 0] > 128) for image in photographs]
    small = [shrunk_by_pillow(image) for image in photographs]
    small_masks = [
        np.asarray(Image.fromarray(mask).resize(image.shape[1::-1], Image.Resampling.NEAREST))
        for mask, image in zip(masks, small, strict=True)
    ]
    options = {"seed": 3, "steps": 4, "batch_size": 2, "masks": True}
    own = training_dataset(split_of(photographs, masks), data, **options)
    plain = data.model_copy(update={"working_size": None})
    wanted = training_dataset(split_of(small, small_masks), plain, **options)
    for one, other in zip(own, wanted, strict=True):
        np.testing.assert_array_equal(one["valid_box"], other["valid_box"])
        np.testing.assert_allclose(one["image"], other["image"], atol=2)  # rounded twice
        assert np.mean(one["mask"] == other["mask"]) > 0.97


def test_masks_have_the_size_of_the_photograph(model, photographs):
    large = photographs[0]
    assert model.segment(large).shape == large.shape[:2]
    # What the network says of the small photograph, enlarged.
    plain = new_model(tiny_config(config="shapes_supervised"), 2)
    plain.build()
    plain.set_weights(model.get_weights())
    assert plain.working_size is None
    logits = Predictor(plain).logits(np.float32(shrunk_by_pillow(large))[None])
    wanted = tf.argmax(tf.image.resize(logits, large.shape[:2]), axis=-1)[0]
    assert np.mean(model.segment(large) == wanted) > 0.99
    for image in photographs[2:]:  # nothing changes for what fits
        np.testing.assert_array_equal(model.segment(image), plain.segment(image))


def test_scores_are_those_of_the_masks_that_users_get(model, photographs):
    masks = [model.segment(image) for image in photographs]
    scores = evaluate(model, split_of(photographs, masks), tags=False)
    found = {value for value in scores["decoder"]["per_class"].values() if value is not None}
    assert found == {100.0}


def test_models_remember_it(model, tmp_path):
    model.save_to_preset(tmp_path / "preset")
    model.save(tmp_path / "model.keras")
    for copy in ("preset", "model.keras"):
        assert keras_wsss.load(tmp_path / copy).working_size == SIZE
    assert keras.models.clone_model(model).working_size == SIZE


def test_an_export_takes_it_over():
    config = tiny_config(*OVERRIDES)
    assert limits_of(config).working_size == SIZE
    assert limits_of(config, working_size=256).working_size == 256
    assert limits_of(tiny_config()).working_size == 512


def test_squares_have_a_size_already():
    with pytest.raises(ConfigError, match="data.working_size: value 448; allowed: null"):
        load_config("animals5_bmp", ["data.root=x", "data.working_size=448", "data.warp=true"])


def test_a_contact_sheet_does_not_hold_whole_photographs():
    size = (1, 2000, 1100)
    maps = {name: tf.zeros(size, tf.int32) for name in ("truth", "prediction", "label")}
    row = _row(Seen(tf.zeros([*size, 3]), tf.ones([1, 2]), cam=tf.zeros([1, 40, 22, 2]), **maps))
    assert [column.shape[:2] for column in row] == [(667, 367)] * 5


@pytest.mark.parametrize(
    ("sides", "options", "says"),
    [
        ([300] * 9, {}, None),
        ([600] * 9, {}, "are up to 600 pixels large, of which a crop of 96 shows little"),
        ([100, 450] * 9, {}, "are 100 to 450 pixels large, so crops show things at very different"),
        ([300] * 20 + [900], {}, None),  # a single one
        ([600] * 9, {"working_size": 128}, None),
        ([600] * 9, {"warp": True}, None),
    ],
)
def test_photographs_that_need_a_working_size_are_told(tmp_path, sides, options, says):
    paths = []
    for number, side in enumerate(sides):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.new("L", (side, side // 2)).save(paths[-1])
    split = replace(split_of(paths), image_paths=tuple(paths), read_image=None)
    advice = sizes_that_differ(split, CropConfig(crop_size=96, **options))
    assert advice is None if says is None else (says in advice and "working_size=192" in advice)
