"""Optimisers against plain numpy, learning rates of the recipes."""

import keras
import numpy as np
import pytest

from keras_wsss.backbones import build_backbone
from keras_wsss.config import load_config
from keras_wsss.heads import CAMClassifier
from keras_wsss.optimizers import (
    GroupedAdamW,
    GroupedSGD,
    MultiStepWarmup,
    PolyWarmup,
    build_optimizer,
    rate_multipliers,
)

RANDOM = np.random.default_rng(0)


# ---- schedules ----------------------------------------------------------------------------------


def test_poly_rate_of_i2crc_changes_every_ten_steps():
    """I2CRC, reference value 11."""
    schedule = PolyWarmup(2.5e-4, 20000, power=0.9, step_size=10)
    wanted = {0: 2.5e-4, 9: 2.5e-4, 10: 2.49887e-4, 10000: 1.33972e-4, 19990: 2.6731e-7}
    for step, rate in wanted.items():
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-5), step
    assert {float(schedule(step)) for step in range(10, 20)} == {float(schedule(10))}
    assert float(schedule(20)) < float(schedule(19))
    assert float(schedule(25000)) == float(schedule(19990))


def test_rate_of_i2crc_drops_at_epochs():
    """I2CRC, reference value 10: 2,117 steps an epoch, a tenth from epochs 5 and 10 on."""
    epoch = 2117
    assert -(-10582 // 5) == epoch and 30 * epoch == 63510
    schedule = MultiStepWarmup(1e-3, (5 * epoch, 10 * epoch))
    wanted = [(0, 1e-3), (5 * epoch - 1, 1e-3), (5 * epoch, 1e-4), (10 * epoch - 1, 1e-4)]
    for step, rate in [*wanted, (10 * epoch, 1e-5), (30 * epoch - 1, 1e-5)]:
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-5), step


def test_steps_can_warm_up():
    schedule = MultiStepWarmup(1.0, (2, 20), warmup_steps=10, warmup_ratio=0.5, factor=0.5)
    rates = [float(schedule(step)) for step in (0, 5, 10, 19, 20)]
    np.testing.assert_allclose(rates, [0.5, 0.75, 0.5, 0.5, 0.25], rtol=1e-6)


@pytest.mark.parametrize(
    "schedule",
    [
        PolyWarmup(2.0, 50, warmup_steps=5, warmup_ratio=0.1, power=0.9, step_size=7),
        MultiStepWarmup(2.0, (10, 30), warmup_steps=5, warmup_ratio=0.1, factor=0.3),
    ],
)
def test_schedules_survive_saving(schedule):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert type(copy) is type(schedule) and copy.get_config() == schedule.get_config()
    assert [float(copy(s)) for s in range(60)] == [float(schedule(s)) for s in range(60)]


# ---- groups -------------------------------------------------------------------------------------


def test_groups_of_the_classifier():
    """I2CRC: added layers and class map have ten times the rate, biases twice their own."""
    backbone = build_backbone("vgg16")
    classifier = CAMClassifier(3, use_bias=True)
    classifier.build((None, None, None, 512))
    variables = [*backbone.trainable_variables, *classifier.trainable_variables]
    multipliers = rate_multipliers(variables, 10.0, 2.0)
    by_path = {v.path: m for v, m in zip(variables, multipliers, strict=True)}
    assert by_path["backbone/block5_conv3/kernel"] == 1
    assert by_path["backbone/block5_conv3/bias"] == 2
    assert by_path["backbone/extra/conv1/kernel"] == by_path["classifier/kernel"] == 10
    assert by_path["backbone/extra/conv3/bias"] == by_path["classifier/bias"] == 20
    assert sorted(set(multipliers)) == [1, 2, 10, 20]


# ---- SGD ----------------------------------------------------------------------------------------


def variables_of_all_groups():
    paths = ["backbone/kernel", "backbone/bias", "decoder/kernel", "decoder/bias"]
    variables = []
    for path in paths:
        scope, name = path.split("/")
        layer = keras.layers.Layer(name=scope)
        with keras.name_scope(scope, caller=layer):
            variables.append(keras.Variable(RANDOM.normal(size=(3, 2)), name=name))
    assert [v.path for v in variables] == paths
    return variables


@pytest.mark.parametrize("momentum", [0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_equals_plain_numpy(momentum, nesterov):
    """The update of torch.optim.SGD while the rate changes from step to step."""
    schedule = MultiStepWarmup(0.01, (2, 4))
    optimizer = GroupedSGD(schedule, momentum, nesterov, weight_decay=0.1)
    variables = variables_of_all_groups()
    weights = [np.array(v, np.float64) for v in variables]
    velocities = [np.zeros_like(w) for w in weights]
    for step in range(6):
        gradients = RANDOM.normal(size=(4, 3, 2))
        optimizer.apply(keras.ops.convert_to_tensor(gradients, "float32"), variables)
        rate = 0.01 * 0.1 ** ((step >= 2) + (step >= 4))
        for i, (gradient, factor) in enumerate(zip(gradients, (1, 2, 10, 20), strict=True)):
            gradient = gradient + 0.1 * weights[i]
            velocities[i] = momentum * velocities[i] + gradient
            update = gradient + momentum * velocities[i] if nesterov else velocities[i]
            weights[i] = weights[i] - factor * rate * update
    for variable, weight in zip(variables, weights, strict=True):
        np.testing.assert_allclose(variable, weight, rtol=1e-5, atol=1e-6, err_msg=variable.path)


def test_sgd_survives_saving():
    optimizer = GroupedSGD(
        PolyWarmup(1e-3, 10), 0.5, True, head_multiplier=3.0, bias_multiplier=4.0, weight_decay=0.2
    )
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert copy.get_config() == optimizer.get_config()
    assert (copy.momentum, copy.nesterov, copy.coupled_decay) == (0.5, True, 0.2)
    assert copy.weight_decay is None  # Keras would decay once more


# ---- configuration ------------------------------------------------------------------------------


def optimizer_of(*overrides):
    settings = load_config(
        "shapes_tscd", [f"optimizer.{override}" for override in overrides]
    ).optimizer
    return build_optimizer(settings, steps=20000)


def test_configured_optimizers():
    adam = optimizer_of("kind=adamw", "weight_decay=0.3")
    assert isinstance(adam, GroupedAdamW) and adam.decoupled_decay == 0.3
    sgd = optimizer_of("kind=sgd", "momentum=0.5", "nesterov=true", "bias_multiplier=3.0")
    assert isinstance(sgd, GroupedSGD) and (sgd.momentum, sgd.nesterov) == (0.5, True)
    assert sgd.bias_multiplier == 3.0


def test_configured_schedules():
    rates = ("learning_rate=2.0", "warmup_steps=0")
    poly = optimizer_of("kind=sgd", *rates, "power=0.9", "step_size=10")
    poly.build([])
    for step, rate in ((19, 2 * (1 - 10 / 20000) ** 0.9), (20, 2 * (1 - 20 / 20000) ** 0.9)):
        poly.iterations.assign(step)
        assert float(poly.learning_rate) == pytest.approx(rate, rel=1e-6)
    steps = optimizer_of(*rates, "milestones=[5, 9]", "milestone_factor=0.5")
    steps.build([])
    for step, rate in ((4, 2.0), (5, 1.0), (9, 0.5)):
        steps.iterations.assign(step)
        assert float(steps.learning_rate) == pytest.approx(rate)
