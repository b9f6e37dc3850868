"""What readers make of files that lie: one message, or they read them, in seconds and in bounds.

    python -m benchmarks.hostile --output benchmarks/results/hostile.json --table

Seeded: the same number of a reader is the same input. Every reader goes on where an earlier call
has stopped. The tests try a few of each.
"""

import argparse
import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from benchmarks import hostile_files, hostile_weights
from benchmarks.tables import markdown, put
from keras_wsss._environment import described
from keras_wsss.errors import ConfigError, WSSSError
from keras_wsss.output import new_file

READERS = hostile_files.READERS | hostile_weights.READERS
"""Name -> function (draw: random.Random, folder: Path) that writes one input into an empty folder
and reads it; it raises what reading raises."""

PAGE = Path("docs/reliability.md")
GOOD = "accepted", "refused"
SECONDS = 5
"""Of processor time; a network is built for some of them."""
MEMORY = 4 * 2**30
"""More of it than before is an error."""
HANGS = 30  # seconds
LONGEST = 1500  # letters of a message; a configuration has a line for each value


def main():
    """Parses the command line and tries."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000, help="inputs of each reader (2000)")
    parser.add_argument("--table", action="store_true", help=f"write the table of {PAGE}")
    parser.add_argument("readers", nargs="*", default=list(READERS))
    options = parser.parse_args()
    report = {"processor": described().partition(";")[0], "readers": {}}
    if options.output.exists():
        report = json.loads(options.output.read_text())
    with tempfile.TemporaryDirectory() as folder:
        for reader in options.readers:
            counts = report["readers"].setdefault(reader, dict.fromkeys(GOOD, 0))
            while (number := sum(counts.values())) < options.count:
                verdict, told = outcome(reader, number, Path(folder, "one"))
                counts[verdict] = counts.get(verdict, 0) + 1
                if verdict not in GOOD:
                    print(f"{reader} {number}: {verdict}: {told}", flush=True)
                if number % 50 == 49 or verdict not in GOOD:
                    with new_file(options.output) as file:
                        file.write_text(json.dumps(report, indent=2) + "\n")
            print(json.dumps({reader: counts}), flush=True)
    if options.table:
        put(PAGE, "hostile", table(report["readers"]))


def table(readers):
    """How often each reader has read, refused, or done anything else."""
    rows = [
        [reader.replace("_", " "), *map(str, (*map(counts.get, GOOD), others(counts) or 0))]
        for reader, counts in readers.items()
    ]
    return markdown(["reader", *GOOD, "anything else"], rows)


def others(counts):
    """What was neither read nor refused, e.g. ``1 slow``; empty where nothing was."""
    return ", ".join(f"{count} {name}" for name, count in counts.items() if name not in GOOD)


class Hang(BaseException):
    """Reading does not end."""


def outcome(reader, number, folder):
    """What becomes of one input.

    Args:
        reader: name in :data:`READERS`.
        number: of the input.
        folder: is emptied.

    Returns:
        ``accepted``, ``refused``, or what went wrong: ``traceback``, ``slow``, ``hang``, ``memory``
        or ``long message``; and the details.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def hang(*_):
        raise Hang

    handler = signal.signal(signal.SIGALRM, hang)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    signal.alarm(HANGS)
    faulthandler.dump_traceback_later(3 * HANGS, exit=True)  # other threads know no alarm
    began = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            READERS[reader](random.Random(f"{reader} {number}"), folder)
        verdict, told = "accepted", ""
    except WSSSError as error:
        told = str(error)
        lines = "\n" in told and not isinstance(error, ConfigError)
        verdict = "long message" if lines or len(told) > LONGEST else "refused"
    except Hang:
        verdict, told = "hang", traceback.format_exc()
    except MemoryError:
        verdict, told = "memory", traceback.format_exc()
    except Exception:
        verdict, told = "traceback", traceback.format_exc()
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, handler)
    seconds = time.process_time() - began
    if verdict in GOOD and seconds > SECONDS:
        return "slow", f"{seconds:.1f} s {told}"
    return verdict, told


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
