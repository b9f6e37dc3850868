"""Augmentation: the published distribution, and pixels like Pillow's."""

import numpy as np
import pytest
import tensorflow as tf
from data_folder import photograph
from PIL import Image

from keras_wsss.data import augment

CROP = 64


@tf.function
def geometries(count, height, width, crop):
    def one(index):
        draws = augment.uniform_draws(7, 0, index)
        geometry = augment.random_geometry(draws, [height, width], crop)
        return (*geometry, augment.valid_box(geometry, crop))

    signature = (tf.int32, tf.int32, tf.bool, tf.int32)
    return tf.map_fn(one, tf.range(count, dtype=tf.int64), fn_output_signature=signature)


def test_scale_is_uniform_and_mirrors_are_fair():
    size, _, mirror, _ = (t.numpy() for t in geometries(4000, 1000, 1500, CROP))
    scale = size[:, 0] / 1000
    assert scale.min() >= 0.5 and scale.max() <= 2.0
    np.testing.assert_allclose(np.quantile(scale, [0.01, 0.25, 0.5, 0.75, 0.99]),
                               [0.515, 0.875, 1.25, 1.625, 1.985], atol=0.04)  # fmt: skip
    np.testing.assert_allclose(size[:, 1] / size[:, 0], 1.5, atol=0.003)  # one factor for both axes
    assert abs(mirror.mean() - 0.5) < 0.03
    assert abs(np.corrcoef(mirror, scale)[0, 1]) < 0.05


@pytest.mark.parametrize("side", [20, 400])
def test_offset_is_uniform_in_padding_and_in_cropping(side):
    size, offset, _, _ = (t.numpy() for t in geometries(4000, side, side, CROP))
    room = CROP - size
    used = np.where(room == 0, 0.5, (offset + np.sign(room) * 0.5) / (room + np.sign(room)))
    assert np.all((used > 0) & (used < 1))  # never beyond the border
    for axis in (0, 1):
        counts = np.histogram(used[:, axis], 8, (0, 1))[0]
        assert np.abs(counts - 500).max() < 90
    assert abs(np.corrcoef(used.T)[0, 1]) < 0.05
    expected = np.mean(1 / (np.abs(room) + 1))  # the first and the last offset count in full
    for end in (np.zeros_like(room), room):
        assert abs(np.mean(offset == end) / expected - 1) < 0.25


def test_draws_depend_on_seed_epoch_and_index_only():
    draws = {
        key: augment.uniform_draws(*key).numpy()
        for key in [(1, 0, 5), (2, 0, 5), (1, 1, 5), (1, 0, 6)]
    }
    for key, value in draws.items():
        np.testing.assert_array_equal(value, augment.uniform_draws(*key))
        others = [other for name, other in draws.items() if name != key]
        assert all(np.all(value != other) for other in others)


def pillow_crop(image, geometry, fill, resampling):
    """The published order: rescale, mirror, pad at the offset, crop."""
    height, width = geometry.size
    resized = np.asarray(Image.fromarray(image).resize((width, height), resampling))
    if geometry.mirror:
        resized = resized[:, ::-1]
    top, left = geometry.offset
    if geometry.mirror:  # the offset is that of the image before mirroring
        left = CROP - left - width
    canvas = np.full(
        (CROP + 2 * max(height, CROP), CROP + 2 * max(width, CROP)) + image.shape[2:], fill
    )
    y, x = max(height, CROP) + top, max(width, CROP) + left
    canvas[y : y + height, x : x + width] = resized
    return canvas[max(height, CROP) :, max(width, CROP) :][:CROP, :CROP]


def between_pixels(geometry, size, axis):
    """bool [CROP]: positions that fall on the border of two source pixels."""
    position = np.arange(CROP) - geometry.offset[axis]
    found = (2 * position + 1) * size[axis] % (2 * geometry.size[axis]) == 0
    found &= geometry.size[axis] != size[axis]
    return found[::-1] if axis == 1 and geometry.mirror else found


@pytest.mark.parametrize("index", range(12))
@pytest.mark.parametrize("size", [(40, 57), (150, 97)])
def test_pixels_like_pillow(index, size):
    draws = augment.uniform_draws(3, 0, index)
    geometry = augment.random_geometry(draws, size, CROP)
    image = photograph(index, *size)
    plain = augment.Geometry(*(np.asarray(part) for part in geometry))
    crop = augment.place_image(image, geometry, CROP).numpy()
    expected = pillow_crop(image, plain, 0, Image.Resampling.BILINEAR).astype(float)
    assert np.array_equal(crop, np.rint(crop))
    assert np.abs(crop - expected).max() <= 1  # Pillow rounds between its two passes
    assert np.abs(crop - expected).mean() < 0.3

    mask = np.random.default_rng(index).integers(0, 21, size).astype(np.uint8)
    placed = augment.place_mask(tf.cast(mask, tf.int32), geometry, CROP).numpy()
    expected = pillow_crop(mask, plain, 255, Image.Resampling.NEAREST)
    # Exactly between two pixels Pillow's choice is up to rounding errors.
    rows, columns = (between_pixels(plain, size, axis) for axis in (0, 1))
    np.testing.assert_array_equal(placed[~rows][:, ~columns], expected[~rows][:, ~columns])
    y0, y1, x0, x1 = augment.valid_box(geometry, CROP).numpy()
    inside = np.zeros((CROP, CROP), bool)
    inside[y0:y1, x0:x1] = True
    np.testing.assert_array_equal(placed != 255, inside)
    assert not crop[~inside].any()


def test_one_pixel_and_extreme_scale():
    for size in [(1, 1), (1, 300), (2000, 1)]:
        geometry = augment.random_geometry(tf.zeros([8]), size, CROP, scale=(0.1, 0.1))
        image = np.full((*size, 3), 200, np.uint8)
        crop = augment.place_image(image, geometry, CROP).numpy()
        y0, y1, x0, x1 = augment.valid_box(geometry, CROP).numpy()
        assert y1 > y0 and x1 > x0
        assert np.all(crop[y0:y1, x0:x1] == 200)


def test_jitter():
    image = tf.constant(photograph(1, CROP, CROP).astype(np.float32))
    box = tf.constant([4, 60, 8, 50])
    inside = np.zeros((CROP, CROP), bool)
    inside[4:60, 8:50] = True
    image = tf.where(inside[..., None], image, 0.0)
    draws = np.array([0.9, 0.2, 0.1, 0.8], np.float32)
    assert augment.jitter(image, box, draws) is image
    bright = augment.jitter(image, box, draws, brightness=0.5).numpy()
    expected = np.clip(np.rint(image.numpy() * (1 + 0.5 * 0.8)), 0, 255)
    assert np.abs(bright - expected).max() <= 1
    grey = augment.jitter(image, box, np.zeros(4, np.float32), saturation=1.0).numpy()
    assert np.abs(grey - grey[..., :1]).max() == 0
    turned = augment.jitter(image, box, draws, hue=0.5).numpy()
    assert np.abs(turned - image).max() > 20
    np.testing.assert_allclose(turned.max(-1), image.numpy().max(-1), atol=1)  # value is kept
    flat = augment.jitter(image, box, np.zeros(4, np.float32), contrast=1.0).numpy()[inside]
    assert flat.max() - flat.min() == 0
    strong = augment.jitter(image, box, draws, 0.4, 0.4, 0.4, 0.1).numpy()
    for result in (bright, grey, turned, strong):
        assert not result[~inside].any()
        assert np.array_equal(result, np.rint(result))
        assert result.min() >= 0 and result.max() <= 255


def test_warped_image_fills_the_crop_whatever_its_shape():
    image = photograph(3, 40, 90)
    geometry = augment.random_geometry(
        augment.uniform_draws(1, 0, 0), [40, 90], CROP, (0.5, 2.0), flip=0.0, warp=True
    )
    np.testing.assert_array_equal(augment.valid_box(geometry, CROP), [0, CROP, 0, CROP])
    crop = augment.place_image(image, geometry, CROP).numpy()
    resized = Image.fromarray(image).resize((CROP, CROP), Image.Resampling.BILINEAR)
    assert np.abs(crop - np.asarray(resized, np.float32)).max() <= 1
    mirrored = augment.random_geometry(
        augment.uniform_draws(1, 0, 0), [40, 90], CROP, flip=1.0, warp=True
    )
    np.testing.assert_array_equal(augment.place_image(image, mirrored, CROP), crop[:, ::-1])
