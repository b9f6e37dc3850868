"""The generated data set."""

import numpy as np
import pytest

from keras_wsss.config.data import ShapesDataConfig
from keras_wsss.data import evaluation_dataset, load_split, shapes, training_dataset
from keras_wsss.errors import DataError

SIZE = 64


def config(**settings):
    sizes = {"train_images": 40, "val_images": 20, "image_size": SIZE}
    return ShapesDataConfig(kind="shapes", crop_size=32, shapes=sizes | settings)


def test_images_depend_on_seed_part_and_index_only():
    image, mask = shapes.draw_scene(0, "train", 3, SIZE)
    again, mask_again = shapes.draw_scene(0, "train", 3, SIZE)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(mask, mask_again)
    assert image.shape == (SIZE, SIZE, 3) and image.dtype == mask.dtype == np.uint8
    for other in [(1, "train", 3), (0, "val", 3), (0, "train", 4)]:
        assert not np.array_equal(image, shapes.draw_scene(*other, SIZE)[0])


def test_tags_are_exactly_the_classes_of_the_masks():
    split = load_split(config(), "train")
    assert split.class_names == ("star", "heart", "moon", "ring", "cross", "bolt")
    for position, labels in enumerate(split.labels):
        present = set(np.unique(split.mask(position))) - {0}
        assert present == set(np.flatnonzero(labels) + 1)
    assert split.labels.sum(0).min() >= 5  # all classes occur
    assert 1 <= split.labels.sum(1).min() and split.labels.sum(1).max() == 3
    foreground = [np.mean(split.mask(position) > 0) for position in range(len(split))]
    assert 0.15 < np.mean(foreground) < 0.35


def test_only_the_head_tells_the_class():
    """The same animal with another head: less than half of it changes."""
    animals = {}
    for name in shapes.CLASSES:
        rng = np.random.default_rng(5)
        animals[name] = shapes._animal(rng, name, 0.3, 64)
    drawn = animals["star"][..., 3] > 0.5
    for name in shapes.CLASSES[1:]:
        changed = np.abs(animals[name] - animals["star"]).max(-1) > 0.02
        assert 0.03 < changed.mean() / drawn.mean() < 0.5


def test_animal_differs_from_the_background_around_it():
    distances = []
    for index in range(20):
        image, mask = shapes.draw_scene(0, "train", index, SIZE)
        inside, outside = image[mask > 0].mean(0), image[mask == 0].mean(0)
        distances.append(np.linalg.norm(inside - outside))
    assert np.median(distances) > 40


def test_classes_can_be_chosen():
    split = load_split(config(classes=2), "val")
    assert split.class_names == ("star", "heart") and len(split) == 20
    chosen = ShapesDataConfig(kind="shapes", classes=("arrow", "clover"))
    assert load_split(chosen, "val").class_names == ("arrow", "clover")
    with pytest.raises(DataError, match="9 is more than the 8 there are"):
        load_split(config(classes=9), "train")
    with pytest.raises(DataError, match="'hart' is no class .*mean 'heart'"):
        load_split(ShapesDataConfig(kind="shapes", classes=("hart",)), "train")


def test_batches():
    split = load_split(config(), "train", require_masks=True)
    batches = training_dataset(split, config(), seed=1, steps=2, batch_size=4, masks=True)
    for batch in batches:
        assert batch["image"].shape == (4, 32, 32, 3)
        for mask, labels in zip(batch["mask"].numpy(), batch["labels"].numpy(), strict=True):
            assert set(np.unique(mask)) - {0, 255} <= set(np.flatnonzero(labels) + 1)
    first = next(iter(evaluation_dataset(load_split(config(), "val"))))
    np.testing.assert_array_equal(first["image"][0], shapes.draw_scene(0, "val", 0, SIZE)[0])


def test_saliency_maps_are_a_detectors_not_the_masks():
    split = load_split(config(image_size=128), "train", require_saliency=True)
    overlap = []
    for position in range(20):
        map_, animal = split.saliency(position), split.mask(position) > 0
        assert map_.shape == animal.shape and map_.dtype == np.uint8
        np.testing.assert_array_equal(map_, split.saliency(position))
        overlap.append([np.sum(animal & (map_ > 127)), np.sum(animal | (map_ > 127))])
    common, union = np.sum(overlap, axis=0)
    assert 0.6 < common / union < 0.95
