"""One file a paper."""

from keras_wsss.backbones import load_weights
from keras_wsss.methods.afa import AFA
from keras_wsss.methods.base import WSSSModel
from keras_wsss.methods.bmp import BMP
from keras_wsss.methods.i2crc import I2CRC
from keras_wsss.methods.supervised import Supervised
from keras_wsss.methods.tscd import TSCD

METHODS = {"afa": AFA, "bmp": BMP, "i2crc": I2CRC, "tscd": TSCD, "supervised": Supervised}


def build_model(config, num_classes, synchronized=False):
    """The configured method with its backbone weights loaded.

    Args:
        config: :class:`~keras_wsss.config.Config`.
        num_classes: int, foreground classes.
        synchronized: bool, see :class:`WSSSModel`.

    Returns:
        A built, uncompiled :class:`WSSSModel`.

    Raises:
        WeightsError: the backbone's weights cannot be had or do not fit.

    Example:

    >>> model = build_model(load_config("animals5_tscd"), num_classes=5)
    """
    model = METHODS[config.method](config, num_classes, synchronized=synchronized)
    model.build()
    load_weights(model.backbone, config.backbone.weights, config.backbone.allow_pixel_supervision)
    return model


__all__ = ["AFA", "BMP", "I2CRC", "METHODS", "TSCD", "Supervised", "WSSSModel", "build_model"]
