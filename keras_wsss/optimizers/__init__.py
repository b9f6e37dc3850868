"""Optimisers with a learning rate per group, and their schedules."""

from keras_wsss.optimizers.build import batches_seen, build_optimizer
from keras_wsss.optimizers.grouped import GroupedAdamW, GroupedSGD, rate_multipliers
from keras_wsss.optimizers.schedules import MultiStepWarmup, PolyWarmup, Warmup

__all__ = [
    "GroupedAdamW",
    "GroupedSGD",
    "MultiStepWarmup",
    "PolyWarmup",
    "Warmup",
    "batches_seen",
    "build_optimizer",
    "rate_multipliers",
]
