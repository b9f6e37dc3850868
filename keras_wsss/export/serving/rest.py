"""The REST endpoint (tensorflow.org/tfx/serving/api_rest) as an ASGI application.

At its root there is a page for people, which asks it as any other client does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from tensorflow_serving.apis import get_model_metadata_pb2

from keras_wsss.export.metadata import SIGNATURE
from keras_wsss.export.photo_page import server_page
from keras_wsss.export.serving.gate import (
    Gate,
    RequestError,
    check_answer,
    invalid,
    refusal_of,
)
from keras_wsss.export.serving.json_tensors import format_outputs, json_size, parse_inputs
from keras_wsss.export.serving.model_store import MAX_VERSION, ModelStore
from keras_wsss.export.serving.options import Options
from keras_wsss.export.serving.servable import Servable

MODEL = r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?"
PREDICTION = re.compile(MODEL + r":(classify|regress|predict)", re.IGNORECASE)
MODEL_STATUS = re.compile(MODEL + r"(/metadata)?", re.IGNORECASE)
Answerer = Callable[[Request], Awaitable[Response]]
HTTP = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""Codes that are not here are 500."""
# The page itself says what it may load; it cannot say who may show it inside another.
PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class TooLargeError(Exception):
    """A body beyond the limit."""


def rest_app(store: ModelStore, gate: Gate, options: Options) -> Starlette:
    """The application.

    Args:
        store: models.
        gate: shared with the other endpoint.
        options: ``max_body`` (larger bodies are answered with 413), ``max_rows``, ``max_answer``.

    Example:

    >>> options = Options(Path("exported/saved_model"))
    >>> app = rest_app(ModelStore(options.folder), Gate(2, 32, options.max_held), options)
    >>> uvicorn.run(app)  # doctest: +SKIP
    """

    async def answer(request: Request) -> Response:
        if request.method == "GET":
            return _json(_describe(store, request))
        return await _predict(store, gate, options, request)

    async def page(request: Request) -> Response:
        return HTMLResponse(server_page(store.names(), store.untaught()), headers=PAGE_HEADERS)

    return Starlette(
        routes=[
            Route("/", _without_errors(page)),
            Route("/v1/{path:path}", _without_errors(answer), methods=["GET", "POST"]),
        ],
    )


def _without_errors(answer: Answerer) -> Answerer:
    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except TooLargeError as error:
            return _json({"error": str(error)}, 413)
        except Exception as error:  # whatever a client has sent
            refusal = refusal_of(error)
            return _json({"error": str(refusal)}, HTTP.get(refusal.code, 500))

    return answered


async def _predict(store: ModelStore, gate: Gate, options: Options, request: Request) -> Response:
    match = PREDICTION.fullmatch(request.scope["path"])
    if match is None:
        raise _malformed(request)
    name, version, label, verb = match.groups()
    if verb.lower() != "predict":
        raise RequestError(
            grpc.StatusCode.UNIMPLEMENTED, f"this server knows :predict only, not :{verb}"
        )
    servable = store.find(name, _version(version, label))
    body = await _body(request, options.max_body)
    answer: Response = await gate.run(_answer, servable, body, options, size=len(body))
    return answer


async def _body(request: Request, limit: int) -> bytearray:
    body, size = bytearray(), 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            # Read to its end all the same: who is still sending does not read an answer.
            if size <= limit:
                body += chunk
            else:
                body.clear()
    except ClientDisconnect:
        raise RequestError(grpc.StatusCode.CANCELLED, "the client has gone") from None
    if size > limit:
        raise TooLargeError(f"a request may have {limit} bytes; send fewer images")
    return body


def _answer(servable: Servable, body: bytearray, options: Options) -> Response:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise invalid("JSON Value is not an object")
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid("'signature_name' key must be a string value.")
    signature = signature or SIGNATURE
    try:
        specs = servable.inputs(signature)
    except KeyError:
        raise invalid(f'Serving signature name: "{signature}" not found in signature def') from None
    inputs, rows = parse_inputs(document, specs, options.max_rows)
    outputs = servable.predict(signature, inputs)
    check_answer(json_size(outputs.values()), options.max_answer)
    return _json(format_outputs(outputs, rows))


def _describe(store: ModelStore, request: Request) -> dict[str, Any]:
    match = MODEL_STATUS.fullmatch(request.scope["path"])
    if match is None:
        raise _malformed(request)
    name, version, label, metadata = match.groups()
    number = _version(version, label)
    if not metadata:
        return _plain(store.status(name, number))
    servable = store.find(name, number)
    signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signature_defs)
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(servable.version)},
        "metadata": {"signature_def": _plain(signatures)},
    }


def _version(version: str | None, label: str | None) -> int | None:
    if label:
        raise invalid(f"Unrecognized servable version label: {label}")
    if not version:
        return None
    # Python itself reads 4,300 digits at most.
    if len(version) > len(str(MAX_VERSION)) or int(version) > MAX_VERSION:
        raise invalid(f"Failed to convert version: {version} to numeric.")
    return int(version)


def _malformed(request: Request) -> RequestError:
    return invalid(f"Malformed request: {request.method} {request.scope['path']}")


def _plain(message: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return plain


def _json(document: dict[str, Any], status: int = 200) -> Response:
    # NaN and Infinity are written as such, as TF Serving does.
    return Response(json.dumps(document), status, media_type="application/json")
