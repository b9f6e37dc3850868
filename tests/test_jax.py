"""The losses of a training step and their gradients are the same under JAX as under TensorFlow.

Keras takes one backend a process, so this file is also the program that computes them under JAX:
``test_jax.py FOLDER``, for the weights that lie in the folder. It runs without TensorFlow.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_config

RELATIONS = ("object_distance", "background_distance", "class_distance")
METHODS = {
    "tscd": (),
    "bmp": (),
    # The terms of I2CRC go with any method; here with AFA.
    "afa": [f"losses.{name}={{weight: 0.5}}" for name in RELATIONS],
    "sgn": (),
    "rrm": (),
}
CLASSES, SIDE = 6, 128
# Compilation costs far more than these small networks. Speed is not what is tested.
QUICKLY = {"XLA_FLAGS": "--xla_backend_optimization_level=0", "KERAS_BACKEND": "jax"}


def images_and_tags():
    """Two images of noise as numpy arrays, the first with one tag, the second padded."""
    generator = np.random.default_rng(0)
    labels = np.zeros((2, CLASSES), np.float32)
    labels[0, 2] = labels[1, 1] = labels[1, 4] = 1
    return {
        "image": generator.integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.float32),
        "labels": labels,
        "valid_box": np.array([[0, SIDE, 0, SIDE], [0, SIDE - 10, 0, SIDE - 14]], np.int32),
        "saliency": generator.random((2, SIDE, SIDE, 1), np.float32),
    }


def tiny_model(method):
    """The smallest network of a method, without anything that is drawn at random."""
    from keras import ops

    from keras_wsss.methods import build_model

    config = tiny_config(*METHODS[method], config=f"shapes_{method}", start=0)
    model = build_model(config, CLASSES)
    places = np.random.default_rng(1).uniform(-1, 1, (2, 2, 1600, 2)).astype(np.float32)
    model.draw_points = lambda batch_size: [ops.convert_to_tensor(x) for x in places]
    return model


def under_jax(model):
    """Loss terms and gradients of a model."""
    import jax
    import keras

    batch = {name: keras.ops.convert_to_tensor(x) for name, x in images_and_tags().items()}
    phase = model.schedule.last

    def weighted_sum(trained):
        mapping = list(zip(model.trainable_variables, trained, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            outputs = model.forward(batch, phase)
            fixed = jax.tree.map(jax.lax.stop_gradient, outputs)
            labels = model.pseudo_labels(batch, fixed, phase)
            terms = model.loss_terms(batch, outputs, labels, phase)
        return sum(model.schedule.weights[name] * x for name, x in terms.items()), terms

    start = [variable.value for variable in model.trainable_variables]
    (_, terms), gradients = jax.jit(jax.value_and_grad(weighted_sum, has_aux=True))(start)
    return terms, gradients


def under_tensorflow(model):
    import tensorflow as tf

    batch = {name: tf.constant(x) for name, x in images_and_tags().items()}
    model.compile("sgd")
    last = model.schedule.last
    terms, gradients = tf.function(lambda: model.terms_and_gradients(batch, last))()
    del terms["loss"]
    return terms, gradients


def test_losses_and_gradients_are_those_under_tensorflow(tmp_path):
    pytest.importorskip("jax")
    expected, names = {}, {}
    for method in METHODS:
        model = tiny_model(method)
        np.savez(tmp_path / f"{method}.npz", *model.get_weights())
        expected[method] = under_tensorflow(model)
        names[method] = [variable.path for variable in model.trainable_variables]

    command = [sys.executable, __file__, str(tmp_path)]
    run = subprocess.run(command, env=os.environ | QUICKLY, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for method, (terms, gradients) in expected.items():
        with np.load(tmp_path / f"{method}_jax.npz") as file:
            ours = dict(file)
        assert {name for name in ours if not name.startswith("arr_")} == set(terms), method
        for name, value in terms.items():
            np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-7, err_msg=method)
        # The biases in front of the batch norm have no gradient but rounding.
        rounding = 1e-6 * max(np.abs(gradient).max() for gradient in gradients)
        for i, (name, gradient) in enumerate(zip(names[method], gradients, strict=True)):
            error = np.abs(ours[f"arr_{i}"] - gradient).max()
            assert error <= 1e-3 * np.abs(gradient).max() + rounding, f"{method}: {name}"


if __name__ == "__main__":
    sys.modules["tensorflow"] = None  # type: ignore[assignment]  # it must not be needed
    for name in METHODS:
        jax_model = tiny_model(name)
        with np.load(Path(sys.argv[1]) / f"{name}.npz") as given:
            jax_model.set_weights([given[f"arr_{i}"] for i in range(len(given.files))])
        losses, slopes = under_jax(jax_model)
        np.savez(Path(sys.argv[1]) / f"{name}_jax.npz", *slopes, **losses)
