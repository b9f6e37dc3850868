"""I2CRC's label rules: its reference values 7 to 9, and maps."""

import numpy as np
import pytest

from keras_wsss.ops.saliency_labels import (
    attention_map,
    object_guided_label,
    saliency_guided_label,
)

CLASSES = 9


def tags_of(*classes):
    return np.isin(np.arange(1, CLASSES + 1), classes).astype(np.float32)


def label_of_pixel(saliency, *cams):
    """Label of one pixel with the given saliency and maps of the classes 1, 2.

    The rest of its image is one object of class 1; one pixel is nothing and one has full maps, so
    that stretching the maps to [0,1] leaves them as they are.
    """
    attention = np.zeros((3, 40, CLASSES), np.uint8)
    attention[2, :, 0] = 255
    attention[0, 1, : len(cams)] = 255
    attention[0, 0, : len(cams)] = np.round(255 * np.array(cams))
    salient = np.zeros((3, 40), np.uint8)
    salient[2] = 255
    salient[0, 0] = saliency
    return saliency_guided_label(attention, salient, tags_of(*range(1, len(cams) + 1)))[0, 0]


@pytest.mark.parametrize(
    ("saliency", "cams", "label"),
    [
        (255, [0.8], 1),
        (0, [0.0], 0),
        (0, [0.6], 255),
        (0, [0.95], 255),
        (255, [0.2], 255),
        (100, [0.4], 255),
        (20, [0.4], 0),
        (255, [0.7, 0.75], 2),
        (255, [0.95, 0.92], 255),
        (160, [0.35], 255),
        (170, [0.35], 1),
        (31, [0.0], 0),
        (32, [0.0], 255),
        # Not on the list: the least score that counts.
        (255, [0.31], 1),
        (255, [0.29], 255),
    ],
)
def test_pixels_of_the_check_list(saliency, cams, label):
    """Reference value 7."""
    assert label_of_pixel(saliency, *cams) == label


@pytest.mark.parametrize(("pixels", "kept"), [(99, False), (100, True)])
def test_small_objects_teach_nothing(pixels, kept):
    """Reference value 8, for both rules."""
    salient = np.zeros((100, 100), np.uint8)
    salient.flat[:pixels] = 255
    attention = np.zeros((100, 100, CLASSES), np.uint8)
    attention[..., 4] = salient
    expected = np.where(salient > 0, 5, 0) if kept else np.full((100, 100), 255)
    label = saliency_guided_label(attention, salient, tags_of(5))
    np.testing.assert_array_equal(label, expected)
    prediction = np.where(salient > 0, 5, 0)
    refined = object_guided_label(prediction, np.zeros((100, 100), np.uint8), tags_of(5))
    np.testing.assert_array_equal(refined, expected)
    assert label.dtype == refined.dtype == np.uint8


@pytest.mark.parametrize(
    ("tags", "present", "pairs"),
    [
        ([5], [5], {(0, 5): 0, (7, 5): 255, (5, 0): 5}),
        ([5, 9], [5, 9], {(0, 5): 5, (0, 255): 255, (5, 0): 5, (7, 5): 255}),
        ([5, 9], [5], {(0, 0): 255, (5, 0): 5, (5, 9): 5, (0, 255): 255}),
        ([5, 9], [5], {(0, 9): 9, (0, 0): 0}),  # the old label brings the lost class back
    ],
)
def test_object_guided_refinement_of_the_check_list(tags, present, pairs):
    """Reference value 9: (prediction, label) -> refined label."""
    pixels = list(pairs)
    prediction = [p for p, _ in pixels] + present
    label = [old for _, old in pixels] + [0] * len(present)
    refined = object_guided_label([prediction], np.array([label]), tags_of(*tags))[0]
    assert list(refined[: len(pixels)]) == list(pairs.values())


def test_wrong_class_does_not_count_as_the_tag_that_is_lost():
    prediction = np.array([[5, 9, 0, 0]])
    refined = object_guided_label(prediction, np.zeros((1, 4), np.uint8), tags_of(5, 7))
    np.testing.assert_array_equal(refined, [[5, 255, 255, 255]])


def test_absent_classes_and_images_without_tags():
    generator = np.random.default_rng(0)
    attention = generator.integers(0, 256, (8, 9, CLASSES), np.uint8)
    salient = generator.integers(0, 256, (8, 9), np.uint8)
    label = saliency_guided_label(attention, salient, tags_of(3, 4))
    assert set(np.unique(label)) <= {0, 3, 4, 255}
    nothing = saliency_guided_label(attention, salient, tags_of())
    np.testing.assert_array_equal(nothing, 255)
    np.testing.assert_array_equal(object_guided_label(label, label, tags_of()), 255)


def test_attention_map_against_its_formula():
    generator = np.random.default_rng(1)
    cam = generator.normal(size=(5, 7, 3)).astype(np.float32)
    cam[..., 2] = -1.0  # no evidence at all
    levels = attention_map(cam, (5, 7))
    positive = np.maximum(cam, 0)
    expected = positive / (positive.max((0, 1)) + 1e-8) * 255
    np.testing.assert_array_equal(levels, np.trunc(expected).astype(np.uint8))
    assert attention_map(cam, (31, 20)).shape == (31, 20, 3)
    assert not attention_map(cam, (31, 20))[..., 2].any()
    flat = attention_map(np.ones((3, 3, 1)), (10, 4))
    assert flat.min() == flat.max() == 255 - 0  # 1 / (1 + 1e-8) is 1 in float32


def test_cubic_interpolation_reproduces_a_ramp():
    """Cubic convolution is exact for straight lines inside; the border repeats."""
    ramp = np.arange(0, 240, 20, dtype=np.float32)
    cam = np.tile(np.append(ramp, 255)[None, :, None], (4, 1, 1))
    wide = attention_map(cam, (4, 39))[0, :, 0].astype(float)
    place = (np.arange(39) + 0.5) / 3 - 0.5
    np.testing.assert_allclose(wide[6:28], 20 * place[6:28], atol=0.51)
