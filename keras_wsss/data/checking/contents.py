"""What a check has read of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from keras_wsss.config.data import DataConfig
from keras_wsss.data.photos.brushes import Brush
from keras_wsss.data.split import Part
from keras_wsss.palette import IGNORE_ID


@dataclass(frozen=True)
class Fault:
    """Why a file cannot be used.

    Attributes:
        kind: of the finding that it becomes.
        reason: for people.
    """

    kind: str
    reason: str


@dataclass(frozen=True, eq=False)
class Picture:
    """What an image file holds.

    Attributes:
        format: as Pillow calls it.
        suffix: under which a training reads it, or None: it has to be converted.
        mode: as Pillow calls it; ``transparency`` where it has some.
        size: (width, height) as stored.
        turned: whether its EXIF orientation is not upright.
        swapped: whether it turns width and height.
        animated: whether it has several frames.
        digest: of the file.
        fingerprint: see :func:`~keras_wsss.data.photos.duplicates.fingerprint`.
        small: uint8 [16, 16, 3], upright.
        tone: ``black``, ``white`` or ``one colour`` where nothing else is on it, else None.
        grey: whether it has no colours.
    """

    format: str
    suffix: str | None
    mode: str
    size: tuple[int, int]
    turned: bool
    swapped: bool
    animated: bool
    digest: str
    fingerprint: int
    small: np.ndarray
    tone: str | None
    grey: bool

    @property
    def shown(self) -> tuple[int, int]:
        """(width, height) as displayed."""
        return self.size[::-1] if self.swapped else self.size


@dataclass(frozen=True)
class Mask:
    """What a mask file holds.

    Attributes:
        size: (width, height) as stored.
        ids: that its pixels have.
    """

    size: tuple[int, int]
    ids: frozenset[int]


@dataclass(frozen=True, eq=False)
class Item:
    """An image that belongs to the data set.

    Attributes:
        id: its name in lists.
        path: its file, or None: there is none.
        tags: of the classes that are trained, and such as no class list knows; () is a negative;
            None: it has no tag, and needs one.
        mask_path: its mask, or None.
        where: what names it, for messages.
        picture: what its file holds; None: not looked at.
        mask: likewise.
        brushes: its mask as it was drawn, which is not looked at, or None.
    """

    id: str
    path: Path | None
    tags: tuple[str, ...] | None = ()
    mask_path: Path | None = None
    where: str = ""
    picture: Picture | Fault | None = None
    mask: Mask | Fault | None = None
    brushes: tuple[Brush, ...] | None = None


@dataclass(frozen=True)
class ImageList:
    """A list of training or validation images.

    Attributes:
        name: as the configuration calls it.
        part: what it is for.
        path: its file.
        ids: in its order, as often as it names them.
        fault: why it cannot be read, or None.
    """

    name: str
    part: Part
    path: Path
    ids: tuple[str, ...]
    fault: Fault | None = None


@dataclass(frozen=True, eq=False)
class Contents:
    """What was read of a data set.

    Attributes:
        kind: ``voc``, ``coco`` or ``photos``.
        root: file or folder of the data set.
        items: id -> image, for every image that is listed or tagged.
        classes: that are trained.
        mask_classes: the class at position i has the id i + 1 in masks.
        lists: of images; none where a training would make them.
        crop: side of training crops.
        working_size: longer side to which larger images are shrunk, or None.
        max_pixels: of an image.
        ignore_id: id in masks that stands for "unknown".
        mask_colours: of masks in colours, see :class:`~keras_wsss.data.photos.source.Source`.
        unlisted: files of images that nothing names.
        unknown: tags that no class list knows -> where one stands.
        spellings: classes -> the several ways in which they are written.
        imports: whether an import comes before the training.
        faults: of what is read before the images.
        notes: what the reader of the source says.
    """

    kind: str
    root: Path
    items: Mapping[str, Item]
    classes: tuple[str, ...]
    mask_classes: tuple[str, ...]
    lists: tuple[ImageList, ...]
    crop: int
    working_size: int | None
    max_pixels: int
    ignore_id: int = IGNORE_ID
    mask_colours: Mapping[tuple[int, int, int], int] | None = field(default=None, repr=False)
    unlisted: tuple[Path, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)
    spellings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    imports: bool = False
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: DataConfig, **facts: Any) -> Contents:
        """What was read of the data of a configuration."""
        working_size = data.crop_size if data.warp else data.working_size
        return cls(
            kind=data.kind,
            crop=data.crop_size,
            working_size=working_size,
            max_pixels=data.max_pixels,
            **facts,
        )

    def ids(self, part: Part) -> set[str]:
        """Ids of the images of a part."""
        return self._ids[part]

    @cached_property
    def _ids(self) -> dict[Part, set[str]]:
        found: dict[Part, set[str]] = {"train": set(), "val": set()}
        for each in self.lists:
            found[each.part].update(each.ids)
        return found

    @cached_property
    def present(self) -> tuple[Item, ...]:
        """Images that have a file."""
        return tuple(item for item in self.items.values() if item.path is not None)

    @cached_property
    def pictures(self) -> tuple[tuple[Item, Picture], ...]:
        """Images that can be decoded."""
        return tuple((i, i.picture) for i in self.items.values() if isinstance(i.picture, Picture))

    @cached_property
    def masks(self) -> tuple[tuple[Item, Mask], ...]:
        """Images whose mask can be read."""
        return tuple((i, i.mask) for i in self.items.values() if isinstance(i.mask, Mask))

    @cached_property
    def trained(self) -> tuple[Item, ...]:
        """Tagged images that are trained on; all where there are no lists yet."""
        ids = self.ids("train") if self.lists else set(self.items)
        return tuple(i for i in self.present if i.id in ids and i.tags is not None)

    @cached_property
    def validated(self) -> tuple[Item, ...]:
        """Tagged images that are scored."""
        ids = self.ids("val")
        return tuple(i for i in self.present if i.id in ids and i.tags is not None)

    def holders(self, items: Iterable[Item]) -> dict[str, list[Item]]:
        """Class -> those of the images that have its tag."""
        of_class: dict[str, list[Item]] = {name: [] for name in self.classes}
        for item in items:
            for tag in item.tags or ():
                if tag in of_class:
                    of_class[tag].append(item)
        return of_class
