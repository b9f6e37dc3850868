"""VGG16 at stride 8, as the classifier of I2CRC and as DeepLab's LargeFOV trunk."""

import keras
from keras import ops

from keras_wsss.backbones.normalise import normalise

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# torchvision's names of the convolutions; it also counts ReLUs and pools.
NUMBERS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
NAMES = {
    f"block{block}_conv{index}": f"features.{number}"
    for block, numbers in enumerate(NUMBERS, start=1)
    for index, number in enumerate(numbers, start=1)
}


def convolution(filters, size, name, dtype, initializer=None, dilation_rate=1):
    """Convolution with bias and ReLU that keeps the size of the map."""
    return keras.layers.Conv2D(
        filters,
        size,
        padding="same",
        dilation_rate=dilation_rate,
        activation="relu",
        kernel_initializer=initializer
        or keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=name,
        dtype=dtype,
    )


class Extra(keras.layers.Layer):
    """Layers that no published weights hold; optimisers treat them like heads by this name."""

    def __init__(self, layers, **kwargs):
        super().__init__(name="extra", **kwargs)
        self.layers = layers

    def build(self, input_shape):
        for layer in self.layers:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, x, training=None):
        for layer in self.layers:
            options = {"training": training} if isinstance(layer, keras.layers.Dropout) else {}
            x = layer(x, **options)
        return x


@keras.saving.register_keras_serializable("keras_wsss")
class VGG16(keras.Model):
    """VGG16 (Simonyan and Zisserman, arXiv 1409.1556) without fully connected layers, stride 8.

    The first three pools halve the map, the fourth and (LargeFOV) fifth are 3x3 with stride 1,
    and the last block is dilated by 2. On top, as I2CRC has it (I2CRC, "Classifier"), three 3x3
    convolutions of 512 channels; or DeepLab's LargeFOV (SGN, "Network"): fc6, 3x3 of 1024
    channels with dilation 12, and fc7, 1x1, each followed by dropout.

    Args:
        largefov: bool, DeepLab's layers on top instead of I2CRC's. Then halves of odd sizes are
            rounded up, else down.
        dropout: float in [0, 1), rate after fc6 and after fc7.
        seed: int or None, seed of the dropout.

    Call:
        images: float `[B,H,W,3]`, RGB 0..255, any H and W from 8 pixels on.
        training: bool, only switches dropout.

    Returns:
        List F1..F4 of `[B,H/s,W/s,C]`, C = ``feature_channels``: ends of blocks 2, 3, 4 and of the
        network, s = 2, 4, 8, 8; with ``largefov`` of blocks 3, 4, 5 and of the network, s = 4, 8,
        8, 8.

    Example:

    >>> [ops.shape(f) for f in VGG16()(ops.ones((1, 64, 64, 3)))]
    [(1, 32, 32, 128), (1, 16, 16, 256), (1, 8, 8, 512), (1, 8, 8, 512)]
    """

    attention_heads = 0
    output_stride = 8
    intermediate_levels = (0, 1, 2)
    # Fully connected layers, and the class map of I2CRC's released classifiers.
    ignored_weights = r"classifier\..*|extra_convs\.6\..*"
    added_weights = r"(extra_convs\.\d|fc6|fc7)\..*"

    def __init__(self, largefov=False, dropout=0.5, seed=None, name="backbone", **kwargs):
        # Images stay float32 until they are normalised, also under mixed precision.
        super().__init__(name=name, autocast=False, **kwargs)
        self.largefov = largefov
        self.dropout = dropout
        self.seed = seed
        dtype = self.dtype_policy

        self.blocks = [
            [
                convolution(
                    filters,
                    3,
                    f"block{block}_conv{index}",
                    dtype,
                    dilation_rate=2 if block == len(BLOCKS) else 1,
                )
                for index, filters in enumerate(widths, start=1)
            ]
            for block, widths in enumerate(BLOCKS, start=1)
        ]
        if largefov:
            normal = keras.initializers.RandomNormal(0.0, 0.01)
            seeds = (None, None) if seed is None else (2 * seed, 2 * seed + 1)
            drops = [
                keras.layers.Dropout(dropout, seed=seed, name=f"drop{k}", dtype=dtype)
                for k, seed in zip((6, 7), seeds, strict=True)
            ]
            self.added = {
                "fc6": convolution(1024, 3, "fc6", dtype, normal, dilation_rate=12),
                "fc7": convolution(1024, 1, "fc7", dtype, normal),
            }
            layers = [self.added["fc6"], drops[0], self.added["fc7"], drops[1]]
        else:
            self.added = {
                f"extra_convs.{2 * k}": convolution(512, 3, f"conv{k + 1}", dtype) for k in range(3)
            }
            layers = list(self.added.values())
        self.extra = Extra(layers, dtype=dtype)
        widths = [block[-1] for block in BLOCKS]
        self.feature_channels = (*widths[2:], 1024) if largefov else (*widths[1:4], 512)
        self.build((None, None, None, 3))

    def build(self, input_shape):
        channels = 3
        for block in self.blocks:
            for layer in block:
                layer.build((None, None, None, channels))
                channels = layer.filters
        self.extra.build((None, None, None, channels))

    def preprocess(self, images):
        """Images 0..255 -> mean 0, deviation 1 over ImageNet, float32."""
        return normalise(images)

    def call(self, images, training=None, return_attention=False):
        x = ops.cast(self.preprocess(images), self.compute_dtype)
        ends = []
        for number, block in enumerate(self.blocks, start=1):
            for layer in block:
                x = layer(x)
            ends.append(x)
            if number <= 3:
                x = ops.max_pool(x, 2, 2, padding="same" if self.largefov else "valid")
            elif number == 4 or self.largefov:
                x = ops.max_pool(x, 3, 1, padding="same")
        x = self.extra(x, training=training)
        features = [*(ends[2:] if self.largefov else ends[1:4]), x]
        return (features, []) if return_attention else features

    def reference_variables(self, prefix=""):
        """Variables under torchvision's names and those of the added layers."""
        layers = {NAMES[layer.name]: layer for block in self.blocks for layer in block}
        variables = {}
        for name, layer in (layers | self.added).items():
            variables[f"{prefix}{name}.weight"] = layer.kernel
            variables[f"{prefix}{name}.bias"] = layer.bias
        return variables

    def get_config(self):
        return {
            "largefov": self.largefov,
            "dropout": self.dropout,
            "seed": self.seed,
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }
