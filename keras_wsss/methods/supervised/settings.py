"""What a configuration may say of the upper bound."""

from __future__ import annotations

from typing import Literal

from keras_wsss.config import CamConfig, LossConfig, Method, PseudoLabelConfig, Term
from keras_wsss.config.sections import Positive


class PseudoLabel(PseudoLabelConfig):
    """The labels by which reports judge the class activation maps; none of them is trained on."""

    refiner: Literal["varm", "par"] = "varm"


class SegmentationConfig(LossConfig):
    """The decoder's term, which may read several sizes of the image."""

    extra_scales: tuple[Positive, ...] = ()


SUPERVISED = Method(
    "supervised",
    "keras_wsss.methods.supervised.model:Supervised",
    {"segmentation": Term("decoder", reads=("mask",), settings=SegmentationConfig)},
    sections={"cam": CamConfig, "pseudo_label": PseudoLabel},
    reported=("cam", "pseudo_label"),
    recipe="voc_supervised",
)
