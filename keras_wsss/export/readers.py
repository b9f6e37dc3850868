"""Exported models behind one call, each run by the library that its users run it with.

Neither Keras nor TensorFlow is imported before a SavedModel is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_wsss.errors import WeightsError
from keras_wsss.export.litert_file import LiteRTModel
from keras_wsss.export.onnx_file import OnnxModel


class OpenedModel(Protocol):
    """An exported model that was opened."""

    def __call__(self, images: np.ndarray) -> dict[str, Any]:
        """``class_map``, ``logits`` and ``image_logits`` of images uint8 `[N,H,W,3]`."""


def open_model(path: str | Path, threads: int | None = None) -> OpenedModel:
    """Opens what :func:`~keras_wsss.export.export_run` has written.

    Args:
        path: version folder of a SavedModel, ``.onnx`` or ``.tflite`` file.
        threads: of one call; None: the library's own choice.

    Raises:
        WeightsError: it is none of these.

    Example:

    >>> images = np.zeros((1, 64, 96, 3), np.uint8)
    >>> open_model("exported/onnx/demo.onnx")(images)["class_map"].shape
    (1, 64, 96)
    """
    path = Path(path)
    readers: dict[str, Callable[..., OpenedModel]] = {".onnx": OnnxModel, ".tflite": LiteRTModel}
    reader = SavedModel if path.is_dir() else readers.get(path.suffix)
    if reader is None or not path.exists():
        raise WeightsError(f"{path}: no SavedModel folder, .onnx or .tflite file")
    return reader(path, threads)


class SavedModel:
    """The signature ``predict_scores`` of a SavedModel.

    Args:
        path: version folder.
        threads: of one call, for the whole process; to be set before TensorFlow has run anything.
    """

    def __init__(self, path: Path, threads: int | None = None):
        import tensorflow as tf

        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        self._constant = tf.constant
        self._model = tf.saved_model.load(str(path))  # functions do not keep it alive

    def __call__(self, images: np.ndarray) -> dict[str, Any]:
        answers = self._model.signatures["predict_scores"](images=self._constant(images))
        return {name: answers[name].numpy() for name in ("class_map", "logits", "image_logits")}
