"""The section ``data``, and the readers that it may name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import AfterValidator, Field

from keras_wsss.class_names import fault_of, without_head
from keras_wsss.config.messages import impossible
from keras_wsss.config.sections import (
    Count,
    Fraction,
    Positive,
    Section,
    Seed,
    StepNumber,
    WorkingSize,
    known,
)
from keras_wsss.registry import READERS, resolve

MOST_PIXELS = 178_956_970
"""Of an image: half a gigabyte in RGB. It is where Pillow, which reads masks, ends by itself."""


class JitterConfig(Section):
    """Colour jitter of the image alone; 0 switches a kind off."""

    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0


class CropConfig(Section):
    """How training crops are made of images."""

    crop_size: Annotated[int, Field(ge=32, multiple_of=32)] = 512
    scale: tuple[Positive, Positive] = (0.5, 2.0)
    flip: Fraction = 0.5
    warp: bool = False
    working_size: WorkingSize | None = None
    jitter: JitterConfig = JitterConfig()

    @pydantic.model_validator(mode="after")
    def _scale_ordered(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise impossible("scale", list(self.scale), "[smallest, largest]")
        if self.warp and self.working_size is not None:
            raise impossible("working_size", self.working_size, "null: data.warp sets the size")
        return self

    @property
    def square(self) -> int | None:
        """Side of the square to which ``warp`` brings every image, or None: they keep theirs."""
        return self.crop_size if self.warp else None


class BatchConfig(CropConfig):
    """How batches of training crops are made."""

    batch_size: Count = 16
    seed: Seed = 1


class DataConfig(CropConfig):
    """Images, tags, lists and augmentation.

    Example:

    >>> data = DataConfig(kind="voc", root="VOC2012", train_list="train")
    >>> data.crop_size, data.batch_size
    (512, 4)
    """

    kind: Annotated[str, AfterValidator(known(READERS))]
    root: Path | None = None
    train_list: str = "train_aug"
    val_list: str | None = "val"
    labels: Path | None = None
    labels_key: Literal["labels_from_boxes", "labels"] = "labels_from_boxes"
    classes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    saliency: Path | None = None
    masks: str | None = None
    batch_size: Count = 4
    follow_links: bool = False
    max_pixels: Annotated[int, Field(ge=1, le=MOST_PIXELS)] = MOST_PIXELS

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if READERS[self.kind].needs_root and self.root is None:
            raise impossible("root", None, "the folder of the data set (--set data.root=FOLDER)")
        if self.classes and (fault := fault_of(without_head(self.classes))):
            raise impossible("classes", list(self.classes), f"each class named once ({fault})")
        return self

    def lists(self, part: Literal["train", "val"]) -> list[str]:
        """Names of the lists that make up the training or the validation images.

        Without a validation list, what is shown of a training is shown on its own images.
        """
        name = self.train_list if part == "train" else self.val_list
        return (name or self.train_list).split("+")


class ShapesConfig(Section):
    """What the generated data set consists of."""

    train_images: Count = 600
    val_images: Count = 120
    image_size: Annotated[int, Field(ge=32)] = 128
    classes: Count = 6
    seed: StepNumber = 0


class ShapesDataConfig(DataConfig):
    """The generated data set (``data.kind: shapes``)."""

    shapes: ShapesConfig = ShapesConfig()


PhotosFormat = Literal[
    "folders", "table", "coco", "voc", "yolo", "label-studio", "cvat", "cvat-masks"
]
Untagged = Literal["error", "negative", "drop"]


class PhotosDataConfig(DataConfig):
    """People's own photographs (``data.kind: photos``).

    The lists ``train`` and ``val`` are those of an import, or made from ``val_fraction``.
    """

    train_list: str = "train"
    val_list: str | None = "val"
    images: Path | None = None
    format: PhotosFormat | None = None
    tags_column: str | None = None
    untagged: Untagged = "error"
    negative: tuple[str, ...] = ()
    val_fraction: Annotated[float, Field(ge=0, le=0.9)] = 0.15
    split_seed: StepNumber = 0


@dataclass(frozen=True)
class Reader:
    """A kind of data set that ``data.kind`` may name.

    Attributes:
        read: function ``(data, part, masks, saliency) -> Split``, or where it stands
            (``module:attribute``); see :func:`keras_wsss.data.load_split` for its arguments.
        section: :class:`DataConfig`, or a subclass that adds the reader's own keys.
        needs_root: whether ``data.root`` has to be set.

    Example:

    >>> reader = wsss.register_reader("album", Reader("album:read_album"))  # in album.py
    >>> reader.section.__name__, reader.needs_root
    ('DataConfig', True)
    """

    read: str | Callable[..., Any]
    section: type[DataConfig] = DataConfig
    needs_root: bool = True

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Calls ``read``, which is imported now if it was not before."""
        return resolve(self.read)(*arguments, **options)


VOC = Reader("keras_wsss.data.voc:read_voc")
COCO = Reader("keras_wsss.data.coco:read_coco")
SHAPES = Reader("keras_wsss.data.shapes:read_shapes", ShapesDataConfig, needs_root=False)
PHOTOS = Reader("keras_wsss.data.photos.reader:read_photos", PhotosDataConfig)
