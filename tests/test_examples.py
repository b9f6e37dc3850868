"""The notebooks in examples/ run from top to bottom, and agree with the scripts beside them."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
MOST_BYTES, MOST_BYTES_OF_PICTURE = 1_000_000, 150_000

# What they learn in their minutes is not tested, so here a smaller network learns less.
TINY = (
    "training.steps=4",
    "training.validate_every=480",  # at the end
    "training.pictures=0",
    "backbone.name=mit_tiny",
    "backbone.weights=none",
    "pseudo_label.iterations=2",
)
TINY_IN_PYTHON = '", "'.join(TINY)
TINY_IN_SHELL = " --set ".join(TINY)
SHORTER = {
    "quickstart": {
        '"train_images": 240': '"train_images": 16',
        "steps=150, classifier_steps=60": "steps=10, classifier_steps=4",
    },
    "photographs": {
        "--images 90": "--images 24",
        "optimizer.learning_rate=2e-4": TINY_IN_SHELL,
    },
    "compare_methods": {
        "train_images=240": "train_images=16",
        "val_images=24": "val_images=4",
        "training.steps=120": TINY_IN_PYTHON,
    },
    "correct_labels": {
        "--images 90": "--images 40",
        '"train_images": 90': '"train_images": 40',
        "optimizer.learning_rate=2e-4": TINY_IN_PYTHON,
    },
}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    nbformat = pytest.importorskip("nbformat", reason="runs notebooks")
    return nbformat.read(path, as_version=4)


def test_notebook_runs(notebook, path, tmp_path, monkeypatch):
    pytest.importorskip("nbclient", reason="runs notebooks")
    monkeypatch.syspath_prepend(ROOT / "examples")
    from execute import execute

    for long, short in SHORTER.get(path.stem, {}).items():
        (cell,) = [cell for cell in notebook.cells if long in cell.source]
        cell.source = cell.source.replace(long, short)
    execute(notebook, tmp_path)  # raises with the cell's traceback


def test_notebook_is_what_its_script_says(notebook, path):
    """Whoever edits one of the two brings the other to its state: jupytext --sync."""
    jupytext = pytest.importorskip("jupytext", reason="reads scripts as notebooks")
    script = jupytext.read(path.with_suffix(".py"))
    told, shown = ([(c.cell_type, c.source) for c in each.cells] for each in (script, notebook))
    assert told == shown


def test_saved_outputs_are_of_one_run_and_of_no_machine(notebook, path):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(output.output_type == "error" for output in outputs)
    data = [output.get("data", {}) for output in outputs]
    pictures = [d[kind] for d in data for kind in ("image/png", "image/jpeg") if kind in d]
    assert pictures and max(map(len, pictures)) < 4 / 3 * MOST_BYTES_OF_PICTURE
    assert path.stat().st_size < MOST_BYTES
    text = "".join(output.get("text", "") for output in outputs)
    for foreign in ("cuda", "/home/", "/tmp/", str(ROOT), sys.prefix):
        assert foreign not in text
