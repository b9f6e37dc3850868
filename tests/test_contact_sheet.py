"""Contact sheets."""

import numpy as np
from PIL import ImageFont

from keras_wsss.data.classes import VOC_CLASSES
from keras_wsss.inference.contact_sheet import HEADER, contact_sheet, legend_places


def test_a_legend_of_many_classes_takes_more_lines_and_cuts_none_off():
    image, cam = np.zeros((20, 30, 3)), np.zeros((20, 30, 60))
    label = np.zeros((20, 30), int)
    names = VOC_CLASSES * 3
    row = (image, cam, label, label, label)
    sheets = {n: contact_sheet([row], names[:n]) for n in (3, 60)}
    places = legend_places(names, sheets[60].width)
    width_of = ImageFont.load_default().getlength
    for name, (left, _) in zip(names, places, strict=True):
        assert left + 16 + width_of(name) <= sheets[60].width, name
    assert len(set(places)) == 60
    lines = len({top for _, top in places})
    assert lines > 3
    assert sheets[60].height - sheets[3].height == (lines - 1) * HEADER
