"""Batches: their content, and that they depend on seed and step alone."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from data_folder import write_voc

from keras_wsss.config import DataConfig
from keras_wsss.data import (
    augment,
    evaluation_dataset,
    load_split,
    step_ids,
    training_dataset,
)
from keras_wsss.errors import DataError

BATCH = 4


@pytest.fixture
def folder(tmp_path):
    return write_voc(tmp_path, images=7)


def config(root, **settings):
    return DataConfig(kind="voc", root=root, train_list="train", crop_size=32, **settings)


def batches(split, data, steps=6, start_step=0, seed=1, threads=None, **options):
    dataset = training_dataset(
        split, data, seed=seed, steps=steps, start_step=start_step, batch_size=BATCH, **options
    )
    if threads:
        settings = tf.data.Options()
        settings.threading.private_threadpool_size = threads
        dataset = dataset.with_options(settings)
    assert len(dataset) == steps - start_step
    return list(dataset.as_numpy_iterator())


def assert_same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def stages_of(dataset):
    """Name of each stage of a pipeline with the number of its threads, or of what it holds."""
    for name in ("_num_parallel_calls", "_buffer_size"):
        if hasattr(dataset, name):
            yield type(dataset).__name__.strip("_"), int(getattr(dataset, name))
    for source in dataset._inputs():
        yield from stages_of(source)


def test_nothing_tunes_itself(folder):
    """A thread that tunes is waited for when an iterator goes, up to a minute."""
    split = load_split(config(folder), "train")
    for dataset in (
        training_dataset(split, config(folder), seed=1, steps=6, batch_size=BATCH),
        split.batches(crop=32, batch_size=2),
        evaluation_dataset(split, masks=False),
    ):
        assert dataset.options().autotune.enabled is False
        stages = list(stages_of(dataset))
        assert {"ParallelMapDataset", "PrefetchDataset"} <= {kind for kind, _ in stages}
        assert tf.data.AUTOTUNE not in [number for _, number in stages]


def test_batch(folder):
    split = load_split(config(folder), "train")
    batch = batches(split, config(folder), steps=1)[0]
    assert {name: (value.shape, value.dtype.name) for name, value in batch.items()} == {
        "image": ((BATCH, 32, 32, 3), "float32"),
        "labels": ((BATCH, 3), "float32"),
        "valid_box": ((BATCH, 4), "int32"),
        "index": ((BATCH,), "int64"),
    }
    np.testing.assert_array_equal(batch["labels"], split.labels[batch["index"]])
    assert np.array_equal(batch["image"], np.rint(batch["image"]))


def test_same_batches_again_later_and_with_any_number_of_threads(folder):
    data = config(folder, jitter={"brightness": 0.3, "hue": 0.1})
    split = load_split(data, "train", require_masks=True)
    whole = batches(split, data, masks=True)
    assert_same(whole, batches(split, data, masks=True, threads=1))
    assert_same(whole, batches(split, data, masks=True, threads=5))
    for start in (1, 2, 5):  # within an epoch, across its border, in a later one
        assert_same(whole[start:], batches(split, data, start_step=start, masks=True))
    assert_same(whole[:2], batches(split, data, steps=2, masks=True))
    other = batches(split, data, seed=2, masks=True)
    assert not np.array_equal(whole[0]["image"], other[0]["image"])


def test_every_epoch_is_another_permutation(folder):
    split = load_split(config(folder), "train")
    found = batches(split, config(folder), steps=7)
    index = np.concatenate([batch["index"] for batch in found]).reshape(4, 7)
    assert all(sorted(epoch) == list(range(7)) for epoch in index)
    assert len({tuple(epoch) for epoch in index}) == 4
    for step, batch in enumerate(found):
        assert step_ids(split, 1, step, BATCH) == [split.ids[i] for i in batch["index"]]
    first = np.concatenate([batch["image"] for batch in found])[np.flatnonzero(index == 0)]
    assert not np.array_equal(first[0], first[1])  # the same image, augmented anew


def test_masks_are_never_opened_by_training(folder):
    before = batches(load_split(config(folder), "train"), config(folder))
    shutil.rmtree(folder / "SegmentationClass")
    split = load_split(config(folder), "train")
    assert split.mask_paths is None
    assert_same(before, batches(split, config(folder)))
    with pytest.raises(DataError, match="no masks"):
        batches(split, config(folder), masks=True)


def test_mask_follows_the_image(folder):
    data = config(folder)
    split = load_split(data, "train", require_masks=True)
    batch = batches(split, data, steps=1, masks=True)[0]
    assert batch["mask"].dtype == np.int32
    for row, index in enumerate(batch["index"]):
        raw = split.mask(index)
        draws = augment.uniform_draws(1, 0, index)
        geometry = augment.random_geometry(draws, raw.shape, 32)
        np.testing.assert_array_equal(batch["mask"][row], augment.place_mask(raw, geometry, 32))
        present = set(np.unique(batch["mask"][row])) - {0, 255}
        assert present <= set(np.flatnonzero(batch["labels"][row]) + 1)


def test_saliency(folder):
    shutil.copytree(folder / "SegmentationClass", folder / "Saliency")
    split = load_split(config(folder), "train", require_saliency=True)
    batch = batches(split, config(folder), steps=1, saliency=True)[0]
    assert batch["saliency"].shape == (BATCH, 32, 32, 1)
    assert 0 < batch["saliency"].max() <= 1


def test_evaluation(folder):
    split = load_split(config(folder), "val")
    found = list(evaluation_dataset(split).as_numpy_iterator())
    assert [int(batch["index"][0]) for batch in found] == list(range(7))
    assert found[2]["image"].shape == (1, 42, 54, 3)
    assert found[2]["image"].dtype == np.float32
    expected = np.zeros((42, 54), int)
    expected[:, :27] = 3
    expected[0] = 255
    np.testing.assert_array_equal(found[2]["mask"][0], expected)
    assert found[2]["mask"].dtype == np.int32
    assert "mask" not in next(iter(evaluation_dataset(split, masks=False)))


def test_batches_reach_two_replicas_in_halves(folder):
    split = load_split(config(folder), "train")
    dataset = training_dataset(split, config(folder), seed=1, steps=2, batch_size=BATCH)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    shared = list(strategy.experimental_distribute_dataset(dataset))
    assert_same(
        [{k: v.numpy() for k, v in batch.items()} for batch in shared],
        batches(split, config(folder), steps=2),
    )


def test_take(folder):
    split = load_split(config(folder), "val").take(2)
    assert len(split) == 2 and split.labels.shape == (2, 3)
    assert len(list(evaluation_dataset(split))) == 2
