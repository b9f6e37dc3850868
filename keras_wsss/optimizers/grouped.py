"""AdamW and SGD with a learning rate per group."""

import keras
from keras import ops


def rate_multipliers(
    variables, head_multiplier, bias_multiplier=1.0, backbone_name="backbone", backbone_ids=()
):
    """Factor on the learning rate of each variable.

    Heads are all variables that neither lie under ``backbone_name`` nor have their ``id`` among
    ``backbone_ids`` (a network that was built elsewhere has paths of its own), and the layers
    ``extra`` of a backbone, which no published weights hold.

    Example:

    >>> variables = [keras.Variable(0.0, name=name) for name in ("kernel", "bias")]  # of a head
    >>> rate_multipliers(variables, 10.0, bias_multiplier=2.0)
    [10.0, 20.0]
    """
    multipliers = []
    for variable in variables:
        parts = variable.path.split("/")
        of_backbone = backbone_name in parts or id(variable) in backbone_ids
        head = not of_backbone or "extra" in parts
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

    >>> schedule = wsss.training.PolyWarmup(6e-5, total_steps=20000, warmup_steps=1500)
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> model.compile(GroupedAdamW(schedule, head_multiplier=10.0), "mse")
    """

    backbone_ids: frozenset[int] = frozenset()  # of a backbone whose paths are its own

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
            var_list,
            self.head_multiplier,
            backbone_name=self.backbone_name,
            backbone_ids=self.backbone_ids,
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

    The recipe of DeepLab, I2CRC and SGN (I2CRC, "Training recipe"), with PyTorch's arithmetic: with
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

    >>> optimizer = GroupedSGD(0.1, momentum=0.0, head_multiplier=10.0, weight_decay=0.0)
    >>> weight = keras.Variable(1.0)  # no part of a backbone
    >>> optimizer.apply([ops.full((), 0.5)], [weight])
    >>> float(weight)
    0.5
    """

    backbone_ids: frozenset[int] = frozenset()  # of a backbone whose paths are its own

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
            variables,
            self.head_multiplier,
            self.bias_multiplier,
            self.backbone_name,
            backbone_ids=self.backbone_ids,
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
