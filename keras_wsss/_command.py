"""What all commands share: arguments, results, and errors without traceback."""

import _thread
import argparse
import importlib
import json
import logging
import math
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from keras_wsss.errors import InterruptionError, WSSSError, one_line


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
    """An ``argparse`` type: numbers above 0 with commas between them, e.g. ``0.75,1,1.25``."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < number < math.inf for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r}: allowed: numbers above 0, e.g. 0.75,1,1.25")
    return numbers


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
    if not debug:
        os.environ.setdefault(NATIVE_LEVEL, "3")
        for library, least in LEAST_SAID.items():
            logging.getLogger(library).setLevel(least)
    try:
        with warnings.catch_warnings(), _no_interruption_lost():
            if not debug:  # those of libraries; what a user should know is logged
                warnings.simplefilter("ignore")
            code = command()
    except WSSSError as error:
        if debug:
            raise
        print(error if isinstance(error, InterruptionError) else f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except OSError as error:
        if debug:
            raise
        print(f"error: {_what_failed(error)}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if debug:
            raise
        said = one_line(f"{type(error).__name__}: {error}")
        print(f"internal error: {said}; --debug shows where", file=sys.stderr)
        code = 3
    if code:
        raise SystemExit(code)


@contextmanager
def _no_interruption_lost() -> Iterator[None]:
    """Ctrl-C comes again where Python passes over it, as in a callback of garbage collection."""
    before = sys.unraisablehook

    def again(lost: "sys.UnraisableHookArgs") -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            threading.Timer(0.1, _thread.interrupt_main).start()  # when the callback is over
        else:
            before(lost)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before


def _what_failed(error: OSError) -> str:
    reason = one_line(error.strerror or str(error) or type(error).__name__)
    if error.filename is None:
        return f"{reason}; --debug shows where"
    return f"{error.filename}: {reason}"


NATIVE_LEVEL = "TF_CPP_MIN_LOG_LEVEL"

# Libraries that tell more than a user can use -> the least that is passed on.
LEAST_SAID = {
    "absl": logging.ERROR,
    "tensorflow": logging.ERROR,
    "tf2onnx": logging.ERROR,
    "urllib3": logging.ERROR,
}


def import_tensorflow() -> None:
    """Imports TensorFlow, whose libraries print what reads like failures where there is no GPU."""
    with native_output_kept_back():
        importlib.import_module("keras")  # which imports TensorFlow


@contextmanager
def native_output_kept_back() -> Iterator[None]:
    """What libraries print past Python in the ``with`` block is shown where it fails, and not else.

    They do so whatever level is asked for. With ``--debug``, and outside of commands, it is shown
    as it comes.
    """
    if os.environ.get(NATIVE_LEVEL) != "3":
        yield
        return
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except BaseException:
            sink.seek(0)
            os.write(stderr, sink.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
