"""What all commands share: arguments of a configuration, and errors without traceback."""

import argparse
import logging
import math
import sys
from collections.abc import Callable

from keras_wsss.errors import WSSSError


def add_override_argument(parser):
    """Adds the repeatable ``--set key.path=value``."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override a key of the configuration, e.g. data.root=photos (repeatable)",
    )


def bounded(least, most=math.inf, kind=int):
    """An ``argparse`` type: numbers of a ``kind`` between two that are allowed themselves."""

    def parse(text):
        value = kind(text)
        if not least <= value <= most:
            limits = f"{least} or more" if most == math.inf else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"{text}: allowed: {limits}")
        return value

    parse.__name__ = kind.__name__  # argparse names it when the text is no number
    return parse


def run_command(command: Callable[[], object]) -> None:
    """Runs ``command()``; a user's error is printed as one message with exit status 2."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    logging.getLogger("absl").setLevel(logging.WARNING)
    try:
        command()
    except WSSSError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
