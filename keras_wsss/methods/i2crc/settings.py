"""What a configuration may say of I2CRC's classifier; all methods share its terms."""

from __future__ import annotations

from typing import Literal

from keras_wsss.config import CamConfig, Method, PseudoLabelConfig


class PseudoLabel(PseudoLabelConfig):
    """The labels by which reports judge the class activation maps; none of them is trained on."""

    refiner: Literal["par", "varm"] = "par"


I2CRC = Method(
    "i2crc",
    "keras_wsss.methods.i2crc.model:I2CRC",
    {},
    sections={"cam": CamConfig, "pseudo_label": PseudoLabel},
    reported=("cam", "pseudo_label"),
    recipe="voc_i2crc",
)
