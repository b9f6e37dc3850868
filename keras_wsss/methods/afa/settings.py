"""What a configuration may say of AFA."""

from __future__ import annotations

from typing import Any, Literal

from keras_wsss.config import (
    AffinityHeadsConfig,
    CamConfig,
    EnergyConfig,
    LossConfig,
    Method,
    PropagatedLabelConfig,
    Term,
    check_propagation,
    impossible,
)
from keras_wsss.config.sections import PropagationByAffinity


class AffinityConfig(LossConfig):
    """The affinity, and whether its labels are made before or after the CAM is propagated."""

    labels: Literal["cam", "propagated"] = "cam"


class PseudoLabel(PropagatedLabelConfig):
    """From class activation map to label, with PAR as in the paper or with VARM."""

    refiner: Literal["par", "varm"] = "par"
    propagation: PropagationByAffinity = "none"


def check(config: Any) -> None:
    """Labels cannot be propagated where nothing is."""
    check_propagation(config)
    affinity = config.losses.get("affinity")
    if affinity and affinity.labels == "propagated" and config.pseudo_label.propagation == "none":
        allowed = "cam; propagated is for a configuration with a pseudo_label.propagation"
        raise impossible("losses.affinity.labels", affinity.labels, allowed)


AFA = Method(
    "afa",
    "keras_wsss.methods.afa.model:AFA",
    {
        "affinity": Term("affinity", reads=("label", "affinity"), settings=AffinityConfig),
        "segmentation": Term("decoder", reads=("label",)),
        "energy": Term("decoder", reads=("label",), settings=EnergyConfig),
    },
    sections={"heads": AffinityHeadsConfig, "cam": CamConfig, "pseudo_label": PseudoLabel},
    has_parity=True,
    check=check,
    recipe="voc_afa",
)
