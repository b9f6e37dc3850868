"""``keras-wsss labels``: a run's labels in the format of an annotation tool."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from keras_wsss._command import add_override_argument, bounded
from keras_wsss.config import load_run_config
from keras_wsss.registry import LABEL_FORMATS
from keras_wsss.run_folder import LABEL_MANIFEST, check_new_folder

HELP = "write pseudo labels or predictions for an annotation tool"
EPILOG = """\
examples:
  keras-wsss labels --run runs/photos --format label-studio -o to_correct
  keras-wsss labels --run runs/photos --format cvat --limit 50 -o to_correct
  keras-wsss labels --run runs/photos --format coco --list val --kind prediction -o predicted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("--run", required=True, help="folder of a trained run")
    parser.add_argument(
        "--format",
        required=True,
        choices=tuple(LABEL_FORMATS),
        metavar="FORMAT",
        help=", ".join(LABEL_FORMATS),
    )
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder to make")
    parser.add_argument(
        "--list", choices=("train", "val"), default="train", help="photographs to label (train)"
    )
    parser.add_argument(
        "--kind",
        choices=("pseudo", "prediction"),
        default="pseudo",
        help="labels from CAM and tags, or what the network sees without tags (pseudo)",
    )
    parser.add_argument(
        "--limit",
        type=bounded(1),
        metavar="N",
        help="only the N photographs whose labels are the most uncertain (all)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the labels that the folder holds"
    )
    add_override_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Writes the labels.

    Returns:
        The exit status, 0.

    Raises:
        WSSSError: something the user can put right.
    """
    config = load_run_config(options.run, options.overrides)
    check_new_folder(options.output, LABEL_MANIFEST, options.overwrite)
    from keras_wsss.inference.label_photos import export_labels

    manifest = export_labels(
        options.run,
        options.format,
        options.output,
        config=config,
        part=options.list,
        kind=options.kind,
        limit=options.limit,
        overwrite=options.overwrite,
    )
    if getattr(options, "json", False):
        print(json.dumps({"output": str(options.output), **manifest}, ensure_ascii=False))
    else:
        print(_report(options.output.resolve(), manifest))
    return 0


def _report(output: Path, manifest: dict[str, Any]) -> str:
    """A short table, what was written, and how the tool loads it."""
    used = "made with their tags" if manifest["tags_used"] else "without tags"
    rows = [("class", "photographs"), *manifest["images_with"].items()]
    width = max(len(name) for name, _ in rows)
    return "\n".join(
        [
            *(f"{name:{width}}  {count:>11}" for name, count in rows),
            "",
            f"{manifest['images']} photographs of {manifest['list']}, labels {used}: {output}",
            f"The most uncertain first, as in {output / 'order.csv'}",
            f"Next: {LABEL_FORMATS[manifest['format']].next_step.format(folder=output)}",
        ]
    )
