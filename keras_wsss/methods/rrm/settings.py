"""What a configuration may say of RRM."""

from __future__ import annotations

from typing import Literal

from keras_wsss.config import CamConfig, EnergyConfig, Method, Section, Term
from keras_wsss.config.sections import Count, OpenFraction


class PseudoLabel(Section):
    """From class activation map to the label of the reliable pixels; the paper refines by CRF."""

    refiner: Literal["par", "varm", "crf"] = "par"
    iterations: Count = 10
    confidence: OpenFraction = 0.5


RRM = Method(
    "rrm",
    "keras_wsss.methods.rrm.model:RRM",
    {
        "segmentation": Term("decoder", reads=("label",)),
        "energy": Term("decoder", reads=("label",), settings=EnergyConfig),
    },
    sections={"cam": CamConfig, "pseudo_label": PseudoLabel},
    has_parity=True,
    recipe="voc_rrm",
)
