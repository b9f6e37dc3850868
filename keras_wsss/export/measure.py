"""``python -m keras_wsss.export.measure PATH``: latency and memory of one exported model."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence

import numpy as np

from keras_wsss._command import bounded, run_command
from keras_wsss.export.readers import open_model
from keras_wsss.run_folder import peak_memory_mb

WARM_UP, REPEATS = 2, 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the command line and measures."""
    program = "python -m keras_wsss.export.measure"
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("path", help="version folder of a SavedModel, .onnx or .tflite file")
    parser.add_argument("--threads", type=bounded(1), help="of one call")
    parser.add_argument("--sizes", nargs="+", default=["320x320", "512x512"], metavar="HxW")
    options = parser.parse_args(arguments)

    def command() -> None:
        model = open_model(options.path, options.threads)
        generator = np.random.default_rng(0)
        latency = {}
        for size in options.sizes:
            shape = (1, *map(int, size.split("x")), 3)
            image = generator.integers(0, 256, shape).astype(np.uint8)
            times = []
            for _ in range(WARM_UP + REPEATS):
                started = time.perf_counter()
                model(image)
                times.append(1000 * (time.perf_counter() - started))
            latency[size] = round(statistics.median(times[WARM_UP:]), 2)
        print(json.dumps({"latency_ms": latency, "peak_memory_mb": peak_memory_mb()}))

    run_command(command)


if __name__ == "__main__":
    main()
