"""Prediction, evaluation and pictures."""

from keras_wsss.inference.checkpoints import load, load_checkpoint
from keras_wsss.inference.evaluation import evaluate
from keras_wsss.prediction import Predictor, fuse_logits, segment

__all__ = ["Predictor", "evaluate", "fuse_logits", "load", "load_checkpoint", "segment"]
