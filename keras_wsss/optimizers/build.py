"""From the section ``optimizer`` to an optimiser with its schedule."""

from keras_wsss.optimizers.grouped import GroupedAdamW, GroupedSGD
from keras_wsss.optimizers.schedules import MultiStepWarmup, PolyWarmup


def build_optimizer(settings, steps):
    """Optimiser and schedule from the configuration's ``optimizer`` section.

    Args:
        settings: :class:`~keras_wsss.config.OptimizerConfig`.
        steps: int, length of the training.

    Example:

    >>> settings = wsss.config.OptimizerConfig(learning_rate=1e-4, warmup_steps=30)
    >>> optimizer = build_optimizer(settings, steps=480)
    >>> round(float(optimizer.learning_rate), 10)  # of the first step
    1e-10
    """
    rate = settings.learning_rate
    warmup = {"warmup_steps": settings.warmup_steps, "warmup_ratio": settings.warmup_ratio}
    if settings.milestones:
        factor = settings.milestone_factor
        schedule = MultiStepWarmup(rate, settings.milestones, factor=factor, **warmup)
    else:
        power, step_size = settings.power, settings.step_size
        schedule = PolyWarmup(rate, steps, power=power, step_size=step_size, **warmup)
    shared = {
        "head_multiplier": settings.head_multiplier,
        "weight_decay": settings.weight_decay,
        "global_clipnorm": settings.clip_norm,
    }
    if settings.kind == "adamw":
        return GroupedAdamW(schedule, beta_2=settings.beta_2, **shared)
    return GroupedSGD(
        schedule,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        bias_multiplier=settings.bias_multiplier,
        **shared,
    )


def batches_seen(optimizer):
    """Batches on which an optimiser was applied; one that accumulates them counts updates.

    Args:
        optimizer: Keras optimiser.

    Returns:
        int.

    Example:

    >>> optimizer = keras.optimizers.SGD(0.1)
    >>> weight = keras.Variable(1.0)
    >>> optimizer.apply([ops.ones(())], [weight])
    >>> batches_seen(optimizer)
    1
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of mixed precision
    return int(optimizer.iterations.numpy()) * (optimizer.gradient_accumulation_steps or 1)
