"""Asks a served model for the masks of photographs, over REST or gRPC."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_wsss._command import bounded, show
from keras_wsss.data.files import upright
from keras_wsss.data.orientation import file_orientation
from keras_wsss.data.photos.readable import readable
from keras_wsss.errors import DataError
from keras_wsss.export.client import MAX_IMAGE, GrpcClient, RestClient
from keras_wsss.mask_folder import MaskFolder
from keras_wsss.photographs import Photograph, find_photographs
from keras_wsss.pictures import save_mask_and_overlay

HELP = "ask a server for the masks of photographs"
EXAMPLES = """\
  keras-wsss ask --model photos photo.jpg -o answers
  keras-wsss ask --model photos --grpc localhost:8500 new_photos/ -o answers
"""
KIND = "answers"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="image, folder, pattern, or .txt list of such"
    )
    parser.add_argument("--model", required=True, help="its name on the server")
    parser.add_argument("--url", default="http://localhost:8501", help="REST, of the server")
    parser.add_argument("--grpc", metavar="HOST:PORT", help="ask over gRPC instead")
    parser.add_argument(
        "--max-bytes", type=bounded(1), default=MAX_IMAGE, help=f"of a file ({MAX_IMAGE})"
    )
    parser.add_argument(
        "--wait",
        type=bounded(0, kind=float),
        default=60.0,
        metavar="SECONDS",
        help="for a server that is not ready yet, at most (60)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("answers"), help="folder to write to (answers)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="begin anew where there are answers already"
    )


def run(options: Namespace) -> int:
    """Asks, and writes masks and overlays; 1 where there is no mask of a photograph."""
    photographs = find_photographs(options.sources)
    client = (
        GrpcClient(options.grpc, options.model, max_image=options.max_bytes)
        if options.grpc
        else RestClient(options.url, options.model, max_image=options.max_bytes)
    )
    client.wait(options.wait)
    settings = {
        "server": options.grpc or options.url,
        "model": options.model,
        "version": client.version(),
    }
    folder = MaskFolder(options.output, KIND, settings, options.overwrite)
    todo = folder.todo(photographs)
    folder.begin(todo)
    with folder.interruptible(photographs):
        for photograph in todo:
            folder.add(photograph, _ask(client, photograph, folder.path))
    rows = [folder.rows[str(each.path)] for each in photographs]
    lines = [_line(each, row) for each, row in zip(photographs, rows, strict=True)]
    if kept := len(photographs) - len(todo):
        lines.append(f"{kept} of these were answered before")
    show(options, rows, [*lines, f"masks and overlays are in {options.output}"])
    return 0 if all(row["status"] == "ok" for row in rows) else 1


def _ask(client: GrpcClient | RestClient, photograph: Photograph, folder: Path) -> dict[str, Any]:
    """Asks for the mask of a photograph and writes it; what the row says of it."""
    try:
        with readable(photograph.path) as file:
            (answer,) = client.segment([file])
            if answer.mask is None:
                return {"status": answer.status, "message": answer.message}
            image = _displayed(file)
    except DataError as error:
        return {"status": "unreadable", "message": str(error)}
    save_mask_and_overlay(image, answer.mask, answer.legend, folder, photograph.name)
    found = {name: answer.coverage[name] for name in answer.found()}
    return {"status": answer.status, "coverage": found, "confidence": answer.confidence}


def _line(photograph: Photograph, row: dict[str, Any]) -> str:
    if row["status"] == "unreadable":
        return str(row["message"])  # which names the file
    if row["status"] != "ok":
        return f"{photograph.shown}: {row['status']}: {row['message']}"
    shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in row["coverage"].items())
    shares = shares or "nothing but background"
    return f"{photograph.shown}: {shares}; confidence {row['confidence']:.2f}"


def _displayed(path: Path) -> np.ndarray:
    """The pixels of a photograph as the model has seen it, uint8 `[H,W,3]`."""
    try:
        with Image.open(path) as photo:
            stored = np.asarray(photo.convert("RGB"))
        orientation = file_orientation(str(path))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read for the overlay: {error}") from error
    return np.dstack([upright(plane, orientation) for plane in np.moveaxis(stored, -1, 0)])
