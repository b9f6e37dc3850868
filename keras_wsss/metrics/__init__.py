import keras
import numpy as np
from keras import ops


class MeanIoU(keras.metrics.Metric):
    def __init__(self, num_classes, ignore_id=255, name="mean_iou", **kwargs):
        super().__init__(name=name, **kwargs)
        self.num_classes, self.ignore_id = num_classes, ignore_id
        self.matrix = self.add_variable((num_classes, num_classes), initializer="zeros", name="confusion")

    def update_state(self, y_true, y_pred, sample_weight=None):
        t = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        p = ops.reshape(ops.cast(y_pred, "int32"), (-1,))
        keep = ops.cast((t != self.ignore_id) & (p != self.ignore_id), "float32")
        n = self.num_classes
        index = ops.clip(t, 0, n - 1) * n + ops.clip(p, 0, n - 1)
        counts = ops.segment_sum(keep, index, num_segments=n * n)
        self.matrix.assign_add(ops.reshape(counts, (n, n)))

    def result(self):
        m = self.matrix
        inter = ops.diagonal(m)
        union = ops.sum(m, 0) + ops.sum(m, 1) - inter
        present = ops.cast(ops.sum(m, 1) > 0, "float32")
        return ops.sum(present * inter / ops.maximum(union, 1)) / ops.maximum(ops.sum(present), 1)

    def per_class(self):
        m = np.array(self.matrix)
        inter = np.diag(m)
        union = m.sum(0) + m.sum(1) - inter
        return np.where(m.sum(1) > 0, inter / np.maximum(union, 1), np.nan)


def multilabel_f1(labels, predictions):
    labels, predictions = np.asarray(labels) > 0, np.asarray(predictions) > 0
    tp = (labels & predictions).sum(1)
    return float(np.mean(2 * tp / np.maximum(labels.sum(1) + predictions.sum(1), 1)))
