"""Trained networks for other programs: SavedModel for TF Serving, ONNX, LiteRT, and plain weights.

Imported on first use, so that a client need not wait for TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import Any

# Public names and the modules they are in.
_NAMES = {
    "GrpcClient": "client",
    "Limits": "metadata",
    "Metadata": "metadata",
    "RestClient": "client",
    "export_run": "run_export",
    "open_model": "readers",
}

__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
