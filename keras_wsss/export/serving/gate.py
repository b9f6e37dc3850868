"""Who may come in: a bounded number of requests for both endpoints together."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from keras_wsss.errors import one_line

LOG = logging.getLogger(__name__)
LONGEST_MESSAGE = 1000  # of an error; names in a request can have megabytes, gRPC's headers 8 kB


class RequestError(Exception):
    """A request that is not answered; the code is that of gRPC, which REST translates.

    Args:
        code: ``grpc.StatusCode``.
        message: for whoever sent the request.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message[:LONGEST_MESSAGE])
        self.code = code


def invalid(message: str) -> RequestError:
    """A request that is wrong in itself."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def check_rows(count: int, most: int) -> None:
    """Refuses a request with more rows than that, which costs nothing before they are decoded.

    Raises:
        RequestError: there are more.
    """
    if count > most:
        raise invalid(f"a request may have {most} rows, not {count}; send several requests")


def check_answer(size: int, most: int) -> None:
    """Refuses an answer of more bytes than that, which costs little before they are written.

    Raises:
        RequestError: there are more.
    """
    if size > most:
        raise invalid(
            f"an answer may have {most} bytes, not {size}; send fewer or smaller images, or serve "
            "with a larger --max-answer-mb"
        )


def refusal_of(error: Exception) -> RequestError:
    """What a client is told of an error, whichever it is.

    One that nobody has foreseen is the server's: a line of the log, with a traceback at the level
    ``DEBUG``, so that who can provoke it cannot fill a disk.

    Example:

    >>> str(refusal_of(ZeroDivisionError("by 0")))
    'ZeroDivisionError: by 0'
    """
    if isinstance(error, RequestError):
        return error
    refusal = RequestError(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {one_line(error)}")
    LOG.error("a request failed: %s", refusal)
    LOG.debug("", exc_info=error)
    return refusal


class Gate:
    """Requests that have arrived: ``running`` at once, ``waiting`` behind them, no more.

    Args:
        running: threads that answer requests.
        waiting: requests that may wait.
        max_held: bytes of all of them.

    Example:

    >>> gate = Gate(running=2, waiting=32, max_held=2**29)
    >>> answer = await gate.run(predict, request, size=len(request))  # doctest: +SKIP
    """

    def __init__(self, running: int, waiting: int, max_held: int):
        self._threads = ThreadPoolExecutor(running, thread_name_prefix="predict")
        self.places = running + waiting
        self._max_held = max_held
        self._sizes: list[int] = []
        self._lock = threading.Lock()

    async def run(self, function: Callable[..., Any], *arguments: Any, size: int) -> Any:
        """``function(*arguments)`` in a thread.

        The place is given back when the thread is done with it, which may be after a caller without
        patience has gone.

        Args:
            function, arguments: what answers the request.
            size: bytes of the request.

        Raises:
            RequestError: all places are taken.
        """
        with self._lock:
            if len(self._sizes) == self.places or sum(self._sizes) + size > self._max_held:
                raise RequestError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests; try again in a moment"
                )
            self._sizes.append(size)
        future = self._threads.submit(function, *arguments)
        future.add_done_callback(lambda _: self._leave(size))
        return await asyncio.wrap_future(future)

    def _leave(self, size: int) -> None:
        with self._lock:
            self._sizes.remove(size)
