"""The gRPC endpoint: PredictionService and ModelService with the published stubs."""

from __future__ import annotations

import math
from typing import Any

import grpc
import tensorflow as tf
from google.protobuf.any_pb2 import Any as Packed
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_wsss.export.metadata import SIGNATURE
from keras_wsss.export.serving.gate import Gate, RequestError, invalid
from keras_wsss.export.serving.model_store import ModelStore
from keras_wsss.export.serving.servable import Servable

STATUS_REQUESTS = 8


def rpc_server(store: ModelStore, gate: Gate, max_body: int) -> grpc.aio.Server:
    """The server, not started and without a port.

    Args:
        store: models.
        gate: shared with the other endpoint.
        max_body: bytes; larger messages are answered with RESOURCE_EXHAUSTED.

    Example:

    >>> store = ModelStore(Path("exported/saved_model"))
    >>> server = rpc_server(store, Gate(2, 32), 2**25)  # doctest: +SKIP
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_body),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # else a second server would share the port in silence
        ],
        # Those of the gate and some that ask for the status, refused before they are received.
        maximum_concurrent_rpcs=gate.places + STATUS_REQUESTS,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(store, gate, max_body), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(store), server)
    return server


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """``Predict`` and ``GetModelMetadata``; what else there is stays unimplemented."""

    def __init__(self, store: ModelStore, gate: Gate, max_body: int):
        self._store = store
        self._gate = gate
        self._max_body = max_body

    async def Predict(self, request: Any, context: grpc.aio.ServicerContext) -> Any:  # noqa: N802
        try:
            servable = _find(self._store, request)
            self._gate.enter()
            return await self._gate.run(self._predict, servable, request)
        except RequestError as refusal:
            await context.abort(refusal.code, str(refusal))

    def _predict(self, servable: Servable, request: Any) -> Any:
        arrays = {name: self._array(name, value) for name, value in request.inputs.items()}
        signature = request.model_spec.signature_name or SIGNATURE
        outputs = servable.predict(signature, arrays, request.output_filter)
        response = predict_pb2.PredictResponse()
        _fill_spec(response, servable, signature)
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
        return response

    def _array(self, name: str, value: Any) -> Any:
        sizes = [dimension.size for dimension in value.tensor_shape.dim]
        try:
            # One value stands for a tensor full of it: no room in a message, and any in memory.
            if value.dtype == tf.string.as_datatype_enum:
                fits = math.prod(sizes) == len(value.string_val)
            else:
                fits = math.prod(sizes) * tf.as_dtype(value.dtype).size <= self._max_body
            if not fits or min(sizes, default=0) < 0:
                raise ValueError
            return tf.make_ndarray(value)
        except (TypeError, ValueError):
            raise invalid(f"input {name} is no tensor that can be read") from None

    async def GetModelMetadata(  # noqa: N802
        self, request: Any, context: grpc.aio.ServicerContext
    ) -> Any:
        try:
            if list(request.metadata_field) != ["signature_def"]:
                raise invalid(
                    "GetModelMetadataRequest must ask for the metadata_field signature_def"
                )
            servable = _find(self._store, request)
        except RequestError as refusal:
            await context.abort(refusal.code, str(refusal))
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signature_defs)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _fill_spec(response, servable)
        packed = Packed()
        packed.Pack(signatures)
        response.metadata["signature_def"].CopyFrom(packed)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """``GetModelStatus``."""

    def __init__(self, store: ModelStore):
        self._store = store

    async def GetModelStatus(  # noqa: N802
        self, request: Any, context: grpc.aio.ServicerContext
    ) -> Any:
        try:
            return self._store.status(*_wanted(request))
        except RequestError as refusal:
            await context.abort(refusal.code, str(refusal))


def _find(store: ModelStore, request: Any) -> Servable:
    return store.find(*_wanted(request))


def _wanted(request: Any) -> tuple[str, int | None]:
    spec = request.model_spec
    if not spec.name:
        raise invalid("Missing ModelSpec")
    if spec.version_label:
        raise invalid(f"Unrecognized servable version label: {spec.version_label}")
    return spec.name, spec.version.value if spec.HasField("version") else None


def _fill_spec(response: Any, servable: Servable, signature: str = "") -> None:
    response.model_spec.name = servable.name
    response.model_spec.version.value = servable.version
    response.model_spec.signature_name = signature
