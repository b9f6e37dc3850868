"""Clients of a served model: images in, masks out.

Works with TF Serving and with the local server, over REST or gRPC. Only gRPC needs TensorFlow.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import io
import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from keras_wsss.errors import DataError, ServingError
from keras_wsss.export.files import import_extra
from keras_wsss.export.metadata import MAX_ROWS, SIGNATURE, Limits
from keras_wsss.pictures import found_classes

LOG = logging.getLogger(__name__)

MAX_IMAGE = Limits().max_bytes
MAX_REQUEST = 20 * 2**20  # of images; a third more as base64
TRIES = 5  # as many as gRPC makes at most
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0  # seconds

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """What a served model says about an image.

    Attributes:
        mask: uint8 `[H,W]` of the displayed image, 0 is the background; None unless the status is
            ``ok``.
        legend: class names by mask id, without the background.
        scores: class name -> how probable it is that the image shows it, the best first.
        coverage: class name -> share of the mask.
        confidence: mean over pixels of the largest class probability.
        status: ``ok``, or why there is no mask.
        message: what is wrong with the image and how to put it right.
    """

    mask: npt.NDArray[np.uint8] | None
    legend: dict[int, str]
    scores: dict[str, float]
    coverage: dict[str, float]
    confidence: float
    status: str
    message: str

    def found(self) -> list[str]:
        """Names of the classes in the mask, the largest first, without what a few pixels show."""
        return found_classes(self.coverage)


class _Client(ABC):
    _place: str  # where the server is asked

    def __init__(self, max_image: int, max_request: int):
        self._max_image = max_image
        self._max_request = max_request

    def segment(self, images: Iterable[bytes | str | Path]) -> list[Segmentation]:
        """Masks of images, asked for in as few requests as the size limit allows.

        Args:
            images: JPEG or PNG files: their contents or their paths.

        Returns:
            One :class:`Segmentation` an image. A bad image has a status of its own, as has one
            that is larger than ``max_image`` bytes, which is not sent.

        Raises:
            ServingError: the server cannot be reached, refuses or answers nonsense.
            DataError: a file cannot be read.

        Example:

        >>> client = RestClient("http://localhost:8501", "cats")
        >>> client.segment(["photo.jpg"])[0].found()  # doctest: +SKIP
        ['cat']
        """
        contents = [_read(image) for image in images]
        answers: list[Segmentation | None] = [None] * len(contents)
        sent = []
        for number, content in enumerate(contents):
            if len(content) > self._max_image:
                answers[number] = self._too_large()
            else:
                sent.append(number)
        for numbers in _requests(sent, lambda number: len(contents[number]), self._max_request):
            rows = self._ask([contents[number] for number in numbers])
            if len(rows) != len(numbers):
                raise ServingError(f"{len(numbers)} images were sent, {len(rows)} answers came")
            for number, row in zip(numbers, rows, strict=True):
                answers[number] = _segmentation(row)
        return [answer for answer in answers if answer is not None]

    def wait(self, seconds: float) -> None:
        """Returns once the server answers: one that was just started has to load its models first.

        Args:
            seconds: until it is given up.

        Raises:
            ServingError: there was no answer.

        Example:

        >>> RestClient("http://localhost:8501", "cats").wait(60)  # doctest: +SKIP
        """
        end = time.monotonic() + seconds
        if (reason := self._absence()) and seconds:
            LOG.info("no server at %s yet (%s); waiting %g s", self._place, reason, seconds)
        while reason and time.monotonic() < end:
            time.sleep(FIRST_WAIT)
            reason = self._absence()
        if reason:
            raise ServingError(
                f"no server at {self._place} in {seconds:g} s ({reason}); start it (keras-wsss "
                "serve), or name another address"
            )

    @abstractmethod
    def version(self) -> int:
        """Number of the version of the model that answers.

        Raises:
            ServingError: as for :meth:`segment`.

        Example:

        >>> RestClient("http://localhost:8501", "cats").version()  # doctest: +SKIP
        1
        """

    @abstractmethod
    def _absence(self) -> str:
        """Why there is no connection to the server; empty where there is one."""

    @abstractmethod
    def _ask(self, contents: list[bytes]) -> list[dict[str, Any]]:
        """A dict of the signature's outputs for each image; strings as bytes."""

    def _too_large(self) -> Segmentation:
        message = f"more than {self._max_image} bytes, not sent; compress or shrink the image"
        return Segmentation(None, {}, {}, {}, 0.0, "too_many_bytes", message)


class RestClient(_Client):
    """Asks over REST.

    Args:
        url: of the server, e.g. ``http://localhost:8501``.
        model: its name there.
        version: None: the newest.
        timeout: seconds without an answer until the request is given up.
        tries: how often to ask while the server is busy (429, 503) or not there; what it has not
            answered in time is not asked again.
        max_image: bytes of an image file.
        max_request: bytes of the image files of a request.

    Example:

    >>> client = RestClient("http://localhost:8501", "cats")
    >>> client.segment(["photo.jpg"])[0].mask.shape  # doctest: +SKIP
    (48, 64)
    """

    def __init__(
        self,
        url: str,
        model: str,
        version: int | None = None,
        timeout: float = 60.0,
        tries: int = TRIES,
        max_image: int = MAX_IMAGE,
        max_request: int = MAX_REQUEST,
    ):
        super().__init__(max_image, max_request)
        requests, adapters, urllib3 = import_extra(
            "requests", "requests.adapters", "urllib3", extra="serving"
        )
        self._failures = (requests.RequestException,)
        self._absences = (requests.ConnectionError, requests.Timeout)
        self._get = requests.get
        self._place = url.rstrip("/")
        chosen = "" if version is None else f"/versions/{version}"
        self._url = f"{self._place}/v1/models/{model}{chosen}"
        self._timeout = timeout
        self._session = requests.Session()

        class Retry(urllib3.Retry):  # type: ignore[name-defined,misc]
            def increment(self, *arguments: Any, error: Any = None, **named: Any) -> Any:
                # The server is still at work on it; asking again would double its work.
                if isinstance(error, urllib3.exceptions.ReadTimeoutError):
                    raise error
                return super().increment(*arguments, error=error, **named)

        retry = Retry(
            total=tries - 1,
            status_forcelist=(429, 503),
            allowed_methods=None,  # POST as well: a prediction changes nothing
            backoff_factor=FIRST_WAIT,
            backoff_max=LONGEST_WAIT,
            backoff_jitter=FIRST_WAIT,
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapters.HTTPAdapter(max_retries=retry))

    def _absence(self) -> str:
        try:
            self._get(self._place, timeout=self._timeout)  # whatever it answers, once
        except self._absences as error:
            return _cause(error)
        except self._failures:  # a wrong address, of which asking will say what is wrong
            pass
        return ""

    def version(self) -> int:
        document = self._answer(self._session.get, f"{self._url}/metadata")
        try:
            return int(document["model_spec"]["version"])
        except (TypeError, KeyError, ValueError) as error:
            raise _nonsense(error) from error

    def _ask(self, contents: list[bytes]) -> list[dict[str, Any]]:
        rows = [{"image_bytes": {"b64": base64.b64encode(c).decode()}} for c in contents]
        body: dict[str, Any] = {"signature_name": SIGNATURE, "instances": rows}
        url = f"{self._url}:predict"
        document = self._answer(self._session.post, url, json=body)
        answers = document.get("predictions") if isinstance(document, dict) else None
        if not isinstance(answers, list):
            raise ServingError(f"{url} answers what is no prediction; is it TF Serving?")
        return [_with_bytes(row) for row in answers]

    def _answer(self, method: Callable[..., Any], url: str, **sent: Any) -> Any:
        """The JSON document of an answer, or None."""
        try:
            response = method(url, timeout=self._timeout, **sent)
        except self._failures as error:
            raise ServingError(
                f"no answer from {self._place} ({_cause(error)}); is the server running there?"
            ) from error
        try:
            document = response.json()
        except ValueError:
            document = None
        if response.status_code != 200:
            said = document.get("error") if isinstance(document, dict) else None
            raise ServingError(f"{url} answers {response.status_code}: {said or 'no reason'}")
        return document


class GrpcClient(_Client):
    """Asks over gRPC, which carries images as they are; needs TensorFlow.

    Args:
        target: ``HOST:PORT``.
        model: its name there.
        version: None: the newest.
        timeout: seconds until a request is given up, all tries together.
        tries: how often to ask while the server is busy or not there; gRPC makes 5 at most.
        max_image: bytes of an image file.
        max_request: bytes of the image files of a request.

    Example:

    >>> client = GrpcClient("localhost:8500", "cats")
    >>> client.segment(["photo.jpg"])[0].mask.shape  # doctest: +SKIP
    (48, 64)
    """

    def __init__(
        self,
        target: str,
        model: str,
        version: int | None = None,
        timeout: float = 60.0,
        tries: int = TRIES,
        max_image: int = MAX_IMAGE,
        max_request: int = MAX_REQUEST,
    ):
        super().__init__(max_image, max_request)
        grpc, tf, metadata, predict, service = import_extra(
            "grpc",
            "tensorflow",
            "tensorflow_serving.apis.get_model_metadata_pb2",
            "tensorflow_serving.apis.predict_pb2",
            "tensorflow_serving.apis.prediction_service_pb2_grpc",
            extra="serving",
        )
        self._failure = grpc.RpcError
        self._place = target
        self._timeout = timeout
        self._tensor, self._array = tf.make_tensor_proto, tf.make_ndarray
        self._empty_request = predict.PredictRequest()
        self._empty_request.model_spec.name = model
        self._empty_request.model_spec.signature_name = SIGNATURE
        if version is not None:
            self._empty_request.model_spec.version.value = version
        self._metadata_request = metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._metadata_request.model_spec.CopyFrom(self._empty_request.model_spec)
        retry = {
            "maxAttempts": tries,
            "initialBackoff": f"{FIRST_WAIT}s",
            "maxBackoff": f"{LONGEST_WAIT}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
        }
        config = {"methodConfig": [{"name": [{}], **({"retryPolicy": retry} if tries > 1 else {})}]}
        options = [
            ("grpc.service_config", json.dumps(config)),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            # What does not fit is not sent again.
            ("grpc.per_rpc_retry_buffer_size", 2 * max_request),
        ]
        channel = grpc.insecure_channel(target, options)
        self._stub = service.PredictionServiceStub(channel)
        self._ready = lambda: grpc.channel_ready_future(channel)
        self._not_ready = grpc.FutureTimeoutError

    def _absence(self) -> str:
        ready = self._ready()
        try:
            ready.result(timeout=FIRST_WAIT)
        except self._not_ready:
            ready.cancel()
            return "no connection"
        return ""

    def _ask(self, contents: list[bytes]) -> list[dict[str, Any]]:
        request = type(self._empty_request)()
        request.CopyFrom(self._empty_request)
        request.inputs["image_bytes"].CopyFrom(self._tensor(contents, "string", [len(contents)]))
        response = self._answer(self._stub.Predict, request)
        try:
            arrays = {name: self._array(value) for name, value in response.outputs.items()}
        except (TypeError, ValueError) as error:
            raise _nonsense(error) from error
        sizes = {len(array) if array.ndim else 0 for array in arrays.values()}
        if sizes != {len(contents)}:
            raise ServingError(f"{self._place} answers other than one row an image")
        return [{name: array[row] for name, array in arrays.items()} for row in range(sizes.pop())]

    def version(self) -> int:
        answer = self._answer(self._stub.GetModelMetadata, self._metadata_request)
        return int(answer.model_spec.version.value)

    def _answer(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except self._failure as error:
            raise ServingError(
                f"{self._place} answers {error.code().name}: {error.details()}"
            ) from error


def _read(image: bytes | str | Path) -> bytes:
    if isinstance(image, bytes):
        return image
    try:
        return Path(image).read_bytes()
    except OSError as error:
        raise DataError(f"{image} cannot be read: {error.strerror}") from error


def _requests(
    items: Sequence[Item], size: Callable[[Item], int], limit: int
) -> Iterator[list[Item]]:
    """Consecutive items together while their sizes sum up to no more than the limit, and they are
    no more than a request may have."""
    group: list[Item] = []
    total = 0
    for item in items:
        if group and (total + size(item) > limit or len(group) == MAX_ROWS):
            yield group
            group, total = [], 0
        group.append(item)
        total += size(item)
    if group:
        yield group


def _with_bytes(row: Any) -> dict[str, Any]:
    """An answer's row as gRPC gives it: JSON strings and base64 as bytes."""
    try:
        encoded = base64.b64decode(row["mask_png_bytes"]["b64"], validate=True)
        names = [name.encode() for name in row["class_names"]]
        texts = {key: row[key].encode() for key in ("status", "message")}
    except (TypeError, KeyError, AttributeError, binascii.Error) as error:
        raise _nonsense(error) from error
    return {**row, **texts, "mask_png_bytes": encoded, "class_names": names}


def _segmentation(row: dict[str, Any]) -> Segmentation:
    try:
        status = row["status"].decode()
        ids = [int(number) for number in row["class_ids"]]
        names = [name.decode() for name in row["class_names"]]
        by_score = dict(zip(ids, names, strict=True))
        legend = {number: by_score[number] for number in sorted(by_score)}
        scores = [float(score) for score in row["class_scores"]]
        coverage = [float(share) for share in row["coverage"]]
        return Segmentation(
            mask=_decode_mask(row["mask_png_bytes"]) if status == "ok" else None,
            legend=legend,
            scores=dict(zip(names, scores, strict=True)),
            coverage={name: coverage[number] for number, name in legend.items()},
            confidence=float(row["confidence"]),
            status=status,
            message=row["message"].decode(),
        )
    except (TypeError, KeyError, IndexError, ValueError, AttributeError, OSError) as error:
        raise _nonsense(error) from error


def _decode_mask(contents: bytes) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(contents)) as image:
            mask = np.asarray(image)
    # Pillow raises what it likes when a PNG file is damaged.
    except (SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(error) from error
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise ValueError("the mask is no palette image")
    return mask


def _nonsense(error: Exception) -> ServingError:
    return ServingError(
        f"the model's answer is not that of an exported segmentation model "
        f"({type(error).__name__}: {error}); was it exported with keras_wsss.export?"
    )


def _cause(error: BaseException) -> str:
    """The innermost reason, which requests wraps several times."""
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
