"""The network as a plain function of images: what every exported format computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_wsss.inference import Predictor

NetworkFunction = Callable[[Any], dict[str, Any]]


def network_of(model: Any) -> NetworkFunction:
    """The function that is exported: the prediction that evaluation scores, at one scale.

    Args:
        model: built :class:`~keras_wsss.methods.WSSSModel`.

    Returns:
        Function of images float32 `[N,H,W,3]`, RGB 0..255, any size, to a dict: ``class_map``
        uint8 `[N,H,W]`, 0 = background; ``logits`` float32 `[N,H,W,C+1]`; ``image_logits`` float32
        `[N,C]`, positive where the image shows the class.

    Example:

    >>> network_of(wsss.load("runs/demo"))(tf.zeros([1, 64, 96, 3]))["class_map"].shape
    TensorShape([1, 64, 96])
    """
    predictor = Predictor(model)

    def network(images: Any) -> dict[str, Any]:
        outputs = predictor.outputs(images)
        best = tf.argmax(outputs["logits"], axis=-1, output_type=tf.int32)
        return {"class_map": tf.cast(best, tf.uint8), **outputs}

    return network
