"""How to serve, and what clients may ask for."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

from keras_wsss.export.metadata import MAX_ROWS


@dataclass(frozen=True)
class Options:
    """How to serve, and what clients may ask for.

    Attributes:
        folder: of a model or of models.
        host: address to listen at.
        rest_port, grpc_port: 0: a free one; None: no gRPC.
        running, waiting: requests, see :class:`~keras_wsss.export.serving.gate.Gate`.
        max_body: bytes of a request.
        max_rows: of a request, images in it. A row may be two bytes long and still takes the model
            half a millisecond: 60,000 empty images in 180 kB took 39 seconds. 1,024 photographs of
            24 kB fill the largest request.
        max_answer: bytes of an answer. The scores of one photograph for 20 classes are 220 MB of
            JSON, which takes six times as much memory while it is written.
        max_held: bytes of all requests that are being received and of all answers that are not yet
            taken, at each endpoint; and of all requests that wait at the gate. How much of a gRPC
            message has arrived is not known: as many as have places may be on their way.
        max_connections: at each endpoint, see :func:`connections_with_files`. Some dozens of
            requests have places; the others may keep a connection open.
        poll_seconds: between two looks for new versions.
        grace_seconds: that requests in flight have when the server is told to stop.
        seconds_idle: until the first byte of a request. Longer than clients and proxies keep an
            unused connection (a minute or less, most of them): when the server closes first, a
            request that is on its way just then is lost.
        seconds_head: from the first byte of a request to the last of its headers.
        seconds_body: from there to its last byte.
        seconds_answer: to take an answer over HTTP.
        seconds_connection: after which a gRPC connection gets no more requests; those that run have
            as long again.
    """

    folder: Path
    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int | None = None
    running: int = 2
    waiting: int = 64
    max_body: int = 32 * 2**20
    max_rows: int = MAX_ROWS
    max_answer: int = 256 * 2**20
    max_held: int = 512 * 2**20
    max_connections: int = 1000
    poll_seconds: float = 1.0
    grace_seconds: float = 30.0
    seconds_idle: float = 75.0
    seconds_head: float = 20.0
    seconds_body: float = 60.0
    seconds_answer: float = 60.0
    seconds_connection: float = 300.0


def connections_with_files(wanted: int) -> int:
    """As many connections an endpoint as wanted, or as the limit of open files leaves.

    A quarter of it for each of the two; the rest is for models, for what is answered just then and
    for what is accepted before another one is closed.

    Example:

    >>> connections_with_files(5)
    5
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if files == resource.RLIM_INFINITY else max(1, min(wanted, files // 4))
