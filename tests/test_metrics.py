"""Mean IoU and F1 against counting by hand."""

import keras
import numpy as np
import pytest

from keras_wsss.inference.scores import BACKGROUND_SCORES, CamScore, Seen
from keras_wsss.metrics import MeanIoU, average_precision, multilabel_f1
from keras_wsss.ops.cam import cam_to_label
from keras_wsss.ops.resize import resize


def test_mean_over_the_classes_of_the_truth():
    metric = MeanIoU(4)
    metric.update_state([[0, 0, 1, 1]], [[0, 1, 1, 2]])
    metric.update_state([255, 1, 0], [0, 255, 0])
    # Class 0: 2 hits of 2 + 1; class 1: 1 of 2 + 1; class 2 is only predicted, class 3 nowhere.
    np.testing.assert_array_equal(metric.confusion[:2], [[2, 1, 0, 0], [0, 1, 1, 0]])
    assert float(metric.result()) == pytest.approx((2 / 3 + 1 / 3) / 2)
    np.testing.assert_allclose(metric.per_class(), [2 / 3, 1 / 3, np.nan, np.nan])


def test_no_pixel_yet_and_reset():
    metric = MeanIoU(3)
    assert metric.result() == 0 and np.all(np.isnan(metric.per_class()))
    metric.update_state([1], [1])
    metric.reset_state()
    assert metric.confusion.sum() == 0


def test_counts_beyond_float32():
    metric = MeanIoU(2)
    metric.counts.assign(np.array([[2**24, 0], [0, 2**24]]))
    metric.update_state([0, 1], [0, 0])
    np.testing.assert_array_equal(metric.confusion, [[2**24 + 1, 0], [1, 2**24]])


def test_compiles_into_a_model_and_comes_back_from_its_config():
    metric = MeanIoU.from_config(MeanIoU(3, ignore_class=9).get_config())
    assert (metric.num_classes, metric.ignore_class) == (3, 9)
    metric = keras.metrics.deserialize(keras.metrics.serialize(metric))
    metric.update_state([9, 2], [1, 2])
    assert metric.result() == 1


def test_f1():
    labels = [[1, 0, 1], [0, 0, 0], [1, 0, 0]]
    predictions = [[1, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert multilabel_f1(labels, predictions) == pytest.approx((0.5 + 1 + 1) / 3)
    assert multilabel_f1([[0, 0], [0, 0], [1, 0]], [[0, 0], [0, 1], [0, 0]]) == pytest.approx(1 / 3)


def test_average_precision():
    tags = [[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]]
    scores = [[3.0, 0.5, 1.0], [2.0, 0.5, 2.0], [1.0, 0.5, 3.0], [0.0, 9.0, 4.0]]
    # First class: at ranks 1 and 3; second: both with a third of equal score, behind a wrong one.
    expected = [(1 + 2 / 3) / 2, 2 / 4, np.nan]
    np.testing.assert_allclose(average_precision(tags, scores), expected)


def test_a_cam_is_scored_at_its_best_background_score():
    """Against a label map for every background score, at the size of the truth."""
    draw, names = np.random.default_rng(0), ("background", *"abcdef")
    score, by_score = CamScore(names), {each: MeanIoU(7) for each in BACKGROUND_SCORES}
    for tags in ([0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [1, 1, 1, 0, 1, 1]):
        truth = draw.choice([0, 1, 2, 6, 255], size=(1, 20, 31))
        tags = np.float32([tags])
        size = (9, 12) if tags.sum() > 1 else (20, 31)  # not resized, some equal a background score
        cam = np.float32(np.round(draw.random((1, *size, 6)), 2))
        score.update(Seen(None, tags, truth, cam=cam))
        for background, metric in by_score.items():
            label = cam_to_label(resize(cam, (20, 31)), tags, background)
            metric.update_state(truth, label)
    for level, metric in enumerate(by_score.values(), start=1):
        np.testing.assert_array_equal(score._with_background(level).confusion, metric.confusion)
    best = max(by_score, key=lambda background: float(by_score[background].result()))
    report = score.report()
    assert report["background_score"] == best
    assert report["miou"] == pytest.approx(100 * float(by_score[best].result()), abs=0.01)
