"""Asks a served model for the masks of photographs, over REST or gRPC."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from keras_wsss._command import bounded, show
from keras_wsss.errors import DataError
from keras_wsss.export.client import MAX_IMAGE, GrpcClient, RestClient
from keras_wsss.output import check_own_folder
from keras_wsss.photographs import find_photographs
from keras_wsss.pictures import save_mask_and_overlay

HELP = "ask a server for the masks of photographs"
EXAMPLES = """\
  keras-wsss ask --model photos photo.jpg -o answers
  keras-wsss ask --model photos --grpc localhost:8500 new_photos/ -o answers
"""
ROWS = "predictions.jsonl"


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


def run(options: Namespace) -> int:
    """Asks, and writes masks and overlays; 1 where the model refused a photograph."""
    photographs = find_photographs(options.sources)
    check_own_folder(options.output, ROWS)
    client = (
        GrpcClient(options.grpc, options.model, max_image=options.max_bytes)
        if options.grpc
        else RestClient(options.url, options.model, max_image=options.max_bytes)
    )
    client.wait(options.wait)
    rows: list[dict[str, Any]] = []
    lines = []

    def add(row: dict[str, Any]) -> None:
        options.output.mkdir(parents=True, exist_ok=True)
        with (options.output / ROWS).open("a" if rows else "w", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        rows.append(row)

    for photograph in photographs:
        try:
            (answer,) = client.segment([photograph.path])
        except DataError as error:
            add({"path": str(photograph.path), "status": "unreadable"})
            lines.append(str(error))
            continue
        row = {"path": str(photograph.path), "status": answer.status}
        if answer.mask is None:
            add({**row, "message": answer.message})
            lines.append(f"{photograph.shown}: {answer.status}: {answer.message}")
            continue
        image = _displayed(photograph.path)
        found = {name: answer.coverage[name] for name in answer.found()}
        # First, since it tells the folder of an interrupted command.
        add({**row, "coverage": found, "confidence": answer.confidence})
        save_mask_and_overlay(image, answer.mask, answer.legend, options.output, photograph.name)
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.items())
        shares = shares or "nothing but background"
        lines.append(f"{photograph.shown}: {shares}; confidence {answer.confidence:.2f}")
    show(options, rows, [*lines, f"masks and overlays are in {options.output}"])
    return 0 if all(row["status"] == "ok" for row in rows) else 1


def _displayed(path: Path) -> np.ndarray:
    """The pixels of a photograph as the model has seen it, uint8 `[H,W,3]`."""
    try:
        with Image.open(path) as photo:
            # As the model does: only cameras' files say how they are to be turned.
            shown = ImageOps.exif_transpose(photo) if photo.format == "JPEG" else photo
            return np.asarray(shown.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read for the overlay: {error}") from error
