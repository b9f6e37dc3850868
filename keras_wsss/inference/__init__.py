"""Prediction, evaluation and pictures."""

from keras_wsss.inference.checkpoints import load_checkpoint, load_run
from keras_wsss.inference.evaluation import evaluate
from keras_wsss.inference.predictor import Predictor, fuse_logits

__all__ = ["Predictor", "evaluate", "fuse_logits", "load_checkpoint", "load_run"]
