"""AdamW and SGD with a learning rate per group; schedules with linear warm-up."""

import keras
from keras import ops


class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up followed by a decay that is not shifted by it (afa.md, section 5).

    With ``g`` the 0-based step, the rate is ``learning_rate`` times
    ``1 - (1 - g / warmup_steps) (1 - warmup_ratio)`` while ``g < warmup_steps`` and times
    ``decay(g)`` afterwards.
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
    >>> float(schedule(1500))  # 6e-5 * (1 - 1500 / 20000)
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
    """Linear warm-up followed by a rate that drops by a factor at given steps (i2crc.md, 5.1).

    Args:
        learning_rate: positive float, the base rate.
        milestones: ints, 0-based steps from which the rate is ``factor`` times lower.
        warmup_steps: int, 0 for none.
        warmup_ratio: float in (0, 1], the multiplier of the first step.
        factor: float in (0, 1).

    Example:

    >>> schedule = MultiStepWarmup(1e-3, milestones=(10585, 21170))
    >>> [float(schedule(step)) for step in (10584, 10585, 21170)]
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


def rate_multipliers(variables, head_multiplier, bias_multiplier=1.0, backbone_name="backbone"):
    """Factor on the learning rate of each variable.

    Heads are all variables that do not lie under ``backbone_name``, and the layers ``extra`` of a
    backbone, which no published weights hold.

    Example:

    >>> rate_multipliers(model.trainable_variables, 10.0, bias_multiplier=2.0)[:2]
    [1.0, 2.0]
    """
    multipliers = []
    for variable in variables:
        parts = variable.path.split("/")
        head = backbone_name not in parts or "extra" in parts
        multipliers.append(
            (head_multiplier if head else 1.0) * (bias_multiplier if parts[-1] == "bias" else 1.0)
        )
    return multipliers


@keras.saving.register_keras_serializable("keras_wsss")
class GroupedAdamW(keras.optimizers.Adam):
    """AdamW whose learning rate is ``head_multiplier`` times larger for heads.

    Adam is invariant to the scale of the gradient, so the *rate* is scaled per variable, for the
    update and for the decoupled decay alike. The arithmetic is that of PyTorch's AdamW (epsilon
    is added after the bias correction), which differs from Keras' while gradients are tiny.

    Args:
        learning_rate: float or schedule, the rate of the backbone.
        head_multiplier: float, factor on the rate of heads, see :func:`rate_multipliers`.
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
        self._multipliers = rate_multipliers(
            var_list, self.head_multiplier, backbone_name=self.backbone_name
        )

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


@keras.saving.register_keras_serializable("keras_wsss")
class GroupedSGD(keras.optimizers.SGD):
    """SGD whose learning rate is larger for heads, and larger still for biases.

    The recipe of DeepLab, I2CRC and SGN (i2crc.md, section 5.1), with PyTorch's arithmetic: with
    gradient ``g`` of a variable ``w``, momentum ``m`` and the variable's rate,

    * ``g = g + weight_decay * w``, for every variable,
    * ``v = m * v + g``, and ``u = g + m * v`` with Nesterov's momentum, else ``u = v``,
    * ``w = w - rate * u``.

    Keras' own SGD keeps the rate inside ``v``, which differs while the rate changes.

    Args:
        learning_rate: float or schedule, the rate of the backbone's kernels.
        momentum: float in [0, 1).
        nesterov: bool.
        head_multiplier: float, factor on the rate of heads, see :func:`rate_multipliers`.
        bias_multiplier: float, factor on the rate of biases, heads' included.
        weight_decay: float, added to the gradient.
        backbone_name: str, path component by which backbone variables are known.

    Example:

    >>> optimizer = GroupedSGD(PolyWarmup(1e-3, 20000, power=0.9), weight_decay=5e-4)
    """

    def __init__(
        self,
        learning_rate=1e-3,
        momentum=0.9,
        nesterov=False,
        head_multiplier=10.0,
        bias_multiplier=2.0,
        weight_decay=5e-4,
        backbone_name="backbone",
        name="grouped_sgd",
        **kwargs,
    ):
        super().__init__(learning_rate, float(momentum), nesterov, name=name, **kwargs)
        self.head_multiplier = head_multiplier
        self.bias_multiplier = bias_multiplier
        self.coupled_decay = weight_decay
        self.backbone_name = backbone_name

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._multipliers = rate_multipliers(
            variables, self.head_multiplier, self.bias_multiplier, self.backbone_name
        )

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype) * self._multipliers[index]
        update = ops.cast(gradient, variable.dtype) + self.coupled_decay * variable
        if self.momentum > 0:
            velocity = self.momentums[index]
            gradient = update
            self.assign(velocity, self.momentum * velocity + gradient)
            update = gradient + self.momentum * velocity if self.nesterov else velocity
        self.assign_sub(variable, rate * update)

    def get_config(self):
        return {
            **super().get_config(),
            "head_multiplier": self.head_multiplier,
            "bias_multiplier": self.bias_multiplier,
            "weight_decay": self.coupled_decay,
            "backbone_name": self.backbone_name,
        }


def build_optimizer(settings, steps):
    """Optimiser and schedule from the configuration's ``optimizer`` section.

    Args:
        settings: :class:`~keras_wsss.config.OptimizerConfig`.
        steps: int, length of the training.

    Example:

    >>> build_optimizer(OptimizerConfig(learning_rate=1e-4, warmup_steps=30), steps=480)
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
