"""What formats share: their packages, the metadata inside, versions of a model."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from keras_wsss.errors import ConfigError, DataError, WeightsError, one_line
from keras_wsss.export.metadata import Metadata

METADATA_KEY = "keras_wsss"


def import_extra(*modules: str, extra: str = "export") -> tuple[Any, ...]:
    """Modules of packages that only an extra installs.

    Raises:
        ConfigError: one of them is not installed.

    Example:

    >>> (onnx,) = import_extra("onnx")
    """
    try:
        return tuple(importlib.import_module(module) for module in modules)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this needs the package {error.name}; pip install 'keras_wsss[{extra}]'"
        ) from error


def read_metadata(text: str | bytes | None, path: str | Path) -> Metadata:
    """Metadata from the JSON that was found in a file.

    Raises:
        WeightsError: there is none, or it is not ours.

    Example:

    >>> text = Path("exported/weights/demo/metadata.json").read_text()
    >>> read_metadata(text, "demo.onnx").name
    'demo'
    """
    if text is None:
        raise WeightsError(f"{path}: holds no metadata of keras_wsss; export the run again")
    try:
        return Metadata.model_validate_json(text)
    except pydantic.ValidationError as error:
        raise WeightsError(
            f"{path}: its metadata cannot be read; export the run again with this version "
            f"({one_line(error)})"
        ) from error


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def version_folders(folder: Path) -> dict[int, Path]:
    """Versions of a model by number. 01 is none, or two folders could claim the same number.

    Example:

    >>> Path("saved_model/cats/1").mkdir(parents=True)
    >>> list(version_folders(Path("saved_model/cats")))
    [1]
    """
    return {
        int(path.name): path
        for path in folder.iterdir()
        if path.name.isascii() and path.name.isdigit() and str(int(path.name)) == path.name
        if path.is_dir()
    }


def check_images(images: np.ndarray, shape: Sequence[Any], path: str | Path) -> None:
    """Refuses what the runtimes would take for an image, or would answer with riddles.

    Args:
        images: batch for a reader.
        shape: that the file states; an axis that may be of any length is no positive int.
        path: the file.

    Raises:
        DataError: not uint8 `[N,H,W,3]`, or not of the size that the file is made for.

    Example:

    >>> images = np.zeros((1, 240, 320, 3), np.uint8)
    >>> check_images(images, ("batch", "height", "width", 3), "demo.onnx")
    """
    fixed = [isinstance(length, int) and length > 0 for length in shape]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise DataError(
            f"{path}: takes images uint8 [N,H,W,3], not {images.dtype} {list(images.shape)}"
        )
    if any(f and a != b for f, a, b in zip(fixed, images.shape, shape, strict=True)):
        raise DataError(
            f"{path}: takes images {list(shape)} only, not {list(images.shape)}; resize them, or "
            "export without a size"
        )
