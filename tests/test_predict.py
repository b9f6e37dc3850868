"""``predict`` around the masks themselves: kinds of files, tables, scores, interruptions."""

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_config
from data_folder import photograph
from PIL import Image
from pillow_heif import register_heif_opener

from keras_wsss import load
from keras_wsss.__main__ import main
from keras_wsss.inference import predict
from keras_wsss.methods import new_model
from keras_wsss.prediction import pixels, segment


def preset(folder, *overrides, config):
    model = new_model(tiny_config(*overrides, config=config), 6)
    model.build()
    model.save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def of_tags(eager, tmp_path_factory):
    return preset(tmp_path_factory.mktemp("models") / "tags", config="shapes_tscd")


@pytest.fixture(scope="module")
def of_masks(eager, tmp_path_factory):
    masks_alone = "losses.classification=null", "losses.segmentation.start_step=0"
    folder = tmp_path_factory.mktemp("models") / "masks"
    return preset(folder, *masks_alone, config="shapes_supervised")


@pytest.fixture
def predicted(tmp_path, capsys):
    """Runs the command; exit code, what it prints, and the rows of its table."""

    def run(model, *arguments):
        code, output = 0, tmp_path / "out"
        try:
            main(
                ["predict", "--quiet", "--run", str(model), "-o", str(output), *map(str, arguments)]
            )
        except SystemExit as end:
            code = end.code
        table = output / "predictions.csv"
        rows = list(csv.DictReader(table.open(encoding="utf-8"))) if table.exists() else []
        printed = capsys.readouterr()
        return code, printed.out + printed.err, rows

    return run


def save(path, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(seed)).save(path, **options)
    return path


KINDS = ("a.jpg", "b.heic", "c.tif", "d.jfif", "e.AVIF", "f.png")


@pytest.fixture
def kinds(tmp_path):
    register_heif_opener()
    for seed, name in enumerate(KINDS):
        save(tmp_path / "photos" / name, seed)
    (tmp_path / "photos" / "._a.jpg").write_bytes(b"what a Mac leaves")
    (tmp_path / "photos" / "notes.txt").write_text("no photograph")
    return tmp_path / "photos"


def test_all_that_an_import_takes_is_segmented(of_masks, predicted, kinds):
    code, _, rows = predicted(of_masks, kinds)
    assert code == 0 and [Path(row["path"]).name for row in rows] == list(KINDS)
    labels = segment(load(of_masks), kinds)
    assert list(labels) == sorted(KINDS)
    for name, label in labels.items():
        mask = kinds.parent / "out" / "masks" / f"{Path(name).stem}.png"
        np.testing.assert_array_equal(np.asarray(Image.open(mask)), label)
    wanted = photograph(KINDS.index("c.tif"))  # saved as JPEG on the way
    assert np.mean(np.abs(np.float32(pixels(kinds / "c.tif")) - wanted)) < 2


def test_what_cannot_be_read_is_left_out_and_named(of_masks, predicted, kinds):
    (kinds / "c.tif").write_bytes(b"nonsense")
    code, said, rows = predicted(of_masks, kinds)
    assert code == 1 and "c.tif: is no photograph" in said
    assert len(rows) == len(KINDS) - 1


def test_table_and_page_hold_what_several_calls_have_made(of_masks, predicted, tmp_path):
    predicted(of_masks, save(tmp_path / "photos" / "a.png"))
    _, _, rows = predicted(of_masks, save(tmp_path / "b.png", 1))
    assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png"]
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("<figure>") == 2 and "2 photographs" in page


def test_paths_of_the_table_are_those_that_people_know(of_masks, predicted, tmp_path, monkeypatch):
    save(tmp_path / "photos" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert [row["path"] for row in predicted(of_masks, "photos")[2]] == ["photos/a.png"]


def test_no_scores_of_a_classifier_that_nobody_has_taught(of_masks, of_tags, predicted, tmp_path):
    photo = save(tmp_path / "a.png")
    code, said, _ = predicted(of_masks, photo, "--threshold", "0.5")
    assert code == 2 and "no loss term teaches its classifier" in said and "--threshold" in said
    assert not (tmp_path / "out").exists()
    heads = list(predicted(of_masks, photo)[2][0])
    assert [head for head in heads if head.startswith("score")] == []
    assert sum(head.startswith("coverage: ") for head in heads) == 6
    taught = list(predicted(of_tags, photo, "--threshold", "0.5", "--overwrite")[2][0])
    assert sum(head.startswith("score: ") for head in taught) == 6


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interruption_says_how_to_go_on(of_masks, predicted, tmp_path, monkeypatch, overwrite):
    for seed, name in enumerate("abc"):
        save(tmp_path / "photos" / f"{name}.png", seed)
    write = predict._write

    def interrupted(folder, each, *rest):
        if each.name == "c":
            raise KeyboardInterrupt
        return write(folder, each, *rest)

    monkeypatch.setattr(predict, "_write", interrupted)
    code, said, _ = predicted(of_masks, tmp_path / "photos", *["--overwrite"] * overwrite)
    without = " without --overwrite" if overwrite else ""
    assert code == 130 and said == f"done: 2 of 3; the same command{without} goes on\n"
    monkeypatch.undo()
    _, said, rows = predicted(of_masks, tmp_path / "photos")
    assert "1 photographs segmented, 2 done before" in said and len(rows) == 3
