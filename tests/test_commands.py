"""The commands as a user meets them: one message for a mistake, results where they belong."""

import json

import pytest
from conftest import tiny_config
from data_folder import write_voc

from keras_wsss import evaluate as evaluate_command
from keras_wsss import train as train_command


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(tiny_config("training.steps=4", "training.validate_every=4").to_yaml())
    return path


@pytest.fixture(scope="module")
def run(config_file):
    path = config_file.parent / "run"
    train_command.main(["--config", str(config_file), "--run-dir", str(path)])
    return path


def fails(main, arguments, capsys):
    """The one line that a failing command prints."""
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    output = capsys.readouterr().err
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in output
    return errors[0]


def test_train_then_evaluate_on_another_list(run, config_file, tmp_path, capsys):
    scores = tmp_path / "scores.json"
    evaluate_command.main(
        ["--run", str(run), "--set", "data.shapes.val_images=3", "--scales", "1,1.25", "--flip"]
        + ["--json", str(scores)]
    )
    printed = capsys.readouterr().out
    report = json.loads(scores.read_text())
    assert json.loads(printed[printed.index("{") :]) == report
    assert report["protocol"]["images"] == 3 and report["protocol"]["flip"] is True
    assert report["protocol"]["scales"] == [1.0, 1.25]
    summary = json.loads((run / "summary.json").read_text())
    assert set(report) == set(summary) - {
        "seconds",
        "images_per_second",
        "peak_memory_mb",
        "replicas",
        "config_hash",
    }


def test_dry_run_reports_what_a_run_needs(config_file, tmp_path, capsys):
    train_command.main(
        ["--config", str(config_file), "--run-dir", str(tmp_path / "run"), "--dry-run"]
    )
    printed = capsys.readouterr().out
    report = json.loads(printed[printed.rindex("{") :])
    assert report["parameters"] > 1000 and report["seconds_per_step"] > 0
    assert report["peak_memory_mb"] > 100 and report["estimated_hours"] >= 0
    assert "backbone" in printed  # the model table
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--config", "shapes_tcsd"], "shapes_tscd"),
        (["--config", "shapes_tscd", "--set", "training.stps=3"], "training.steps"),
        (["--config", "voc_tscd"], "data.root"),
        (["--config", "voc_tscd", "--set", "data.root=nowhere"], "nowhere"),
    ],
)
def test_mistakes_of_a_training_are_one_message(arguments, says, tmp_path, capsys):
    arguments = [*arguments, "--run-dir", str(tmp_path / "run")]
    assert says in fails(train_command.main, arguments, capsys)


def test_broken_photograph_is_named(tmp_path, capsys):
    root = write_voc(tmp_path / "data")
    (root / "JPEGImages" / "image_2.jpg").write_bytes(b"")
    pairs = ("kind=voc", f"root={root}", "train_list=train", "val_list=val")
    config = tiny_config("training.steps=4", *(f"data.{pair}" for pair in pairs))
    (tmp_path / "voc.yaml").write_text(config.to_yaml())
    arguments = ["--config", str(tmp_path / "voc.yaml"), "--run-dir", str(tmp_path / "run")]
    assert "image_2.jpg" in fails(train_command.main, arguments, capsys)


def test_key_of_another_kind_of_data_is_one_message(config_file, tmp_path, capsys):
    arguments = ["--config", str(config_file), "--run-dir", str(tmp_path / "run")]
    arguments += ["--set", "data.kind=voc", "--set", f"data.root={tmp_path}"]
    message = fails(train_command.main, arguments, capsys)
    assert str(config_file) in message and "data.shapes belongs to data.kind shapes" in message


def test_weights_that_cannot_be_fetched_name_the_file_and_the_way_out(tmp_path, capsys):
    arguments = ["--config", "shapes_tscd", "--run-dir", str(tmp_path / "run")]
    missing = tmp_path / "mit_b1.pth"
    arguments += ["--set", "backbone.name=mit_b1", "--set", f"backbone.weights={missing}"]
    message = fails(train_command.main, arguments, capsys)
    assert str(missing) in message and "none" in message


def test_evaluating_what_is_no_run_is_one_message(tmp_path, capsys):
    assert "config.yaml" in fails(evaluate_command.main, ["--run", str(tmp_path)], capsys)
