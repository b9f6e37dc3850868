"""Two replicas under ``fit`` are one optimiser on the mean of the half-batch gradients."""

import numpy as np
import tensorflow as tf
from conftest import ALL_TERMS_AT_ONCE, random_batch, tiny_config

from keras_wsss.methods import TSCD
from keras_wsss.training import GroupedAdamW

STEPS, HALF, CLASSES = 10, 2, 6


def given_points(model):
    generator = np.random.default_rng(3)
    points = [tf.constant(generator.uniform(-1, 1, (HALF, 50, 2)), tf.float32) for _ in range(2)]
    model.draw_points = lambda batch_size: points


def build(config, strategy, synchronized):
    with strategy.scope():
        model = TSCD(config, CLASSES, synchronized=synchronized)
        model.build()
        given_points(model)
        # Biases before a batch norm have no gradient but rounding, which Adam's usual epsilon of
        # 1e-8 would blow up to full steps in random directions.
        optimizer = GroupedAdamW(1e-4, epsilon=1e-4)
        model.compile(optimizer)
        optimizer.build(model.trainable_variables)
    return model


def batches():
    return [random_batch(2 * HALF, CLASSES, seed=step) for step in range(STEPS)]


def pooled_step(model, batch):
    """Network once on the whole batch (pooled statistics), losses per half, mean gradient."""
    active = frozenset(model.loss_settings)

    def half(tree, i):
        return tf.nest.map_structure(lambda x: x[i * HALF : (i + 1) * HALF], tree)

    with tf.GradientTape() as tape:
        outputs = model.forward(batch, active)
        # N x N affinities and all other outputs lead with the batch axis, so halves are slices.
        totals = []
        for i in range(2):
            part, part_batch = half(outputs, i), half(batch, i)
            labels = model.pseudo_labels(part_batch, part, active)
            terms = model.loss_terms(part_batch, part, labels, active)
            totals.append(sum(model.loss_settings[n].weight * v for n, v in terms.items()))
        loss = (totals[0] + totals[1]) / 2
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables], unconnected_gradients="zero")
    model.optimizer.apply_gradients(zip(gradients, variables, strict=True))


def test_two_replicas_equal_the_mean_of_half_batch_gradients():
    config = tiny_config(*ALL_TERMS_AT_ONCE)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    replicated = build(config, strategy, synchronized=True)
    single = build(config, tf.distribute.get_strategy(), synchronized=False)
    for target, source in zip(single.weights, replicated.weights, strict=True):
        target.assign(source.numpy())
    start = [weight.numpy() for weight in single.weights]

    data = tf.data.Dataset.from_tensor_slices(
        tf.nest.map_structure(lambda *x: tf.concat(x, 0), *batches())
    ).batch(2 * HALF)
    replicated.fit(data, verbose=0, shuffle=False)
    step = tf.function(pooled_step, autograph=False)
    for batch in batches():
        step(single, batch)

    moved = 0
    for weight, ours, expected in zip(start, replicated.weights, single.weights, strict=True):
        np.testing.assert_allclose(
            ours.numpy(), expected.numpy(), rtol=0, atol=1e-5, err_msg=expected.path
        )
        moved += np.abs(weight - expected.numpy()).max() > 1e-4
    assert moved > 30  # the comparison is of trained weights, not of initial ones
