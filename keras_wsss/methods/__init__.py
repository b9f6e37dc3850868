"""One file a paper."""

from keras_wsss.backbones import load_weights
from keras_wsss.config import allow_method
from keras_wsss.methods.afa import AFA
from keras_wsss.methods.base import WSSSModel
from keras_wsss.methods.bmp import BMP
from keras_wsss.methods.i2crc import I2CRC
from keras_wsss.methods.rrm import RRM
from keras_wsss.methods.sgn import SGN
from keras_wsss.methods.supervised import Supervised
from keras_wsss.methods.tscd import TSCD

METHODS = {
    "afa": AFA,
    "bmp": BMP,
    "i2crc": I2CRC,
    "rrm": RRM,
    "sgn": SGN,
    "tscd": TSCD,
    "supervised": Supervised,
}


def register_method(name, method, losses, **tables):
    """Makes a method of your own known to configurations and commands (docs/add-a-method.md).

    Args:
        name: str, value of the key ``method``.
        method: subclass of :class:`WSSSModel`.
        losses: dict, its loss terms: name -> None, or the settings' section for a new term.
        **tables: ``refiners`` and ``propagations`` as of
            :func:`~keras_wsss.config.allow_method`.

    Raises:
        ConfigError: the library has a method or loss term of that name, or a term is not known.

    Example:

    >>> register_method("seeds", Seeds, {"classification": None, "segmentation": None})
    """
    allow_method(name, losses, **tables)
    METHODS[name] = method


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


__all__ = [
    "AFA",
    "BMP",
    "I2CRC",
    "METHODS",
    "RRM",
    "SGN",
    "TSCD",
    "Supervised",
    "WSSSModel",
    "build_model",
    "register_method",
]
