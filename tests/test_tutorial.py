"""Every command of docs/tutorial.md, in its order, on few and small pictures."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"^```console\n(.*?)^```", (ROOT / "docs/tutorial.md").read_text(), re.M | re.S)
COMMANDS = re.findall(r"^\$ (.+)$", "".join(BLOCKS), re.M)

# What makes the commands quick, by how they begin.
QUICKER = {
    "python examples/make_photos.py": "--images 24 --size 128",
    "keras-wsss train": "--set training.steps=4 --set data.crop_size=64 --set data.batch_size=4 "
    "--set backbone.name=mit_tiny --set backbone.weights=none --set pseudo_label.iterations=2 "
    "--set training.pictures=0",
    "keras-wsss export": "--images 1",
    "keras-wsss serve": "--rest-port 0",
}
WRITES = (
    "my_set/sheet.jpg",
    "from_table/tags.csv",
    "from_coco/classes.txt",
    "from_label_studio/import.json",
    "runs/photos/summary.json",
    "runs/photos/contact_sheet.png",
    "runs/photos/report.html",
    "masks/index.html",
    "masks/masks/NEW_0000.png",
    "to_correct/tasks.json",
    "exported/onnx/photos.onnx",
    "answers/overlays/NEW_0000.jpg",
)


def command_line(command):
    """A command of the tutorial as this interpreter runs it here."""
    words = shlex.split(command.removesuffix("&"))
    for beginning, more in QUICKER.items():
        if command.startswith(beginning):
            words += shlex.split(more)
    if words[0] == "python":
        return [sys.executable, str(ROOT / words[1]), *words[2:]]
    return [sys.executable, "-m", "keras_wsss", *words[1:]]


def test_the_tutorial(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="exports ONNX files")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)  # as users have it
    server, url = None, None
    try:
        for command in COMMANDS:
            words = command_line(command)
            if command.endswith("&"):
                server = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
                told = "".join(iter(server.stdout.readline, "ready\n"))
                url = re.search(r"REST +(\S+)/v1", told)[1]
                continue
            words += ["--url", url] if url else []
            done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            if "ask" in words:
                assert re.search(r"^pictures/new/NEW_0000.jpg: .*confidence 0", done.stdout, re.M)
            for noise in ("Traceback", "cuInit", "Assets written", "tf2onnx", "trackable_obj"):
                assert noise not in done.stderr
    finally:
        if server:
            server.terminate()
            server.wait(timeout=60)
    assert [name for name in WRITES if not (tmp_path / name).exists()] == []
