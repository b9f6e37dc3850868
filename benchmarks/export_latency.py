"""Latency of exported models beside the Keras graph, in interleaved runs.

    python -m benchmarks.export_latency --bundle EXPORTED

``EXPORTED`` is the folder of ``keras-wsss export`` with all formats. Each number of
threads has a process of its own, in which every model takes its turn in every round.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from keras_wsss.run_folder import RunDirectory

RESULT = Path("benchmarks/results/export_latency.json")
SIDES = (320, 512)
THREADS = (1, 2)
WARM_UP, ROUNDS = 3, 25
PAUSE = 0.1  # seconds; onnxruntime's threads spin for a while after a call and would slow the next


def models(bundle, threads):
    """Callables of images uint8 `[1,H,W,3]` by name; the first is the Keras graph."""
    import tensorflow as tf

    from keras_wsss import load
    from keras_wsss.export import open_model
    from keras_wsss.export.network import network_of

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    (package,) = (bundle / "weights").iterdir()
    network = network_of(load(package))
    graph = tf.function(
        network, input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)], autograph=False
    )
    newest = max((bundle / "saved_model" / package.name).iterdir(), key=lambda path: int(path.name))
    served = tf.saved_model.load(str(newest)).signatures["predict_tensor"]
    found = {
        "keras": lambda images: graph(tf.cast(images, tf.float32))["class_map"].numpy(),
        "saved_model": lambda images: served(images=tf.constant(images))["class_map"].numpy(),
    }
    for path in sorted([*bundle.glob("onnx/*.onnx"), *bundle.glob("litert/*.tflite")]):
        model = open_model(path, threads)
        found[path.name.removeprefix(package.name).strip("._")] = model
    return found


def measure(bundle, threads):
    """Median milliseconds by side and model."""
    callables = models(bundle, threads)
    medians = {}
    for side in SIDES:
        image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3)).astype(np.uint8)
        times = {name: [] for name in callables}
        for _ in range(WARM_UP + ROUNDS):
            for name, call in callables.items():
                time.sleep(PAUSE)
                started = time.perf_counter()
                call(image)
                times[name].append(1000 * (time.perf_counter() - started))
        medians[side] = {n: round(statistics.median(t[WARM_UP:]), 1) for n, t in times.items()}
    return medians


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.export_latency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.threads:
        print(json.dumps(measure(options.bundle, options.threads)))
        return
    milliseconds = {}
    for threads in THREADS:
        command = [sys.executable, "-m", "benchmarks.export_latency"]
        command += ["--bundle", str(options.bundle), "--threads", str(threads)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        milliseconds[f"{threads} threads"] = json.loads(answer.stdout.splitlines()[-1])
    result = {
        "command": "python -m benchmarks.export_latency --bundle EXPORTED",
        "rounds": ROUNDS,
        "hardware": f"{len(os.sched_getaffinity(0))} CPU cores, {platform.machine()}",
        "versions": {
            name: version(name)
            for name in ("tensorflow", "keras", "onnxruntime", "ai-edge-litert", "numpy")
        },
        "milliseconds": milliseconds,
    }
    RunDirectory(options.output.parent).write_json(options.output, result)
    print(json.dumps(milliseconds, indent=2))


if __name__ == "__main__":
    main()
