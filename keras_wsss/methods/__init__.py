"""One folder a method: ``settings.py`` says what a configuration may hold, ``model.py`` trains.

Imported on first use, so that settings can be read without TensorFlow.
"""

import importlib
from typing import Any

# Public names and the modules they are in.
_NAMES = {
    "AFA": "afa.model",
    "BMP": "bmp.model",
    "I2CRC": "i2crc.model",
    "Labeller": "labeller",
    "Network": "network",
    "RRM": "rrm.model",
    "SGN": "sgn.model",
    "Supervised": "supervised.model",
    "TSCD": "tscd.model",
    "WSSSModel": "base",
    "build_model": "build",
    "new_model": "build",
}

__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
