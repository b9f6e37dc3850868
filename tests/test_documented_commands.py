"""Commands of README and docs, executed as they stand on few and small pictures.

Those of docs/tutorial.md have a test of their own. Programs of `benchmarks` take hours and need
photographs that are not ours to give; tests/test_docs.py has them parsed, and
tests/test_benchmarks.py runs some on what is small.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from data_folder import write_list, write_voc
from test_docs import command_lines
from test_tutorial import ROOT

from benchmarks.victims import called
from keras_wsss.__main__ import main

SMALL = {
    "training.steps": 4,
    "training.pictures": 0,
    "data.crop_size": 64,
    "data.batch_size": 4,
    "backbone.name": "mit_tiny",
    "backbone.weights": "none",
    "optimizer.warmup_steps": 1,
}
PHASES = {"training.classifier_steps": 2, "pseudo_label.iterations": 2}
BY_METHOD = {"tscd": {**PHASES, "cam.scales": [1.0], "data.crop_size": 128}, "photos": PHASES}
SHAPES = {"data.shapes.train_images": 16, "data.shapes.val_images": 4, "data.shapes.image_size": 64}
STAGES = "classifier", "segmentation", "retraining"
ADDRESSES = {"--grpc": r"gRPC +(\S+)", "--url": r"REST +(\S+)/v1"}
NOT_RUN = {
    "--dry-run": "in the tutorial",
    "train --resume --run-dir runs/photos": "only what was stopped goes on: test_nothing_lost.py",
    "--format web": "needs onnxruntime-web: test_photo_page.py",
    " RUN ": "stands for a folder; test_export.py tries these formats",
}


def documented():
    """(Document, command) of each that a person can enter as it stands, once."""
    known = set()
    for each in command_lines():
        line, complete = each.values
        document = each.id.partition(":")[0]
        words = shlex.split(line, comments=True)
        whole = words[0] == "keras-wsss" and (complete or len(words) > 3)
        if whole and document != "docs/tutorial.md" and (command := tuple(words[1:])) not in known:
            known.add(command)
            yield document, command


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder as the reader of a document has it, and one whose photographs lie as VOC's."""
    usual, voc = tmp_path / "usual", tmp_path / "voc"
    usual.mkdir()
    command = sys.executable, ROOT / "examples/make_photos.py", "pictures", "--images", "24"
    subprocess.run([*map(str, command), "--size", "128"], cwd=usual, check=True)
    for name, made in {
        "photos": "folders",
        "SOURCE": "folders",
        "new_photos": "new",
    }.items():
        (usual / name).symlink_to(Path("pictures", made))
    shutil.copy(usual / "pictures/new/NEW_0000.jpg", usual / "photo.jpg")
    write_voc(usual / "VOC2012", lists=())
    write_voc(voc / "photos", lists=())
    ids = [f"image_{number}" for number in range(6)]
    for name in ("animals5", "voc20", "mixed"):
        write_list(voc / "photos", f"train_{name}", ids[:4])
        write_list(voc / "photos", f"val_{name}", ids[4:])
    write_list(usual / "VOC2012", "train_aug", ids[:4])
    write_list(usual / "VOC2012", "val", ids[4:])
    saliency = voc / "photos/Saliency"
    saliency.mkdir()
    for path in (voc / "photos/SegmentationClass").iterdir():
        shutil.copy(path, saliency)
    return {"docs/configuration.md": voc, "docs/methods/i2crc.md": voc}, usual


def prepare(line):
    """Makes what the sentence around a command takes for granted."""
    if "data.kind=voc" in line:
        run(*"labels --run runs/photos --format voc -o to_correct".split())
    if "import export.json" in line:
        shutil.rmtree("to_correct")
        shutil.copytree("for_label_studio", "to_correct")
    for name in ("one", "other", "photos_bmp", "photos_tscd"):
        if f"runs/{name} " in f"{line} ":
            shutil.copytree("runs/photos", Path("runs", name))


def finish(line):
    """Does what people do in other programs."""
    if "--format label-studio" in line:
        shutil.copytree("to_correct", "for_label_studio")
        tasks = json.loads(Path("to_correct/tasks.json").read_text())
        for task in tasks:
            task["annotations"] = task.pop("predictions")  # all of them found good
        Path("export.json").write_text(json.dumps(tasks))
    if "--format cvat" in line:
        zipfile.ZipFile("to_correct/annotations.zip").extractall("task")


def run(*words):
    """A command in a process of its own, made quick; what an earlier one has written goes."""
    words = [*words]
    goes_on = "--resume" in words
    for option in ("-o", "--output", "--run-dir"):
        if option in words and not goes_on:
            shutil.rmtree(words[words.index(option) + 1], ignore_errors=True)
    if words[0] == "train":
        config = words[words.index("--config") + 1]
        data, _, method = config.rpartition("_")
        if not goes_on:
            shutil.rmtree(Path("runs", config), ignore_errors=True)
        keys = SMALL | BY_METHOD.get(method, {}) | (SHAPES if data == "shapes" else {})
        stages = [f"stages.{each}." for each in STAGES] if method == "i2crc" else [""]
        words += [f"--set={stage}{key}={value}" for stage in stages for key, value in keys.items()]
    if words[0] == "export":
        words += ["--images", "1", "--no-speed", "--format", "saved_model"]
    if words[0] == "labels":
        words += ["--limit", "8"]
    code, told, _ = called(words)
    # So small a set has its faults, which `check` tells by its exit code.
    assert code in ((0, 1) if words[0] == "check" else (0,)), told


def test_the_commands(places, monkeypatch, subtests, capsys):
    """One test, since they share what takes long, and go on from one another."""
    special, usual = places
    known = list(documented())
    for document, words in known:
        line = " ".join(words)
        if words[0] in ("serve", "ask") or any(part in line for part in NOT_RUN):
            continue
        with subtests.test(line, document=document):
            monkeypatch.chdir(special.get(document, usual))
            prepare(line)
            run(*words)
            finish(line)
    monkeypatch.chdir(usual)
    shutil.copytree("exported/saved_model/photos", "exported/saved_model/shapes")
    for document in ("README.md", "docs/serving.md"):
        of_document = [words for place, words in known if place == document]
        (serving,) = (words for words in of_document if words[0] == "serve")
        asking = [words for words in of_document if words[0] == "ask"]
        assert asking
        with served(serving) as told:
            for words in asking:
                with subtests.test(" ".join(words), document=document):
                    shutil.rmtree("answers", ignore_errors=True)  # of another server
                    option = "--grpc" if "--grpc" in words else "--url"
                    address = re.search(ADDRESSES[option], told)[1]
                    main([*words, option, address])
                    assert "photo.jpg: " in capsys.readouterr().out


@contextmanager
def served(words):
    """What a server tells when it is ready, on ports that are free."""
    command = [sys.executable, "-m", "keras_wsss", *words, "--rest-port", "0", "--grpc-port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            yield "".join(iter(server.stdout.readline, "ready\n"))
        finally:
            server.terminate()
