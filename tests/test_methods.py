"""TSCD beyond what every method promises (test_conformance.py)."""

import numpy as np
import tensorflow as tf
from conftest import random_batch, tiny_config

from keras_wsss.methods import TSCD

CLASSES = 6


def test_parity_follows_the_released_affinity():
    released = TSCD(tiny_config("parity=true"), CLASSES)
    corrected = TSCD(tiny_config(), CLASSES)
    assert not released.affinity_head.symmetric and corrected.affinity_head.symmetric


def test_the_largest_cam_is_the_tagged_object():
    """A planted feature: CAM and label find the place where the class evidence is."""
    labelling = ("high=0.4", "low=0.2", "iterations=10")
    model = TSCD(tiny_config(*(f"pseudo_label.{pair}" for pair in labelling)), CLASSES)
    batch = random_batch()
    image = np.full((2, 64, 64, 3), 30.0, np.float32)
    image[:, 16:48, 16:48] = 220.0
    planted = np.zeros((2, 64, 64, CLASSES), np.float32)
    planted[:, 20:44, 20:44] = 1.0
    labels = model.refined_labels(
        {**batch, "image": tf.constant(image), "valid_box": tf.constant([[0, 64, 0, 64]] * 2)},
        tf.constant(planted),
    ).numpy()
    first_tag = int(np.argmax(batch["labels"][0])) + 1
    assert labels[0, 32, 32] == first_tag
    assert labels[0, 17, 17] == first_tag  # refinement reached the object's border
    assert labels[0, 4, 4] == 0
