"""From a split to batches, in tf.data.

The element at position p of a training (p = step * batch size + place in the batch) depends on
(seed, p) alone: the epoch's permutation and the image's augmentation are stateless. So a training
that goes on at a later step sees what it would have seen, whatever the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from keras_wsss.data import augment
from keras_wsss.data.decode import decode_image
from keras_wsss.data.sizes import shrunk
from keras_wsss.data.split import Split
from keras_wsss.errors import DataError

if TYPE_CHECKING:
    from keras_wsss.config.data import CropConfig

WORKERS = os.cpu_count() or 1  # images that are read at once
AHEAD = 2  # batches


def training_dataset(
    split: Split,
    data: CropConfig,
    *,
    seed: int,
    steps: int,
    batch_size: int,
    start_step: int = 0,
    masks: bool = False,
    saliency: bool = False,
) -> Any:
    """Augmented batches of the steps ``start_step`` .. ``steps`` - 1.

    Args:
        split: images and tags.
        data: how crops are made; a ``data`` section says that among other things.
        seed: same seed, same batches.
        steps: number of steps of the whole training.
        batch_size: images of a batch.
        start_step: the first step to deliver.
        masks: deliver masks. Otherwise no mask is ever opened.
        saliency: deliver saliency maps.

    Returns:
        tf.data.Dataset of dicts: ``image`` float32 [B, S, S, 3] RGB, whole numbers 0..255;
        ``labels`` float32 [B, C]; ``valid_box`` int32 [B, 4] (y0, y1, x0, x1), half-open, the part
        that is no padding; ``index`` int64 [B], position in the split; with ``masks`` also
        ``mask`` int32 [B, S, S], 255 = ignore or padding; with ``saliency`` also ``saliency``
        float32 [B, S, S, 1], 0..1.

    Raises:
        DataError: masks or saliency maps are asked for and the split has none.

    Example:

    >>> train, val = wsss.data.load("my_set")
    >>> data = wsss.load_config("photos", ["data.root=my_set"]).data
    >>> batches = training_dataset(train, data, seed=1, steps=10, batch_size=2)
    >>> next(iter(batches))["image"].shape
    TensorShape([2, 224, 224, 3])
    """
    example = _augmented(split, data, seed, masks, saliency)
    first, last = start_step * batch_size, steps * batch_size
    epochs = tf.data.Dataset.range(first // len(split), -(-last // len(split)))
    dataset = epochs.flat_map(lambda epoch: _epoch(seed, epoch, len(split)))
    dataset = dataset.skip(first % len(split)).take(last - first)
    dataset = dataset.map(example, WORKERS, deterministic=True)
    return _batched(dataset, batch_size, steps - start_step)


def epoch_dataset(
    split: Split,
    crops: CropConfig,
    *,
    seed: int,
    batch_size: int,
    masks: bool = False,
    saliency: bool = False,
) -> Any:
    """One epoch of augmented batches, another one each time it is iterated over, as Keras does.

    Args:
        split, seed, batch_size, masks, saliency: as of :func:`training_dataset`.
        crops: how crops are made.

    Returns:
        tf.data.Dataset of the same dicts; images that do not fill a batch are left out.

    Raises:
        DataError: masks or saliency maps are asked for and the split has none, or it has fewer
            images than a batch.
    """
    if len(split) < batch_size:
        raise DataError(
            f"list {split.name}: has {len(split)} images, fewer than a batch of {batch_size}; use "
            "a smaller batch_size"
        )
    example = _augmented(split, crops, seed, masks, saliency)
    epochs = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(1)
    dataset = epochs.flat_map(lambda epoch: _epoch(seed, epoch, len(split)))
    dataset = dataset.map(example, WORKERS, deterministic=True)
    return _batched(dataset, batch_size, len(split) // batch_size)


def evaluation_dataset(
    split: Split, masks: bool = True, positions: Sequence[int] | None = None
) -> Any:
    """The images in the order of the list, each alone at its own size.

    Args:
        split: images and tags.
        masks: deliver masks.
        positions: which images; None: all.

    Returns:
        tf.data.Dataset of dicts: ``image`` float32 [1, H, W, 3] RGB 0..255, ``labels`` float32
        [1, C], ``index`` int64 [1] and, with ``masks``, ``mask`` int32 [1, H, W].

    Raises:
        DataError: masks are asked for and the split has none.

    Example:

    >>> train, val = wsss.data.load("my_set")
    >>> [tuple(batch["image"].shape) for batch in evaluation_dataset(val, masks=False)]
    [(1, 40, 56, 3), (1, 40, 56, 3)]
    """
    _check_maps(split, masks, saliency=False)
    read = _reader(split, masks, saliency=False)
    labels = tf.constant(split.labels)

    def example(index: Any) -> dict[str, Any]:
        raw = read(index)
        batch = {
            "image": tf.cast(raw["image"], tf.float32),
            "labels": labels[index],
            "index": index,
        }
        return {**batch, "mask": raw["mask"]} if masks else batch

    chosen = np.arange(len(split)) if positions is None else np.asarray(positions)
    dataset = tf.data.Dataset.from_tensor_slices(chosen.astype(np.int64))
    return _batched(dataset.map(example, WORKERS, deterministic=True), 1, len(chosen))


def untuned(dataset: Any) -> Any:
    """A ``tf.data.Dataset`` that does not tune itself.

    When an iterator goes, the thread that tunes is waited for, and that may sleep for a minute.

    Example:

    >>> untuned(tf.data.TFRecordDataset("requests")).options().autotune.enabled
    False
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def step_ids(split: Split, seed: int, step: int, batch_size: int) -> list[str]:
    """Ids of the images in the batch of a training step.

    Example:

    >>> train, val = wsss.data.load("my_set")
    >>> ids = step_ids(train, seed=1, step=0, batch_size=2)
    >>> len(ids), set(ids) <= set(train.ids)
    (2, True)
    """
    ids = []
    for position in range(step * batch_size, (step + 1) * batch_size):
        epoch, place = divmod(position, len(split))
        ids.append(split.ids[int(epoch_order(seed, epoch, len(split))[place])])
    return ids


def epoch_order(seed: Any, epoch: Any, count: int) -> Any:
    """int64 [count]: permutation of the images in an epoch."""
    keys = tf.random.stateless_uniform([count], augment.epoch_key(seed, epoch), alg="philox")
    return tf.cast(tf.argsort(keys, stable=True), tf.int64)


def _batched(dataset: Any, batch_size: int, steps: int) -> Any:
    """Batches of examples, a few of them ready before they are asked for."""
    dataset = dataset.batch(batch_size, drop_remainder=True)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return untuned(dataset.prefetch(AHEAD))


def _epoch(seed: Any, epoch: Any, count: int) -> Any:
    """Dataset of (epoch, position in the split) in the order of an epoch."""
    order = tf.data.Dataset.from_tensor_slices(epoch_order(seed, epoch, count))
    return order.map(lambda index: (epoch, index))


def _augmented(split: Split, crops: CropConfig, seed: int, masks: bool, saliency: bool) -> Any:
    """Function: epoch and position -> augmented example."""
    _check_maps(split, masks, saliency)
    read = _reader(split, masks, saliency, crops.working_size)
    labels, size = tf.constant(split.labels), crops.crop_size

    def example(epoch: Any, index: Any) -> dict[str, Any]:
        raw = read(index)
        draws = augment.uniform_draws(seed, epoch, index)
        shape = tf.shape(raw["image"])[:2]
        geometry = augment.random_geometry(draws, shape, size, crops.scale, crops.flip, crops.warp)
        box = augment.valid_box(geometry, size)
        image = augment.place_image(raw["image"], geometry, size)
        batch = {
            "image": augment.jitter(image, box, draws[4:], **dict(crops.jitter)),
            "labels": labels[index],
            "valid_box": box,
            "index": index,
        }
        if masks:
            batch["mask"] = augment.place_mask(raw["mask"], geometry, size)
        if saliency:
            grey = raw["saliency"][..., None]
            batch["saliency"] = augment.place_image(grey, geometry, size) / 255.0
        return batch

    return example


def _reader(split: Split, masks: bool, saliency: bool, working_size: int | None = None) -> Any:
    """Function: position -> dict of uint8 image [H, W, 3], int32 mask and uint8 saliency [H, W]."""
    paths = tf.constant(split.image_paths)
    # What lies on the image has its whole size.
    wanted = None if masks or saliency else working_size

    def read(index: Any) -> dict[str, Any]:
        if split.read_image is None:
            raw = {"image": decode_image(tf.io.read_file(paths[index]), wanted)}
        else:
            raw = {"image": _python(split.read_image, index, tf.uint8, [None, None, 3])}
        if masks:
            raw["mask"] = _python(split.mask, index, tf.int32, [None, None])
        if saliency:
            raw["saliency"] = _python(split.saliency, index, tf.uint8, [None, None])
        size = tf.shape(raw["image"])[:2]
        for name in raw.keys() - {"image"}:
            message = f"image and {name} differ in size"
            tf.debugging.assert_equal(tf.shape(raw[name]), size, message, summarize=2)
        return raw if working_size is None else _at_working_size(raw, working_size)

    return read


def _at_working_size(raw: dict[str, Any], working_size: int) -> dict[str, Any]:
    image = shrunk(raw["image"][None], working_size)
    small = {"image": tf.cast(tf.round(image[0]), tf.uint8)}
    if "mask" in raw:
        nearest = tf.image.ResizeMethod.NEAREST_NEIGHBOR
        mask = tf.image.resize(raw["mask"][..., None], tf.shape(image)[1:3], nearest)
        small["mask"] = mask[..., 0]
    if "saliency" in raw:
        saliency = shrunk(raw["saliency"][None, ..., None], working_size)
        small["saliency"] = tf.cast(tf.round(saliency[0, ..., 0]), tf.uint8)
    return small


def _python(function: Any, index: Any, dtype: Any, shape: Any) -> Any:
    return tf.ensure_shape(tf.numpy_function(function, [index], dtype, stateful=False), shape)


def _check_maps(split: Split, masks: bool, saliency: bool) -> None:
    if masks and split.mask_paths is None:
        raise DataError(f"list {split.name}: has no masks, which are needed here")
    if saliency and split.saliency_paths is None:
        raise DataError(f"list {split.name}: has no saliency maps, which are needed here")
