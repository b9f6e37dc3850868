"""A folder of masks that grows call by call: what stays, what is made anew, what is refused."""

import os
from pathlib import Path

import pytest
from data_folder import photograph
from PIL import Image

from keras_wsss.errors import ConfigError
from keras_wsss.mask_folder import MaskFolder
from keras_wsss.output import whole_records
from keras_wsss.photographs import find_photographs
from keras_wsss.pictures import save_mask_and_overlay

SETTINGS = {"weights": "a", "flip": False}


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for number, name in enumerate("abc"):
        Image.fromarray(photograph(number)).save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


@pytest.fixture
def grown(tmp_path):
    """Opens the folder and makes what it lacks; names of what was made."""

    def grow(*sources, settings=SETTINGS, overwrite=False, stop=None):
        folder = MaskFolder(tmp_path / "out", "predictions", settings, overwrite)
        todo = folder.todo(find_photographs(sources))
        folder.begin(todo)
        for each in todo[:stop]:
            pixels = photograph(0)
            save_mask_and_overlay(pixels, pixels[..., 0], {}, folder.path, each.name)
            folder.add(each, {"classes": []})
        return [each.name for each in todo]

    return grow


def names(folder, suffix="*.*"):
    return sorted(file.stem for file in folder.rglob(suffix))


def rows(tmp_path):
    return [row["name"] for row in whole_records(tmp_path / "out" / "predictions.jsonl")]


def test_what_is_done_stays(grown, photos, tmp_path):
    assert grown(photos, stop=2) == ["a", "b", "c"]  # interrupted
    assert grown(photos) == ["c"] and grown(photos) == []
    Image.fromarray(photograph(4)).save(tmp_path / "d.png")
    assert grown(tmp_path / "d.png") == ["d"]
    assert rows(tmp_path) == ["a", "b", "c", "d"]


def test_a_photograph_that_has_changed_is_done_again(grown, photos, tmp_path):
    grown(photos)
    Image.open(photos / "b.png").rotate(90, expand=True).save(photos / "b.png")
    os.utime(photos / "c.png", ns=(0, 0))  # of the same size
    assert grown(photos, stop=1) == ["b", "c"]
    # Nothing of the old one is left.
    assert names(tmp_path / "out" / "masks") == names(tmp_path / "out" / "overlays") == ["a", "b"]
    assert grown(photos) == ["c"] and grown(photos) == []


def test_a_mask_that_is_gone_is_made_again(grown, photos, tmp_path):
    grown(photos)
    (tmp_path / "out" / "masks" / "a.png").unlink()
    assert grown(photos) == ["a"]


def test_other_settings_are_named(grown, photos, tmp_path):
    grown(photos)
    with pytest.raises(ConfigError, match=r"other settings \(flip\); .*--overwrite to begin anew"):
        grown(photos, settings={**SETTINGS, "flip": True})
    with pytest.raises(ConfigError, match=r"other settings \(version, weights\)"):
        grown(photos, settings={"version": 1, "flip": False})
    assert rows(tmp_path) == ["a", "b", "c"]


def test_nothing_is_left_of_what_is_overwritten(grown, photos, tmp_path):
    grown(photos)
    assert grown(photos / "a.png", settings={"weights": "b"}, overwrite=True) == ["a"]
    assert names(tmp_path / "out" / "masks") == names(tmp_path / "out" / "overlays") == ["a"]
    assert rows(tmp_path) == ["a"] and grown(photos / "a.png", settings={"weights": "b"}) == []


def test_a_name_that_is_taken_is_refused(grown, photos, tmp_path):
    grown(photos)
    (tmp_path / "others").mkdir()
    Image.fromarray(photograph(5)).save(tmp_path / "others" / "a.png")
    with pytest.raises(ConfigError, match=r"a.png, which has the same name as .*others/a.png"):
        grown(tmp_path / "others")


def test_rows_survive_a_full_disk(grown, photos, tmp_path, monkeypatch):
    grown(photos)
    before = (tmp_path / "out" / "predictions.jsonl").read_bytes()

    def half(path, text, **_):
        path.write_bytes(text[: len(text) // 2].encode())
        if path.suffix == ".jsonl":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="No space left"):
        grown(photos)
    assert (tmp_path / "out" / "predictions.jsonl").read_bytes() == before


def test_folders_of_others_are_not_touched(grown, photos, tmp_path):
    grown(photos)
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="was not written by this command"):
            MaskFolder(tmp_path / "out", "answers", SETTINGS, overwrite)
