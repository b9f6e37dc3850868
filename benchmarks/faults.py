"""What a run survives: kills, damaged checkpoints, a full disk, two at once; all seeded.

    python -m benchmarks.faults --output benchmarks/results/faults.json

Every kind goes on where an earlier call has stopped. A blow is *lost* where the run cannot be
brought to its end by what its messages say, *different* where it ends with other weights, logs or
scores than one that nothing has hit, and a *traceback* or a *hang* where a command ends with one.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from keras_wsss._environment import described
from keras_wsss.errors import WeightsError
from keras_wsss.inference.checkpoint_file import read_file
from keras_wsss.output import new_file
from keras_wsss.run_folder import RunDirectory

SMALL = {
    "seed": 1,
    "data.crop_size": 64,
    "data.batch_size": 4,
    "data.shapes.image_size": 64,
    "data.shapes.train_images": 16,
    "data.shapes.val_images": 4,
    "data.shapes.classes": 3,
    "backbone.name": "mit_tiny",
    "backbone.weights": "none",
    "optimizer.warmup_steps": 2,
    "training.steps": 12,
    "training.validate_every": 3,
    "training.log_every": 2,
    "training.pictures": 0,
}
TIME_LIMIT = 300
KEPT = ("decoder", "best", "classifier", "step", "protocol")  # of summary.json


def main():
    """Parses the command line and hits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    for kind, count in COUNTS.items():
        parser.add_argument(f"--{kind}", type=int, default=count, help=f"how many ({count})")
    options = parser.parse_args()
    report = {"processor": described().partition(";")[0], "faults": {}}
    if options.output.exists():
        report = json.loads(options.output.read_text())
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        code, told, _ = command_of(whole)
        if code != 0:
            raise SystemExit(f"the run that nothing hits does not end well: {told}")
        for kind, hit in KINDS.items():
            told = report["faults"].setdefault(kind, {"tried": 0, "lost": 0, "different": 0})
            while told["tried"] < getattr(options, kind):
                number = told["tried"]
                verdict = hit(random.Random(f"{kind} {number}"), whole, Path(folder, "run"))
                told["tried"] += 1
                if verdict:
                    told[verdict] = told.get(verdict, 0) + 1
                    print(f"{kind} {number}: {verdict}", flush=True)
                with new_file(options.output) as file:
                    file.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report["faults"], indent=2))


def command_of(run, *more, after=None, number=signal.SIGKILL):
    """Trains, or goes on; killed so many seconds after its start. Exit code, output, seconds."""
    command = [sys.executable, "-m", "keras_wsss", "train", "--quiet", "--run-dir", str(run)]
    if "--resume" not in more:
        command += ["--config", "shapes_supervised"]
        for key, value in SMALL.items():
            command += ["--set", f"{key}={value}"]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        _, told = process.communicate(timeout=after or TIME_LIMIT)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL if after is None else number)
        _, told = process.communicate(timeout=60)
        if after is None:
            return "hang", told, TIME_LIMIT
    return process.returncode, told, time.monotonic() - began


def begun(run):
    """What the command takes to go on with a run; nothing where there is none yet."""
    return ("--resume",) if RunDirectory(run).config_file.exists() else ()


def gone_on(run):
    """Brings a run to its end; None, or what went wrong."""
    code, told, _ = command_of(run, *begun(run))
    if code == "hang" or "Traceback" in told:
        return "hang" if code == "hang" else "traceback"
    return None if code == 0 else "lost"


def difference(run, whole):
    """``different`` where two runs have other weights, logs or scores, else None."""
    return None if left_by(run) == left_by(whole) else "different"


def left_by(run):
    """Arrays of the last checkpoint as bytes, metrics without the pace, and scores."""
    folder = RunDirectory(run)
    arrays, _ = read_file(folder.checkpoint("last"))
    lines = map(json.loads, folder.metrics_file.read_text().splitlines())
    summary = json.loads(folder.summary_file.read_text())
    return (
        {name: array.tobytes() for name, array in arrays.items()},
        [{**line, "images_per_second": None} for line in lines],
        {name: summary.get(name) for name in KEPT},
    )


# ---- the blows ---------------------------------------------------------------------------------


def kills(draw, whole, run):
    """SIGKILL at a random moment of the whole command, up to three times in a row."""
    shutil.rmtree(run, ignore_errors=True)
    for _ in range(draw.randint(1, 3)):
        _, told, _ = command_of(run, *begun(run), after=draw.uniform(0.5, 25))
        if "Traceback" in told:
            return "traceback"
    return gone_on(run) or difference(run, whole)


def signals(draw, whole, run):
    """SIGINT or SIGTERM: within 30 seconds the process ends with 130 or 143, or is done."""
    shutil.rmtree(run, ignore_errors=True)
    number = draw.choice((signal.SIGINT, signal.SIGTERM))
    after = draw.uniform(0.5, 20)
    code, told, seconds = command_of(run, after=after, number=number)
    if "Traceback" in told:
        return "traceback"
    if seconds > after + 30:
        return "hang"
    if code not in (0, 128 + number, -number):
        return "lost"
    return gone_on(run) or difference(run, whole)


def flips(draw, whole, run):
    """A flipped bit in a checkpoint is recognised."""
    good = RunDirectory(whole).checkpoint("last").read_bytes()
    run.mkdir(exist_ok=True)
    path = run / "flipped.safetensors"
    bad = bytearray(good)
    bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
    path.write_bytes(bad)
    try:
        read_file(path)
    except WeightsError:
        return None
    return "different"


def damages(draw, whole, run):
    """The last checkpoint is cut off, emptied, zeroed or gone: an older one is used."""
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(whole, run)
    folder = RunDirectory(run)
    folder.summary_file.unlink()
    for which in draw.choice((("last",), ("last",), ("last", "previous"))):
        path = folder.checkpoint(which)
        content = path.read_bytes()
        cut = draw.randrange(len(content))
        way = draw.choice(("cut", "zeros", "gone"))
        path.unlink()
        if way != "gone":
            path.write_bytes(content[:cut] + bytes(len(content) - cut) * (way == "zeros"))
    return gone_on(run) or difference(run, whole)


def full_disks(draw, whole, run):
    """A disk with so little room; then there is room again. Needs the right to mount."""
    shutil.rmtree(run, ignore_errors=True)
    disk = run.parent / "disk"
    disk.mkdir(exist_ok=True)
    room = draw.randint(20, 6000)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}k", "tmpfs", str(disk)]
    subprocess.run(mount, check=True)
    try:
        code, told, _ = command_of(disk / "run")
        if code == "hang" or "Traceback" in told or (code not in (0, 2)):
            return "hang" if code == "hang" else "traceback"
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        return gone_on(disk / "run") or difference(disk / "run", whole) if code else None
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def pairs(draw, whole, run):
    """Two processes on one folder: one trains, the other is refused."""
    shutil.rmtree(run, ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.faults", "--one", str(run)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(draw.uniform(0, 3))
    code, told, _ = command_of(run, *(() if draw.random() < 0.5 else ("--resume",)))
    first.wait(timeout=TIME_LIMIT)
    if "Traceback" in told:
        return "traceback"
    if (code == 0) == (first.returncode == 0):
        return "lost"
    return difference(run, whole)


KINDS = {
    "kills": kills,
    "signals": signals,
    "flips": flips,
    "damages": damages,
    "full_disks": full_disks,
    "pairs": pairs,
}
COUNTS = {"kills": 200, "signals": 20, "flips": 1000, "damages": 40, "full_disks": 20, "pairs": 5}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        raise SystemExit(command_of(Path(sys.argv[2]))[0])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
