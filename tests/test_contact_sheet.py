"""Contact sheets."""

import numpy as np

from keras_wsss.data.classes import VOC_CLASSES
from keras_wsss.fonts import font_for
from keras_wsss.inference.contact_sheet import (
    CAPTION,
    FONT_SIZE,
    GAP,
    HEADER,
    TILE,
    contact_sheet,
    legend_places,
)
from keras_wsss.palette import IGNORE_COLOUR, voc_palette


def test_a_legend_of_many_classes_takes_more_lines_and_cuts_none_off():
    image, cam = np.zeros((20, 30, 3)), np.zeros((20, 30, 60))
    label = np.zeros((20, 30), int)
    names = VOC_CLASSES * 3
    row = (image, cam, label, label, label)
    sheets = {n: contact_sheet([row], ["a"], names[:n]) for n in (3, 60)}
    legend = ["background", *names, "no label (255)"]
    places = legend_places(legend, sheets[60].width)
    for name, (left, _) in zip(legend, places, strict=True):
        assert left + 16 + font_for(name, FONT_SIZE).getlength(name) <= sheets[60].width, name
    assert len(set(places)) == 62
    lines = len({top for _, top in places})
    assert lines > 3
    assert sheets[60].height - sheets[3].height == (lines - 1) * HEADER


def test_a_legend_has_the_background_and_what_has_no_label_and_rows_have_names():
    image, cam, label = np.zeros((20, 30, 3)), np.zeros((20, 30, 2)), np.zeros((20, 30), int)
    rows = [(image, cam, label, label)] * 2
    sheet = np.asarray(contact_sheet(rows, ["one", "two"], ["cat", "dog"]))
    places = legend_places(["background", "cat", "dog", "no label (255)"], sheet.shape[1])
    colours = [sheet[top + 8, left + 6] for left, top in places]
    np.testing.assert_array_equal(colours, [*voc_palette()[:3], IGNORE_COLOUR])
    # A row is as high as its pictures.
    top, height = 2 * HEADER, CAPTION + TILE * 20 // 30 + GAP
    assert sheet.shape[0] == top + 2 * height
    captions = [sheet[top + n * height :][:CAPTION] for n in range(2)]
    assert all((each < 128).any() for each in captions)  # written
    assert (captions[0] != captions[1]).any()
