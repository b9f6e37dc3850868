"""The commands that the campaign of faults hits, and what each has to leave in the end.

A victim is begun, hit, and then gone on with as its messages say. What it leaves is compared with
what the same command left undisturbed.
"""

import json
import multiprocessing
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from keras_wsss.inference.checkpoint_file import read_file
from keras_wsss.run_folder import RunDirectory

TIME_LIMIT = 300
SMALL = {
    "data.crop_size": 64,
    "data.batch_size": 4,
    "backbone.name": "mit_tiny",
    "backbone.weights": "none",
    "training.validate_every": 3,
    "training.log_every": 2,
    "training.pictures": 0,
    "training.threads": 1,
}
SHAPES = {
    "data.shapes.image_size": 64,
    "data.shapes.train_images": 16,
    "data.shapes.val_images": 4,
    "data.shapes.classes": 3,
}
STAGES = "classifier", "segmentation", "retraining"
KEPT = ("decoder", "best", "classifier", "step", "protocol", "written_labels")  # of summary.json
TIMED = {"latency", "seconds", "created", "images_per_second", "peak_memory_mb", "speed"}

# A process that has imported all that takes long and done nothing yet: its children are commands.
forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["keras_wsss.__main__", "keras_wsss.training", "keras_wsss.export"])


def called(arguments, after=None, number=signal.SIGKILL):
    """``keras-wsss ARGUMENTS``, sent a signal so many seconds after its start.

    Returns:
        Exit code, or ``"hang"``; what the command told; seconds from the signal, or the start, to
        its end.
    """
    with tempfile.NamedTemporaryFile() as told:
        begun = forks.Event()
        process = forks.Process(target=_command, args=([*map(str, arguments)], told.name, begun))
        process.start()
        begun.wait(TIME_LIMIT)  # before that it knows no signals
        began = time.monotonic()
        if after is not None:
            process.join(after)
            began = time.monotonic()
            if process.is_alive():
                os.kill(process.pid, number)
        process.join(TIME_LIMIT)
        seconds = time.monotonic() - began
        code = "hang" if process.is_alive() else process.exitcode
        process.kill()
        process.join()
        return code, told.read().decode(), seconds


def _command(arguments, told, begun):
    os.dup2(os.open(told, os.O_WRONLY), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    import tensorflow as tf

    from keras_wsss.__main__ import main

    # Graphs of so small a network take longer to make than to run; an export consists of them.
    tf.config.run_functions_eagerly(arguments[0] != "export")
    begun.set()
    main(arguments)


@dataclass(frozen=True)
class Training:
    """``train``: goes on with ``--resume`` once there is a run to go on with."""

    config: str
    settings: dict
    stages: tuple = ("",)

    def command(self, output):
        """Arguments with which it is begun, or goes on."""
        if RunDirectory(output).config_file.exists():
            return ["train", "--quiet", "--resume", "--run-dir", output]
        sets = [f"{key}={value}" for key, value in self.settings.items()]
        sets += [f"stages.{each}.{one}" for each in self.stages if each for one in sets]
        words = [word for one in sets for word in ("--set", one)]
        return ["train", "--quiet", "--config", self.config, *words, "--run-dir", output]

    def left(self, output):
        """Of every stage the last weights, the metrics without the pace, and the scores."""
        return [self._left_by(RunDirectory(Path(output, stage))) for stage in self.stages]

    def _left_by(self, run):
        arrays, _ = read_file(run.checkpoint("last"))
        lines = map(json.loads, run.metrics_file.read_text().splitlines())
        summary = json.loads(run.summary_file.read_text())
        labels = run.path / "pseudo_labels"
        return (
            {name: array.tobytes() for name, array in arrays.items()},
            [{**line, "images_per_second": None} for line in lines],
            {name: summary.get(name) for name in KEPT},
            {path.name: path.read_bytes() for path in labels.rglob("*.png")},
        )


@dataclass(frozen=True)
class Writing:
    """A command that fills a folder: it goes on, or begins anew, when it is called again."""

    arguments: tuple
    overwrite: bool = False

    def command(self, output):
        """Arguments with which it is begun, or goes on."""
        again = ["--overwrite"] if self.overwrite and Path(output).exists() else []
        return [*self.arguments, "--quiet", *again, "-o", output]

    def left(self, output):
        """The files: of JSON without what was timed, of ONNX without names."""
        return {
            str(path.relative_to(output)): _content(path)
            for path in sorted(Path(output).rglob("*"))
            if path.is_file()
        }


def _content(path):
    if path.suffix == ".onnx":  # its converter numbers nodes anew each time
        graph = onnx.load(path).graph
        tensors = sorted(tensor.raw_data for tensor in graph.initializer)
        return sorted(node.op_type for node in graph.node), tensors
    if path.suffix != ".json":
        return path.read_bytes()
    return _untimed(json.loads(path.read_text()))


def _untimed(value):
    if isinstance(value, list):
        return [_untimed(each) for each in value]
    if isinstance(value, dict):
        return {name: _untimed(each) for name, each in value.items() if name not in TIMED}
    return value


def made(folder):
    """The victims, with what they need made in ``folder``: photographs, and a run on them."""
    photographs = Path(folder, "photographs")
    draw = np.random.default_rng(0)
    for name, colour in (("red", 0), ("green", 1)):
        Path(photographs, name).mkdir(parents=True)
        for number in range(6):
            picture = draw.integers(0, 80, (96, 128, 3), np.uint8)
            top, left = draw.integers(0, 40, 2)
            picture[top : top + 50, left : left + 60, colour] += 150
            Image.fromarray(picture).save(photographs / name / f"{number}.png")
    importing = Writing(("import", str(photographs)), overwrite=True)
    small = SMALL | {"training.steps": 12}
    shapes = small | SHAPES | {"optimizer.warmup_steps": 2}
    victims = {
        "train": Training("shapes_supervised", shapes),
        "train in stages": Training("shapes_i2crc", shapes | {"training.steps": 6}, STAGES),
        "import": importing,
    }
    data, run = Path(folder, "data"), Path(folder, "photographs_run")
    settings = SMALL | {"data.root": data, "training.steps": 6}
    for begin in (importing.command(data), Training("photos_bmp", settings).command(run)):
        code, told, _ = called(begin)
        if code != 0:
            raise SystemExit(told)
    of_run = "--run", str(run)
    return victims | {
        "predict": Writing(("predict", *of_run, str(photographs))),
        "labels": Writing(("labels", *of_run, "--format", "coco"), overwrite=True),
        "export": Writing(("export", *of_run, "--format", "weights,onnx", "--no-speed")),
    }
