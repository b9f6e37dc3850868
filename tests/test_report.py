"""The report of runs: what it says is true, and a browser shows it without a fault."""

import base64
import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_label_photos import untrained_run

from keras_wsss.__main__ import main
from keras_wsss.config import load_run_config
from keras_wsss.data import Split, load_split
from keras_wsss.errors import ConfigError, WeightsError
from keras_wsss.inference import load, segment
from keras_wsss.inference.evaluate_run import evaluate_run
from keras_wsss.inference.image_results import KEPT, ImageResults, confusion, image_iou
from keras_wsss.inference.report import results as reading
from keras_wsss.inference.report import write_report
from keras_wsss.inference.report.curves import in_order, quantities, thinned, ticks
from keras_wsss.inference.report.page import report_page
from keras_wsss.inference.report.results import read_metrics, read_results
from keras_wsss.run_folder import RunDirectory

PICTURES = ["image", "CAM", "pseudo label", "prediction", "truth"]

pytestmark = pytest.mark.usefixtures("eager")  # tracing would take longer than computing


def run_folder(path, *overrides, config="shapes_tscd"):
    """A run of random weights, with what a training would have logged."""
    untrained_run(path, "cam.scales=[1.0]", "data.shapes.val_images=5", *overrides, config=config)
    for step in (1, 2, 3):
        record = {"step": step, "classification": 1 / step, "loss": 2 / step, "learning_rate": 1e-4}
        RunDirectory(path).append_metrics(record)
    RunDirectory(path).append_metrics({"step": 3, "validation_miou": 12.5})
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs with masks, without, and one that learned from masks and has no CAM."""
    folder = tmp_path_factory.mktemp("report")
    run_folder(folder / "masks", "data.shapes.image_size=96")
    run_folder(folder / "tags", "data.val_list=null")
    terms = "losses.classification=null", "losses.segmentation.start_step=0"
    untrained_run(folder / "twin", *terms, config="shapes_supervised")
    for run in folder.iterdir():
        summary = evaluate_run(run, sheet=True)
        RunDirectory(run).write_json(run / "summary.json", summary)
    return folder


def images_of(run):
    return json.loads((run / "image_results.json").read_text())


# ---- what is found on single images -----------------------------------------------------------


def test_results_with_masks_are_those_of_the_masks(runs):
    run = runs / "masks"
    images, summary = images_of(run), json.loads((run / "summary.json").read_text())
    split, model = load_split(load_run_config(run).data, "val"), load(run)
    wanted, total = {}, 0
    for position, name in enumerate(split.ids):
        truth, mask = split.mask(position), segment(model, split.read_image(position))
        ious = [
            np.sum((truth == c) & (mask == c)) / np.sum((truth == c) | (mask == c))
            for c in set(np.unique(truth)) | set(np.unique(mask))
        ]
        wanted[name] = np.mean(ious)
        total += truth.size
    assert images["score"] == "IoU of prediction and truth"
    order = sorted(wanted, key=wanted.get)
    assert images["lists"]["worst"] == order[:3] and images["lists"]["best"] == order[:2:-1]
    for name, entry in images["shown"].items():
        assert entry["score"] == pytest.approx(wanted[name], abs=1e-4)
        assert list(entry["pictures"]) == PICTURES
    counts = np.array(images["confusion"])
    assert counts.sum() == total
    hits, truth = np.diag(counts), counts.sum(axis=1)
    ious = (hits / np.maximum(truth + counts.sum(axis=0) - hits, 1))[truth > 0]
    assert 100 * np.mean(ious) == pytest.approx(summary["decoder"]["miou"], abs=0.01)


def test_results_without_masks_hold_the_decoder_against_the_pseudo_labels(runs):
    images = images_of(runs / "tags")
    assert images["score"] == "IoU of prediction and pseudo label" and "confusion" not in images
    assert list(next(iter(images["shown"].values()))["pictures"]) == PICTURES[:4]
    assert 0 < images["ignored"] < 1


def test_a_network_without_classifier_has_no_suspects(runs):
    images = images_of(runs / "twin")
    assert not {"suspects", "ignored"} & set(images)
    assert list(next(iter(images["shown"].values()))["pictures"]) == [
        "image",
        "prediction",
        "truth",
    ]


def seen(label, image_logits, tags, size=(20, 30), **more):
    """As ``evaluate(watch=...)`` gives it."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3))
    label = np.full(size, label)
    return {
        "image": np.float32(noise),
        "tags": np.float32(tags),
        "image_logits": np.float32(image_logits),
        "cam": np.zeros((*size, 2), np.float32),
        "label": label,
        "full": label,
        **more,
    }


def split_of(count, tags=(1, 0)):
    ids = tuple(f"image {n}" for n in range(count))
    return Split("val", ids, ("cat", "dog"), np.float32([tags] * count), ids)


def test_few_of_many_images_are_kept():
    count = 40
    images = ImageResults(split_of(count))
    for position in range(count):
        mask, right = np.ones((20, 30), int), np.zeros((20, 30), int)
        right.flat[: position * 10] = 1  # of 600 pixels: the later, the better
        images(position, seen(1, [5, -5], [1, 0], prediction=right, truth=mask))
    found = images.found()
    assert found["lists"]["worst"] == [f"image {n}" for n in range(KEPT)]
    assert found["lists"]["best"] == [f"image {39 - n}" for n in range(KEPT)]
    assert len(found["shown"]) == 2 * KEPT and found["images_with"] == {"cat": 40, "dog": 0}


def test_without_anything_to_compare_there_are_still_images(runs):
    images = ImageResults(split_of(3))
    for position in range(3):
        alone = seen(1, [1, 1], [1, 0], prediction=np.ones((20, 30), int))
        images(position, {name: alone[name] for name in ("image", "tags", "prediction")})
    (run,) = read_results(runs / "masks")
    text = report_page([replace(run, images=images.found() | {"made_with": {}})])
    assert "Images" in headings(text) and text.count("<img") == 2 * 3


def test_suspects_are_sorted_and_counted():
    images = ImageResults(split_of(4))
    # The tag is seen; the tag is not seen; neither; another class is seen.
    for position, logits in enumerate(([5, -5], [-1, -5], [-3, -5], [5, 2])):
        images(position, seen(255 if position else 1, logits, [1, 0]))
    found = images.found()
    assert found["suspects"] == {"missing": 2, "extra": 1}
    assert found["lists"]["missing"] == ["image 2", "image 1"]
    assert found["lists"]["extra"] == ["image 3"]
    assert found["shown"]["image 2"]["missing"] == {"cat": pytest.approx(0.0474, abs=1e-4)}
    assert found["shown"]["image 3"]["extra"] == {"dog": pytest.approx(0.8808, abs=1e-4)}
    assert found["ignored"] == 0.75 and found["ignored_by_class"] == {"cat": 0.75, "dog": 0}
    assert found["score"] == "share of pixels with a sure label"  # there is no decoder, no mask


def test_confusion_leaves_out_what_is_ignored():
    truth, predicted = np.array([[0, 1, 255, 1]]), np.array([[0, 0, 1, 255]])
    counts = confusion(truth, predicted, 2)
    np.testing.assert_array_equal(counts, [[1, 0], [1, 0]])
    assert image_iou(counts) == 0.25 and image_iou(np.zeros((2, 2), int)) == 0


# ---- curves -----------------------------------------------------------------------------------


def test_metrics_of_a_resumed_and_killed_run(tmp_path):
    lines = [{"step": 2, "loss": 5.0}, {"step": 1, "loss": 3.0}, {"step": 2, "loss": 4.0}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 3, "lo')
    metrics = read_metrics(tmp_path / "metrics.jsonl")
    assert metrics == [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 4.0}]
    curves = quantities([*metrics, {"step": 3, "loss": float("nan"), "energy": -1.0}])
    assert curves == {"loss": [(1, 3.0), (2, 4.0)], "energy": [(3, -1.0)]}
    names = ["learning_rate", "loss", "energy", "validation_miou"]
    assert in_order(names) == ["validation_miou", "loss", "energy", "learning_rate"]


def test_curves_have_round_ticks_and_few_points():
    assert ticks(0, 120) == [0, 50, 100] and ticks(-0.1, 0.9) == pytest.approx([0, 0.5])
    for low, high in ((0, 1e-7), (3, 3), (-5, 70000), (99.9, 100)):
        assert 2 <= len(ticks(low, high)) <= 6 or low == high
    line = [(step, 0.0) for step in range(20000)]
    assert len(thinned(line)) <= 300 and thinned(line)[-1] == line[-1]


# ---- the page ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [["masks"], ["tags"], ["twin"], ["masks", "tags", "twin"]])
def test_a_browser_finds_no_fault(shown, runs, browser, tmp_path):
    result = write_report([runs / name for name in shown], tmp_path / "a b" / "report.html")
    url = (tmp_path / "a b" / "report.html").as_uri()
    assert browser.faults(url) == [] and result["runs"] == shown
    assert {each.partition(":")[0] for each in browser.requests} == {"file", "data"}
    assert [each for each in browser.requests if each.startswith("file:")] == [url]
    # Every link leads somewhere, and no heading is left out.
    assert browser.run("[...document.links].every(a => document.querySelector(a.hash))")
    levels = browser.run("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert browser.run("document.querySelectorAll('[id]').length") == browser.run(
        "new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size"
    )


def headings(text):
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_sections_are_those_that_a_run_has_something_for(runs):
    with_masks = report_page(read_results(runs / "masks"))
    assert headings(with_masks) == [
        "Scores", "Curves", "Classes", "Confusion", "Worst images", "Best images", "Suspects",
        "Ignored pixels", "How it was made",
    ]  # fmt: skip
    without = report_page(read_results(runs / "tags"))
    assert headings(without) == [
        "Scores", "Curves", "Classes", "Least agreement", "Most agreement", "Suspects",
        "Ignored pixels", "How it was made",
    ]  # fmt: skip
    twin = report_page(read_results(runs / "twin"))  # it has logged nothing
    assert headings(twin) == [
        "Scores", "Classes", "Confusion", "Worst images", "Best images", "How it was made",
    ]  # fmt: skip


def test_numbers_are_those_of_the_summary(runs):
    summary = json.loads((runs / "masks" / "summary.json").read_text())
    text = report_page(read_results(runs / "masks"))
    assert f">{summary['decoder']['miou']:.1f}</td>" in text
    assert f">{summary['decoder']['per_class']['star']:.1f}</td>" in text
    assert "decoder, mIoU over steps. masks: 12.5 at step 3" in text
    assert "method: tscd" in text and "seed" in text  # the configuration
    both = report_page([*read_results(runs / "masks"), *read_results(runs / "twin")])
    assert headings(both)[:3] == ["Comparison", "Differences of the configurations", "Curves"]
    assert "cannot be compared" in both  # images of other sizes and number


def test_names_are_text(runs):
    (run,) = read_results(runs / "masks")
    odd = "<script>alert('1')</script>\"&"
    images = ImageResults(Split(odd, (odd,), (odd, "dog"), np.float32([[1, 0]]), (odd,)))
    mask = np.ones((20, 30), int)
    images(0, seen(1, [-1, 1], [1, 0], prediction=mask, mask=mask))
    found = images.found() | {"made_with": {"processor": odd}}
    summary = run.summary | {"classifier": {"f1": 1, "average_precision": {odd: 50.0}}}
    text = report_page([replace(run, name=odd, images=found, summary=summary)])
    assert "<script" not in text and text.count("&lt;script&gt;") > 10


def test_a_report_of_300_noisy_images_has_less_than_15_megabytes(runs, tmp_path):
    images, size = ImageResults(split_of(300)), (256, 256)
    random = np.random.default_rng(0)
    for position in range(300):
        noise = {name: random.integers(0, 3, size) for name in ("prediction", "truth")}
        images(position, seen(1, random.normal(size=2), [1, 0], size=size, **noise))
    (run,) = read_results(runs / "masks")
    found = images.found() | {"made_with": {}}
    text = report_page([replace(run, images=found)])
    assert text.count("<img") >= 5 * 3 * KEPT and len(text) < 15e6


# ---- the command ------------------------------------------------------------------------------


def test_nothing_is_evaluated_twice(runs, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    shutil.copytree(runs / "tags", run)
    calls = []

    def evaluate(path, *_, **__):
        calls.append(path)
        shutil.copy(runs / "tags" / "image_results.json", path)
        return json.loads((runs / "tags" / "summary.json").read_text())

    monkeypatch.setattr(reading, "evaluate_run", evaluate)
    main(["report", str(run), "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["report"] == str(run / "report.html") and (run / "report.html").exists()
    assert calls == []
    (run / "image_results.json").unlink()  # as an earlier version left it
    write_report([run])
    assert calls == [run]
    RunDirectory(run).append_metrics({"step": 4, "loss": 1.0})  # it was trained on
    write_report([run])
    assert calls == [run, run]


def test_a_training_ends_with_a_report(runs, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    shutil.copytree(runs / "tags", run)
    summary = json.loads((run / "summary.json").read_text())
    monkeypatch.setattr("keras_wsss.training.train", lambda *_: summary)
    command = ["train", "--resume", "--run-dir", str(run)]
    main([*command, "--quiet"])
    assert not (run / "report.html").exists()
    main(command)
    assert f"report    {run}/report.html\n" in capsys.readouterr().out
    assert (run / "report.html").exists()


def test_runs_of_one_name_are_told_apart(runs, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "masks").symlink_to(runs / "masks")
    result = write_report([runs / "masks", runs / "masks"], tmp_path / "report.html")
    assert result["runs"] == ["masks"]


def test_what_is_no_run_is_one_message(runs, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["report", str(tmp_path)])
    assert end.value.code == 2 and "not the folder of a run" in capsys.readouterr().err
    config = tmp_path / "untrained" / "config.yaml"
    config.parent.mkdir()
    config.write_text((runs / "masks" / "config.yaml").read_text())
    with pytest.raises(WeightsError, match="classes.txt|checkpoint"):
        write_report([config.parent])
    with pytest.raises(ConfigError):
        write_report([runs / "masks", tmp_path])
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SystemExit) as end:
        main(["report", str(runs / "masks"), "-o", str(tmp_path / "taken" / "report.html")])
    assert end.value.code == 2 and "cannot be written" in capsys.readouterr().err


def test_pictures_are_small(runs):
    for entry in images_of(runs / "masks")["shown"].values():
        for picture in entry["pictures"].values():
            data = base64.b64decode(picture["source"].partition(",")[2])
            assert max(Image.open(io.BytesIO(data)).size) == 96
