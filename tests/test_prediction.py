"""Label maps of whatever a user has: arrays, files, folders; and what is said of anything else."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from data_folder import photograph
from PIL import Image

from keras_wsss.data.decode import decode_image
from keras_wsss.errors import ConfigError, DataError
from keras_wsss.export.network import network_of
from keras_wsss.methods import new_model
from keras_wsss.ops.resize import resize
from keras_wsss.prediction import Predictor, label_map, segment, without_absent


def built(*overrides):
    model = new_model(tiny_config(*overrides, config="shapes_supervised"), 6)
    model.build()
    return model


@pytest.fixture(scope="module")
def model():
    return built()


@pytest.fixture(scope="module")
def expected(model):
    """What the model's decoder says of one image: the class of the largest logit."""
    predictor = Predictor(model)

    def of(image):
        (logits,) = predictor.logits(np.asarray(image, np.float32)[None])
        return np.argmax(logits, axis=-1)

    return of


@pytest.fixture
def folder(tmp_path):
    """Three photographs of different sizes and kinds, and what is none."""
    for number, (name, size) in enumerate(
        {"b.png": (80, 70), "a.bmp": (66, 90), "C.PNG": (100, 64)}.items()
    ):
        Image.fromarray(photograph(number, *size)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "more").mkdir()
    Image.fromarray(photograph(5)).save(tmp_path / "more" / "d.png")
    return tmp_path


@pytest.mark.parametrize("size", [(9, 12), (20, 31)])
def test_a_label_map_is_that_of_all_classes_at_once(size):
    logits = np.random.default_rng(0).integers(0, 9, (2, 9, 12, 5)).astype(np.float32)  # with ties
    expected = np.argmax(resize(logits, size), axis=-1)
    np.testing.assert_array_equal(label_map(tf.constant(logits), size), expected)


# ---- what is taken ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.uint8, np.float32, tf.constant, Image.fromarray])
def test_one_image(model, expected, kind):
    image = photograph(0, 75, 101)
    given = kind(image) if callable(kind) and not isinstance(kind, type) else image.astype(kind)
    labels = segment(model, given)
    assert labels.shape == (75, 101) and labels.dtype == np.int32
    np.testing.assert_array_equal(labels, expected(image))
    assert len(np.unique(labels)) > 1  # else constants are compared


def test_an_array_of_several(model, expected):
    images = np.stack([photograph(number, 70, 90) for number in range(3)])
    labels = segment(model, images)
    assert labels.shape == (3, 70, 90) and labels.dtype == np.int32
    for ours, image in zip(labels, images, strict=True):
        np.testing.assert_array_equal(ours, expected(image))
    assert segment(model, images[:0]).shape == (0, 70, 90)


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_file(model, expected, folder, kind):
    labels = segment(model, kind(folder / "b.png"))
    np.testing.assert_array_equal(labels, expected(photograph(0, 80, 70)))


def test_a_file_is_seen_as_it_is_displayed(model, expected, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph(0, 70, 110)).save(tmp_path / "turned.jpg", exif=exif)
    shown = decode_image((tmp_path / "turned.jpg").read_bytes()).numpy()
    labels = segment(model, tmp_path / "turned.jpg")
    assert labels.shape == (110, 70)
    np.testing.assert_array_equal(labels, expected(shown))


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list(model, expected, folder, kind):
    image = photograph(3, 64, 77)
    labels = segment(model, kind([image, folder / "a.bmp", str(folder / "b.png")]))
    assert isinstance(labels, list)
    assert [each.shape for each in labels] == [(64, 77), (66, 90), (80, 70)]
    np.testing.assert_array_equal(labels[0], expected(image))
    np.testing.assert_array_equal(labels[1], expected(photograph(1, 66, 90)))
    assert segment(model, []) == []


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_folder(model, expected, folder, kind):
    labels = segment(model, kind(folder))
    assert list(labels) == ["C.PNG", "a.bmp", "b.png"]  # not what lies in folders of it
    np.testing.assert_array_equal(labels["C.PNG"], expected(photograph(2, 100, 64)))
    assert {name: each.shape for name, each in labels.items()} == {
        "C.PNG": (100, 64),
        "a.bmp": (66, 90),
        "b.png": (80, 70),
    }


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 20)])
def test_small_and_narrow_images_keep_their_size(model, size):
    labels = segment(model, photograph(0, *size))
    assert labels.shape == size and 0 <= labels.min() <= labels.max() <= 6


def test_a_network_that_sees_squares_answers_at_the_size_of_the_image():
    model = built("data.warp=true")
    assert model.square == 128
    assert segment(model, photograph(0, 70, 200)).shape == (70, 200)


def test_scales_and_flip_are_those_of_the_predictor(model):
    image = photograph(0, 96, 128)
    views = {"scales": (0.75, 1.0, 1.5), "flip": True}
    labels = segment(model, image, **views)
    wanted = Predictor(model, **views)(image[None].astype(np.float32))[0]
    np.testing.assert_array_equal(labels, wanted)
    np.testing.assert_array_equal(model.segment(image, **views), wanted)
    # A mirrored image has the mirrored answer where both are asked.
    mirrored = segment(model, image[:, ::-1], flip=True)[:, ::-1]
    assert np.mean(mirrored == segment(model, image, flip=True)) > 0.999


def test_the_network_is_traced_once(tmp_path):
    """Tracing takes seconds; the traced function must neither be saved nor stay behind weights."""
    model, image = built(), photograph(0, 70, 80)
    before = segment(model, image)
    segment(model, photograph(1, 90, 75))
    (predictor,) = vars(model)["_predictors"].values()
    assert predictor.answer.experimental_get_tracing_count() == 1
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        keras.saving.load_model(tmp_path / "model.keras").segment(image), before
    )
    shift = np.zeros(7, np.float32)
    shift[5] = 1e3
    model.decoder.classify.bias.assign(shift)
    assert np.all(segment(model, image) == 5)


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "shape"),
    [
        (np.zeros((70, 80)), r"\[70, 80\]"),
        (np.zeros((70, 80, 4)), r"\[70, 80, 4\]"),
        (np.zeros((2, 70, 80, 1)), r"\[70, 80, 1\]"),
        (np.zeros((1, 2, 70, 80, 3)), r"\[1, 2, 70, 80, 3\]"),
        ([np.zeros((70, 80, 3)), np.zeros((70, 80))], r"\[70, 80\]"),
        ([np.zeros((1, 70, 80, 3))], r"\[1, 70, 80, 3\]"),
        (7, r"\[\]"),
    ],
)
def test_what_is_no_rgb_image_is_one_message(model, image, shape):
    wanted = rf"an image is an array \[H,W,3\], RGB 0..255, not {shape}"
    with pytest.raises(DataError, match=wanted) as error:
        segment(model, image)
    assert "\n" not in str(error.value)


RANGE = np.linspace(0, 1, 70 * 80 * 3).reshape(70, 80, 3)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (RANGE, "goes from 0 to 1: bring it to 0..255"),
        (2 * RANGE - 1, "goes from -1 to 1: bring it to 0..255"),
        (np.float32(RANGE), "goes from 0 to 1"),
        (255 / np.maximum(RANGE, 0.5) * np.where(RANGE > 0.5, np.nan, 1), "goes from nan to nan"),
        (RANGE > 0.5, "uint8 or float, not bool"),
        (np.uint16(RANGE * 65535), "uint8 or float, not uint16"),
    ],
)
def test_images_of_another_range_are_refused(model, image, says):
    """The network would see them as black."""
    for given in (image, image[None], [image]):
        with pytest.raises(DataError, match=says):
            segment(model, given)


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_an_image_of_one_colour_may_be_black(model, value):
    assert segment(model, np.full((70, 80, 3), value, np.float32)).shape == (70, 80)


@pytest.mark.parametrize(
    ("views", "says"),
    [
        ({"scales": []}, r"scales: value \[\]; allowed: at least 1 entry"),
        ({"scales": [1, 0]}, "scales.1: value 0; allowed: more than 0"),
        ({"scales": [float("nan")]}, "scales.0: value nan; allowed: a finite number"),
        ({"scales": 1.5}, "scales: value 1.5; allowed: a list"),
        ({"scales": np.array([-1.0])}, "scales.0: value -1.0; allowed: more than 0"),
        ({"flip": 1}, "flip: value 1; allowed: true or false"),
    ],
)
def test_views_that_cannot_be_are_one_message(model, views, says):
    for call in (lambda: segment(model, photograph(0), **views), lambda: Predictor(model, **views)):
        with pytest.raises(ConfigError, match=says) as error:
            call()
        assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_named(model, folder):
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.png").write_bytes((folder / "b.png").read_bytes()[:200])
    for name in ("nowhere.jpg", "notes.txt", "empty.jpg", "cut.png"):
        what = "no such file" if name == "nowhere.jpg" else "cannot be read as an image"
        for given in (folder / name, [str(folder / name)]):
            with pytest.raises(DataError, match=f"{name}: {what}") as error:
                segment(model, given)
            assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"(cut.png|empty.jpg): cannot be read as an image"):
        segment(model, folder)
    with pytest.raises(DataError, match="more: cannot be read"):
        segment(model, [folder / "more"])


def test_a_folder_without_an_image(model, tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"holds no image \(\.jpg, \.jpeg, \.png"):
        segment(model, tmp_path)


# ---- the tag cut -----------------------------------------------------------------------------


def test_the_tag_cut_is_that_of_numpy():
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(3, 5, 7, 4)).astype(np.float32)
    image_logits = np.float32([[0.4, -0.4, 2], [-1, -2, -3], [0, 1, -9]])
    expected = logits.copy()
    for image, row in enumerate(image_logits):
        for number, logit in enumerate(row, start=1):
            if 1 / (1 + np.exp(-float(logit))) < 0.5:
                expected[image, ..., number] = -1e4
    ours = without_absent(tf.constant(logits), tf.constant(image_logits), 0.5).numpy()
    np.testing.assert_array_equal(ours, expected)
    assert set(np.argmax(ours[1], axis=-1).ravel()) == {0}  # background stays


def test_a_class_that_the_classifier_does_not_see_is_in_no_mask(model):
    image = photograph(0, 75, 101)
    batch = np.float32(image)[None]
    plain = Predictor(model)
    image_logits = plain.answer(batch)["image_logits"].numpy()[0]
    here = set(np.unique(plain(batch))) - {0}
    cut = float(np.median(1 / (1 + np.exp(-image_logits))))
    absent = [c + 1 for c, logit in enumerate(image_logits) if 1 / (1 + np.exp(-logit)) < cut]
    assert here & set(absent) and here - set(absent)  # else nothing is tried
    logits = plain.logits(batch).numpy()[0]
    logits[..., absent] = -np.inf
    cutting = built(f"heads.tag_cut={cut}")
    cutting.set_weights(model.get_weights())
    np.testing.assert_array_equal(segment(cutting, image), np.argmax(logits, axis=-1))
    exported = network_of(cutting)(tf.constant(batch))["class_map"][0]
    np.testing.assert_array_equal(exported, segment(cutting, image))
    # Where the tags are known, they are asked.
    np.testing.assert_array_equal(Predictor(cutting, tag_cut=0)(batch), plain(batch))
