"""Writes labels of a run's photographs in the format of an annotation tool, to be corrected.

The photographs whose labels are the most uncertain come first.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from keras_wsss._command import add_override_argument, bounded, import_tensorflow, show
from keras_wsss.config import load_run_config
from keras_wsss.errors import InterruptionError
from keras_wsss.output import check_new_folder
from keras_wsss.registry import LABEL_FORMATS
from keras_wsss.run_folder import LABEL_MANIFEST

HELP = "labels for an annotation tool"
EXAMPLES = """\
  keras-wsss labels --run runs/photos --format label-studio -o to_correct
  keras-wsss labels --run runs/photos --format cvat --limit 50 -o to_correct
  keras-wsss labels --run runs/photos --format coco --list val --kind prediction -o predicted
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
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


def run(options: Namespace) -> None:
    """Writes the labels."""
    config = load_run_config(options.run, options.overrides)
    check_new_folder(options.output, LABEL_MANIFEST, options.overwrite)
    import_tensorflow()
    from keras_wsss.inference.label_photos import export_labels

    try:
        manifest = export_labels(
            options.run,
            options.format,
            options.output,
            config=config,
            part=options.list,
            kind=options.kind,
            limit=options.limit,
            overwrite=options.overwrite,
            verbose=not options.quiet,
        )
    except KeyboardInterrupt:
        raise InterruptionError(
            "interrupted, nothing is written; the same command begins anew"
        ) from None
    folder = options.output.resolve()
    rows = [("class", "photographs"), *manifest["images_with"].items()]
    width = max(len(name) for name, _ in rows)
    tags = "made with their tags" if manifest["tags_used"] else "without tags"
    show(
        options,
        {"output": str(folder), **manifest},
        [
            *(f"{name:{width}}  {count:>11}" for name, count in rows),
            f"{manifest['images']} photographs of {manifest['list']}, labels {tags}",
            f"labels    {folder}",
            f"order     {folder}/order.csv, the most uncertain first",
            f"next      {LABEL_FORMATS[options.format].next_step.format(folder=folder)}",
        ],
    )
