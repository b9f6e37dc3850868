"""The commands as a user meets them: one message for a mistake, results where they belong."""

import csv
import json
import logging
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf
from conftest import record_reads, tiny_config
from data_folder import write_voc
from PIL import Image

from keras_wsss import evaluate as evaluate_command
from keras_wsss import load
from keras_wsss import train as train_command
from keras_wsss.__main__ import main
from keras_wsss._command import run_command
from keras_wsss.commands import evaluate as evaluate_arguments
from keras_wsss.errors import InterruptionError
from keras_wsss.inference import evaluate_run, label_photos
from keras_wsss.pictures import LEAST_COVERAGE, found_classes, overlay
from keras_wsss.prediction import Predictor, pixels
from keras_wsss.run_folder import RunDirectory


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    length = "training.steps=4", "training.recipe_steps=4", "training.validate_every=4"
    path.write_text(tiny_config(*length).to_yaml())
    return path


@pytest.fixture(scope="module")
def run(config_file):
    path = config_file.parent / "run"
    with pytest.MonkeyPatch.context() as patch:
        reads = record_reads(patch)
        train_command.main(["--config", str(config_file), "--run-dir", str(path)])
    # Once each: of photographs that were not imported, every one is opened for it.
    assert sorted(reads) == ["train", "val"]
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
        + ["--output", str(scores), "--json"]
    )
    printed = capsys.readouterr().out
    report = json.loads(scores.read_text())
    assert json.loads(printed[printed.index("{") :]) == report
    assert report["protocol"]["images"] == 3 and report["protocol"]["flip"] is True
    assert report["protocol"]["scales"] == [1.0, 1.25]
    assert (run / "report.html").exists()
    summary = json.loads((run / "summary.json").read_text())
    assert set(report) == set(summary) - {
        "seconds",
        "images_per_second",
        "peak_memory_mb",
        "replicas",
        "config_hash",
    }


def test_scores_are_not_lost_for_want_of_a_folder(run, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate_run, "evaluate_run", lambda *_, **__: {"decoder": {"miou": 50.0}})
    monkeypatch.setattr(evaluate_arguments, "score_table", lambda scores: ["the table"])
    scores = tmp_path / "results" / "inner" / "x.json"
    evaluate_command.main(["--run", str(run), "-o", str(scores)])
    assert json.loads(scores.read_text()) == {"decoder": {"miou": 50.0}}


def test_interrupted_labels_say_how_to_go_on(run, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(label_photos, "export_labels", interrupted)
    with pytest.raises(SystemExit) as end:
        main(["labels", "--run", str(run), "--format", "png", "-o", str(tmp_path / "labels")])
    assert end.value.code == 130
    assert "nothing is written; the same command begins anew" in capsys.readouterr().err


def test_dry_run_reports_what_a_run_needs(config_file, tmp_path, capsys):
    train_command.main(
        ["--config", str(config_file), "--run-dir", str(tmp_path / "run"), "--dry-run"]
    )
    printed = capsys.readouterr().out
    lines = [line.rpartition("  ") for line in printed.splitlines()]
    report = {name.strip(): float(value) for name, _, value in lines if name and value.isdigit()}
    assert report["parameters"] > 1000 and report["steps"] == 4 and report["images"] > 1
    assert report["peak memory mb"] > 100 and "seconds per step" in printed
    assert "estimated minutes" in printed and "with compiling for every phase" in printed
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


@pytest.mark.parametrize(
    ("error", "says", "code"),
    [
        (OSError(2, "No such file", "a.txt"), "error: a.txt: No such file", 2),
        (OSError(28, "No space left"), "error: No space left; --debug shows where", 2),
        (OSError("two\nlines"), "error: two lines; --debug shows where", 2),
        (InterruptionError("done: 2 of 3"), "done: 2 of 3", 130),
        (ConnectionResetError(), "error: ConnectionResetError; --debug shows where", 2),
        (ValueError("two\nlines"), "internal error: ValueError: two lines; --debug shows where", 3),
    ],
)
def test_whatever_leaves_a_command_is_one_line(error, says, code, capsys):
    def command():
        raise error

    with pytest.raises(SystemExit) as end:
        run_command(command)
    assert end.value.code == code and capsys.readouterr().err == f"{says}\n"
    with pytest.raises(type(error)):
        run_command(command, debug=True)


def test_libraries_are_quiet_but_for_debug():
    """TensorFlow and tf2onnx tell of every file that an export writes."""

    def command():
        warnings.warn("deprecated", stacklevel=1)

    run_command(command)
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx", "absl")]
    assert not any(logger.isEnabledFor(logging.WARNING) for logger in loggers)
    with pytest.warns(UserWarning, match="deprecated"):
        run_command(command, debug=True)


@pytest.mark.parametrize("scales", ["0", "1,x", "", "nan", "-1"])
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_scales_that_cannot_be_are_one_message(command, scales, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--run", "run", "photo.jpg", "-o", "out", f"--scales={scales}"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and f"--scales: {scales!r}: allowed: numbers above 0" in said


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("predct", "did you mean predict?"),
        ("labels --run r -o o --format cocoo", "did you mean coco?"),
        ("predict --run r p -o o --thresold=0.5", "--thresold=0.5; did you mean --threshold?"),
        ("ask p --model m --over-write", "--over-write; did you mean --overwrite?"),
        ("report r --nonsense", "arguments: --nonsense\n"),
        ("nonsense", "check', 'train',"),
    ],
)
def test_misspelt_words_are_answered_with_the_right_ones(line, says, capsys):
    with pytest.raises(SystemExit) as end:
        main(line.split())
    said = capsys.readouterr().err
    assert end.value.code == 2 and says in said and ("mean" in said) == ("mean" in says)


# ---- predict -----------------------------------------------------------------------------------


def test_evaluate_takes_what_belongs_to_a_score(run, capsys):
    command = ["evaluate", "--run", str(run), "--json", "--set"]
    says = fails(main, [*command, "heads.decoder=linear"], capsys)
    assert "heads.decoder=linear: is of the training" in says and "heads.tag_cut" in says
    main([*command, "heads.tag_cut=1"])  # no class is as sure as that
    scores = json.loads(capsys.readouterr().out)
    found = {name: iou for name, iou in scores["decoder"]["per_class"].items() if iou}
    assert set(found) == {"background"} and scores["protocol"]["tag_cut"] == 1


ROWS = "predictions.jsonl"


@pytest.fixture
def photos(tmp_path):
    """Three photographs, one turned by its EXIF data and one in a sub-folder, and what is none."""
    random = np.random.default_rng(0)
    (tmp_path / "photos" / "inner").mkdir(parents=True)
    for name, size in (("a.png", (80, 100)), ("turned.jpg", (96, 70)), ("inner/a.jpg", (100, 80))):
        photo = Image.fromarray(random.integers(0, 255, (*size, 3), np.uint8))
        turned = Image.Exif()
        turned[274] = 6 if "turned" in name else 1
        photo.save(tmp_path / "photos" / name, exif=turned)
    (tmp_path / "photos" / "notes.txt").write_text("no photograph")
    return tmp_path / "photos"


def test_predict_writes_masks_overlays_and_rows(run, photos, tmp_path, capsys):
    output = tmp_path / "out"
    main(["predict", "--run", str(run), str(photos), "-o", str(output), "--batch", "2"])
    assert "3 photographs segmented" in capsys.readouterr().out
    rows = {row["name"]: row for row in map(json.loads, (output / ROWS).open())}
    assert set(rows) == {"a", "inner/a", "turned"}
    model = load(run)
    for name, row in rows.items():
        mask = np.asarray(Image.open(output / "masks" / f"{name}.png"))
        np.testing.assert_array_equal(mask, model.segment(row["path"]))
        assert Image.open(output / "overlays" / f"{name}.jpg").width == mask.shape[1]
        shares = [np.mean(mask == c + 1) for c in range(len(model.class_names))]
        np.testing.assert_allclose(list(row["coverage"].values()), shares, atol=1e-4)
        found = [n for n, s in zip(row["coverage"], shares, strict=True) if s >= LEAST_COVERAGE]
        assert sorted(row["classes"]) == sorted(found)
        answer = Predictor(model).answer(np.float32(pixels(row["path"]))[None])
        wanted = np.max(tf.nn.softmax(answer["logits"]), axis=-1).mean()
        assert row["confidence"] == pytest.approx(wanted, abs=1e-3)
        scores = tf.sigmoid(answer["image_logits"])[0]
        np.testing.assert_allclose(list(row["scores"].values()), scores, atol=1e-3)
    assert rows["turned"]["path"].endswith("turned.jpg")
    assert Image.open(output / "masks" / "turned.png").size == (96, 70)  # as displayed
    table = list(csv.DictReader((output / "predictions.csv").open()))
    assert len(table) == 3 and float(table[0]["confidence"]) == rows["a"]["confidence"]
    page = (output / "index.html").read_text()
    assert page.count("<figure>") == 3 and "overlays/inner/a.jpg" in page


def test_predict_goes_on_where_it_stopped(run, photos, tmp_path, capsys):
    output = tmp_path / "out"
    command = ["predict", "--run", str(run), "-o", str(output), "--json"]
    main([*command, str(photos / "a.png")])
    assert json.loads(capsys.readouterr().out)["written"] == 1
    with (output / ROWS).open("a") as file:
        file.write('{"path": "cut o')  # what a kill leaves
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 nonsense")
    with pytest.raises(SystemExit) as end:
        main([*command, str(photos)])
    assert end.value.code == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["written"], result["kept"], len(result["failed"])) == (2, 1, 1)
    assert "broken.jpg" in result["failed"][0]["reason"]
    assert len((output / ROWS).read_text().splitlines()) == 3
    with pytest.raises(SystemExit) as end:
        main([*command, str(photos), "--flip"])
    assert end.value.code == 2 and "--overwrite" in capsys.readouterr().err
    main([*command, str(photos / "a.png"), "--threshold", "1", "--overwrite"])
    (row,) = map(json.loads, (output / ROWS).open())
    assert row["classes"] == [] and not np.any(Image.open(output / "masks" / "a.png"))


def test_a_few_pixels_are_no_class():
    """The network leaves strays, and a person would look for an object that is not there."""
    assert found_classes({"cat": 0.1, "dog": 0.3, "cow": LEAST_COVERAGE / 2}) == ["dog", "cat"]
    mask = np.zeros((100, 100), np.uint8)
    mask[:3, :3], mask[50:, 50:] = 1, 2

    def legend(mask):
        picture = overlay(np.zeros((100, 100, 3), np.uint8), mask, {1: "cat", 2: "dog"})
        return np.asarray(picture)[100:]

    np.testing.assert_array_equal(legend(mask), legend(np.where(mask == 2, 2, 0)))
    np.testing.assert_array_equal(legend(np.where(mask == 1, 1, 0)), legend(np.zeros_like(mask)))


def test_predict_leaves_what_others_have_written(run, photos, tmp_path, capsys):
    command = ["predict", str(photos), "--run", str(run), "-o", str(photos), "--overwrite"]
    before = sorted(photos.rglob("*"))
    assert "was not written by this command" in fails(main, command, capsys)
    assert sorted(photos.rglob("*")) == before


def test_predict_without_a_checkpoint_writes_nothing(run, photos, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    command = ["predict", str(photos), "--run", str(copy), "-o", str(tmp_path / "out")]
    message = fails(main, command, capsys)
    assert "last.safetensors: no such checkpoint; train the run first" in message
    assert not (tmp_path / "out").exists()
    RunDirectory(copy).check(resume=True)  # begins anew


def test_predictions_of_the_same_name_do_not_replace_one_another(run, photos, tmp_path, capsys):
    output, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (70, 90)).save(other / "a.png")
    command = ["predict", "--run", str(run), "-o", str(output)]
    main([*command, str(photos / "a.png"), str(other)])
    names = {row["path"]: row["name"] for row in map(json.loads, (output / ROWS).open())}
    assert len(set(names.values())) == 2
    for path, name in names.items():
        mask = Image.open(output / "masks" / f"{name}.png")
        assert mask.size == Image.open(path).size
    # Nor those of an earlier call.
    second = tmp_path / "second"
    command[-1] = str(second)
    main([*command, str(photos / "a.png")])
    with pytest.raises(SystemExit) as end:
        main([*command, str(other)])
    assert end.value.code == 2 and "the same name" in capsys.readouterr().err


def test_predictions_of_an_older_model_do_not_stay(run, photos, tmp_path, capsys):
    command = ["predict", "--run", str(run), str(photos / "a.png"), "-o", str(tmp_path / "out")]
    main(command)
    (tmp_path / "out" / "masks" / "a.png").unlink()
    main(command)  # a mask that is gone is made again
    assert (tmp_path / "out" / "masks" / "a.png").exists()
    trained_on = tmp_path / "run"
    shutil.copytree(run, trained_on)
    command[2] = str(trained_on)
    main(command)  # a copy is the same model
    assert "1 done before" in capsys.readouterr().out
    with (trained_on / "checkpoints" / "last.safetensors").open("ab") as file:
        file.write(b"other weights")
    assert "other settings (weights); choose another folder, or --overwrite" in fails(
        main, command, capsys
    )
    with pytest.raises(SystemExit) as end:  # a file in place of a folder
        main([*command[:-1], str(photos / "a.png")])
    assert end.value.code == 2 and capsys.readouterr().err.startswith("error: ")


def test_nothing_but_the_result_is_printed(run, photos, tmp_path, monkeypatch):
    """No noise that reads like a failure, and no TensorFlow for a mistake."""
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)  # as users have it
    command = [sys.executable, "-m", "keras_wsss", "predict", "--run", str(run), str(photos)]
    done = subprocess.run([*command, "-o", str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    missing = [*command, "nowhere.jpg", "-o", str(tmp_path / "out")]
    failed = subprocess.run(missing, capture_output=True, text=True)
    assert failed.returncode == 2
    assert failed.stderr == "error: nowhere.jpg: no such file, folder or pattern\n"
