"""What every method promises, on every backbone that the suite names; see test_conformance.py.

A method is tested by being registered in ``METHODS`` and having a configuration ``shapes_METHOD``.
A new loss term needs one row in ``ROUTES``.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf
from conftest import random_batch, tiny_config

from keras_wsss.config import Config, merge, shipped_configs
from keras_wsss.methods import METHODS
from keras_wsss.training import GroupedAdamW

CLASSES = 6
BACKBONES = ("mit_tiny", "efficientnet_lite0")  # with attention, and with a neck for the affinity

# The parts of the network that the gradient of a loss term reaches; all others get none.
ROUTES = {
    "classification": {"backbone", "classifier"},
    "segmentation": {"backbone", "decoder"},
    "affinity": {"backbone", "affinity"},
    "correspondence": {"backbone", "decoder"},
    "energy": {"backbone", "decoder"},
    "equivariance": {"backbone", "classifier"},
    "c2s": {"backbone", "decoder"},
    "s2c": {"backbone", "classifier"},
    "agreement": {"backbone", "classifier"},
    "object_distance": {"backbone", "classifier"},
    "background_distance": {"backbone", "classifier"},
    "class_distance": {"backbone", "classifier"},
}
# TSCD's released code takes both CAMs of its equivariance without gradient.
PARITY_ROUTES = {("tscd", "equivariance"): set()}
# The affinity of a backbone without attention is read from a neck of its own.
PARTS = {"backbone": "backbone", "classifier": "classifier", "decoder": "decoder"}
PARTS |= {"neck": "affinity", "affinity": "affinity"}

# What lets each term say something about an untrained network, at the first step.
UNTRAINED = {
    "bmp": ["losses.s2c.threshold=-100"],
    "sgn": ["sgn.mix_start=0", "sgn.mix_end=4"],
}


@dataclass(frozen=True)
class Case:
    """A method on a backbone: its configuration, model and batches, with all terms from step 0."""

    method: str
    backbone: str
    parity: bool = False

    @functools.cached_property
    def config(self):
        name = f"shapes_{self.method}"
        if name not in shipped_configs():
            pytest.fail(f"method {self.method}: needs configs/{name}.yaml to be tested")
        overrides = [f"parity={str(self.parity).lower()}", *UNTRAINED.get(self.method, ())]
        shipped = tiny_config(*overrides, config=name, start=0)
        stages = [stage for _, stage in shipped.stage_configs() if stage.method == self.method]
        settings = stages[0].model_dump(mode="json")
        encoder = {"backbone": {"name": self.backbone}}
        if self.backbone != "mit_tiny":
            encoder["cam"] = {"scales": [1.0]}
        return Config.model_validate(merge(settings, encoder))

    def new_model(self, **kwargs):
        """A built model; methods that draw at random draw the same in every model and step."""
        model = METHODS[self.method](self.config, CLASSES, **kwargs)
        model.build()
        if hasattr(model, "draw_points"):
            generator = np.random.default_rng(3)
            points = generator.uniform(-1, 1, (2, 1, 50, 2)).astype(np.float32)
            model.draw_points = lambda count: [tf.repeat(one, count, axis=0) for one in points]
        return model

    @functools.cached_property
    def model(self):
        """One compiled model for all tests that do not care about its weights."""
        model = self.new_model()
        model.compile(GroupedAdamW(1e-4))
        model.optimizer.build(model.trainable_variables)
        return model

    @property
    def active(self):
        """What ``active`` holds at the end of a training."""
        return self.model.active_terms(self.config.training.steps)

    def batch(self, size=2, seed=0):
        """A random batch with all that the method reads in training."""
        batch = random_batch(size, CLASSES, seed=seed)
        generator = np.random.default_rng(seed)
        shape = batch["image"].shape[:3]
        if METHODS[self.method].needs_masks:
            batch["mask"] = tf.constant(generator.integers(0, CLASSES + 1, shape), tf.int32)
        if self.config.needs_saliency:
            # Relation terms look at images of one tag.
            batch["labels"] = tf.one_hot(tf.argmax(batch["labels"], axis=1), CLASSES)
            batch["saliency"] = tf.constant(generator.random((*shape, 1)), tf.float32)
        return batch

    def degenerate(self, kind):
        """A batch in which nothing can be learnt."""
        batch = self.batch()
        if kind == "no tags":
            batch["labels"] = tf.zeros_like(batch["labels"])
        elif kind == "all tags":
            batch["labels"] = tf.ones_like(batch["labels"])
        elif kind == "all padding":
            batch["valid_box"] = tf.zeros_like(batch["valid_box"])
            if "mask" in batch:
                batch["mask"] = tf.fill(batch["mask"].shape, 255)
        elif kind == "black image":
            batch["image"] = tf.zeros_like(batch["image"])
            if "saliency" in batch:
                batch["saliency"] = tf.zeros_like(batch["saliency"])
        return batch

    def route(self, term):
        """The parts of the network that the gradient of ``term`` has to reach."""
        assert term in ROUTES, f"{term}: add a row to ROUTES: the parts that its gradient reaches"
        own = (self.method, term)
        return PARITY_ROUTES.get(own, ROUTES[term]) if self.parity else ROUTES[term]


def parts_reached(model, batch, active):
    """Loss term -> the parts of the network in which its gradient is not zero."""
    with tf.GradientTape(persistent=True) as tape:
        outputs = model.forward(batch, active)
        with tape.stop_recording():
            labels = model.pseudo_labels(batch, outputs, active)
            labels = tf.nest.map_structure(with_background, labels)
        terms = model.loss_terms(batch, outputs, labels, active)
    values = [variable.value for variable in model.trainable_variables]
    reached = {}
    for term, value in terms.items():
        gradients = tape.gradient(value, values, unconnected_gradients="zero")
        reached[term] = {
            next(name for part, name in PARTS.items() if part in variable.path)
            for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
            if np.any(gradient)
        }
    return reached


def with_background(labels):
    """Labels of noise may hold a single kind of pixel; 30 % background makes it several."""
    if labels is None or not labels.dtype.is_integer:
        return labels
    return tf.where(tf.random.stateless_uniform(labels.shape, [1, 2]) < 0.3, 0, labels)


def mean_of_halves_step(model, batch, active):
    """The oracle for two replicas: the mean of the gradients of the half batches' losses.

    The network runs once on the whole batch, whose statistics two replicas with a synchronised
    batch norm pool.
    """
    size = len(batch["image"])

    def half(tree, i):
        def part(x):
            if not x.shape.rank:
                return x
            # A scale's views come as one batch: all images, then all mirror images.
            views = tf.reshape(x, (-1, 2, size // 2, *x.shape[1:]))[:, i]
            return tf.reshape(views, (-1, *x.shape[1:]))

        return tf.nest.map_structure(part, tree)

    with tf.GradientTape() as tape:
        outputs = model.forward(batch, active)
        totals = []
        for i in range(2):
            part, part_batch = half(outputs, i), half(batch, i)
            with tape.stop_recording():
                labels = model.pseudo_labels(part_batch, part, active)
            terms = model.loss_terms(part_batch, part, labels, active)
            totals.append(sum(model.loss_settings[n].weight * v for n, v in terms.items()))
        loss = (totals[0] + totals[1]) / 2
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables], unconnected_gradients="zero")
    model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
