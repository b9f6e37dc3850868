"""What oneDNN and the arena allocator are worth, side by side in one run.

    python -m benchmarks.environment --output benchmarks/results/environment.json \\
        --set data.root=ROOT

Steps are those of dry runs, each a process of its own, the settings in turn; medians over the
rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    report = {
        "config": options.config,
        "processor": described().partition(";")[0],
        "rounds": options.rounds,
        "steps": measured_steps(options.config, options.overrides, options.rounds),
    }
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def measured_steps(config, overrides, rounds):
    """Median seconds of a step, and memory, under each setting."""
    found = {name: [] for name in SETTINGS}
    sets = [word for override in overrides for word in ("--set", override)]
    command = [sys.executable, "-m", "keras_wsss", "train", "--config", config, *sets]
    for _ in range(rounds):
        for name, setting in SETTINGS.items():
            environment = {**os.environ, **setting}
            done = subprocess.run(
                [*command, "--dry-run", "--json"], env=environment, capture_output=True, check=True
            )
            found[name].append(json.loads(done.stdout))
    return {
        name: {
            key: round(statistics.median(run[key] for run in runs), 3)
            for key in ("seconds_per_step", "peak_memory_mb")
        }
        for name, runs in found.items()
    }


if __name__ == "__main__":
    main()
