"""Scores of masks and of image tags."""

from keras_wsss.metrics.classification import average_precision, multilabel_f1
from keras_wsss.metrics.mean_iou import MeanIoU

__all__ = ["MeanIoU", "average_precision", "multilabel_f1"]
