"""DeepLab's LargeFOV decoder."""

import keras


@keras.saving.register_keras_serializable("keras_wsss")
class LargeFOVDecoder(keras.layers.Layer):
    """Two 3x3 convolutions with dilation 12 and a 1x1 one, no biases (Chen et al., 1412.7062).

    Reads F4 only, so its logits have F4's stride.

    Args:
        num_classes: int, channels of the logits, background included.
        embedding_dim: int, width of the two dilated convolutions.
        dilation_rate: int.

    Call:
        features: list F1..F4 (or F4 alone) of `[B,h,w,C]`.

    Returns:
        Logits, float32 `[B,h,w,num_classes]`.

    Example:

    >>> ops.shape(LargeFOVDecoder(21, embedding_dim=64)(ops.ones((1, 8, 8, 64))))
    (1, 8, 8, 21)
    """

    def __init__(self, num_classes, embedding_dim=512, dilation_rate=12, name="decoder", **kwargs):
        super().__init__(name=name, **kwargs)
        self.num_classes = num_classes
        self.embedding_dim = embedding_dim
        self.dilation_rate = dilation_rate

        def convolution(filters, size, name, **options):
            return keras.layers.Conv2D(
                filters,
                size,
                padding="same",
                use_bias=False,
                kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
                name=name,
                **options,
            )

        dilated = {"dilation_rate": dilation_rate, "activation": "relu", "dtype": self.dtype_policy}
        self.conv6 = convolution(embedding_dim, 3, "conv6", **dilated)
        self.conv7 = convolution(embedding_dim, 3, "conv7", **dilated)
        self.conv8 = convolution(num_classes, 1, "conv8", dtype="float32")

    def build(self, input_shape):
        several = isinstance(input_shape, list)
        shape = tuple(input_shape[-1]) if several else tuple(input_shape)
        self.conv6.build(shape)
        inner = (*shape[:-1], self.embedding_dim)
        self.conv7.build(inner)
        self.conv8.build(inner)

    def call(self, features, training=None):
        x = features[-1] if isinstance(features, list | tuple) else features
        return self.conv8(self.conv7(self.conv6(x)))

    def reference_variables(self, prefix=""):
        """``{PyTorch name: variable}``."""
        layers = {"conv6": self.conv6, "conv7": self.conv7, "conv8": self.conv8}
        return {f"{prefix}{name}.weight": layer.kernel for name, layer in layers.items()}

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "embedding_dim": self.embedding_dim,
            "dilation_rate": self.dilation_rate,
        }
