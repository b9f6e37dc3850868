"""Writes masks, overlays and a table of photographs that a trained model segments."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from rich.progress import track

from keras_wsss._command import bounded, import_tensorflow, several, show
from keras_wsss.photographs import find_photographs

HELP = "masks and overlays of new photographs"
EXAMPLES = """\
  keras-wsss predict --run runs/photos new_photos/ -o masks
  keras-wsss predict --run runs/photos "new/*.jpg" other.png -o masks --scales 0.75,1,1.25 --flip
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "--run", required=True, type=Path, help="folder of a run or preset, or .keras file"
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="image, folder (with all in it), pattern, or .txt file that names such",
    )
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder to write to")
    parser.add_argument("--scales", type=several, default=[1.0], help="test-time scales (1)")
    parser.add_argument("--flip", action="store_true", help="average with the mirror image")
    parser.add_argument("--crf", action="store_true", help="sharpen with a dense CRF (extra crf)")
    parser.add_argument(
        "--threshold",
        type=bounded(0, 1, float),
        metavar="SCORE",
        help="leave out classes whose image score is below (that of the training, heads.tag_cut)",
    )
    parser.add_argument(
        "--batch", type=bounded(1), default=1, help="photographs of one size at once (1)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="begin anew where there are predictions already"
    )


def run(options: Namespace) -> int:
    """Predicts; 1 where photographs could not be read."""
    photographs = find_photographs(options.sources)
    import_tensorflow()
    from keras_wsss.inference.predict import predict_files

    result = predict_files(
        options.run,
        photographs,
        options.output,
        scales=options.scales,
        flip=options.flip,
        crf=options.crf,
        threshold=options.threshold,
        batch=options.batch,
        overwrite=options.overwrite,
        progress=lambda todo: track(todo, "segmenting", disable=options.quiet),
    )
    show(
        options,
        result,
        [
            f"{result['written']} photographs segmented"
            + (f", {result['kept']} done before" if result["kept"] else ""),
            *(f"left out: {each['reason']}" for each in result["failed"]),
            f"look at   {options.output}/index.html",
            f"masks     {options.output}/masks",
            f"table     {options.output}/predictions.csv",
        ],
    )
    return 1 if result["failed"] else 0
