"""A few blows of the campaign (`python -m benchmarks.faults`), and that it sees what is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import faults

ROOT = Path(__file__).resolve().parents[1]


def test_a_few_blows_of_each_kind(tmp_path):
    """Full disks need the right to mount, so they are left to the campaign."""
    output = tmp_path / "faults.json"
    kinds = [kind for kind in faults.KINDS if kind != "full_disks"]
    command = "benchmarks.faults", "--output", output, "--share", "0.01", "--kinds", ",".join(kinds)
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True, cwd=ROOT)
    found = json.loads(output.read_text())["faults"]
    assert {kind.partition(":")[0] for kind in found} == set(kinds)
    for kind, told in found.items():
        assert told["tried"] and not any(told[verdict] for verdict in faults.VERDICTS), (kind, told)


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        ((0, ""), None),
        ((2, "error: no space left"), "lost"),
        ((3, "internal error: KeyError: 'step'"), "traceback"),
        ((1, "Traceback (most recent call last):"), "traceback"),
        ((-11, ""), "traceback"),
        (("hang", ""), "hang"),
    ],
)
def test_ends_are_judged(end, verdict):
    assert faults.failure(*end, 0) == verdict


def test_what_differs_is_seen(tmp_path):
    class Victim:
        def command(self, output):
            return ["--version"]

        def left(self, output):
            return os.listdir(output)

    good, empty, littered = (tmp_path / name / "out" for name in ("good", "empty", "littered"))
    for output in (good, empty, littered):
        output.mkdir(parents=True)
    for output in (good, littered):
        (output / "label.png").touch()
    (littered.parent / ".partial-1").mkdir()
    whole = faults.Whole(Victim(), good, ["label.png"], 1.0)
    assert whole.difference(good) is None
    assert whole.difference(empty) == whole.difference(littered) == "different"
