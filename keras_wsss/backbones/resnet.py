"""ResNet50 and ResNet101 at stride 8, as under DeepLabV2, with frozen batch norm."""

import keras
from keras import ops

from keras_wsss.backbones.conv_norm import ConvNorm
from keras_wsss.backbones.normalise import normalise
from keras_wsss.errors import ConfigError

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
# Stages: width, stride of the first block, dilation of the others.
STAGES = ((64, 1, 1), (128, 2, 1), (256, 1, 2), (512, 1, 4))
EPSILON = 1.001e-5


class Bottleneck(keras.layers.Layer):
    """1x1, 3x3 and 1x1 convolution, added to the input, which a 1x1 one maps where need be."""

    def __init__(self, width, strides, dilation_rate, project, gain, **kwargs):
        super().__init__(**kwargs)

        def conv_norm(name, filters, size=1, **options):
            return ConvNorm(filters, size, name=name, dtype=self.dtype_policy, **options)

        plain = {"activation": None, "epsilon": EPSILON}
        rectified = {"activation": ops.relu, "epsilon": EPSILON}
        self.branch = [
            conv_norm("1", width, strides=strides, **rectified),
            conv_norm("2", width, 3, dilation_rate=dilation_rate, **rectified),
            conv_norm("3", 4 * width, gain=gain, **plain),
        ]
        self.project = conv_norm("0", 4 * width, strides=strides, **plain) if project else None

    def build(self, input_shape):
        if self.project:
            self.project.build(input_shape)
        for layer in self.branch:
            layer.build(input_shape)
            input_shape = (*input_shape[:-1], layer.filters)

    def call(self, x):
        y = x
        for layer in self.branch:
            y = layer(y)
        return ops.relu(y + (self.project(x) if self.project else x))

    def reference_variables(self, prefix):
        """Variables under the names of ``keras.applications``."""
        layers = self.branch + ([self.project] if self.project else [])
        variables = {}
        for layer in layers:
            names = (f"{prefix}_{layer.name}_{kind}" for kind in ("conv", "bn"))
            variables |= layer.reference_variables(*names)
        return variables


@keras.saving.register_keras_serializable("keras_wsss")
class ResNet(keras.Model):
    """ResNet (He et al., arXiv 1512.03385) without its classifier (I2CRC, "Segmentation network").

    Stages 3 and 4 have stride 1 instead of 2; all their blocks but the first are dilated by 2 and
    4. The batch norms keep their affine parameters and statistics. Stage 2 is strided in its first
    1x1 convolution, as in the article and in the weights of ``keras.applications``, for which
    this network is made; I2CRC's released code takes torchvision's weights, which belong to a
    network that is strided in the 3x3 convolution. They are told apart by the names of their
    layers.

    Args:
        depth: 50 or 101.

    Call:
        images: float `[B,H,W,3]`, RGB 0..255, any H and W.
        training: bool, without effect.

    Returns:
        List F1..F4, ends of the four stages: `[B,H/s,W/s,C]`, s = 4, 8, 8, 8 (sizes rounded up),
        C = ``feature_channels``.

    Raises:
        ConfigError: another depth.

    Example:

    >>> [ops.shape(f) for f in ResNet(50)(ops.ones((1, 64, 64, 3)))]
    [(1, 16, 16, 256), (1, 8, 8, 512), (1, 8, 8, 1024), (1, 8, 8, 2048)]
    """

    attention_heads = 0
    output_stride = 8
    intermediate_levels = (1, 2, 3)
    ignored_weights = r"predictions\..*"
    feature_channels = tuple(4 * width for width, _, _ in STAGES)

    def __init__(self, depth=101, name="backbone", **kwargs):
        if depth not in DEPTHS:
            raise ConfigError(f"There is no ResNet of depth {depth!r}; known: 50, 101.")
        # Images stay float32 until they are normalised, also under mixed precision.
        super().__init__(name=name, autocast=False, **kwargs)
        self.depth = depth
        self.stem = ConvNorm(
            64,
            7,
            strides=2,
            padding="valid",
            activation=ops.relu,
            epsilon=EPSILON,
            name="stem",
            dtype=self.dtype_policy,
        )
        # Branches that add little keep a network of random weights in range.
        gain = 1 / sum(DEPTHS[depth])
        self.stages = [
            [
                Bottleneck(
                    width,
                    strides=1 if index else first_stride,
                    dilation_rate=dilation if index else 1,
                    project=index == 0,
                    gain=gain,
                    name=f"stage{number}_block{index + 1}",
                    dtype=self.dtype_policy,
                )
                for index in range(blocks)
            ]
            for number, ((width, first_stride, dilation), blocks) in enumerate(
                zip(STAGES, DEPTHS[depth], strict=True), start=1
            )
        ]
        self.build((None, None, None, 3))

    def build(self, input_shape):
        self.stem.build(input_shape)
        channels = self.stem.filters
        for stage, filters in zip(self.stages, self.feature_channels, strict=True):
            for block in stage:
                block.build((None, None, None, channels))
                channels = filters

    def preprocess(self, images):
        """Images 0..255 -> mean 0, deviation 1 over ImageNet, float32."""
        return normalise(images)

    def call(self, images, training=None, return_attention=False):
        def padded(x, pixels):
            # Symmetric zeros; "same" pads strided layers asymmetrically.
            return ops.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))

        x = ops.cast(self.preprocess(images), self.compute_dtype)
        x = ops.max_pool(padded(self.stem(padded(x, 3)), 1), 3, 2)
        features = []
        for stage in self.stages:
            for block in stage:
                x = block(x)
            features.append(x)
        return (features, []) if return_attention else features

    def reference_variables(self, prefix=""):
        """Variables under the names of ``keras.applications``, ``{name: variable}``."""
        variables = self.stem.reference_variables(prefix + "conv1_conv", prefix + "conv1_bn")
        for number, stage in enumerate(self.stages, start=2):
            for index, block in enumerate(stage, start=1):
                variables |= block.reference_variables(f"{prefix}conv{number}_block{index}")
        return variables

    def get_config(self):
        return {
            "depth": self.depth,
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }
