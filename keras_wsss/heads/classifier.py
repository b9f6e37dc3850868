"""Image classifier whose weights, applied per location, give the class activation maps."""

import math

import keras
from keras import ops

from keras_wsss.errors import ConfigError


@keras.saving.register_keras_serializable("keras_wsss")
class CAMClassifier(keras.layers.Layer):
    """Global pooling and a 1x1 convolution (AFA, eq. 1 and 2; I2CRC, eq. 1).

    Computes in float32 also under mixed precision. Stops no gradient.

    Args:
        num_classes: int C, foreground classes.
        pooling: ``"max"`` (AFA, BMP, TSCD) or ``"average"``.
        use_bias: bool, whether every class has a bias, which is part of its activation (I2CRC).

    Raises:
        ConfigError: another pooling.

    Example:

    >>> classifier, features = CAMClassifier(20), ops.ones((1, 4, 4, 64))
    >>> ops.shape(classifier.image_logits(features)), ops.shape(classifier.cam(features))
    ((1, 20), (1, 4, 4, 20))
    """

    def __init__(self, num_classes, pooling="max", use_bias=False, name="classifier", **kwargs):
        if pooling not in ("max", "average"):
            raise ConfigError(f"`heads.pooling` is max or average, not {pooling!r}.")
        super().__init__(name=name, autocast=False, **kwargs)
        self.num_classes = num_classes
        self.pooling = pooling
        self.use_bias = use_bias

    def build(self, input_shape):
        bound = 1 / math.sqrt(input_shape[-1])
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.num_classes),
            initializer=keras.initializers.RandomUniform(-bound, bound),
            autocast=False,
        )
        self.bias = 0.0
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.num_classes,), initializer="zeros", autocast=False
            )

    def image_logits(self, features):
        """Class logits of features `[B,h,w,D]`, float32 `[B,C]`."""
        if not self.built:
            self.build(features.shape)
        pool = ops.max if self.pooling == "max" else ops.mean
        pooled = ops.cast(pool(features, axis=(1, 2)), "float32")
        return ops.matmul(pooled, self.kernel) + self.bias

    def cam(self, features):
        """Class activations of features `[B,h,w,D]`, float32 `[B,h,w,C]`, any sign."""
        if not self.built:
            self.build(features.shape)
        return ops.matmul(ops.cast(features, "float32"), self.kernel) + self.bias

    def call(self, features):
        return self.image_logits(features)

    def reference_variables(self, prefix=""):
        """``{PyTorch name: variable}``."""
        variables = {prefix + "weight": self.kernel}
        return variables | ({prefix + "bias": self.bias} if self.use_bias else {})

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "pooling": self.pooling,
            "use_bias": self.use_bias,
        }
