"""AdamW with a learning rate per group, and warm-up with polynomial decay (afa.md, section 5)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_wsss")
class PolyWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up followed by polynomial decay over the absolute step.

    With ``g`` the 0-based step, the learning rate is ``base`` times

    * ``1 - (1 - g / warmup_steps) (1 - warmup_ratio)`` while ``g < warmup_steps``,
    * ``(1 - g / total_steps) ** power`` afterwards.

    The decay is not shifted by the warm-up, so the rate drops at its end, as in the released
    code of AFA and TSCD. From ``total_steps`` on the last value stays.

    Args:
        learning_rate: positive float, the base rate.
        total_steps: int, length of the training.
        warmup_steps: int, 0 for none.
        warmup_ratio: float in (0, 1], the multiplier of the first step.
        power: float, exponent of the decay.

    Example:

    >>> schedule = PolyWarmup(6e-5, total_steps=20000, warmup_steps=1500)
    >>> float(schedule(1500))  # 6e-5 * (1 - 1500 / 20000)
    5.55e-05
    """

    def __init__(self, learning_rate, total_steps, warmup_steps=0, warmup_ratio=1e-6, power=1.0):
        self.learning_rate = learning_rate
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.warmup_ratio = warmup_ratio
        self.power = power

    def __call__(self, step):
        step = ops.minimum(ops.cast(step, "float32"), self.total_steps - 1)
        decay = (1 - step / self.total_steps) ** self.power
        warmup = 1 - (1 - step / max(self.warmup_steps, 1)) * (1 - self.warmup_ratio)
        return self.learning_rate * ops.where(step < self.warmup_steps, warmup, decay)

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "warmup_ratio": self.warmup_ratio,
            "power": self.power,
        }


@keras.saving.register_keras_serializable("keras_wsss")
class GroupedAdamW(keras.optimizers.Adam):
    """AdamW whose learning rate is ``head_multiplier`` times larger outside the backbone.

    Adam is invariant to the scale of the gradient, so the *rate* is scaled per variable, for the
    update and for the decoupled decay alike. The arithmetic is that of PyTorch's AdamW (epsilon
    is added after the bias correction), which differs from Keras' while gradients are tiny.

    Args:
        learning_rate: float or schedule, the rate of variables under ``backbone_name``.
        head_multiplier: float, factor on the rate of all other variables.
        weight_decay: float, decoupled decay of every variable.
        backbone_name: str, path component by which backbone variables are known.

    Example:

    >>> optimizer = GroupedAdamW(PolyWarmup(6e-5, 20000, 1500), head_multiplier=10.0)
    """

    def __init__(
        self,
        learning_rate=6e-5,
        head_multiplier=10.0,
        weight_decay=0.01,
        backbone_name="backbone",
        epsilon=1e-8,
        name="grouped_adamw",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, epsilon=epsilon, name=name, **kwargs)
        self.head_multiplier = head_multiplier
        self.decoupled_decay = weight_decay
        self.backbone_name = backbone_name

    def build(self, var_list):
        if self.built:
            return
        super().build(var_list)
        self._multipliers = [
            1.0 if self.backbone_name in variable.path.split("/") else self.head_multiplier
            for variable in var_list
        ]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        gradient = ops.cast(gradient, variable.dtype)
        rate = ops.cast(learning_rate, variable.dtype) * self._multipliers[index]
        step = ops.cast(self.iterations + 1, variable.dtype)

        self.assign_sub(variable, variable * rate * self.decoupled_decay)
        self.assign_add(momentum, (gradient - momentum) * (1 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - self.beta_2))
        corrected = ops.sqrt(velocity / (1 - ops.power(self.beta_2, step)))
        rate = rate / (1 - ops.power(self.beta_1, step))
        self.assign_sub(variable, rate * momentum / (corrected + self.epsilon))

    def get_config(self):
        return {
            **super().get_config(),
            "head_multiplier": self.head_multiplier,
            "weight_decay": self.decoupled_decay,
            "backbone_name": self.backbone_name,
        }
