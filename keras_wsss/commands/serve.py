"""Serves exported models on this machine: a stand-in for TF Serving.

For development and tests. Production is TF Serving: this server has neither batching nor labels
nor monitoring, and no comparison with a running TF Serving has been made.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from keras_wsss._command import bounded, import_tensorflow
from keras_wsss.export.files import import_extra
from keras_wsss.export.metadata import MAX_ROWS

if TYPE_CHECKING:
    from keras_wsss.export.serving.server import Endpoints

BANNER = """\
keras_wsss local server, for development and tests.
Production is TF Serving, which loads the same folder. Written after its documented REST and gRPC
interfaces; never compared with a running TF Serving."""


HELP = "serve exported models on this machine"
EXAMPLES = """\
  keras-wsss serve exported/saved_model
  keras-wsss serve exported/saved_model --rest-port 9000 --grpc-port 9001
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="NAME, which holds NAME/1 ..., or what holds NAME"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    port = bounded(0, 65535)
    parser.add_argument("--rest-port", type=port, default=8501, help="0: a free one")
    parser.add_argument("--grpc-port", type=port, help="0: a free one; not given: no gRPC")
    parser.add_argument(
        "--max-concurrent",
        type=bounded(1),
        default=os.cpu_count() or 1,
        metavar="N",
        help="requests that run at once",
    )
    parser.add_argument(
        "--max-waiting",
        type=bounded(0),
        default=64,
        metavar="N",
        help="requests that wait behind them; more are refused (429, RESOURCE_EXHAUSTED)",
    )
    parser.add_argument(
        "--max-body-mb", type=bounded(1), default=32, metavar="MB", help="of a request, in MiB"
    )
    parser.add_argument(
        "--max-rows",
        type=bounded(1),
        default=MAX_ROWS,
        metavar="N",
        help="images in a request (400, INVALID_ARGUMENT)",
    )
    parser.add_argument(
        "--max-answer-mb", type=bounded(1), default=256, metavar="MB", help="of an answer, in MiB"
    )
    parser.add_argument(
        "--max-connections",
        type=bounded(1),
        default=1000,
        metavar="N",
        help="at each endpoint, and no more than a quarter of the files that may be open",
    )
    parser.add_argument(
        "--poll-seconds",
        type=bounded(0.01, kind=float),
        default=1.0,
        help="between two looks for new versions",
    )


def run(options: argparse.Namespace) -> None:
    """Serves until SIGTERM or SIGINT."""
    import_tensorflow()
    (server,) = import_extra("keras_wsss.export.serving.server", extra="serving")
    asyncio.run(
        server.serve_until_signal(
            server.Options(
                folder=options.folder,
                host=options.host,
                rest_port=options.rest_port,
                grpc_port=options.grpc_port,
                running=options.max_concurrent,
                waiting=options.max_waiting,
                max_body=options.max_body_mb * 2**20,
                max_rows=options.max_rows,
                max_answer=options.max_answer_mb * 2**20,
                max_held=2 * max(options.max_body_mb, options.max_answer_mb) * 2**20,
                max_connections=options.max_connections,
                poll_seconds=options.poll_seconds,
            ),
            _announce,
        )
    )


def _announce(endpoints: Endpoints) -> None:
    print(BANNER)
    print(f"page  {endpoints.rest}/", flush=True)
    for name in endpoints.models:
        print(f"REST  {endpoints.rest}/v1/models/{name}", flush=True)
        if endpoints.grpc:
            print(f"gRPC  {endpoints.grpc}  model {name}", flush=True)
    print("ready", flush=True)
