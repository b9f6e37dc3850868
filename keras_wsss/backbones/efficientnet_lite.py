"""EfficientNet-Lite as a feature extractor at stride 16, with frozen batch norm."""

import keras
from keras import ops

from keras_wsss.backbones.conv_norm import ConvNorm
from keras_wsss.backbones.stochastic_depth import StochasticDepth, linear_rates
from keras_wsss.errors import ConfigError

# Stages: kernel, stride of the first block, expansion.
STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))
FEATURE_STAGES = (1, 2, 4, 6)  # last stages of strides 4, 8, 16 and of the network
HEAD_CHANNELS = 1280


class InvertedResidual(keras.layers.Layer):
    """Expansion, depthwise convolution, projection; added to the input where shapes allow."""

    def __init__(
        self,
        filters,
        kernel_size,
        strides,
        expansion,
        dilation_rate=1,
        drop=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.expansion = expansion
        self.depthwise_options = {
            "kernel_size": kernel_size,
            "strides": strides,
            "dilation_rate": dilation_rate,
        }
        self.project = ConvNorm(filters, activation=None, name="project", dtype=self.dtype_policy)
        self.drop = StochasticDepth(drop, seed, name="drop", dtype=self.dtype_policy)

    def build(self, input_shape):
        channels = input_shape[-1] * self.expansion
        self.expand = None
        if self.expansion > 1:
            self.expand = ConvNorm(channels, name="expand", dtype=self.dtype_policy)
            self.expand.build(input_shape)
        inner = (*input_shape[:-1], channels)
        self.depthwise = ConvNorm(
            channels,
            depthwise=True,
            name="depthwise",
            dtype=self.dtype_policy,
            **self.depthwise_options,
        )
        self.depthwise.build(inner)
        self.project.build(inner)
        self.residual = self.depthwise_options["strides"] == 1 and input_shape[-1] == self.filters

    def call(self, x, training=None):
        y = self.expand(x) if self.expand else x
        y = self.project(self.depthwise(y))
        return x + self.drop(y, training=training) if self.residual else y

    def reference_variables(self, prefix):
        """Variables under the names of the PyTorch port."""
        variables = {}
        if self.expand:
            variables |= self.expand.reference_variables(prefix + "expand_conv", prefix + "bn0")
        variables |= self.depthwise.reference_variables(prefix + "depthwise_conv", prefix + "bn1")
        return variables | self.project.reference_variables(prefix + "project_conv", prefix + "bn2")


class EfficientNetLite(keras.Model):
    """EfficientNet-Lite without its classifier (Tan and Le, arXiv 1905.11946; lite variants).

    Apache-2.0, no squeeze-and-excitation, ReLU6: it quantises well and runs on phones. The batch
    norms keep their affine parameters and statistics. There is no attention: methods that need
    affinity put :class:`~keras_wsss.heads.AttentionNeck` on top.

    The base of :class:`EfficientNetLite0` to :class:`EfficientNetLite2`, which say how many blocks
    and channels the stages have.

    Args:
        output_stride: 16 (stride of stage 6 removed) or 32 (as trained).
        dilated: bool, whether the convolutions after a removed stride are dilated by 2. Then
            every second location sees just what the trained network sees. Without, on 160
            photographs Lite0's ImageNet classifier on F4 has the right family first for 96
            instead of 112 (as trained: 111), and a training step on CPU is 7 % shorter.
        conv_head: bool, whether F4 is the 1280-channel map that the ImageNet classifier pools
            (non-negative) or the map before it.
        drop_path_rate: float in [0, 1), stochastic depth of the last block.
        seed: int or None, seed of stochastic depth.

    Call:
        images: float `[B,H,W,3]`, RGB 0..255, any H and W.
        training: bool, only switches stochastic depth.

    Returns:
        List F1..F4 of `[B,H/s,W/s,C]`, s = 4, 8, 16, 16 (sizes rounded up), C =
        ``feature_channels``.

    Raises:
        ConfigError: an output stride that is neither 16 nor 32.

    Example:

    >>> [ops.shape(f) for f in EfficientNetLite0()(ops.ones((1, 64, 64, 3)))]
    [(1, 16, 16, 24), (1, 8, 8, 40), (1, 4, 4, 112), (1, 4, 4, 1280)]
    """

    attention_heads = 0
    repeats: tuple[int, ...]
    channels: tuple[int, ...]

    def __init__(
        self,
        output_stride=16,
        dilated=True,
        conv_head=True,
        drop_path_rate=0.0,
        seed=None,
        name="backbone",
        **kwargs,
    ):
        if output_stride not in (16, 32):
            raise ConfigError(
                f"EfficientNet-Lite has output stride 16 or 32, not {output_stride}: set "
                "`backbone.strides` to [4, 2, 2, 1] or [4, 2, 2, 2]."
            )
        # Images stay float32 until they are normalised, also under mixed precision.
        super().__init__(name=name, autocast=False, **kwargs)
        self.output_stride = output_stride
        self.dilated = dilated
        self.conv_head = conv_head
        self.drop_path_rate = drop_path_rate
        self.seed = seed

        self.stem = ConvNorm(32, 3, strides=2, name="stem", dtype=self.dtype_policy)
        rates = iter(linear_rates(drop_path_rate, sum(self.repeats)))
        self.blocks, stride, dilation = [], 2, 1
        for repeats, filters, stage in zip(self.repeats, self.channels, STAGES, strict=True):
            kernel, first_stride, expansion = stage
            for repeat in range(repeats):
                block_stride, block_dilation = 1, dilation
                if repeat == 0 and first_stride == 2:
                    if stride < output_stride:
                        stride, block_stride = stride * 2, 2
                    elif dilated:
                        dilation = 2  # from the next block on
                self.blocks.append(
                    InvertedResidual(
                        filters,
                        kernel,
                        block_stride,
                        expansion,
                        dilation_rate=block_dilation,
                        drop=next(rates),
                        seed=None if seed is None else seed + len(self.blocks),
                        name=f"block{len(self.blocks)}",
                        dtype=self.dtype_policy,
                    )
                )
        self.head = None
        if conv_head:
            self.head = ConvNorm(HEAD_CHANNELS, name="head", dtype=self.dtype_policy)
        self.feature_channels = tuple(self.channels[i] for i in FEATURE_STAGES[:-1]) + (
            HEAD_CHANNELS if conv_head else self.channels[-1],
        )
        self.ignored_weights = r"fc\..*" if conv_head else r"(fc|conv_head|bn1)\..*"
        ends = [sum(self.repeats[: i + 1]) - 1 for i in FEATURE_STAGES]
        self.feature_blocks = frozenset(ends)
        self.build((None, None, None, 3))

    def build(self, input_shape):
        self.stem.build(input_shape)
        channels = self.stem.filters
        for block in self.blocks:
            block.build((None, None, None, channels))
            channels = block.filters
        if self.head:
            self.head.build((None, None, None, channels))

    def preprocess(self, images):
        """Images 0..255 -> the range of the ImageNet training, about -1..1, float32."""
        return (ops.cast(images, "float32") - 127.0) / 128.0

    def call(self, images, training=None, return_attention=False):
        x = ops.cast(self.preprocess(images), self.compute_dtype)
        x = self.stem(x)
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x, training=training)
            if index in self.feature_blocks:
                features.append(x)
        if self.head:
            features[-1] = self.head(x)
        return (features, []) if return_attention else features

    def reference_variables(self, prefix=""):
        """Variables under the names of the PyTorch port, ``{name: variable}``."""
        variables = self.stem.reference_variables(prefix + "conv_stem", prefix + "bn0")
        for index, block in enumerate(self.blocks):
            variables |= block.reference_variables(f"{prefix}blocks.{index}.")
        if self.head:
            variables |= self.head.reference_variables(prefix + "conv_head", prefix + "bn1")
        return variables

    def get_config(self):
        return {
            "output_stride": self.output_stride,
            "dilated": self.dilated,
            "conv_head": self.conv_head,
            "drop_path_rate": self.drop_path_rate,
            "seed": self.seed,
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }


@keras.saving.register_keras_serializable("keras_wsss")
class EfficientNetLite0(EfficientNetLite):
    """The smallest: 75.1 % of ImageNet's validation images right.

    Example:

    >>> backbone = EfficientNetLite0()
    >>> len(backbone.blocks), backbone.feature_channels
    (16, (24, 40, 112, 1280))
    """

    repeats = (1, 2, 2, 3, 3, 4, 1)
    channels = (16, 24, 40, 80, 112, 192, 320)


@keras.saving.register_keras_serializable("keras_wsss")
class EfficientNetLite1(EfficientNetLite):
    """Deeper than Lite0: 76.7 % of ImageNet's validation images right.

    Example:

    >>> backbone = EfficientNetLite1()
    >>> len(backbone.blocks), backbone.feature_channels
    (21, (24, 40, 112, 1280))
    """

    repeats = (1, 3, 3, 4, 4, 5, 1)
    channels = EfficientNetLite0.channels


@keras.saving.register_keras_serializable("keras_wsss")
class EfficientNetLite2(EfficientNetLite):
    """Also wider: 77.6 % of ImageNet's validation images right.

    Example:

    >>> backbone = EfficientNetLite2()
    >>> len(backbone.blocks), backbone.feature_channels
    (21, (24, 48, 120, 1280))
    """

    repeats = EfficientNetLite1.repeats
    channels = (16, 24, 48, 88, 120, 208, 352)
