"""What all commands share: arguments, results, and errors without traceback."""

import argparse
import importlib
import json
import logging
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterable

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


def several(text):
    """An ``argparse`` type: numbers with commas between them, e.g. ``0.75,1,1.25``."""
    return [float(number) for number in text.split(",")]


def show(options: argparse.Namespace, result: object, lines: Iterable[str]) -> None:
    """Prints a result: as JSON where ``--json`` asks for it, else the lines for people."""
    print(json.dumps(result, indent=2, ensure_ascii=False) if options.json else "\n".join(lines))


def run_command(
    command: Callable[[], int | None], *, debug: bool = False, quiet: bool = False
) -> None:
    """Runs ``command()``, whose result is the exit code; an error is one message.

    Args:
        command: returns 0 or None where all is well.
        debug: show tracebacks, and what TensorFlow prints.
        quiet: warnings only.
    """
    level = logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s")
    logging.getLogger().setLevel(level)
    for noisy in ("absl", "tf2onnx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it tells of every further try
    if not debug:
        os.environ.setdefault(NATIVE_LEVEL, "3")
    try:
        code = command()
    except WSSSError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except OSError as error:
        if debug or error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if debug:
            raise
        name = type(error).__name__
        print(f"internal error: {name}: {error}; --debug shows where", file=sys.stderr)
        code = 3
    if code:
        raise SystemExit(code)


NATIVE_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def import_tensorflow() -> None:
    """Imports TensorFlow, whose libraries print what reads like failures where there is no GPU.

    They do so whatever level is asked for, so what they print while they are loaded is kept back.
    """
    if os.environ.get(NATIVE_LEVEL) != "3":
        importlib.import_module("tensorflow")
        return
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            importlib.import_module("keras")  # which imports TensorFlow
        except BaseException:
            sink.seek(0)
            os.write(stderr, sink.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
