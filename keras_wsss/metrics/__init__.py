"""Scores of masks and of image tags."""

from keras_wsss.metrics.classification import multilabel_f1
from keras_wsss.metrics.mean_iou import MeanIoU

__all__ = ["MeanIoU", "multilabel_f1"]
