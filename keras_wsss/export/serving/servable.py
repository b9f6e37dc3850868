"""One loaded version of a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from keras_wsss.checksums import SUMS, check_sums
from keras_wsss.data.pipeline import untuned
from keras_wsss.errors import WeightsError
from keras_wsss.export.metadata import SIGNATURE, Metadata
from keras_wsss.export.serving.gate import RequestError, invalid
from keras_wsss.limits import read_small

METADATA = Path("assets.extra/metadata.json")
WARMUP = Path("assets.extra/tf_serving_warmup_requests")
CODES = {code.value[0]: code for code in grpc.StatusCode}


class Servable:
    """A version folder of a SavedModel, checked, loaded and warmed up.

    Args:
        name: of the model.
        version: its number.
        folder: holds ``saved_model.pb``.

    Attributes:
        scores_trained: False where ``class_scores`` mean nothing, as far as the folder tells.

    Raises:
        WeightsError: a file differs from what ``SHA256SUMS`` says.
    """

    def __init__(self, name: str, version: int, folder: Path):
        if (folder / SUMS).exists():
            check_sums(folder)
        self.name = name
        self.version = version
        self.scores_trained = _scores_trained(folder)
        self.signature_defs = _signature_defs(folder)
        self._loaded = tf.saved_model.load(str(folder))
        self._signatures = dict(self._loaded.signatures)
        if (folder / WARMUP).exists():
            self._warm_up(folder / WARMUP)

    def inputs(self, signature: str) -> dict[str, tf.TensorSpec]:
        """Inputs of a signature by name.

        Raises:
            KeyError: there is no such signature.
        """
        return dict(self._signatures[signature].structured_input_signature[1])

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], outputs: Collection[str] = ()
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: its name.
            inputs: arrays by name, of the right types; strings as objects.
            outputs: names of those wanted; none: all.

        Raises:
            RequestError: the signature, or something about the inputs or outputs, does not
                fit; or what the model itself raised.
        """
        if signature not in self._signatures:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{signature}" not found.',
            )
        function, specs = self._signatures[signature], self.inputs(signature)
        if set(inputs) != set(specs):
            raise invalid(
                f"input size does not match signature: {len(inputs)}!={len(specs)}. Sent extra: "
                f"{_names(set(inputs) - set(specs))}. Missing but required: "
                f"{_names(set(specs) - set(inputs))}."
            )
        unknown = set(outputs) - set(function.structured_outputs)
        if unknown:
            raise invalid(
                f"output tensor alias not found in signature: {min(unknown)} Outputs expected to "
                f"be in the set {_names(function.structured_outputs)}."
            )
        for name, spec in specs.items():
            array = inputs[name]
            if tf.as_dtype(array.dtype if array.dtype != object else tf.string) != spec.dtype:
                raise invalid(f"input {name} must be {spec.dtype.name}, not {array.dtype}")
            if not spec.shape.is_compatible_with(array.shape):
                raise invalid(f"input {name} must have the shape {spec.shape}, not {array.shape}")
        try:
            tensors = {
                name: tf.constant(array, specs[name].dtype) for name, array in inputs.items()
            }
            answer = function(**tensors)
        except tf.errors.OpError as error:
            raise RequestError(CODES[error.error_code], error.message) from error
        return {name: answer[name].numpy() for name in sorted(outputs or answer)}

    def _warm_up(self, path: Path) -> None:
        for record in untuned(tf.data.TFRecordDataset(str(path))).as_numpy_iterator():
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            arrays = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            signature = request.model_spec.signature_name or SIGNATURE
            self.predict(signature, arrays, request.output_filter)


def _scores_trained(folder: Path) -> bool:
    try:
        return Metadata.model_validate_json(read_small(folder / METADATA)).scores_trained
    except (WeightsError, OSError, ValueError):  # a model that something else has made
        return True


def _signature_defs(folder: Path) -> dict[str, Any]:
    """SignatureDefs by name, as the file has them: what metadata requests are told."""
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graphs = [graph for graph in saved.meta_graphs if "serve" in graph.meta_info_def.tags]
    return dict(graphs[0].signature_def)


def _names(names: Collection[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
