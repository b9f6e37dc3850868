"""The public place of optimisers and schedules; the code is in :mod:`keras_wsss.optimizers`."""

from keras_wsss.optimizers import (
    GroupedAdamW,
    GroupedSGD,
    MultiStepWarmup,
    PolyWarmup,
    Warmup,
    build_optimizer,
    rate_multipliers,
)

__all__ = [
    "GroupedAdamW",
    "GroupedSGD",
    "MultiStepWarmup",
    "PolyWarmup",
    "Warmup",
    "build_optimizer",
    "rate_multipliers",
]
