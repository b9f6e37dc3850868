"""What a configuration may say of BMP."""

from __future__ import annotations

from typing import Literal

from keras_wsss.config import (
    AffinityHeadsConfig,
    CamConfig,
    LossConfig,
    Method,
    PropagatedLabelConfig,
    Term,
    check_propagation,
)
from keras_wsss.config.sections import OpenFraction


class Heads(AffinityHeadsConfig):
    """Heads, and whether the classifier's objectness gates what the decoder reads."""

    object_gate: bool = True


class PseudoLabel(PropagatedLabelConfig):
    """From class activation map to label; ``background_aware`` is BSP."""

    refiner: Literal["par", "varm"] = "par"
    propagation: Literal["none", "random_walk", "affinity_processing", "background_aware"] = "none"
    confidence: OpenFraction = 0.5


class C2SConfig(LossConfig):
    """The first direction: the CAM's labels teach the decoder."""

    form: Literal["bce", "ce"] = "bce"


class S2CConfig(LossConfig):
    """The second direction: what the decoder is sure of teaches the CAM."""

    form: Literal["ce", "bce"] = "ce"
    threshold: float = 0.75
    threshold_on: Literal["logit", "probability"] = "logit"


BMP = Method(
    "bmp",
    "keras_wsss.methods.bmp.model:BMP",
    {
        "c2s": Term("decoder", reads=("label",), settings=C2SConfig),
        "s2c": Term("classifier", reads=("prediction",), settings=S2CConfig),
        "affinity": Term("affinity", reads=("label", "affinity")),
    },
    sections={"heads": Heads, "cam": CamConfig, "pseudo_label": PseudoLabel},
    has_parity=True,
    check=check_propagation,
    recipe="voc_bmp",
)
