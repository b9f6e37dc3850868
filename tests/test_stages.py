"""I2CRC's pipeline: three trainings with label files between them, on the smallest network."""

import json
import shutil
import sys

import keras
import numpy as np
import pytest
from conftest import only_keys_of, record_reads, tiny_config
from data_folder import write_mask, write_voc
from PIL import Image

from keras_wsss.config import digest, load_config, stage_configs
from keras_wsss.data import load_split
from keras_wsss.errors import ConfigError, DataError, WeightsError
from keras_wsss.inference.checkpoints import load
from keras_wsss.inference.evaluate_run import evaluate_run
from keras_wsss.inference.label_photos import export_labels
from keras_wsss.inference.pseudo_labels import score_labels
from keras_wsss.inference.report import write_report
from keras_wsss.run_folder import RunDirectory
from keras_wsss.training import train

pytestmark = pytest.mark.usefixtures("eager")

STAGES = ("classifier", "segmentation", "retraining")
SMALL = (
    "data.crop_size=64",
    "cam.scales=[1.0]",
    "pseudo_label.iterations=1",
    "optimizer.warmup_steps=0",
    "training.steps=2",
    "training.validate_every=2",
    "data.shapes.train_images=4",
    "data.shapes.val_images=3",
    "data.shapes.image_size=64",
    "evaluation.max_images=1",
)


def pipeline(*overrides):
    """shapes_i2crc on images of 64, two steps a stage."""
    data = [override for override in overrides if override.startswith("data.")]
    small = only_keys_of(tiny_config(*data, config="shapes_i2crc", start=0), SMALL)
    stages = [f"stages.{stage}.{override}" for stage in STAGES for override in small]
    return tiny_config(*small, *stages, *overrides, config="shapes_i2crc", start=0)


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that was killed while the second stage wrote its labels, and went on."""
    path = tmp_path_factory.mktemp("stages") / "run"
    labels, save = path / "segmentation" / "pseudo_labels", Image.Image.save

    def killed_save(self, file, *arguments, **options):
        if len(list(labels.glob("t*.png"))) == 2:
            raise KilledError
        save(self, file, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image.Image, "save", killed_save)
        with pytest.raises(KilledError):
            train(pipeline(), path)
    times = {file: file.stat().st_mtime_ns for file in path.rglob("pseudo_labels*/*.png")}
    assert len(times) == 4 + 3 + 2 and not list(path.rglob(".partial-*"))
    assert not (path / "summary.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        reads = record_reads(patch)
        summary = train(pipeline(), path, resume=True)
    assert reads == ["train", "val"] * 3  # once a stage
    assert all(file.stat().st_mtime_ns == time for file, time in times.items())
    return path, summary


@pytest.fixture
def copy(finished, tmp_path):
    """A finished run that a test may damage."""
    shutil.copytree(finished[0], tmp_path / "run")
    return tmp_path / "run"


def test_summary_holds_all_stages_and_the_decoder_of_the_last(finished):
    path, summary = finished
    assert summary == json.loads((path / "summary.json").read_text())
    assert tuple(summary["stages"]) == STAGES and summary["method"] == "i2crc"
    classifier, first, last = (summary["stages"][stage] for stage in STAGES)
    assert summary["decoder"] == last["decoder"]
    assert not {"decoder", "best"} & set(classifier)
    assert not {"cam", "pseudo_label", "classifier"} & (set(first) | set(last))
    assert 0 <= classifier["cam"]["miou"] <= 100 and 0 <= classifier["classifier"]["f1"] <= 1
    for stage, kind in ((classifier, "saliency_labels"), (first, "object_guided_labels")):
        labels = stage["written_labels"]
        assert labels["kind"] == kind and labels["tags_used"]
        assert 0 <= labels["miou"] <= 100 and 0 < labels["coverage"] <= 100
    assert "written_labels" not in last
    supervision = [stage["supervision"] for stage in (classifier, first, last)]
    assert summary["supervision"] == "tags and saliency maps"
    labels = "pseudo labels of stage "
    assert supervision == ["tags and saliency maps", labels + "classifier", labels + "segmentation"]


def test_the_report_shows_every_stage(finished, tmp_path):
    path, summary = finished
    result = write_report([path], tmp_path / "report.html")
    assert result["runs"] == [f"run/{stage}" for stage in STAGES]
    text = (tmp_path / "report.html").read_text()
    for name in ("classifier", "segmentation", "retraining"):
        assert f"<h2>run/{name}</h2>" in text
    assert f"{summary['decoder']['miou']}</" in text  # in the comparison


def test_labels_are_palette_files_of_every_image(finished):
    path, _ = finished
    split = load_split(pipeline().data, "train")
    for stage in STAGES[:2]:
        folder = path / stage / "pseudo_labels"
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["images"] == 4 and manifest["list"] == "shapes train"
        assert {file.name for file in folder.iterdir()} == {
            "manifest.json",
            *(f"{image}.png" for image in split.ids),
        }
        for position, image in enumerate(split.ids):
            label = Image.open(folder / f"{image}.png")
            assert label.mode == "P" and label.size == (64, 64)
            tags = set(np.flatnonzero(split.labels[position]) + 1)
            assert set(np.unique(np.array(label))) <= tags | {0, 255}


def test_evaluating_the_run_evaluates_its_last_stage(finished):
    path, summary = finished
    assert evaluate_run(path)["decoder"] == summary["decoder"]


def test_resume_did_not_repeat_what_was_there(finished):
    for stage in STAGES:
        lines = (finished[0] / stage / "metrics.jsonl").read_text().splitlines()
        assert sum("loss" in json.loads(line) for line in lines) == 1, stage


def test_crf_is_a_second_row_that_replaces_nothing(finished):
    pytest.importorskip("pydensecrf", reason="the extra 'crf' is not installed")
    path, summary = finished
    scores = evaluate_run(path, pipeline("stages.retraining.evaluation.crf=true"))
    assert scores["decoder"] == summary["decoder"]
    assert scores["decoder_crf"]["tags_used"] is False
    assert scores["decoder_crf"]["miou"] != scores["decoder"]["miou"]
    assert scores["protocol"]["crf"] == "decoder_crf only"
    assert summary["protocol"]["crf"] is False and "decoder_crf" not in summary


def test_missing_crf_package_stops_before_the_first_stage(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    with pytest.raises(ConfigError, match=r"keras_wsss\[crf\]"):
        train(pipeline("stages.retraining.evaluation.crf=true"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_lost_labels_of_a_finished_stage_are_made_again(copy, monkeypatch):
    lost, kept, *_ = sorted((copy / "classifier" / "pseudo_labels").glob("*.png"))
    before, time = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    monkeypatch.setattr(keras.Model, "fit", None)
    summary = train(pipeline(), copy, resume=True)
    assert lost.read_bytes() == before and kept.stat().st_mtime_ns == time
    assert tuple(summary["stages"]) == STAGES


def test_labels_of_another_configuration_are_refused(copy):
    before = (copy / "config.yaml").read_text()
    changed = pipeline("stages.classifier.losses.class_distance.weight=0.2")
    says = r"classifier: .*another configuration \(other losses.class_distance.weight\).*--run-dir"
    with pytest.raises(ConfigError, match=says):
        train(changed, copy, resume=True)
    # Nor what has only begun, on labels of a classifier that is gone.
    shutil.rmtree(copy / "classifier")
    (copy / "segmentation" / "summary.json").unlink()
    with pytest.raises(ConfigError, match=r"segmentation: .*\(other labels of an earlier stage\)"):
        train(changed, copy, resume=True)
    assert (copy / "config.yaml").read_text() == before


def test_labels_that_say_another_configuration_are_refused(copy):
    manifest = copy / "classifier" / "pseudo_labels" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"config": "', '"config": "0'))
    with pytest.raises(ConfigError, match=r"manifest\.json.*another configuration.*delete"):
        train(pipeline(), copy, resume=True)


def test_labels_that_are_not_there_are_one_message(copy, tmp_path):
    config = stage_configs(pipeline())[1][1]
    with pytest.raises(ConfigError, match="stage:classifier.*a folder"):
        train(config, tmp_path / "alone")
    shutil.rmtree(copy / "classifier" / "pseudo_labels")
    (copy / "classifier" / "pseudo_labels").mkdir()
    (copy / "classifier" / "pseudo_labels" / "manifest.json").write_text("half")
    with pytest.raises(ConfigError, match=r"manifest\.json: cannot be read.*delete"):
        train(pipeline(), copy, resume=True)


def test_a_run_with_stages_is_never_overwritten_and_resume_needs_one(finished, tmp_path):
    with pytest.raises(ConfigError, match="--resume"):
        train(pipeline(), finished[0])
    with pytest.raises(ConfigError, match="no run to resume"):
        train(pipeline(), tmp_path / "none", resume=True)


WRONG = {
    "no such stage": ("stages.segmentation.data.masks=stage:first", "stage:classifier"),
    "a later stage": ("stages.segmentation.data.masks=stage:retraining", "earlier stage"),
    "itself": ("stages.segmentation.data.masks=stage:segmentation", "earlier stage"),
    "writes nothing": ("stages.classifier.writes=none", "earlier stage that writes labels"),
    "nothing to hold against": ("stages.segmentation.data.masks=folder", "stage:NAME"),
    "no decoder": ("stages.segmentation.losses={classification: {weight: 1}, segmentation: null}",
                   "trains the decoder"),
    "unknown parent": ("stages.retraining.extends=second", "extends.*earlier stage"),
}  # fmt: skip


def test_an_unfinished_run_says_what_is_missing_and_how_to_go_on(tmp_path):
    RunDirectory(tmp_path).write_config(pipeline())
    RunDirectory(tmp_path / "classifier").write_json(tmp_path / "classifier/summary.json", {})
    missing = "is not finished, its stages segmentation, retraining are missing"
    for call in (load, evaluate_run, lambda path: export_labels(path, "png", tmp_path / "out")):
        with pytest.raises(WeightsError, match=missing) as error:
            call(tmp_path)
        assert str(error.value).endswith(f"keras-wsss train --resume --run-dir {tmp_path}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", WRONG)
def test_stages_that_cannot_work_are_refused_before_training(kind):
    override, says = WRONG[kind]
    with pytest.raises(ConfigError, match=says) as caught:
        load_config("shapes_i2crc", [override])
    assert "\n" not in str(caught.value)


def test_a_stage_extends_an_earlier_one():
    _, segmentation, retraining = (config for _, config in stage_configs(pipeline()))
    changed = {"writes": "none", "data": retraining.data}
    assert segmentation.model_copy(update=changed) == retraining
    assert retraining.labels_stage == "segmentation"


def test_digest_follows_what_is_trained_and_its_source():
    config = pipeline()
    own = digest(config)
    assert own == digest(pipeline("training.log_every=1")) != digest(config, "source")
    for change in ("seed=2", "training.steps=3", "training.mixed_precision=true"):
        assert own != digest(pipeline(change)), change
    # Where the data lie, and how much of them is looked at in between, decides nothing.
    assert own == digest(pipeline("data.root=a", "evaluation.max_images=2"))


# ---- folders of photographs ------------------------------------------------------------------


def voc(root, *overrides):
    folder = [f"data.root={root}", "data.kind=voc", "data.train_list=train", "data.val_list=val"]
    return pipeline(*folder, *overrides)


def write_saliency(root, images=6):
    (root / "Saliency").mkdir()
    for number in range(images):
        with Image.open(root / "JPEGImages" / f"image_{number}.jpg") as image:
            map_ = np.zeros(image.size[::-1], np.uint8)
        map_[:, : map_.shape[1] // 2] = 250
        Image.fromarray(map_).save(root / "Saliency" / f"image_{number}.png")


def test_training_masks_are_never_opened(tmp_path):
    root = write_voc(tmp_path / "data")
    write_saliency(root)
    train_only = [f"image_{number}" for number in range(4)]
    (root / "ImageSets/Segmentation/train.txt").write_text("\n".join(train_only))
    (root / "ImageSets/Segmentation/val.txt").write_text("image_4\nimage_5\n")
    for image in train_only:
        (root / "SegmentationClass" / f"{image}.png").write_bytes(b"not a mask")
    # Not all classes, and not in the order of the masks: label files keep the data set's ids.
    config = voc(root, "data.classes=[horse, cat, dog]")
    train(stage_configs(config)[0][1], tmp_path / "run")
    folder = tmp_path / "run" / "pseudo_labels"
    for number in range(4):
        label = np.array(Image.open(folder / f"image_{number}.png"))
        assert label.shape == (40 + number, 56 - number)
        assert set(np.unique(label)) <= {0, number % 3 + 1, 255}
    # As masks they come with the ids of the training: horse 1, cat 2, dog 3.
    data = config.data.model_copy(update={"masks": str(folder)})
    split = load_split(data, "train", require_masks=True)
    for number in range(4):
        assert set(np.unique(split.mask(number))) <= {0, (2, 3, 1, 2)[number], 255}


def test_missing_and_misfit_saliency_maps_are_one_message(tmp_path):
    root = write_voc(tmp_path / "data")
    run = tmp_path / "run"
    with pytest.raises(DataError, match=r"Saliency/image_0\.png: is not there.*data\.saliency"):
        train(voc(root), run)
    write_saliency(root)
    Image.new("L", (10, 12)).save(root / "Saliency" / "image_3.png")
    with pytest.raises(DataError, match=r"image_3\.png: is 10x12.*image_3\.jpg.*same size"):
        train(voc(root), run)
    Image.new("RGB", (53, 43)).save(root / "Saliency" / "image_3.png")
    with pytest.raises(DataError, match=r"image_3\.png: is a RGB image.*saliency map"):
        train(voc(root), run)
    assert not run.exists()  # so that the same command works once the map is mended


def test_masks_from_a_folder_are_said_so(tmp_path):
    root = write_voc(tmp_path / "data")
    shutil.move(root / "SegmentationClass", root / "corrected")
    data = [f"data.root={root}", "data.kind=voc", "data.train_list=train", "data.val_list=val"]
    config = tiny_config(*data, f"data.masks={root / 'corrected'}", config="shapes_supervised")
    split = load_split(config.data, "train", require_masks=True)
    assert np.max(split.mask(1)) == 255 and split.mask_paths[0].startswith(str(root / "corrected"))
    assert load_split(config.data, "val").mask_paths is None
    write_mask(root / "corrected" / "image_1.png", np.zeros((3, 3), np.uint8))
    with pytest.raises(DataError, match=r"corrected/image_1\.png: is 3x3"):
        load_split(config.data, "train", require_masks=True)


def test_score_counts_labelled_pixels_and_coverage(tmp_path):
    root = write_voc(tmp_path / "data", images=1, lists=("val",))
    config = voc(root)
    truth = np.array(Image.open(root / "SegmentationClass" / "image_0.png"))
    label = truth.copy()
    label[:, :7] = 255  # an eighth, of the class
    label[1:11, 28:] = 1  # 10 of 39 counted rows of background become cat
    (tmp_path / "labels").mkdir()
    write_mask(tmp_path / "labels" / "image_0.png", label)
    score = score_labels(tmp_path / "labels", load_split(config.data, "val"))
    cat, background = 39 * 21 / (39 * 21 + 280), 29 / 39
    assert score["coverage"] == 87.5
    np.testing.assert_allclose(score["miou"], 50 * (cat + background), atol=0.005)
