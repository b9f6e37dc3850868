"""Mean intersection over union from a streaming confusion matrix."""

import keras
import numpy as np
from keras import ops

from keras_wsss.palette import IGNORE_ID


@keras.saving.register_keras_serializable("keras_wsss")
class MeanIoU(keras.metrics.Metric):
    """Mean over the classes that occur in the truth of hits / (truth + predicted - hits).

    Counts are whole numbers, so no pixel is lost however many images are seen (a float32 count
    stops at 16.8 million). Pixels whose truth or prediction is ``ignore_class`` are left out.

    Args:
        num_classes: int, classes including the background.
        ignore_class: int.

    Example:

    >>> metric = MeanIoU(2)
    >>> metric.update_state([0, 0, 1, 255], [0, 1, 1, 1])
    >>> float(metric.result())
    0.5
    """

    def __init__(self, num_classes, ignore_class=IGNORE_ID, name="mean_iou", **kwargs):
        super().__init__(name=name, **kwargs)
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        self.counts = self.add_variable(
            (num_classes, num_classes), initializer="zeros", dtype="int64", name="confusion"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds pixels.

        Args:
            y_true: ints, class ids 0..num_classes-1 or ``ignore_class``.
            y_pred: the same, of equal shape.
            sample_weight: not used; there because Keras passes it.
        """
        truth, predicted = (ops.reshape(ops.cast(y, "int32"), (-1,)) for y in (y_true, y_pred))
        counted = (truth != self.ignore_class) & (predicted != self.ignore_class)
        cell = ops.where(counted, truth * self.num_classes + predicted, 0)
        cells = ops.segment_sum(ops.cast(counted, "int32"), cell, num_segments=self.num_classes**2)
        self.counts.assign_add(ops.cast(ops.reshape(cells, self.counts.shape), "int64"))

    def result(self):
        """Mean IoU in 0..1; 0 before any pixel was counted."""
        counts = ops.cast(self.counts, "float32")
        hits, truth = ops.diagonal(counts), ops.sum(counts, axis=1)
        union = truth + ops.sum(counts, axis=0) - hits
        present = ops.cast(truth > 0, "float32")
        return ops.sum(hits / ops.maximum(union, 1.0)) / ops.maximum(ops.sum(present), 1.0)

    @property
    def confusion(self):
        """numpy int64 `[num_classes,num_classes]`, rows = truth, columns = prediction."""
        return ops.convert_to_numpy(self.counts)

    def per_class(self):
        """IoU of each class, numpy float64; NaN for a class that the truth does not hold."""
        counts = self.confusion
        hits, truth = np.diag(counts), counts.sum(axis=1)
        union = truth + counts.sum(axis=0) - hits
        return np.where(truth > 0, hits / np.maximum(union, 1), np.nan)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_class": self.ignore_class,
        }
