"""One list of tagged images, ready to be read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keras_wsss.config import section
from keras_wsss.config.data import BatchConfig, DataConfig
from keras_wsss.data.classes import renumbered
from keras_wsss.data.files import find_maps, read_map, read_values
from keras_wsss.errors import ConfigError, DataError
from keras_wsss.palette import IGNORE_ID

Part = Literal["train", "val"]
ReadArray = Callable[[int], np.ndarray]
"""Position in the split -> uint8 array."""


def identity_map(classes: int) -> np.ndarray:
    """Mask lookup for ids that are already 0 (background), 1..``classes`` and 255 (ignore)."""
    lookup = np.full(256, -1, np.int32)
    lookup[: classes + 1] = np.arange(classes + 1)
    lookup[IGNORE_ID] = IGNORE_ID
    return lookup


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """The images of one list with their tags.

    Attributes:
        name: name of the list.
        ids: N image ids, in the order of the list.
        class_names: C foreground classes.
        labels: float32 [N, C], 1 where the image has the tag.
        image_paths: N files; names without a file for generated images.
        mask_paths: N files the masks come from, or None: no masks.
        saliency_paths: N files, or None.
        mask_map: int32 [256], id in the file -> id of the training: 0 background, 1..C, 255 ignore;
            -1 marks an id that no class list knows.
        dropped: what was left out and how often, reason -> count.
        read_image: reads images that are not files (position -> uint8 [H, W, 3]), or None.
        read_mask: reads masks that are not image files (position -> uint8 [H, W]), or None.
        read_saliency: reads saliency maps that are not image files, or None.

    Example:

    >>> train, val = wsss.data.load("my_set")
    >>> train.labels.shape == (len(train.ids), len(train.class_names))
    True
    """

    name: str
    ids: tuple[str, ...]
    class_names: tuple[str, ...]
    labels: np.ndarray
    image_paths: tuple[str, ...]
    mask_paths: tuple[str, ...] | None = None
    saliency_paths: tuple[str, ...] | None = None
    mask_map: np.ndarray = field(default_factory=lambda: identity_map(254))
    dropped: dict[str, int] = field(default_factory=dict)
    read_image: ReadArray | None = None
    read_mask: ReadArray | None = None
    read_saliency: ReadArray | None = None

    def __repr__(self) -> str:
        return f"<Split {self.name}: {len(self)} images of {', '.join(self.class_names)}>"

    def __len__(self) -> int:
        return len(self.ids)

    def mask(self, position: int) -> np.ndarray:
        """int32 [H, W] with the ids of the training: 0 background, 1..C, 255 ignore.

        Raises:
            DataError: the mask cannot be read, does not fit its image or holds an unknown id.
        """
        if self.mask_paths is None:
            raise DataError(f"list {self.name}: has no masks")
        path = self.mask_paths[position]
        if self.read_mask is not None:
            raw = self.read_mask(position)
        else:
            raw = read_map(path, self.image_paths[position])
        return renumbered(raw, self.mask_map, path)

    def saliency(self, position: int) -> np.ndarray:
        """uint8 [H, W]: 255 is salient."""
        if self.saliency_paths is None:
            raise DataError(f"list {self.name}: has no saliency maps")
        if self.read_saliency is not None:
            return self.read_saliency(position)
        return read_map(self.saliency_paths[position], self.image_paths[position])

    def picture_files(self) -> list[str]:
        """All image files: photographs, masks and saliency maps that are not made otherwise."""
        kinds = (
            (self.image_paths, self.read_image),
            (self.mask_paths or (), self.read_mask),
            (self.saliency_paths or (), self.read_saliency),
        )
        return [path for paths, read in kinds if read is None for path in paths]

    def file_ids(self) -> np.ndarray:
        """uint8 [256], id of the training -> id in a mask file; undoes ``mask_map``."""
        ids = np.zeros(256, np.uint8)
        for number in (*range(1, len(self.class_names) + 1), IGNORE_ID):
            ids[number] = np.flatnonzero(self.mask_map == number)[0]
        return ids

    def with_masks(self, folder: Path) -> Split:
        """The same images with the masks ``folder/ID.png``.

        Raises:
            DataError: an image has no file there.
        """
        paths = find_maps(folder, self.ids)
        if self.read_image is None:
            return replace(self, mask_paths=paths, read_mask=None)
        # A generated image has no file whose size the mask's could be compared with.
        return replace(self, mask_paths=paths, read_mask=lambda i: read_values(paths[i])[0])

    def without(self, broken: Collection[int]) -> Split:
        """As many images, where the next one of the list stands in for each that is broken.

        So all others keep their places in every epoch.

        Args:
            broken: positions, not all there are.

        Example:

        >>> train, val = wsss.data.load("my_set")
        >>> train.without({0}).ids[0] == train.ids[1]
        True
        """
        whole = [position for position in range(len(self)) if position not in broken]
        # The first after it that is whole; after the last one, the first of all.
        used = np.array([*whole, whole[0]])[np.searchsorted(whole, np.arange(len(self)))]

        def chosen(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[position] for position in used)

        def reader(read: ReadArray | None) -> ReadArray | None:
            return read and (lambda position: read(used[position]))

        return replace(
            self,
            ids=chosen(self.ids),
            labels=self.labels[used],
            image_paths=chosen(self.image_paths),
            mask_paths=self.mask_paths and chosen(self.mask_paths),
            saliency_paths=self.saliency_paths and chosen(self.saliency_paths),
            read_image=reader(self.read_image),
            read_mask=reader(self.read_mask),
            read_saliency=reader(self.read_saliency),
        )

    def batches(
        self,
        crop: int | None = None,
        batch_size: int = 16,
        *,
        masks: bool | None = None,
        saliency: bool = False,
        seed: int = 1,
        **crops: Any,
    ) -> Any:
        """Batches for `fit`, `evaluate` and `predict`.

        Args:
            crop: side of augmented training crops, a multiple of 32; every iteration over the
                dataset is a new epoch. None: the images themselves, one by one, for validation.
            batch_size: images of a batch of crops.
            masks: whether batches hold ``mask``; None: only those of validation images, if there
                are any. Masks of training images are not opened unless asked for.
            saliency: whether batches of crops hold ``saliency``.
            seed: of order and augmentation.
            **crops: ``scale``, ``flip``, ``warp``, ``working_size`` (that of the model) and
                ``jitter`` as in the section ``data``.

        Returns:
            tf.data.Dataset of dicts, see :func:`~keras_wsss.data.training_dataset` and
            :func:`~keras_wsss.data.evaluation_dataset`.

        Raises:
            DataError: masks or saliency maps are asked for and not there, or the images do not
                fill one batch.
            ConfigError: a value cannot be used.

        Example:

        >>> train, val = wsss.data.load("my_set")
        >>> batches = train.batches(crop=224, batch_size=2)  # for model.fit(batches)
        >>> next(iter(batches))["image"].shape
        TensorShape([2, 224, 224, 3])
        """
        from keras_wsss.data import pipeline  # which imports this module

        if crop is None:
            if crops or saliency or batch_size != 16 or seed != 1:
                raise ConfigError(
                    "batches(...): without crop=SIDE they are whole images one by one, and take no "
                    "argument but masks"
                )
            return pipeline.evaluation_dataset(
                self, masks=self.mask_paths is not None if masks is None else masks
            )
        values = {"crop_size": crop, "batch_size": batch_size, "seed": seed, **crops}
        settings = section(BatchConfig, "batches(...)", values)
        dataset = pipeline.epoch_dataset(
            self,
            settings,
            seed=settings.seed,
            batch_size=settings.batch_size,
            masks=bool(masks),
            saliency=saliency,
        )
        dataset.working_size = settings.working_size  # which `fit` compares with the model's
        return dataset

    def take(self, count: int | None) -> Split:
        """The first ``count`` images; None or a larger number: all of them."""
        if count is None or count >= len(self):
            return self
        return replace(
            self,
            ids=self.ids[:count],
            labels=self.labels[:count],
            image_paths=self.image_paths[:count],
            mask_paths=self.mask_paths and self.mask_paths[:count],
            saliency_paths=self.saliency_paths and self.saliency_paths[:count],
        )


def joined(splits: Sequence[Split]) -> Split:
    """Several lists as one; an image that stands in two of them counts once.

    Example:

    >>> joined(wsss.data.load("my_set")).name
    'train+val'
    """
    if len(splits) == 1:
        return splits[0]
    first, *others = splits
    for other in others:
        if other.class_names != first.class_names:
            raise DataError(
                f"lists {first.name} and {other.name}: cannot be joined, their classes differ; "
                "set data.classes to those that both know"
            )
    places: dict[str, tuple[Split, int]] = {}
    for split in splits:
        for position, image in enumerate(split.ids):
            places.setdefault(image, (split, position))
    chosen = list(places.values())

    def paths(kind: str) -> tuple[str, ...] | None:
        if any(getattr(split, kind) is None for split in splits):
            return None
        return tuple(getattr(split, kind)[position] for split, position in chosen)

    def reader(kind: str) -> ReadArray | None:
        if getattr(first, kind) is None:
            return None
        return lambda i: np.asarray(getattr(chosen[i][0], kind)(chosen[i][1]))

    dropped: dict[str, int] = {}
    for split in splits:
        for reason, count in split.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    return replace(
        first,
        name="+".join(split.name for split in splits),
        ids=tuple(places),
        labels=np.stack([split.labels[position] for split, position in chosen]),
        image_paths=paths("image_paths") or (),
        mask_paths=paths("mask_paths"),
        saliency_paths=paths("saliency_paths"),
        dropped=dropped,
        read_image=reader("read_image"),
        read_mask=reader("read_mask"),
        read_saliency=reader("read_saliency"),
    )


def by_lists(load: Callable[..., Split]) -> Callable[..., Split]:
    """A reader from a function ``(data, name, masks, saliency)`` that reads one list.

    Several lists (``data.train_list: a+b``) are joined.
    """

    def read(
        data: DataConfig, part: Part, masks: bool | None = None, saliency: bool | None = False
    ) -> Split:
        lists = data.lists(part)
        return joined([load(data, name, masks=masks, saliency=saliency) for name in lists])

    return read
