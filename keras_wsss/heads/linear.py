"""One 1x1 convolution, for a trunk that brings its own large field of view."""

import keras


@keras.saving.register_keras_serializable("keras_wsss")
class LinearDecoder(keras.layers.Layer):
    """Logits that are a linear function of F4 alone, so of its stride (SGN, "Network").

    Args:
        num_classes: int, channels of the logits, background included.

    Call:
        features: list F1..F4 (or F4 alone) of `[B,h,w,C]`.

    Returns:
        Logits, float32 `[B,h,w,num_classes]`.

    Example:

    >>> ops.shape(LinearDecoder(21)(ops.ones((1, 8, 8, 64))))
    (1, 8, 8, 21)
    """

    def __init__(self, num_classes, name="decoder", **kwargs):
        super().__init__(name=name, **kwargs)
        self.num_classes = num_classes
        self.classify = keras.layers.Dense(
            num_classes,
            kernel_initializer=keras.initializers.RandomNormal(0.0, 0.01),
            name="classify",
            dtype="float32",
        )

    def build(self, input_shape):
        several = isinstance(input_shape, list)
        self.classify.build(tuple(input_shape[-1]) if several else tuple(input_shape))

    def call(self, features, training=None):
        return self.classify(features[-1] if isinstance(features, list | tuple) else features)

    def reference_variables(self, prefix=""):
        """``{PyTorch name: variable}``."""
        layer = self.classify
        return {f"{prefix}weight": layer.kernel, f"{prefix}bias": layer.bias}

    def get_config(self):
        return super().get_config() | {"num_classes": self.num_classes}
