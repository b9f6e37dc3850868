"""Weakly supervised semantic segmentation in Keras: from image tags to a served model.

Everything is imported on first use, so that ``--help`` and configuration errors need not wait for
TensorFlow.
"""

import importlib
from typing import Any

from keras_wsss._environment import set_environment
from keras_wsss._keras_files import announce_classes

__version__ = "0.1.0"

# Public names and the modules they are in.
_NAMES = {
    "AFA": "methods",
    "BMP": "methods",
    "Config": "config",
    "I2CRC": "methods",
    "RRM": "methods",
    "SGN": "methods",
    "Supervised": "methods",
    "TSCD": "methods",
    "WSSSError": "errors",
    "build_model": "methods",
    "load": "inference",
    "load_config": "config",
    "load_split": "data",
    "register_backbone": "registry",
    "register_decoder": "registry",
    "register_format": "registry",
    "register_label_format": "registry",
    "register_method": "registry",
    "register_reader": "registry",
    "training_dataset": "data",
}
_PACKAGES = (
    "backbones",
    "config",
    "data",
    "errors",
    "export",
    "heads",
    "inference",
    "losses",
    "methods",
    "metrics",
    "ops",
    "training",
)

__all__ = ["__version__", *_NAMES, *_PACKAGES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


set_environment()
announce_classes()
