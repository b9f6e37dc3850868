"""What is counted while images are gone through: a class for each score of a report."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_wsss.metrics import MeanIoU, average_precision, multilabel_f1
from keras_wsss.ops.label import strongest_class, take_channels
from keras_wsss.ops.resize import resize
from keras_wsss.palette import IGNORE_ID

BACKGROUND_SCORES = tuple(round(0.05 * i, 2) for i in range(1, 20))


class Seen(NamedTuple):
    """An image, and what a model says of it; None: there is no such part.

    Attributes:
        image: float32 `[1,H,W,3]`, 0..255.
        tags: float32 `[1,C]`.
        truth: int32 `[1,H,W]`, its mask.
        prediction: int32 `[1,H,W]`, of the decoder.
        crf: likewise, after a dense CRF.
        image_logits: `[1,C]`.
        cam: float32 `[1,h,w,C]`, at the size at which the network sees the image.
        label: int32 `[1,H,W]`, the pseudo label as in training, 255 = unsure.
        full: int32 `[1,H,W]`, that with a class for every pixel.
    """

    image: Any
    tags: Any
    truth: Any = None
    prediction: Any = None
    crf: Any = None
    image_logits: Any = None
    cam: Any = None
    label: Any = None
    full: Any = None

    def arrays(self):
        """Name -> numpy array without the batch axis, of all that there is."""
        return {name: np.asarray(x)[0] for name, x in self._asdict().items() if x is not None}


class MaskScore:
    """mIoU of the decoder's masks.

    Args:
        names: of all classes, the background first.
        of: which masks, an attribute of :class:`Seen`.
    """

    def __init__(self, names, of="prediction"):
        self.names, self.of, self.metric = names, of, MeanIoU(len(names))

    def update(self, seen):
        self.metric.update_state(seen.truth, getattr(seen, self.of))

    def report(self):
        return report(self.metric, self.names, tags_used=False)


class AgreementScore:
    """How far the decoder's masks are the pseudo labels; needs no truth."""

    def __init__(self, names):
        self.metric, self.equal, self.pixels = MeanIoU(len(names)), 0, 0

    def update(self, seen):
        self.metric.update_state(seen.full, seen.prediction)
        self.equal += np.sum(seen.full == seen.prediction)
        self.pixels += seen.full.numpy().size

    def report(self):
        share = percent(self.equal / max(self.pixels, 1))
        return {"miou": percent(self.metric.result()), "pixels": share}


class CamScore:
    """mIoU of CAMs masked by the tags, with the background score that suits them best."""

    def __init__(self, names):
        self.names = names
        # Pixels by the number of background scores that their class surpasses, truth and class.
        levels, classes = len(BACKGROUND_SCORES) + 1, len(names)
        self.counts = np.zeros((levels, classes, classes), np.int64)
        self._strongest = tf.function(_strongest, autograph=False, reduce_retracing=True)

    def update(self, seen):
        size = tf.constant(seen.truth.shape[1:3])
        score, label = (x.numpy() for x in self._strongest(seen.cam, seen.tags, size))
        truth = np.asarray(seen.truth)
        level = np.searchsorted(np.float32(BACKGROUND_SCORES), score)
        cells = np.ravel_multi_index((level, truth, label), self.counts.shape, mode="clip")
        counted = np.bincount(cells[truth != IGNORE_ID], minlength=self.counts.size)
        self.counts += counted.reshape(self.counts.shape)

    def report(self):
        metrics = [self._with_background(level + 1) for level in range(len(BACKGROUND_SCORES))]
        best = int(np.argmax([float(metric.result()) for metric in metrics]))
        score = BACKGROUND_SCORES[best]
        return report(metrics[best], self.names, tags_used=True, background_score=score)

    def _with_background(self, least):
        """The metric where pixels below a level are background."""
        metric = MeanIoU(len(self.names))
        confusion = self.counts[least:].sum(axis=0)
        confusion[:, 0] += self.counts[:least].sum(axis=(0, 2))
        metric.counts.assign(confusion)
        return metric


def _strongest(cam, tags, size):
    """Score and id of the strongest present class of a CAM that is brought to ``size``."""
    size = tf.unstack(size)
    maps = tf.pad(cam, [[0, 0], [0, 0], [0, 0], [1, 0]])

    def scores_of(classes):
        return resize(take_channels(maps, classes), size)

    return strongest_class(scores_of, tags, (tf.shape(cam)[0], *size))


class PseudoLabelScore:
    """mIoU of the labels that CAM and tags give, in full and as in training."""

    def __init__(self, names):
        self.names, self.metric, self.sure = names, MeanIoU(len(names)), SureScore(names)

    def update(self, seen):
        self.metric.update_state(seen.truth, seen.full)
        self.sure.update(seen.truth, seen.label)

    def report(self):
        sure = {"miou": percent(self.sure.metric.result()), "coverage": self.sure.coverage}
        return {**report(self.metric, self.names, tags_used=True), "three_way": sure}


class SureScore:
    """Labels that leave pixels out: mIoU of the others, and how many these are."""

    def __init__(self, names):
        self.metric, self.labelled, self.valid = MeanIoU(len(names)), 0, 0

    def update(self, truth, label):
        """Adds an image: ints of equal shape, 255 = left out."""
        self.metric.update_state(truth, label)
        self.valid += np.sum(truth != IGNORE_ID)
        self.labelled += np.sum((truth != IGNORE_ID) & (label != IGNORE_ID))

    @property
    def coverage(self):
        """Percentage of the pixels with a truth that have a label."""
        return percent(self.labelled / max(self.valid, 1))


class ClassifierScore:
    """How well the classifier finds the tags: F1, and average precision by class."""

    def __init__(self, names):
        self.classes, self.tags, self.image_logits = names[1:], [], []

    def update(self, seen):
        self.tags.append(seen.tags.numpy()[0])
        self.image_logits.append(seen.image_logits.numpy()[0])

    def report(self):
        tags, image_logits = np.asarray(self.tags), np.asarray(self.image_logits)
        return {
            "f1": round(multilabel_f1(tags, image_logits), 4),
            "average_precision": by_name(self.classes, average_precision(tags, image_logits)),
        }


def report(metric, names, **extra):
    """The dict that a summary holds of a :class:`MeanIoU`: percentages, and what is in ``extra``.

    Args:
        metric: :class:`MeanIoU`.
        names: its classes.
    """
    per_class = by_name(names, metric.per_class())
    return {"miou": percent(metric.result()), "per_class": per_class, **extra}


def by_name(names, fractions):
    """Class -> percentage, None where there is none."""
    return {
        name: None if np.isnan(each) else percent(each)
        for name, each in zip(names, fractions, strict=True)
    }


def percent(fraction):
    """``fraction`` as a percentage with two digits."""
    return round(100 * float(fraction), 2)
