"""The gRPC endpoint: PredictionService and ModelService for the published stubs."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from keras_wsss.export.metadata import SIGNATURE
from keras_wsss.export.serving.gate import (
    Gate,
    RequestError,
    check_answer,
    check_rows,
    invalid,
    refusal_of,
)
from keras_wsss.export.serving.model_store import ModelStore
from keras_wsss.export.serving.options import Options
from keras_wsss.export.serving.servable import Servable
from keras_wsss.export.serving.waiting_room import WaitingRoom

Answerer = Callable[[bytes], Awaitable[bytes]]


def rpc_server(
    store: ModelStore, gate: Gate, options: Options, connections: int
) -> grpc.aio.Server:
    """The server, not started and without a port.

    Args:
        store: models.
        gate: shared with the other endpoint.
        options: ``max_body`` (larger messages are answered with RESOURCE_EXHAUSTED) and the others.
        connections: that it keeps; more are closed at once.

    Example:

    >>> options = Options(Path("exported/saved_model"))
    >>> gate = Gate(2, 32, options.max_held)
    >>> server = rpc_server(ModelStore(options.folder), gate, options, 9)  # doctest: +SKIP
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", options.max_body),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # else a second server would share the port in silence
            ("grpc.max_allowed_incoming_connections", connections),
            ("grpc.server_handshake_timeout_ms", round(1000 * options.seconds_head)),
            ("grpc.max_connection_idle_ms", round(1000 * options.seconds_idle)),
            # Clients connect anew by themselves; who does not read an answer loses it then.
            ("grpc.max_connection_age_ms", round(1000 * options.seconds_connection)),
            ("grpc.max_connection_age_grace_ms", round(1000 * options.seconds_connection)),
        ],
    )
    predictions, models = Predictions(store, gate, options), Models(store)
    patience = _Patience(gate.places, options)

    def handlers(service: str, **answerers: Answerer) -> None:
        methods = {name: patience.method(answer) for name, answer in answerers.items()}
        handler = grpc.method_handlers_generic_handler(f"tensorflow.serving.{service}", methods)
        server.add_generic_rpc_handlers((handler,))

    handlers(
        "PredictionService", Predict=predictions.predict, GetModelMetadata=predictions.metadata
    )
    handlers("ModelService", GetModelStatus=models.status)
    return server


class _Patience:
    """Receives and sends the one message that a method takes and the one that it gives.

    To gRPC they are methods of streams, which look the same to a client: of others the message
    would be awaited without a limit, and an unreadable one be a traceback.
    """

    def __init__(self, places: int, options: Options):
        # As many messages may be on their way as there are places for them.
        self._room = WaitingRoom(places, options.max_held)
        self._options = options
        self._unread = 0

    def method(self, answer: Answerer) -> Any:
        """The handler of a method that is answered so."""

        async def handle(messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
            try:
                async with self._room.waiting(self._options.seconds_body):
                    message = await anext(aiter(messages))
                answered = await answer(message)
                self._check_unread(len(answered))
            except StopAsyncIteration:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "there was no message")
            except TimeoutError:
                await context.abort(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "the message came too slowly, or too many came; try again in a moment",
                )
            except Exception as error:  # whatever a client has sent
                refusal = refusal_of(error)
                await context.abort(refusal.code, str(refusal))
            self._unread += len(answered)
            try:
                await context.write(answered)
            finally:
                self._unread -= len(answered)

        return grpc.stream_stream_rpc_method_handler(handle)

    def _check_unread(self, size: int) -> None:
        """An answer cannot be taken back once it is being written; only its connection ends."""
        if self._unread + size > self._options.max_held:
            raise RequestError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "too many answers have not been read; try again in a moment",
            )


class Predictions:
    """``Predict`` and ``GetModelMetadata`` of PredictionService; the others are unimplemented."""

    def __init__(self, store: ModelStore, gate: Gate, options: Options):
        self._store = store
        self._gate = gate
        self._options = options

    async def predict(self, message: bytes) -> bytes:
        """``Predict``."""
        answer: bytes = await self._gate.run(self._predict, message, size=len(message))
        return answer

    def _predict(self, message: bytes) -> bytes:
        request = _parse(predict_pb2.PredictRequest, message)
        servable = _find(self._store, request)
        arrays = {name: self._array(name, value) for name, value in request.inputs.items()}
        signature = request.model_spec.signature_name or SIGNATURE
        outputs = servable.predict(signature, arrays, request.output_filter)
        check_answer(sum(map(_size, outputs.values())), self._options.max_answer)
        response = predict_pb2.PredictResponse()
        _fill_spec(response, servable, signature)
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
        return _bytes(response)

    def _array(self, name: str, value: Any) -> Any:
        unreadable = invalid(f"input {name} is no tensor that can be read")
        sizes = [dimension.size for dimension in value.tensor_shape.dim]
        if not self._fits(value, sizes):
            raise unreadable
        check_rows(sizes[0] if sizes else 1, self._options.max_rows)
        try:
            return tf.make_ndarray(value)
        except Exception:  # of TensorFlow and numpy, of many kinds
            raise unreadable from None

    def _fits(self, value: Any, sizes: list[int]) -> bool:
        """Whether its values may be as many as its sizes say."""
        if min(sizes, default=0) < 0:
            return False
        if value.dtype == tf.string.as_datatype_enum:
            return math.prod(sizes) == len(value.string_val)
        try:
            width = tf.as_dtype(value.dtype).size or 0
        except (TypeError, KeyError):
            return False
        # One value stands for a tensor full of it: no room in a message, and any in memory.
        return bool(math.prod(sizes) * width <= self._options.max_body)

    async def metadata(self, message: bytes) -> bytes:
        """``GetModelMetadata``."""
        request = _parse(get_model_metadata_pb2.GetModelMetadataRequest, message)
        if list(request.metadata_field) != ["signature_def"]:
            raise invalid("GetModelMetadataRequest must ask for the metadata_field signature_def")
        servable = _find(self._store, request)
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signature_defs)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _fill_spec(response, servable)
        packed = Packed()
        packed.Pack(signatures)
        response.metadata["signature_def"].CopyFrom(packed)
        return _bytes(response)


class Models:
    """``GetModelStatus`` of ModelService."""

    def __init__(self, store: ModelStore):
        self._store = store

    async def status(self, message: bytes) -> bytes:
        """``GetModelStatus``."""
        request = _parse(get_model_status_pb2.GetModelStatusRequest, message)
        return _bytes(self._store.status(*_wanted(request)))


def _parse(kind: Any, message: bytes) -> Any:
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise invalid(f"{kind.__name__}: {error}") from None


def _bytes(response: Any) -> bytes:
    serialized: bytes = response.SerializeToString()
    return serialized


def _size(array: np.ndarray) -> int:
    return sum(map(len, array.flat)) if array.dtype == object else array.nbytes


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
