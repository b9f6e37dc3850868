"""Scores a trained run, also on another list of images (--set data.val_list=NAME)."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from keras_wsss._command import add_override_argument, import_tensorflow, several, show
from keras_wsss.commands._tables import score_table
from keras_wsss.config import load_run_config
from keras_wsss.errors import ConfigError

HELP = "score a trained run"
OF_A_SCORE = "data.", "evaluation.", "heads.tag_cut"
EXAMPLES = """\
  keras-wsss evaluate --run runs/photos
  keras-wsss evaluate --run runs/photos --scales 0.75,1,1.25 --flip
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("--run", required=True, help="folder of a trained run")
    add_override_argument(parser)
    parser.add_argument(
        "--scales", type=several, help="test-time scales; the first is the reference grid"
    )
    parser.add_argument("--flip", action="store_true", default=None, help="average with mirror")
    parser.add_argument("-o", "--output", type=Path, help="also write the scores to this JSON file")


def run(options: Namespace) -> None:
    """Scores, and shows or writes the scores."""
    for override in options.overrides:
        if not override.startswith((*OF_A_SCORE, "stages.")):
            raise ConfigError(
                f"--set {override}: is of the training, which is over; of a score one may set "
                f"{', '.join(OF_A_SCORE)}"
            )
    config = load_run_config(options.run, options.overrides)
    if options.output:
        _check_output(options.output)
    import_tensorflow()
    from keras_wsss.inference.evaluate_run import evaluate_run

    scores = evaluate_run(
        options.run, config, options.scales, options.flip, verbose=not options.quiet
    )
    show(options, scores, score_table(scores))  # first, since a disk can be full
    if options.output:
        try:
            options.output.write_text(json.dumps(scores, indent=2) + "\n")
        except OSError as error:
            raise ConfigError(
                f"-o {options.output}: cannot be written ({error.strerror})"
            ) from error


def _check_output(path: Path) -> None:
    """Makes its folder; raises ConfigError where the scores could not be written there."""
    if path.is_dir():
        raise ConfigError(f"-o {path}: is a folder; name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"-o {path}: may not be written; name another file")
