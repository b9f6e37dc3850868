"""Writes one HTML file about runs: scores, curves, classes, and the images to look at."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from keras_wsss._command import import_tensorflow, show
from keras_wsss.config import load_run_config

HELP = "one page about a run, or several side by side"
EXAMPLES = """\
  keras-wsss report runs/photos
  keras-wsss report runs/photos_bmp runs/photos_tscd -o comparison.html
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a trained run")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="page to write (default: report.html in the run; of several, in this folder)",
    )


def run(options: Namespace) -> None:
    """Writes the page."""
    for each in options.runs:
        load_run_config(each)  # what is no run is said before TensorFlow is imported
    import_tensorflow()
    from keras_wsss.inference.report import write_report

    result = write_report(options.runs, options.output, verbose=not options.quiet)
    show(options, result, [f"look at   {result['report']} ({result['megabytes']} MB)"])
