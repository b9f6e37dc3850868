"""What oneDNN and the arena allocator are worth, side by side in one run.

    python -m benchmarks.environment --output benchmarks/results/environment.json \\
        --set data.root=ROOT                        # steps of a training
    python -m benchmarks.environment --output benchmarks/results/environment.json \\
        --run RUN --photographs FOLDER              # predictions, added to the same file

Steps are those of dry runs, predictions those of the command ``predict`` with all that it does,
each a process of its own, the settings in turn; medians over the rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from keras_wsss._environment import described

ONEDNN, ARENA = "TF_ENABLE_ONEDNN_OPTS", "TF_CPU_ALLOCATOR_USE_BFC"
SETTINGS = {
    "plain": {ONEDNN: "0", ARENA: "false"},
    "oneDNN": {ONEDNN: "1", ARENA: "false"},
    "arena": {ONEDNN: "0", ARENA: "true"},
    "both": {ONEDNN: "1", ARENA: "true"},
}


def main():
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="animals5_bmp")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--run", help="trained run whose predictions are timed")
    parser.add_argument("--photographs", type=Path, help="folder of photographs for it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    report = {"processor": described().partition(";")[0], "rounds": options.rounds}
    if options.output.exists():
        report = json.loads(options.output.read_text())
    if options.run:
        report["predict"] = medians(
            options.rounds, lambda: predictions(options.run, options.photographs)
        )
    else:
        report["config"] = options.config
        report["steps"] = medians(
            options.rounds, lambda: dry_run(options.config, options.overrides)
        )
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def medians(rounds, measure):
    """Name of a setting -> medians over the rounds of what ``measure()`` gives under it."""
    found = {name: [] for name in SETTINGS}
    for _ in range(rounds):
        for name, setting in SETTINGS.items():
            os.environ.update(setting)
            found[name].append(measure())
    return {
        name: {key: round(statistics.median(one[key] for one in all_), 3) for key in all_[0]}
        for name, all_ in found.items()
    }


def dry_run(config, overrides):
    """Seconds of a training step, and memory."""
    sets = [word for override in overrides for word in ("--set", override)]
    told = json.loads(run("train", "--config", config, *sets, "--dry-run", "--json"))
    return {key: told[key] for key in ("seconds_per_step", "peak_memory_mb")}


def predictions(model, photographs):
    """Seconds of ``predict`` for one photograph, start included, and for each more of many."""
    paths = sorted(photographs.iterdir())
    with tempfile.TemporaryDirectory() as folder:
        one, many = (
            timed("predict", "--run", model, *chosen, "-o", f"{folder}/{len(chosen)}")
            for chosen in (paths[:1], paths)
        )
    return {"one_photograph": one, "each_more": (many - one) / (len(paths) - 1)}


def timed(*arguments):
    """Seconds that a command takes."""
    began = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - began


def run(*arguments):
    """What a command of ours prints."""
    command = [sys.executable, "-m", "keras_wsss", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


if __name__ == "__main__":
    main()
