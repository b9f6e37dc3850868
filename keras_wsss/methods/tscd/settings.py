"""What a configuration may say of TSCD."""

from __future__ import annotations

from typing import Literal

from keras_wsss.config import (
    AffinityHeadsConfig,
    CamConfig,
    EnergyConfig,
    Method,
    PropagatedLabelConfig,
    Term,
    check_propagation,
)
from keras_wsss.config.sections import PropagationByAffinity


class PseudoLabel(PropagatedLabelConfig):
    """From class activation map to label, with VARM as in the paper or with PAR."""

    refiner: Literal["varm", "par"] = "varm"
    propagation: PropagationByAffinity = "none"


TSCD = Method(
    "tscd",
    "keras_wsss.methods.tscd.model:TSCD",
    {
        "segmentation": Term("decoder", reads=("label",)),
        "energy": Term("decoder", reads=("label",), settings=EnergyConfig),
        "affinity": Term("affinity", reads=("label", "affinity")),
        "correspondence": Term("decoder", reads=("maps", "small_view")),
        "equivariance": Term("classifier", reads=("maps", "small_view")),
    },
    sections={"heads": AffinityHeadsConfig, "cam": CamConfig, "pseudo_label": PseudoLabel},
    has_parity=True,
    check=check_propagation,
    recipe="voc_tscd",
)
