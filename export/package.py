"""A trained network as a folder that can be loaded from an untrusted place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from keras_wsss.config import Config, load_config
from keras_wsss.errors import WeightsError
from keras_wsss.export.checksums import check_sums, write_sums
from keras_wsss.export.files import read_metadata
from keras_wsss.export.metadata import Metadata
from keras_wsss.methods import METHODS

CONFIG, METADATA, WEIGHTS = "config.yaml", "metadata.json", "model.weights.h5"


def write_package(model: Any, config: Config, path: Path, metadata: Metadata) -> None:
    """Writes ``config.yaml``, ``metadata.json``, ``model.weights.h5`` and their SHA-256 sums.

    Args:
        model: built :class:`~keras_wsss.methods.WSSSModel`, not compiled.
        config: its configuration.
        path: the folder to make.
        metadata: what the model says about itself.
    """
    path.mkdir(parents=True)
    (path / CONFIG).write_text(config.to_yaml())
    (path / METADATA).write_text(metadata.model_dump_json(indent=2) + "\n")
    model.save_weights(path / WEIGHTS)
    write_sums(path)


def load_package(path: str | Path) -> tuple[Any, Metadata]:
    """Network and metadata of a folder that ``--format weights`` has written.

    Nothing in it is code: the configuration and the metadata are checked against their schemas,
    the weights are arrays, and no object is unpickled.

    Args:
        path: folder.

    Returns:
        Pair of the built :class:`~keras_wsss.methods.WSSSModel` and its :class:`Metadata`.

    Raises:
        WeightsError: a file is missing, was changed, was added, or does not fit the others.
        ConfigError: the configuration is not one of this version.

    Example:

    >>> model, metadata = load_package("exported/weights/cats")
    >>> metadata.classes
    ('background', 'cat', 'dog')
    """
    path = Path(path)
    check_sums(path)
    config = load_config(path / CONFIG)
    try:
        text = (path / METADATA).read_bytes()
    except OSError as error:
        raise WeightsError(f"{path / METADATA}: {error}; export the run again") from error
    metadata = read_metadata(text, path / METADATA)
    method: Any = METHODS[config.method]
    model = method(config, len(metadata.classes) - 1)
    model.build()
    _refuse_links(path / WEIGHTS)
    try:
        model.load_weights(path / WEIGHTS)
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{path / WEIGHTS}: does not fit {CONFIG} ({error}); export the run again"
        ) from error
    return model, metadata


def _refuse_links(path: Path) -> None:
    """HDF5 can point to other files, which would then be read as weights."""

    def visit(group: Any) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink) or getattr(group[name], "is_virtual", False):
                raise WeightsError(f"{path}: {group.name}/{name}: points to another file; refused")
            if isinstance(group[name], h5py.Group):
                visit(group[name])
            elif group[name].external:
                raise WeightsError(f"{path}: {group.name}/{name}: points to another file; refused")

    try:
        with h5py.File(path) as file:
            visit(file)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error}); export the run again") from error
