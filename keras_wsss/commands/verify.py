"""Checks that the files of an exported model are those that were written."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from keras_wsss._command import show
from keras_wsss.checksums import SUMS, check_sums
from keras_wsss.errors import WeightsError

HELP = "check the files of an exported model or preset"
EXAMPLES = """\
  keras-wsss verify exported/weights/photos
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="holds SHA256SUMS, or what does")


def run(options: Namespace) -> None:
    """Compares every file with its checksum."""
    found = sorted(options.folder.rglob(SUMS))
    if not found:
        raise WeightsError(f"{options.folder}: holds no {SUMS}; there is nothing to compare with")
    for file in found:
        check_sums(file.parent)
    folders = [str(file.parent) for file in found]
    show(options, {"intact": folders}, [f"intact  {folder}" for folder in folders])
