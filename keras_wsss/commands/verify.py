"""Checks that a run gives the scores it has stored, or that the files of an export are whole."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from keras_wsss._command import import_tensorflow, show
from keras_wsss.checksums import SUMS, check_sums
from keras_wsss.errors import WeightsError

HELP = "score a run again and compare, or check the files of an exported model or preset"
EXAMPLES = """\
  keras-wsss verify runs/photos
  keras-wsss verify exported/weights/photos
"""
SHOWN = 100  # characters of a value


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="a run, or what holds SHA256SUMS somewhere in it"
    )


def run(options: Namespace) -> int:
    """Compares; 1 where a run differs from what it has stored."""
    if (options.folder / "config.yaml").is_file():
        return _verify_run(options)
    found = sorted(options.folder.rglob(SUMS))
    if not found:
        raise WeightsError(
            f"{options.folder}: is no run and holds no {SUMS}; there is nothing to compare with"
        )
    for file in found:
        check_sums(file.parent)
    folders = [str(file.parent) for file in found]
    show(options, {"intact": folders}, [f"intact  {folder}" for folder in folders])
    return 0


def _verify_run(options: Namespace) -> int:
    import_tensorflow()
    from keras_wsss.inference.verify_run import verify_run

    result = verify_run(options.folder, verbose=not options.quiet)
    different = result["different"]
    lines = [
        f"different  {name}: stored {stored!s:.{SHOWN}}, found {found!s:.{SHOWN}}"
        for name, (stored, found) in different.items()
    ]
    lines += [f"equal      {name}" for name in result["compared"] if name not in different]
    count = f"{len(result['compared'])} compared, {len(different)} different"
    show(options, result, [*lines, f"{options.folder}: {count}"])
    return 1 if different else 0
