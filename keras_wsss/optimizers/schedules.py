"""Learning-rate schedules with linear warm-up."""

import keras
from keras import ops


class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up followed by a decay that is not shifted by it (AFA, eq. 20).

    With ``g`` the 0-based step, the rate is ``learning_rate`` times
    ``1 - (1 - g / warmup_steps) (1 - warmup_ratio)`` while ``g < warmup_steps`` and times
    ``decay(g)`` afterwards.

    Example:

    >>> class Constant(Warmup):
    ...     def decay(self, step):
    ...         return 1.0
    >>> schedule = Constant(0.1, warmup_steps=4, warmup_ratio=0.2)
    >>> [round(float(schedule(step)), 3) for step in range(5)]
    [0.02, 0.04, 0.06, 0.08, 0.1]
    """

    def __init__(self, learning_rate, warmup_steps=0, warmup_ratio=1e-6):
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.warmup_ratio = warmup_ratio

    def __call__(self, step):
        step = ops.cast(step, "float32")
        warmup = 1 - (1 - step / max(self.warmup_steps, 1)) * (1 - self.warmup_ratio)
        multiplier = ops.where(step < self.warmup_steps, warmup, self.decay(step))
        return self.learning_rate * multiplier

    def decay(self, step):
        """Multiplier of the base rate at a float32 step."""
        raise NotImplementedError

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
            "warmup_ratio": self.warmup_ratio,
        }


@keras.saving.register_keras_serializable("keras_wsss")
class PolyWarmup(Warmup):
    """Linear warm-up followed by polynomial decay over the absolute step.

    With ``g`` the 0-based step, the learning rate is ``base`` times

    * ``1 - (1 - g / warmup_steps) (1 - warmup_ratio)`` while ``g < warmup_steps``,
    * ``(1 - g / total_steps) ** power`` afterwards, ``g`` rounded down to a multiple of
      ``step_size``.

    The decay is not shifted by the warm-up, so the rate drops at its end, as in the released
    code of AFA and TSCD. From ``total_steps`` on the last value stays.

    Args:
        learning_rate: positive float, the base rate.
        total_steps: int, length of the training.
        warmup_steps: int, 0 for none.
        warmup_ratio: float in (0, 1], the multiplier of the first step.
        power: float, exponent of the decay.
        step_size: int, steps between changes of the decay (I2CRC: 10).

    Example:

    >>> schedule = PolyWarmup(6e-5, total_steps=20000, warmup_steps=1500)
    >>> round(float(schedule(1500)), 10)  # 6e-5 * (1 - 1500 / 20000)
    5.55e-05
    """

    def __init__(
        self,
        learning_rate,
        total_steps,
        warmup_steps=0,
        warmup_ratio=1e-6,
        power=1.0,
        step_size=1,
    ):
        super().__init__(learning_rate, warmup_steps, warmup_ratio)
        self.total_steps = total_steps
        self.power = power
        self.step_size = step_size

    def decay(self, step):
        step = ops.minimum(step, self.total_steps - 1)
        step = ops.floor(step / self.step_size) * self.step_size
        return ((self.total_steps - step) / self.total_steps) ** self.power

    def get_config(self):
        return super().get_config() | {
            "total_steps": self.total_steps,
            "power": self.power,
            "step_size": self.step_size,
        }


@keras.saving.register_keras_serializable("keras_wsss")
class MultiStepWarmup(Warmup):
    """Linear warm-up followed by a rate that drops by a factor at given steps (I2CRC).

    Args:
        learning_rate: positive float, the base rate.
        milestones: ints, 0-based steps from which the rate is ``factor`` times lower.
        warmup_steps: int, 0 for none.
        warmup_ratio: float in (0, 1], the multiplier of the first step.
        factor: float in (0, 1).

    Example:

    >>> schedule = MultiStepWarmup(1e-3, milestones=(10585, 21170))
    >>> [round(float(schedule(step)), 10) for step in (10584, 10585, 21170)]
    [0.001, 0.0001, 1e-05]
    """

    def __init__(self, learning_rate, milestones, warmup_steps=0, warmup_ratio=1e-6, factor=0.1):
        super().__init__(learning_rate, warmup_steps, warmup_ratio)
        self.milestones = tuple(milestones)
        self.factor = factor

    def decay(self, step):
        passed = sum(ops.cast(step >= milestone, "float32") for milestone in self.milestones)
        return self.factor**passed

    def get_config(self):
        return super().get_config() | {"milestones": self.milestones, "factor": self.factor}
