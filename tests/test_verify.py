"""`keras-wsss verify RUN`: stored scores are those of weights and data, or it is said."""

import json
import shutil

import numpy as np
import pytest
from conftest import tiny_config

from keras_wsss.__main__ import main
from keras_wsss.inference.checkpoint_file import read_file, write_file
from keras_wsss.run_folder import RunDirectory
from keras_wsss.training import train

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run"
    train(tiny_config("training.steps=4", config="shapes_supervised", start=0), path, verbose=False)
    return path


@pytest.fixture
def run(trained, tmp_path):
    return RunDirectory(shutil.copytree(trained, tmp_path / "run"))


def verified(run, capsys, *more):
    """Exit code and what is said."""
    capsys.readouterr()
    try:
        main(["verify", str(run.path), "--quiet", *more])
        code = 0
    except SystemExit as stopped:
        code = stopped.code
    return code, capsys.readouterr().out


def different(run, capsys):
    code, said = verified(run, capsys, "--json")
    found = json.loads(said)["different"]
    assert code == (1 if found else 0)
    return found


def test_a_run_is_what_it_says(run, capsys):
    code, said = verified(run, capsys)
    assert code == 0
    lines = said.splitlines()
    assert {
        "equal      weights: last",
        "equal      weights: best",
        "equal      data: the validation tags",
        "equal      decoder.miou",
        "equal      best.decoder.miou",
        "equal      config_hash",
        "equal      step",
    } <= set(lines)
    assert lines[-1].endswith(f"run: {len(lines) - 1} compared, 0 different")


def test_a_changed_score(run, capsys):
    summary = json.loads(run.summary_file.read_text())
    true, summary["decoder"]["miou"] = summary["decoder"]["miou"], 71.5
    run.summary_file.write_text(json.dumps(summary))
    assert different(run, capsys) == {"decoder.miou": [71.5, true]}


def test_changed_weights(run, capsys):
    path = run.checkpoint("last")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert list(different(run, capsys)) == ["weights: last"]
    path.write_bytes(whole)
    arrays, state = read_file(path)  # with a right checksum
    changed = {n: np.asarray(-a) if a.dtype == np.float32 else a for n, a in arrays.items()}
    write_file(path, changed, state)
    assert {name.partition(".")[0] for name in different(run, capsys)} >= {"decoder"}


def test_changed_data(run, capsys):
    text = run.config_file.read_text()
    run.config_file.write_text(text.replace("val_images: 4", "val_images: 3"))
    found = different(run, capsys)
    assert {"data: the validation list", "protocol.images", "config_hash"} <= set(found)
    assert "data: the training list" not in found


def test_what_is_no_finished_run(run, capsys, tmp_path):
    run.summary_file.unlink()
    with pytest.raises(SystemExit) as stopped:
        main(["verify", str(run.path)])
    assert stopped.value.code == 2
    assert "summary.json: is not there, so there is nothing to compare" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["verify", str(tmp_path)])
    assert stopped.value.code == 2
