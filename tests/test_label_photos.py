"""The command ``labels``, from a run to a folder for an annotation tool."""

import argparse
import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import tiny_config
from PIL import Image
from pycocotools.coco import COCO

from keras_wsss.commands import labels as command
from keras_wsss.config import load_run_config
from keras_wsss.data import evaluation_dataset, load_split
from keras_wsss.errors import ConfigError
from keras_wsss.inference.checkpoints import load, save_checkpoint, taken_from
from keras_wsss.inference.evaluation import describe_function
from keras_wsss.inference.label_photos import doubt, label_photos
from keras_wsss.methods import new_model
from keras_wsss.prediction import Predictor, segment
from keras_wsss.run_folder import RunDirectory

DATA = [
    "data.shapes.train_images=3",
    "data.shapes.val_images=2",
    "data.shapes.image_size=64",
    "pseudo_label.iterations=1",
]

pytestmark = pytest.mark.usefixtures("eager")  # tracing would take longer than computing


def untrained_run(path, *overrides, config="shapes_tscd"):
    """A run folder with the checkpoint of a network that has learned nothing."""
    config = tiny_config(*DATA, *overrides, config=config)
    run = RunDirectory(path)
    run.write_config(config)
    classes = load_split(config.data, "val").class_names
    run.classes_file.write_text("".join(f"{name}\n" for name in classes))
    model = new_model(config, classes)
    model.build()
    save_checkpoint(run, "last", *taken_from(model, step=3))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return untrained_run(tmp_path_factory.mktemp("labels") / "run", "cam.scales=[1.0]")


def options(*arguments, **more):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    given = {"json": False, "quiet": True, **more}
    return argparse.Namespace(**vars(parser.parse_args(list(map(str, arguments)))), **given)


def order(folder):
    with (folder / "order.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_pseudo_labels_hold_tags_only_and_the_most_doubtful_comes_first(run, tmp_path, capsys):
    out = tmp_path / "out"
    command.run(options("--run", run, "--format", "png", "-o", out))
    split = load_split(load_run_config(run).data, "train")
    rows = order(out)
    assert sorted(row["id"] for row in rows) == sorted(split.ids)
    doubts = [float(row["uncertainty"]) for row in rows]
    assert doubts == sorted(doubts, reverse=True) and 0 <= min(doubts) <= max(doubts) <= 1
    tags = dict(zip(split.ids, split.labels, strict=True))
    model = load(run)
    for batch in evaluation_dataset(split, masks=False):
        row = next(row for row in rows if row["id"] == split.ids[int(batch["index"][0])])
        logits = Predictor(model).logits(batch["image"]).numpy()[0]
        logits[..., 1:][..., batch["labels"].numpy()[0] == 0] = -1e9
        _, _, sure, _ = describe_function(model)(batch["image"], batch["labels"])
        sure = sure.numpy()[0]
        wrong = (np.argmax(logits, axis=-1) != sure) & (sure != 255)
        share = wrong.sum() / (sure != 255).sum() if (sure != 255).any() else 1
        assert float(row["uncertainty"]) == pytest.approx(share, abs=1e-3)
    for row in rows:
        with Image.open(out / "masks" / f"{row['id']}.png") as image:
            label = np.array(image)
        assert label.shape == (64, 64)
        assert set(np.unique(label)) <= {0, *(np.flatnonzero(tags[row["id"]]) + 1)}
    said = capsys.readouterr().out
    assert "made with their tags" in said and str(out / "order.csv") in said and "next " in said


def test_predictions_are_those_of_the_decoder_without_tags(run, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ("--run", run, "--format", "coco", "--list", "val", "--kind", "prediction")
    command.run(options(*arguments, "-o", out, json=True))
    said = json.loads(capsys.readouterr().out)
    assert said["tags_used"] is False and said["images"] == 2 and said["step"] == 3
    split = load_split(load_run_config(run).data, "val")
    images = [split.read_image(position) for position in range(2)]
    expected = dict(zip(split.ids, segment(load(run), images), strict=True))
    coco = COCO(out / "annotations" / "instances_default.json")
    for row, image_id in zip(order(out), coco.imgs, strict=True):
        label = np.zeros((64, 64), int)
        for annotation in coco.imgToAnns[image_id]:
            label[coco.annToMask(annotation) > 0] = annotation["category_id"]
        np.testing.assert_array_equal(label, expected[row["id"]])
        shown = np.array(Image.open(out / "images" / row["file"]))  # generated, now a file
        np.testing.assert_array_equal(shown, images[split.ids.index(row["id"])])


def test_a_run_without_such_labels_is_one_message(run, tmp_path):
    masks_alone = ("losses.classification=null", "losses.segmentation.start_step=0")
    twin = untrained_run(tmp_path / "twin", *masks_alone, config="shapes_supervised")
    with pytest.raises(ConfigError, match="has no CAM .* --kind prediction"):
        command.run(options("--run", twin, "--format", "png", "-o", tmp_path / "out"))
    arguments = ("--run", twin, "--format", "png", "-o", tmp_path / "out", "--kind", "prediction")
    command.run(options(*arguments))
    assert len(order(tmp_path / "out")) == 3
    model, split = load(run), load_split(load_run_config(run).data, "train")
    model.settings = model.settings.model_copy(
        update={"losses": {"classification": model.settings.losses["classification"]}}
    )
    with pytest.raises(ConfigError, match="trains the decoder .* --kind pseudo"):
        label_photos(model, split, "prediction", tmp_path)


def test_other_classes_than_the_run_learned_are_refused(run, tmp_path):
    (tmp_path / "run").symlink_to(run)
    arguments = ("--run", tmp_path / "run", "--format", "png", "-o", tmp_path / "out")
    classes = (run / "classes.txt").read_text().splitlines()
    with pytest.raises(ConfigError, match="other classes"):
        command.run(options(*arguments, "--set", f"data.classes=[{classes[1]}, {classes[0]}]"))
    assert not (tmp_path / "out").exists()


def test_what_needs_no_tensorflow_is_checked_without_it(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("")
    code = f"""
import argparse, sys
from keras_wsss.commands import labels
from keras_wsss.errors import ConfigError
parser = argparse.ArgumentParser()
labels.add_arguments(parser)
parser.format_help()
for run in ({str(tmp_path)!r}, {str(run)!r}):
    arguments = ["--run", run, "--format", "coco", "-o", {str(out)!r}, "--overwrite"]
    try:
        labels.run(parser.parse_args(arguments))
    except ConfigError as error:
        print(error)
print("tensorflow" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second, imported = told.stdout.splitlines()
    assert "not the folder of a run" in first and "not written by this command" in second
    assert imported == "False"


def test_doubt_is_the_share_of_sure_pixels_that_the_decoder_sees_otherwise():
    sure = np.array([[0, 1, 2, 255]])
    logits = np.eye(3)[None, [0, 2, 2, 1]] * 4.0
    assert doubt(sure, logits) == pytest.approx(1 / 3)
    # Class 2 is no tag: the decoder may not say it, and background is the first of a draw.
    assert doubt(sure, logits, np.array([True, True, False])) == pytest.approx(2 / 3)
    assert doubt(np.full((1, 4), 255), logits) == 1
    assert doubt(sure, None) == 0.25
    assert doubt(None, logits) == 0
    assert doubt(None, np.zeros((2, 2, 3))) == 1
