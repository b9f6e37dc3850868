"""Names of classes in every script are written where pictures have a legend."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager

from keras_wsss import fonts
from keras_wsss.fonts import font_for
from keras_wsss.inference.contact_sheet import contact_sheet
from keras_wsss.pictures import overlay

FOLDER = Path(matplotlib.get_data_path(), "fonts", "ttf")
ODD = "\ue000"  # which DejaVu Sans lacks, as it lacks Chinese


@pytest.fixture
def system(monkeypatch):
    """The fonts that the system has; none of them by default."""
    files = []
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: files)
    fonts._file_for.cache_clear()
    yield files
    fonts._file_for.cache_clear()


def ink(font, text):
    return bytes(font.getmask(text))


@pytest.mark.parametrize("text", ["cat", "яблоко", "größe", "γάτα"])
def test_letters_are_no_boxes(text, system):
    font = font_for(text, 20)
    drawn = {ink(font, letter) for letter in set(text)}
    assert len(drawn) == len(set(text)) and ink(font, ODD) not in drawn


def test_a_font_of_the_system_steps_in(system, tmp_path):
    assert font_for(ODD, 20).getname()[0] == "DejaVu Sans"  # there is no better one
    (tmp_path / "a.ttf").write_bytes(b"broken")
    system += [str(tmp_path / "a.ttf"), str(FOLDER / "STIXNonUni.ttf")]
    fonts._file_for.cache_clear()
    assert font_for(ODD, 20).getname()[0] == "STIXNonUnicode"
    assert font_for("cat", 20).getname()[0] == "DejaVu Sans"


def test_legends_tell_classes_apart_that_are_no_latin(system):
    image, mask = np.zeros((60, 90, 3), np.uint8), np.ones((60, 90), int)
    rows = [(image, np.zeros((60, 90, 1)), mask, mask)]

    def written(name):
        return overlay(image, mask, {1: name}), contact_sheet(rows, ["a"], [name])

    for one, other in zip(written("кот"), written("пёс"), strict=True):
        assert not np.array_equal(np.asarray(one), np.asarray(other))
