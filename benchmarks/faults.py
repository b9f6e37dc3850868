"""What survives: kills, signals, damaged checkpoints, full disks, two at once.

    python -m benchmarks.faults --output benchmarks/results/faults.json --table

Seeded; every kind goes on where an earlier call has stopped. A blow is *lost* where a command
cannot be brought to its end by what its messages say, *different* where it then leaves something
else than one that nothing has hit, and a *traceback* or a *hang* where it ends with one.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tables import markdown, put
from benchmarks.victims import called, made
from keras_wsss._environment import described
from keras_wsss.errors import WeightsError
from keras_wsss.inference.checkpoint_file import read_file
from keras_wsss.output import new_file
from keras_wsss.run_folder import RunDirectory

PAGE = Path("docs/reliability.md")
VERDICTS = "lost", "different", "traceback", "hang"


@dataclass
class Whole:
    """A victim, a copy of what it left undisturbed, and the seconds it took."""

    victim: object
    output: Path
    left: object
    seconds: float

    def gone_on(self, output):
        """Brings it to its end; None, or what went wrong."""
        code, told, _ = called(self.victim.command(output))
        return failure(code, told, 0) or self.difference(output)

    def difference(self, output):
        """``different`` where it has left something else, or anything beside it, else None."""
        alone = [path.name for path in output.parent.iterdir()] == [output.name]
        return None if alone and self.victim.left(output) == self.left else "different"


def failure(code, told, *good):
    """What is wrong with an end, None where nothing is."""
    if code == "hang":
        return "hang"
    if "Traceback" in told or "internal error" in told or code == -signal.SIGSEGV:
        return "traceback"
    return None if code in good else "lost"


def main():
    """Parses the command line and hits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0, help="of the blows of each kind (1)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="with commas between (all)")
    parser.add_argument("--table", action="store_true", help=f"write the table of {PAGE}")
    options = parser.parse_args()
    report = {"processor": described().partition(";")[0], "faults": {}}
    if options.output.exists():
        report = json.loads(options.output.read_text())
    with tempfile.TemporaryDirectory() as folder:
        hit(report, options.output, options.kinds.split(","), options.share, folder)
    print(json.dumps(report["faults"], indent=2))
    if options.table:
        put(PAGE, "faults", table(report["faults"]))


def hit(report, target, kinds, share, folder):
    """Hits what has not been hit yet, and notes each blow in ``target``."""
    victims, wholes = made(folder), {}
    for (kind, name), count in COUNTS.items():
        if kind not in kinds:
            continue
        told = report["faults"].setdefault(
            f"{kind}: {name}", {"tried": 0, **dict.fromkeys(VERDICTS, 0)}
        )
        while (number := told["tried"]) < max(1, round(count * share)):
            # Always the same place, since some files name it.
            output = Path(folder, "disk", "out")
            output.parent.mkdir(exist_ok=True)
            shutil.rmtree(output, ignore_errors=True)
            if name not in wholes:
                wholes[name] = undisturbed(victims[name], output, Path(folder, "whole", name))
            draw = random.Random(f"{kind} {name} {number}")
            verdict = KINDS[kind](draw, wholes[name], output)
            told["tried"] += 1
            if verdict:
                told[verdict] += 1
                print(f"{kind}: {name} {number}: {verdict}", flush=True)
            with new_file(target) as file:
                file.write_text(json.dumps(report, indent=2) + "\n")


def table(faults):
    """What was tried, and how it ended."""
    rows = [
        [*kind.split(": "), *(str(told[each]) for each in ("tried", *VERDICTS))]
        for kind, told in faults.items()
    ]
    return markdown(["blow", "command", "tried", *VERDICTS], rows)


def undisturbed(victim, output, copy):
    """A victim that nothing hits; ``output`` is free again."""
    code, told, seconds = called(victim.command(output))
    if code != 0:
        raise SystemExit(f"{copy.name} does not end well where nothing hits it: {told}")
    shutil.move(output, copy)
    return Whole(victim, copy, victim.left(copy), seconds)


# ---- the blows ---------------------------------------------------------------------------------


def kills(draw, whole, output):
    """SIGKILL at a random moment of the whole command, up to three times in a row."""
    for _ in range(draw.randint(1, 3)):
        after = draw.uniform(0, whole.seconds)
        code, told, _ = called(whole.victim.command(output), after)
        if verdict := failure(code, told, 0, -signal.SIGKILL):
            return verdict
    return whole.gone_on(output)


def signals(draw, whole, output):
    """SIGINT or SIGTERM: within 30 seconds the process ends with 130 or 143, or is done."""
    number = draw.choice((signal.SIGINT, signal.SIGTERM))
    command = whole.victim.command(output)
    code, told, seconds = called(command, draw.uniform(0, whole.seconds), number)
    verdict = failure(code, told, 0, 128 + number, -number)
    return verdict or ("hang" if seconds > 30 else whole.gone_on(output))


def flips(draw, whole, output):
    """A flipped bit in a checkpoint is recognised."""
    bad = bytearray(RunDirectory(whole.output).checkpoint("last").read_bytes())
    bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
    output.mkdir()
    path = output / "flipped.safetensors"
    path.write_bytes(bad)
    try:
        read_file(path)
    except WeightsError:
        return None
    return "different"


def damages(draw, whole, output):
    """The last checkpoint is cut off, emptied, zeroed or gone: an older one is used."""
    shutil.copytree(whole.output, output)
    folder = RunDirectory(output)
    folder.summary_file.unlink()
    for which in draw.choice((("last",), ("last",), ("last", "previous"))):
        path = folder.checkpoint(which)
        content = path.read_bytes()
        cut = draw.randrange(len(content))
        way = draw.choice(("cut", "zeros", "gone"))
        path.unlink()  # it may be linked to another one
        if way != "gone":
            path.write_bytes(content[:cut] + bytes(len(content) - cut) * (way == "zeros"))
    return whole.gone_on(output)


def full_disks(draw, whole, output):
    """A disk with so little room; then there is room again. Needs the right to mount."""
    size = sum(path.stat().st_size for path in whole.output.rglob("*") if path.is_file())
    room = f"size={draw.randint(8, round(size / 1024))}k"
    disk = str(output.parent)
    subprocess.run(["mount", "-t", "tmpfs", "-o", room, "tmpfs", disk], check=True)
    try:
        code, told, _ = called(whole.victim.command(output))
        if verdict := failure(code, told, 0, 2):
            return verdict
        subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
        return whole.gone_on(output)
    finally:
        subprocess.run(["umount", disk], check=True)


def pairs(draw, whole, output):
    """Two processes on one folder: one works, the other is refused."""
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(called, whole.victim.command(output))
        time.sleep(draw.uniform(0, 3))
        code, told, _ = called(whole.victim.command(output))
        other, told_first, _ = first.result()
    if verdict := failure(code, told, 0, 2) or failure(other, told_first, 0, 2):
        return verdict
    return "lost" if code == other else whole.difference(output)


BLOWS = kills, signals, flips, damages, full_disks, pairs
KINDS = {blow.__name__: blow for blow in BLOWS}
COUNTS = {
    ("kills", "train"): 120,
    ("kills", "train in stages"): 30,
    ("kills", "import"): 20,
    ("kills", "predict"): 20,
    ("kills", "labels"): 20,
    ("kills", "export"): 20,
    ("signals", "train"): 20,
    ("flips", "train"): 1000,
    ("damages", "train"): 40,
    ("full_disks", "train"): 20,
    ("full_disks", "labels"): 5,
    ("full_disks", "export"): 5,
    ("pairs", "train"): 5,
}

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
