"""Who may come in: a bounded number of requests for both endpoints together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc


class RequestError(Exception):
    """A request that is not answered; the code is that of gRPC, which REST translates.

    Args:
        code: ``grpc.StatusCode``.
        message: for whoever sent the request.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


def invalid(message: str) -> RequestError:
    """A request that is wrong in itself."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


class Gate:
    """Requests that are held in memory: ``running`` at once, ``waiting`` behind them, no more.

    Args:
        running: threads that answer requests.
        waiting: requests that may wait, or are still being received.

    Example:

    >>> gate = Gate(running=2, waiting=32)
    >>> gate.enter()  # then `answer = await gate.run(predict, request)`
    """

    def __init__(self, running: int, waiting: int):
        self._threads = ThreadPoolExecutor(running, thread_name_prefix="predict")
        self.places = running + waiting
        self._free = threading.Semaphore(self.places)

    def enter(self) -> None:
        """Takes a place; :meth:`run` or :meth:`leave` gives it back.

        Raises:
            RequestError: all are taken.
        """
        if not self._free.acquire(blocking=False):
            raise RequestError(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests; try again in a moment"
            )

    def leave(self) -> None:
        """Gives back a place whose request never ran."""
        self._free.release()

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function(*arguments)`` in a thread. The place is given back when the thread is done
        with it, which may be after a caller without patience has gone."""
        future = self._threads.submit(function, *arguments)
        future.add_done_callback(lambda _: self._free.release())
        return await asyncio.wrap_future(future)
