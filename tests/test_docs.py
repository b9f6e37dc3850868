"""What the documents say is there: links, command lines, and the site that `make docs` builds."""

import argparse
import importlib
import os
import re
import runpy
import shlex
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_wsss
from keras_wsss.__main__ import main
from keras_wsss.config import load_config
from keras_wsss.data import load_splits
from keras_wsss.inference.label_formats import LabelledPhoto, write_labels

pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # runpy's

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)


def name_of(path):
    return path.relative_to(ROOT).as_posix()


# ---- links --------------------------------------------------------------------------------------


def anchors(path):
    """Where links into a document may lead on a code host."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", FENCED.sub("", path.read_text()), re.M):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        count = sum(each.rstrip("-0123456789") == slug for each in found)
        found.add(f"{slug}-{count}" if count else slug)
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_to_files_and_headings_that_exist(path):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", path.read_text())):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


# ---- command lines ------------------------------------------------------------------------------

COMMAND = r"(?:keras-wsss|python -m (?:keras_wsss|benchmarks)[\w.]*)(?= |$)"


def command_lines():
    """(document, command, whether it is complete) of blocks, and of code within sentences."""
    for path in DOCUMENTS:
        if path.name == "CHANGELOG.md":  # tells of what is no more, too
            continue
        text = path.read_text().replace("\\\n", " ")
        block = rf"^(?: {{4}}|\$ |next: +)?({COMMAND}.*)$"
        sentence = rf"`({COMMAND} [^`]+)`"
        for pattern, complete in ((block, True), (sentence, False)):
            for line in re.findall(pattern, text, re.M):
                if "COMMAND" not in line:
                    yield pytest.param(line, complete, id=f"{name_of(path)}: {line[:60]}")


class ParsedError(Exception):
    """Ends a command as soon as its arguments are parsed; ``args[0]`` are they."""


def optional(parser):
    """A parser that misses nothing: a sentence may speak of a single option."""
    for action in parser._actions:
        action.required = False
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                optional(command)
    for group in parser._mutually_exclusive_groups:
        group.required = False


def parsed(line, complete, monkeypatch):
    """The arguments as the command's own parser reads them."""
    words = shlex.split(line.removesuffix("&"), comments=True)
    module, words = ("keras_wsss", words[1:]) if words[0] == "keras-wsss" else (words[2], words[3:])
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, arguments=None, namespace=None):
        if not complete:
            optional(parser)
        raise ParsedError(parse(parser, arguments, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", [module, *words])
    monkeypatch.syspath_prepend(ROOT)
    with pytest.raises(ParsedError) as end:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    return end.value.args[0]


@pytest.mark.parametrize(("line", "complete"), list(command_lines()))
def test_command_lines_are_understood(line, complete, monkeypatch):
    """Options exist, configurations that are named exist, and have the keys that are set.

    tests/test_tutorial.py and tests/test_documented_commands.py really run them.
    """
    options = parsed(line, complete, monkeypatch)
    if getattr(options, "config", None):
        # Where no folder is named, that of the data is in a file of one's own.
        config = load_config(
            options.config, ["data.root=photos", *getattr(options, "overrides", [])]
        )
        assert config.name


def test_a_wrong_command_line_is_found(monkeypatch, capsys):
    for line in ("keras-wsss train --confg photos", "keras-wsss labels --format nothing"):
        with pytest.raises(SystemExit):
            parsed(line, False, monkeypatch)
        monkeypatch.undo()
    with pytest.raises(SystemExit):
        parsed("keras-wsss export --format web", True, monkeypatch)
    assert "--run" in capsys.readouterr().err


# ---- promises that no other test keeps ----------------------------------------------------------


def test_corrected_labels_can_be_trained_on(tmp_path, monkeypatch):
    """The commands of docs/labels.md and docs/faq.md, up to the masks that are trained on."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0)
    labels = {}
    for number in range(8):
        image = noise.integers(0, 256, (64, 80, 3), dtype=np.uint8)
        Image.fromarray(image).save(f"p{number}.png")
        labels[f"p{number}"] = np.zeros((64, 80), np.uint8)
        labels[f"p{number}"][8:40, 8:40] = 1 + number % 2
    for name in ("cvat", "voc"):
        photos = (LabelledPhoto(n, Path(f"{n}.png"), mask, 0.5) for n, mask in labels.items())
        write_labels(photos, ["cat", "dog"], name, Path(name))
    zipfile.ZipFile("cvat/annotations.zip").extractall("task")
    main("import task --images cvat/images -o corrected".split())
    for overrides in (
        ["data.root=corrected"],
        ["data.kind=voc", "data.root=voc", "data.val_list=null"],
    ):
        train, _ = load_splits(load_config("photos_supervised", overrides))
        for place, name in enumerate(train.ids):
            np.testing.assert_array_equal(train.mask(place), labels[name])


# ---- the site -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python", "mkdocs_jupyter"):
        pytest.importorskip(package, reason='needs pip install ".[docs]"')
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_the_site_loads_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    loads = re.compile(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//")
    assert not [page.name for page in pages if loads.search(page.read_text())]


def test_tables_and_lists_are_what_a_code_host_shows(site):
    """The site's Markdown wants words in the head of a table, and four blanks before sublists."""
    for path in DOCUMENTS:
        text, name = FENCED.sub("", path.read_text()), name_of(path).removeprefix("docs/")
        page = path.name.lower() if path.parent == ROOT else name
        shown = (site / page).with_suffix(".html").read_text()
        assert shown.count("<table>") == len(re.findall(r"^\|[-:| ]+\|$", text, re.M)), name
        assert not re.search(r"^ {1,3}(?:[*-]|\d+\.) ", text, re.M), name


def test_every_public_name_is_in_the_reference(site):
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    shown = {line.split()[0] for line in zlib.decompress(inventory).decode().splitlines()}
    overview = (ROOT / "docs/reference/index.md").read_text()
    missing = []
    for package in (*keras_wsss._PACKAGES, "optimizers"):
        names = getattr(importlib.import_module(f"keras_wsss.{package}"), "__all__", ())
        missing += [name for name in names if f"keras_wsss.{package}.{name}" not in shown]
    modules = [path.stem for path in (ROOT / "keras_wsss/ops").glob("[!_]*.py")]
    missing += [name for name in modules if f"keras_wsss.ops.{name}" not in shown]
    missing += [name for name in keras_wsss.__all__ if f"`{name}`" not in overview]
    assert not missing
