"""The examples of docs/add-a-data-reader.md and docs/add-an-export-format.md are complete."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from data_folder import photograph, write_mask
from PIL import Image

import keras_wsss
from keras_wsss.config import load_config
from keras_wsss.data import load_split
from keras_wsss.errors import ConfigError, DataError
from keras_wsss.export import Limits, Metadata, export_run
from keras_wsss.export.__main__ import main as export_command
from keras_wsss.inference.checkpoints import save_checkpoint, taken_from
from keras_wsss.methods import labeller, new_model
from keras_wsss.registry import FORMATS, READERS
from keras_wsss.run_folder import RunDirectory
from keras_wsss.training import train

DOCS = Path(__file__).resolve().parents[1] / "docs"


def block(page, language):
    """The one block of code of that language on a page."""
    (code,) = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return code


def run_example(page, module):
    """What the page's code defines."""
    names = {"__name__": module}
    exec(compile(block(page, "python"), page, "exec"), names)
    return names


# ---- docs/add-a-data-reader.md ---------------------------------------------------------------


@pytest.fixture
def album(tmp_path):
    """The page's configuration; its reader is registered until the end of the test."""
    assert len(block("add-a-data-reader.md", "python").splitlines()) < 75
    run_example("add-a-data-reader.md", "album")
    path = tmp_path / "album_tscd.yaml"
    path.write_text(block("add-a-data-reader.md", "yaml"))
    yield path
    READERS.unregister("album")


@pytest.fixture
def photos(tmp_path):
    """Nine photographs of cats and dogs; 04 shows both. Masks lie beside the folder."""
    folder, masks = tmp_path / "photos", tmp_path / "masks"
    masks.mkdir()
    for number in range(9):
        names = ("cat", "dog") if number == 4 else (("cat", "dog")[number % 2],)
        for name in names:
            (folder / name).mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(photograph(number, 70 + number, 80))
            image.save(folder / name / f"{number:02}.jpg")
        mask = np.zeros((70 + number, 80), np.uint8)
        mask[:, :40] = 1 + number % 2
        write_mask(masks / f"{number:02}.png", mask)
    return folder


def test_the_reader_of_the_page_reads(album, photos):
    config = load_config(album, [f"data.root={photos}"])
    assert config.data.album.every == 4 and config.data.crop_size == 224
    train_split, val = (load_split(config.data, part) for part in ("train", "val"))
    assert train_split.class_names == val.class_names == ("cat", "dog")
    assert val.ids == ("00", "04", "08") and len(train_split) == 6
    np.testing.assert_array_equal(val.labels, [[1, 0], [1, 1], [1, 0]])
    assert train_split.mask_paths is val.mask_paths is None
    scored = load_config(
        album,
        [f"data.root={photos}", f"data.album.masks={photos.parent / 'masks'}"],
    )
    assert load_split(scored.data, "train").mask_paths is None
    assert set(np.unique(load_split(scored.data, "val").mask(1))) == {0, 1}
    dogs = load_config(album, [f"data.root={photos}", "data.classes=[dog]"])
    assert load_split(dogs.data, "train").class_names == ("dog",)


def test_the_keys_of_its_section_are_checked_like_ours(album, photos):
    root = f"data.root={photos}"
    with pytest.raises(ConfigError, match="did you mean data.album.every"):
        load_config(album, [root, "data.album.evry=3"])
    with pytest.raises(ConfigError, match=r"data.album.every: value 0; allowed: 1 or more"):
        load_config(album, [root, "data.album.every=0"])
    with pytest.raises(ConfigError, match=r"data\.album.* belongs to data\.kind album"):
        load_config("shapes_bmp", ["data.album.every=3"])
    with pytest.raises(ConfigError, match=r"data\.root: .*the folder of the data set"):
        load_config(album, ["data.root=null"])


def test_its_mistakes_are_one_message(album, photos):
    def fails(*overrides, **options):
        config = load_config(album, [f"data.root={photos}", *overrides])
        with pytest.raises(DataError) as error:
            load_split(config.data, "val", **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "photos/horse: holds no image" in fails("data.classes=[cat, horse]")
    assert "nowhere: holds no folder" in fails("data.root=nowhere")
    assert "data.album.masks: is needed here" in fails(require_masks=True)
    assert "masks/00.png: is not there" in fails("data.album.masks=masks")
    (photos / "dog" / "01.jpg").write_bytes(b"")
    assert "01.jpg: the file is empty" in fails()


def test_the_reader_of_the_page_trains(album, photos, tmp_path, monkeypatch):
    # Else the refinement is compiled anew for each size of a photograph.
    monkeypatch.setattr(labeller, "_compiled", lambda function: function)
    cheaper = tmp_path / "album_supervised.yaml"
    cheaper.write_text(album.read_text().replace("tscd", "supervised"))
    masks = f"data.album.masks={photos.parent / 'masks'}"
    config = tiny_config(f"data.root={photos}", masks, "training.steps=4", config=cheaper)
    summary = train(config, tmp_path / "run")
    assert summary["step"] == 4 and summary["protocol"]["images"] == 3
    model = keras_wsss.load(tmp_path / "run")
    assert model.class_names == ("cat", "dog") and model.trained_steps == 4


def test_the_reader_of_the_page_in_a_notebook(album, photos):
    train_split, val = keras_wsss.data.load(photos, "album", album={"every": 4})
    assert (len(train_split), len(val)) == (6, 3)


# ---- docs/add-an-export-format.md ------------------------------------------------------------


@pytest.fixture
def frozen():
    """What the page's code defines; its format is registered until the end of the test."""
    assert len(block("add-an-export-format.md", "python").splitlines()) < 60
    yield run_example("add-an-export-format.md", "frozen")
    FORMATS.unregister("frozen")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a run with random weights."""
    config = tiny_config(config="shapes_supervised")
    run, names = RunDirectory(tmp_path_factory.mktemp("run")), list("abcdef")
    run.write_config(config)
    run.classes_file.write_text("\n".join(names))
    model = new_model(config, names)
    model.build()
    save_checkpoint(run, "last", *taken_from(model, step=8))
    return run.path


def test_the_format_of_the_page_is_exported_and_compared(frozen, trained, tmp_path):
    limits = Limits(working_size=128)
    report = export_run(trained, tmp_path, ["frozen"], images=2, limits=limits)
    assert report == json.loads((tmp_path / "comparison.json").read_text())
    model = report["models"]["shapes_supervised.pb"]
    assert model["kind"] == "frozen" and model["out_of_bounds"] == []
    assert model["max_abs_logits"] <= 1e-4 and model["equal_pixels"] > 99.99
    metadata = (tmp_path / "frozen/shapes_supervised.json").read_text()
    assert Metadata.model_validate_json(metadata).classes == ("background", *"abcdef")

    read = frozen["open_frozen"](tmp_path / "frozen/shapes_supervised.pb")
    keras_model = keras_wsss.load(trained)
    images = np.stack([photograph(number, 75, 101) for number in range(2)])
    answer = read(images)
    np.testing.assert_array_equal(answer["class_map"], keras_model.segment(images))
    assert answer["logits"].shape == (2, 75, 101, 7) and answer["image_logits"].shape == (2, 6)
    with pytest.raises(DataError, match=r"takes images uint8 \[N,H,W,3\]"):
        read(images.astype(np.float32))


def test_the_format_of_the_page_takes_a_size(frozen, trained, tmp_path, capsys):
    given = ["--run", str(trained), "--output", str(tmp_path), "--images", "1", "--no-speed"]
    export_command([*given, "--format", "frozen", "--size", "88", "104"])
    assert "shapes_supervised_88x104.pb" in capsys.readouterr().out
    read = frozen["open_frozen"](tmp_path / "frozen/shapes_supervised_88x104.pb")
    assert read(tf.zeros((1, 88, 104, 3), tf.uint8).numpy())["class_map"].shape == (1, 88, 104)
    with pytest.raises(DataError, match=r"takes images \[1, 88, 104, 3\] only"):
        read(np.zeros((1, 64, 64, 3), np.uint8))
