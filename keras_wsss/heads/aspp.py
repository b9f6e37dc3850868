"""DeepLabV2's decoder."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_wsss")
class DeepLabV2Decoder(keras.layers.Layer):
    """Sum of four 3x3 convolutions of different dilation (Chen et al., arXiv 1606.00915).

    I2CRC, "Segmentation network". Reads F4 only, so its logits have F4's stride.

    Args:
        num_classes: int, channels of the logits, background included.
        dilation_rates: ints.

    Call:
        features: list F1..F4 (or F4 alone) of `[B,h,w,C]`.

    Returns:
        Logits, float32 `[B,h,w,num_classes]`.

    Example:

    >>> ops.shape(DeepLabV2Decoder(21)(ops.ones((1, 8, 8, 64))))
    (1, 8, 8, 21)
    """

    def __init__(self, num_classes, dilation_rates=(6, 12, 18, 24), name="decoder", **kwargs):
        super().__init__(name=name, **kwargs)
        self.num_classes = num_classes
        self.dilation_rates = tuple(dilation_rates)
        self.branches = [
            keras.layers.Conv2D(
                num_classes,
                3,
                padding="same",
                dilation_rate=rate,
                kernel_initializer=keras.initializers.RandomNormal(0.0, 0.01),
                name=f"branch{index + 1}",
                dtype=self.dtype_policy,
            )
            for index, rate in enumerate(self.dilation_rates)
        ]

    def build(self, input_shape):
        several = isinstance(input_shape, list)
        shape = tuple(input_shape[-1]) if several else tuple(input_shape)
        for branch in self.branches:
            branch.build(shape)

    def call(self, features, training=None):
        x = features[-1] if isinstance(features, list | tuple) else features
        return sum(ops.cast(branch(x), "float32") for branch in self.branches)

    def reference_variables(self, prefix=""):
        """``{PyTorch name: variable}``."""
        variables = {}
        for index, branch in enumerate(self.branches):
            variables[f"{prefix}{index}.weight"] = branch.kernel
            variables[f"{prefix}{index}.bias"] = branch.bias
        return variables

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "dilation_rates": self.dilation_rates,
        }
