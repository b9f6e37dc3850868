"""Fixtures shared by all tests."""

import gc
import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with reference vectors, photographs and weights, which not every checkout has."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the folder {SHARED}, which is not part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, which not every machine has."""
    from browser import Browser, find_program

    if find_program() is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    with Browser(find_program()) as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def two_logical_cpus():
    """Two CPU devices, so that replicas can be tested on any machine."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.fixture(scope="session", autouse=True)
def datasets_do_not_tune_themselves(two_logical_cpus):
    """Also those that tests and Keras make: a tuned one can make its end wait for a minute."""
    import tensorflow as tf

    from keras_wsss.data.pipeline import untuned

    def with_tuning_off(dataset):
        return untuned(dataset) if dataset.options().autotune.enabled is None else dataset

    # What TensorFlow calls before it makes an iterator.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.data.Dataset, "_apply_debug_options", with_tuning_off)
        yield


@pytest.fixture(scope="module")
def eager():
    """No graphs in the tests of a file: tracing would take longer than computing."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def tiny_config(*overrides, config="shapes_tscd", start=3):
    """A shipped configuration on the smallest network: crops of 128, batches of 2, 8 steps.

    Stages of the configuration are made as small as the rest.

    Args:
        start: 0-based step from which all terms but the classification, or the first, count, and
            from which CAMs are spread and predictions mixed in.
    """
    from keras_wsss.config import load_config, stage_configs

    # The kind of data may be another one, which has other keys.
    shipped = load_config(config, [each for each in overrides if each.startswith("data.")])
    everywhere = _small(shipped, start)
    for stage, stage_config in stage_configs(shipped):
        if stage:
            own = _small(stage_config, start)
            everywhere += [f"stages.{stage}.{override}" for override in own]
    return load_config(config, [*everywhere, *overrides])


def _small(config, start):
    """Overrides that make a configuration small; only keys that its method and data have."""
    small = {
        "backbone.name": "mit_tiny",
        "backbone.weights": "none",
        "backbone.drop_path_rate": 0,
        "heads.embedding_dim": 16,
        "heads.dropout": 0,
        "cam.scales": [1.0, 1.5],
        "pseudo_label.iterations": 3,
        "pseudo_label.propagation_start": start,
        "sgn.mix_start": start,
        "sgn.mix_end": start + 4,
        "data.crop_size": 128,
        "data.batch_size": 2,
        "data.shapes.train_images": 12,
        "data.shapes.val_images": 4,
        "data.shapes.image_size": 144,
        "optimizer.warmup_steps": 2,
        "training.steps": 8,
        "training.classifier_steps": start,
        "training.validate_every": 4,
        "training.log_every": 2,
        "training.pictures": 0,
    }
    terms = sorted(config.losses, key=lambda name: (name != "classification", name))
    starts = [f"losses.{name}.start_step={start}" for name in terms[1:]]
    return only_keys_of(config, (f"{key}={value}" for key, value in small.items())) + starts


def only_keys_of(config, overrides):
    """Those overrides whose keys the method and the kind of data of a configuration have."""
    from keras_wsss.config.sections import section_keys

    known = section_keys(type(config))
    return [override for override in overrides if override.partition("=")[0] in known]


def record_reads(patch):
    """A list to which every list of generated images that is read from now on is added.

    Args:
        patch: ``pytest.MonkeyPatch``, which ends it.
    """
    from keras_wsss.data.shapes import read_shapes

    reads = []

    def recorded(data, part, **maps):
        reads.append(part)
        return read_shapes(data, part, **maps)

    patch.setattr("keras_wsss.data.shapes.read_shapes", recorded)
    return reads


def random_batch(size=2, classes=6, side=128, seed=0):
    """Noise images, two tags each, the second image padded at its right and bottom."""
    import numpy as np
    import tensorflow as tf

    generator = np.random.default_rng(seed)
    labels = np.zeros((size, classes), np.float32)
    for row in labels:
        row[generator.choice(classes, 2, replace=False)] = 1
    boxes = np.tile([[0, side, 0, side]], (size, 1))
    boxes[1::2] = [0, side - 10, 0, side - 14]
    return {
        "image": tf.constant(generator.integers(0, 256, (size, side, side, 3)), tf.float32),
        "labels": tf.constant(labels),
        "valid_box": tf.constant(boxes, tf.int32),
        "index": tf.range(size, dtype=tf.int64),
    }


@pytest.fixture(scope="session", autouse=True)
def imported_modules_are_no_garbage(two_logical_cpus):
    """Full collections need not go through what TensorFlow and Keras are made of."""
    import keras  # noqa: F401

    gc.collect()
    gc.freeze()
