"""Both endpoints, the polling of the folder and the end, in one event loop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import uvicorn

from keras_wsss.errors import ServingError
from keras_wsss.export.serving.connections import Connection
from keras_wsss.export.serving.gate import Gate
from keras_wsss.export.serving.model_store import ModelStore, find_models
from keras_wsss.export.serving.options import Options, connections_with_files
from keras_wsss.export.serving.rest import rest_app
from keras_wsss.export.serving.rpc import rpc_server
from keras_wsss.export.serving.waiting_room import WaitingRoom

# Connections that are accepted at once, before the first of them can be closed for another.
BACKLOG = 128


@dataclass(frozen=True)
class Endpoints:
    """What is told of a server that has started.

    Attributes:
        models: their names.
        rest: URL.
        grpc: target, or None.
    """

    models: list[str]
    rest: str
    grpc: str | None


class _Server(uvicorn.Server):
    """Leaves signals alone: they end both endpoints."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    options: Options, started: Callable[[Endpoints], None], stop: asyncio.Event
) -> None:
    """Serves until ``stop`` is set; requests in flight are answered then.

    Args:
        options: how.
        started: called once both endpoints listen.
        stop: set by whoever wants the server to end.

    Raises:
        ServingError: no model, or a port that is taken.

    Example:

    >>> options = Options(Path("exported/saved_model"))
    >>> asyncio.run(serve(options, print, asyncio.Event()))  # doctest: +SKIP
    """
    store = find_models(options.folder)
    gate = Gate(options.running, options.waiting, options.max_held)
    connections = connections_with_files(options.max_connections)
    room = WaitingRoom(connections, options.max_held)
    listener = _listen(options.host, options.rest_port)
    address = f"[{options.host}]" if ":" in options.host else options.host
    rest = _Server(
        uvicorn.Config(
            rest_app(store, gate, options),
            http=partial(Connection, room, options),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_level="error",  # one warning for each wrong request would fill a disk
            backlog=min(BACKLOG, connections),
            timeout_keep_alive=round(options.seconds_idle),
            timeout_graceful_shutdown=round(options.grace_seconds),
        )
    )
    rpc = rpc_server(store, gate, options, connections)
    target = None
    if options.grpc_port is not None:
        try:
            target = f"{address}:{rpc.add_insecure_port(f'{address}:{options.grpc_port}')}"
        except RuntimeError as error:
            listener.close()
            raise _taken(options.host, options.grpc_port, error) from None
    await rpc.start()
    endpoint = asyncio.create_task(rest.serve(sockets=[listener]))
    polling = asyncio.create_task(_poll(store, options.poll_seconds))
    started(Endpoints(store.names(), f"http://{address}:{listener.getsockname()[1]}", target))
    await stop.wait()
    polling.cancel()
    rest.should_exit = True
    await asyncio.gather(endpoint, rpc.stop(options.grace_seconds))


async def serve_until_signal(options: Options, started: Callable[[Endpoints], None]) -> None:
    """Serves until SIGTERM or SIGINT (:func:`serve`)."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(options, started, stop)


async def _poll(store: ModelStore, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(store.keep_polling)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise _taken(host, port, error) from None


def _taken(host: str, port: int, error: Exception) -> ServingError:
    return ServingError(f"cannot listen at {host}, port {port} ({error}); choose another port")
