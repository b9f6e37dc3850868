"""Weakly supervised semantic segmentation in Keras: from image tags to a served model.

Everything is imported on first use, so that ``--help`` and configuration errors need not wait for
TensorFlow.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# Public names and the modules they are in.
_NAMES = {
    "Config": "config",
    "WSSSError": "errors",
    "build_model": "methods",
    "load_config": "config",
    "load_run": "inference",
    "load_split": "data",
    "training_dataset": "data",
}
_ROOMS = (
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

__all__ = ["__version__", *_NAMES, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
