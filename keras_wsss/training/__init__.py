"""Training: ``fit`` with its schedule, devices, logs and checkpoints."""

from keras_wsss.training.optimizers import (
    GroupedAdamW,
    GroupedSGD,
    MultiStepWarmup,
    PolyWarmup,
    build_optimizer,
)
from keras_wsss.training.trainer import dry_run, train

__all__ = [
    "GroupedAdamW",
    "GroupedSGD",
    "MultiStepWarmup",
    "PolyWarmup",
    "build_optimizer",
    "dry_run",
    "train",
]
