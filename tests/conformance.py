"""What every method promises, on every backbone that the suite names; see test_conformance.py.

A method is tested by being registered in ``METHODS`` and having a configuration ``shapes_METHOD``.
What its loss terms teach and read is held against its declaration.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf
from conftest import random_batch, tiny_config

from keras_wsss import methods
from keras_wsss.config import config_class, merge, shipped_configs, stage_configs
from keras_wsss.optimizers import GroupedAdamW
from keras_wsss.registry import METHODS

CLASSES = 6
BACKBONES = ("mit_tiny", "efficientnet_lite0")  # with attention, and with a neck for the affinity

# Where the gradient of a term in released code does not go where the method declares.
PARITY_ROUTES = {
    # TSCD's released code takes both CAMs of its equivariance without gradient.
    ("tscd", "equivariance"): set(),
}
# The affinity of a backbone without attention is read from a neck of its own.
PARTS = {"backbone": "backbone", "classifier": "classifier", "decoder": "decoder"}
PARTS |= {"neck": "affinity", "affinity": "affinity"}

# What a term may declare to read, whatever its method; other names are the method's own.
FROM_BATCH = {"mask", "saliency"}
SHARED = {*FROM_BATCH, "affinity", "maps", "label"}

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
        overrides = list(UNTRAINED.get(self.method, ()))
        if self.parity:
            overrides.append("parity=true")
        shipped = tiny_config(*overrides, config=name, start=0)
        stages = [stage for _, stage in stage_configs(shipped) if stage.method == self.method]
        settings = stages[0].model_dump(mode="json")
        encoder = {"backbone": {"name": self.backbone}}
        if self.backbone != "mit_tiny" and "cam" in settings:
            encoder["cam"] = {"scales": [1.0]}
        return self.changed(merge(settings, encoder))

    def changed(self, settings):
        """The configuration of other settings of this method."""
        return config_class(self.method, "shapes").model_validate(settings)

    def new_model(self, config=None, **kwargs):
        """A built model; methods that draw at random draw the same in every model and step."""
        model = methods.new_model(config or self.config, CLASSES, **kwargs)
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
        return model

    @property
    def phase(self):
        """What counts at the end of a training."""
        return self.model.schedule.phase(self.config.training.steps)

    @property
    def declared(self):
        """Loss term -> its declaration, for the terms of the configuration."""
        return self.model.schedule.terms

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
        """The parts of the network that the gradient of ``term`` has to reach; all others none."""
        own = (self.method, term)
        if self.parity and own in PARITY_ROUTES:
            return PARITY_ROUTES[own]
        return {"backbone", self.declared[term].teaches}


def parts_reached(model, batch, phase):
    """Loss term -> the parts of the network in which its gradient is not zero."""
    with tf.GradientTape(persistent=True) as tape:
        outputs = model.forward(batch, phase)
        with tape.stop_recording():
            labels = model.pseudo_labels(batch, outputs, phase)
            labels = tf.nest.map_structure(with_background, labels)
        terms = model.loss_terms(batch, outputs, labels, phase)
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


def with_background(label):
    """Labels of noise may hold a single kind of pixel; 30 % background makes it several."""
    return tf.where(tf.random.stateless_uniform(label.shape, [1, 2]) < 0.3, 0, label)


class Recorded(dict):
    """A dict that remembers which of its keys were read."""

    def __init__(self, content):
        super().__init__(content)
        self.read = set()

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)


@dataclass
class Step:
    """What a step of one loss term has computed and used.

    Attributes:
        used: set of str, what the term has read, of the names in ``SHARED``.
        outputs: set of str, names of what ``forward`` has given.
        affinity: bool, whether the affinity of the gradient pass is there.
        own_label: bool, whether the term has a label that the labeller did not make.
        passes: int, how often the network ran.
        attentions: int, in how many of these passes its attention was asked for.
        maps: int, how often the labeller made its maps.
        labels: int, how often it made a label of them.
    """

    used: set
    outputs: set
    affinity: bool
    own_label: bool
    passes: int
    attentions: int
    maps: int
    labels: int


@functools.cache
def step_of(case, term):
    """The :class:`Step` of a term alone, on a batch that holds no more than it declares to read."""
    model, declared = case.model, set(case.declared[term].reads)
    phase = model.schedule.only(term, events=case.phase.events)
    content = {key: x for key, x in case.batch().items() if key not in FROM_BATCH - declared}
    calls = {"encode": [], "maps": [], "label": []}

    def watched(name, function):
        def call(*given, **options):
            calls[name].append(function(*given, **options))
            return calls[name][-1]

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "encode", watched("encode", model.encode))
        for name in ("maps", "label"):
            function = getattr(model.labeller, name)
            patch.setattr(model.labeller, name, watched(name, function))
        batch = Recorded(content)
        outputs = model.forward(batch, phase)
        labels = model.pseudo_labels(batch, outputs, phase)
        view = Recorded(outputs["view"])
        given = Recorded({**outputs, "view": view})
        loss = model.loss_terms(batch, given, labels, phase)
    assert set(loss) == {term}

    labelled = _differs(lambda: model.loss_terms(batch, outputs, {}, phase)[term], loss[term])
    from_maps = {name for made in calls["maps"] for name in made}
    used = (batch.read & FROM_BATCH) | (view.read & {"affinity"})
    used |= {"maps"} if given.read & from_maps else set()
    used |= {"label"} if labelled and calls["label"] else set()
    return Step(
        used,
        set(outputs),
        "affinity" in view,
        own_label=labelled and not calls["label"],
        passes=len(calls["encode"]),
        attentions=sum(attention is not None for _, attention in calls["encode"]),
        maps=len(calls["maps"]),
        labels=len(calls["label"]),
    )


def _differs(function, value):
    """Whether ``function`` gives another value, or none at all."""
    try:
        return bool(np.any(function() != value))
    except (TypeError, ValueError, AttributeError):
        return True


def mean_of_halves_step(model, batch, phase):
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
        outputs = model.forward(batch, phase)
        totals = []
        for i in range(2):
            part, part_batch = half(outputs, i), half(batch, i)
            with tape.stop_recording():
                labels = model.pseudo_labels(part_batch, part, phase)
            terms = model.loss_terms(part_batch, part, labels, phase)
            totals.append(sum(model.schedule.weights[n] * v for n, v in terms.items()))
        loss = (totals[0] + totals[1]) / 2
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables], unconnected_gradients="zero")
    model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
