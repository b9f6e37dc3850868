"""A trained network as a folder: a preset, with what the model says about itself beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_wsss.checksums import write_sums
from keras_wsss.export.metadata import Metadata
from keras_wsss.methods.preset import write_preset

METADATA = "metadata.json"


def write_package(model: Any, path: Path, metadata: Metadata) -> None:
    """Writes ``model.json``, ``model.weights.h5``, ``metadata.json`` and their SHA-256 sums.

    :func:`keras_wsss.load` reads the folder, also from an untrusted place.

    Args:
        model: built :class:`~keras_wsss.methods.WSSSModel`.
        path: the folder to make.
        metadata: what the model says about itself.
    """
    write_preset(model, path)
    (path / METADATA).write_text(metadata.model_dump_json(indent=2) + "\n")
    write_sums(path)
