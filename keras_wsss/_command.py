"""What all commands share: arguments of a configuration, and errors without traceback."""

import logging
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


def run_command(command: Callable[[], object]) -> None:
    """Runs ``command()``; a user's error is printed as one message with exit status 2."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    logging.getLogger("absl").setLevel(logging.WARNING)
    try:
        command()
    except WSSSError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
