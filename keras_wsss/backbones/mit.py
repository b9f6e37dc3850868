"""Mix Transformer (MiT), the encoder of SegFormer."""

import math

import keras
from keras import ops

from keras_wsss.backbones.normalise import normalise
from keras_wsss.backbones.stochastic_depth import StochasticDepth, linear_rates
from keras_wsss.errors import ConfigError, DataError

# Channels and blocks of the four stages.
VARIANTS = {
    "tiny": ((16, 32, 40, 64), (1, 2, 1, 2)),
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2)),
    "b1": ((64, 128, 320, 512), (2, 2, 2, 2)),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3)),
    "b3": ((64, 128, 320, 512), (3, 4, 18, 3)),
    "b4": ((64, 128, 320, 512), (3, 8, 27, 3)),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3)),
}


class FrozenLayerNorm(keras.layers.Layer):
    """Layer norm over channels whose scale and offset are never trained (AFA, "Encoder").

    Computes in float32. A third faster on CPU than Keras' general layer.
    """

    def __init__(self, epsilon, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(
            name="gamma", shape=shape, initializer="ones", trainable=False, autocast=False
        )
        self.beta = self.add_weight(
            name="beta", shape=shape, initializer="zeros", trainable=False, autocast=False
        )

    def call(self, x):
        centred = ops.cast(x, "float32")
        centred = centred - ops.mean(centred, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        y = centred * ops.rsqrt(variance + self.epsilon) * self.gamma + self.beta
        return ops.cast(y, self.compute_dtype)

    def reference_variables(self, prefix):
        return {prefix + "weight": self.gamma, prefix + "bias": self.beta}


def linear(channels, units, name, dtype):
    """Dense layer on tokens, built."""
    layer = keras.layers.Dense(
        units,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        name=name,
        dtype=dtype,
    )
    layer.build((None, None, channels))
    return layer


def convolution(channels, filters, size, stride, name, dtype):
    """Convolution without padding, built."""
    layer = keras.layers.Conv2D(
        filters,
        size,
        strides=stride,
        kernel_initializer=keras.initializers.RandomNormal(
            stddev=math.sqrt(2 / (size * size * filters))
        ),
        name=name,
        dtype=dtype,
    )
    layer.build((None, None, None, channels))
    return layer


def norm(channels, epsilon, name, dtype):
    """Frozen layer norm, built."""
    layer = FrozenLayerNorm(epsilon, name=name, dtype=dtype)
    layer.build((None, None, channels))
    return layer


def reference_pair(layer, prefix):
    """Kernel and bias under PyTorch's names."""
    return {prefix + "weight": layer.kernel, prefix + "bias": layer.bias}


def gelu(x):
    """Exact GELU; by `erf`, since the complementary function has no ONNX operator."""
    return 0.5 * x * (1.0 + ops.erf(x * (1.0 / math.sqrt(2.0))))


class EfficientAttention(keras.layers.Layer):
    """Multi-head attention whose keys and values lie on a grid ``ratio`` times coarser."""

    def __init__(self, dim, heads, ratio, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.heads = heads
        self.ratio = ratio

    def build(self, input_shape=None):
        dim, dtype = self.dim, self.dtype_policy
        self.query = linear(dim, dim, "query", dtype)
        self.key_value = linear(dim, 2 * dim, "key_value", dtype)
        self.project = linear(dim, dim, "project", dtype)
        if self.ratio > 1:
            self.reduce = convolution(dim, dim, self.ratio, self.ratio, "reduce", dtype)
            self.norm = norm(dim, 1e-5, "norm", dtype)

    def call(self, tokens, size):
        """Returns attended tokens `[B,N,D]` and the pair (q `[B,N,D]`, k `[B,M,D]`)."""
        query, reduced = self.query(tokens), tokens
        if self.ratio > 1:
            grid = ops.reshape(tokens, (ops.shape(tokens)[0], *size, self.dim))
            reduced = self.norm(flatten(self.reduce(grid)))
        key, value = ops.split(self.key_value(reduced), 2, axis=-1)

        # One head at a time, on 3-D tensors: a head axis does not survive export to ONNX with
        # dynamic sizes.
        width = self.dim // self.heads
        scaled = query * width**-0.5
        outputs = []
        for start in range(0, self.dim, width):
            q, k, v = (x[..., start : start + width] for x in (scaled, key, value))
            weights = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1))), axis=-1)
            outputs.append(ops.matmul(weights, v))
        return self.project(ops.concatenate(outputs, axis=-1)), (query, key)

    def reference_variables(self, prefix):
        variables = reference_pair(self.query, prefix + "q.")
        variables |= reference_pair(self.key_value, prefix + "kv.")
        variables |= reference_pair(self.project, prefix + "proj.")
        if self.ratio > 1:
            variables |= reference_pair(self.reduce, prefix + "sr.")
            variables |= self.norm.reference_variables(prefix + "norm.")
        return variables


class MixFFN(keras.layers.Layer):
    """Perceptron with a 3x3 depthwise convolution, which also tells tokens where they are."""

    def __init__(self, dim, ratio=4, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.hidden = ratio * dim

    def build(self, input_shape=None):
        self.expand = linear(self.dim, self.hidden, "expand", self.dtype_policy)
        self.depthwise = keras.layers.DepthwiseConv2D(
            3,
            padding="same",
            depthwise_initializer=keras.initializers.RandomNormal(stddev=math.sqrt(2 / 9)),
            name="depthwise",
            dtype=self.dtype_policy,
        )
        self.depthwise.build((None, None, None, self.hidden))
        self.contract = linear(self.hidden, self.dim, "contract", self.dtype_policy)

    def call(self, tokens, size):
        x = self.expand(tokens)
        x = ops.reshape(x, (ops.shape(x)[0], *size, self.hidden))
        return self.contract(gelu(flatten(self.depthwise(x))))

    def reference_variables(self, prefix):
        return {
            **reference_pair(self.expand, prefix + "fc1."),
            **reference_pair(self.depthwise, prefix + "dwconv.dwconv."),
            **reference_pair(self.contract, prefix + "fc2."),
        }


class Block(keras.layers.Layer):
    """Attention and MixFFN, each normalised before and added to its input."""

    def __init__(self, dim, heads, ratio, drop, seed, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.attention = EfficientAttention(
            dim, heads, ratio, name="attention", dtype=self.dtype_policy
        )
        self.mlp = MixFFN(dim, name="mlp", dtype=self.dtype_policy)
        # The two branches are dropped independently.
        seeds = (None, None) if seed is None else (2 * seed, 2 * seed + 1)
        self.drop1 = StochasticDepth(drop, seeds[0], name="drop1", dtype=self.dtype_policy)
        self.drop2 = StochasticDepth(drop, seeds[1], name="drop2", dtype=self.dtype_policy)

    def build(self, input_shape=None):
        self.norm1 = norm(self.dim, 1e-6, "norm1", self.dtype_policy)
        self.attention.build()
        self.norm2 = norm(self.dim, 1e-6, "norm2", self.dtype_policy)
        self.mlp.build()

    def call(self, x, size, training=None):
        attended, query_key = self.attention(self.norm1(x), size=size)
        x = x + self.drop1(attended, training=training)
        x = x + self.drop2(self.mlp(self.norm2(x), size=size), training=training)
        return x, query_key

    def reference_variables(self, prefix):
        return {
            **self.norm1.reference_variables(prefix + "norm1."),
            **self.attention.reference_variables(prefix + "attn."),
            **self.norm2.reference_variables(prefix + "norm2."),
            **self.mlp.reference_variables(prefix + "mlp."),
        }


class Stage(keras.layers.Layer):
    """Overlapping patch embedding, blocks, norm: `[B,H,W,C]` -> `[B,H/s,W/s,D]`."""

    def __init__(self, channels, dim, heads, ratio, kernel, stride, rates, seeds, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.dim = dim
        self.kernel_size = kernel
        self.stride = stride
        self.blocks = [
            Block(dim, heads, ratio, drop, seed, name=f"block{index}", dtype=self.dtype_policy)
            for index, (drop, seed) in enumerate(zip(rates, seeds, strict=True))
        ]

    def build(self, input_shape=None):
        dtype = self.dtype_policy
        self.embed = convolution(
            self.channels, self.dim, self.kernel_size, self.stride, "embed", dtype
        )
        self.embed_norm = norm(self.dim, 1e-5, "embed_norm", dtype)
        for block in self.blocks:
            block.build()
        self.norm = norm(self.dim, 1e-6, "norm", dtype)

    def call(self, x, training=None):
        # Symmetric zeros as in PyTorch; "same" pads strided convolutions asymmetrically.
        pad = (self.kernel_size // 2, self.kernel_size // 2)
        x = self.embed(ops.pad(x, ((0, 0), pad, pad, (0, 0))))
        batch, height, width = ops.shape(x)[:3]
        tokens, attention = self.embed_norm(flatten(x)), []
        for block in self.blocks:
            tokens, query_key = block(tokens, size=(height, width), training=training)
            attention.append(query_key)
        x = ops.reshape(self.norm(tokens), (batch, height, width, self.dim))
        return x, attention

    def reference_variables(self, prefix, number):
        variables = reference_pair(self.embed, f"{prefix}patch_embed{number}.proj.")
        variables |= self.embed_norm.reference_variables(f"{prefix}patch_embed{number}.norm.")
        for index, block in enumerate(self.blocks):
            variables |= block.reference_variables(f"{prefix}block{number}.{index}.")
        return variables | self.norm.reference_variables(f"{prefix}norm{number}.")


def flatten(x):
    """Map `[B,H,W,C]` -> tokens `[B,H*W,C]` in row-major order."""
    batch, height, width = ops.shape(x)[:3]
    return ops.reshape(x, (batch, height * width, x.shape[-1]))


@keras.saving.register_keras_serializable("keras_wsss")
class MiT(keras.Model):
    """Mix Transformer (Xie et al., arXiv 2105.15203; AFA, "Encoder").

    All layer norms keep their parameters. Published weights are under NVIDIA's non-commercial
    licence and are not part of this library.

    Args:
        variant: ``"b0"`` .. ``"b5"`` or ``"tiny"``; gives ``dims`` and ``depths``.
        strides: strides of the four stages; WSSS methods use 1 in the last.
        drop_path_rate: float in [0, 1), stochastic depth, growing linearly over the blocks.
        dims: channels of the four stages, instead of the variant's.
        depths: blocks of the four stages, instead of the variant's; the last at least 2.
        heads: attention heads of the four stages.
        sr_ratios: side by which the grid of keys and values is coarser, per stage.
        seed: int or None, seed of stochastic depth.

    Call:
        images: float `[B,H,W,3]`, RGB 0..255, any H and W from 29 pixels on.
        training: bool, only switches stochastic depth.
        return_attention: bool, see below.

    Returns:
        List F1..F4 of `[B,H/4,W/4,C1]`, `[B,H/8,W/8,C2]`, `[B,H/16,W/16,C3]`, `[B,H/16,W/16,C4]`
        (sizes rounded up), C = ``feature_channels``. With ``return_attention`` the pair of this
        list and `[(q,k),(q,k)]` of the last two blocks, each `[B,N,C4]`, heads side by side, not
        scaled.

    Raises:
        ConfigError: an unknown variant, or sizes that do not fit together.
        DataError: images smaller than 29 pixels a side.

    Example:

    >>> [ops.shape(f) for f in MiT("b0")(ops.ones((1, 64, 64, 3)))]
    [(1, 16, 16, 32), (1, 8, 8, 64), (1, 4, 4, 160), (1, 4, 4, 256)]
    """

    ignored_weights = r"(head|classifier)\..*"

    def __init__(
        self,
        variant="b1",
        strides=(4, 2, 2, 1),
        drop_path_rate=0.1,
        dims=None,
        depths=None,
        heads=(1, 2, 5, 8),
        sr_ratios=(8, 4, 2, 1),
        seed=None,
        name="backbone",
        **kwargs,
    ):
        if variant not in VARIANTS:
            raise ConfigError(f"There is no MiT {variant!r}; known: {', '.join(VARIANTS)}.")
        dims = tuple(dims or VARIANTS[variant][0])
        depths = tuple(depths or VARIANTS[variant][1])
        sizes = {"dims": dims, "depths": depths, "strides": strides, "heads": heads}
        for key, values in sizes.items():
            if len(values) != 4:
                raise ConfigError(f"MiT has four stages, but {key} is {list(values)}.")
        if depths[-1] < 2 or any(dim % n for dim, n in zip(dims, heads, strict=True)):
            raise ConfigError(
                f"MiT needs two blocks in its last stage (depths {list(depths)}) and dims "
                f"{list(dims)} that are multiples of heads {list(heads)}."
            )
        # Images stay float32 until they are normalised, also under mixed precision.
        super().__init__(name=name, autocast=False, **kwargs)
        self.settings = {
            "variant": variant,
            "strides": tuple(strides),
            "drop_path_rate": drop_path_rate,
            "dims": dims,
            "depths": depths,
            "heads": tuple(heads),
            "sr_ratios": tuple(sr_ratios),
            "seed": seed,
        }
        self.feature_channels = dims
        self.attention_heads = heads[-1]
        self.output_stride = math.prod(strides)
        self.smallest_side = (sr_ratios[0] - 1) * strides[0] + 1

        blocks = sum(depths)
        rates = linear_rates(drop_path_rate, blocks)
        seeds = [None if seed is None else seed + index for index in range(blocks)]
        self.stages, first = [], 0
        for index in range(4):
            part = slice(first, first + depths[index])
            first += depths[index]
            self.stages.append(
                Stage(
                    channels=(3, *dims)[index],
                    dim=dims[index],
                    heads=heads[index],
                    ratio=sr_ratios[index],
                    kernel=3 if index else 7,
                    stride=strides[index],
                    rates=rates[part],
                    seeds=seeds[part],
                    name=f"stage{index + 1}",
                    dtype=self.dtype_policy,
                )
            )
        self.build((None, None, None, 3))

    def build(self, input_shape):
        for stage in self.stages:
            stage.build()

    def preprocess(self, images):
        """Images 0..255 -> mean 0, deviation 1 over ImageNet, float32."""
        return normalise(images)

    def features_and_attention(self, images, training=None):
        """Features F1..F4 and the (q, k) of all blocks, in order."""
        if any(isinstance(n, int) and n < self.smallest_side for n in images.shape[1:3]):
            raise DataError(
                f"MiT needs images of at least {self.smallest_side} pixels a side and got "
                f"{images.shape[1]}x{images.shape[2]}: use a larger crop or larger scales."
            )
        x = ops.cast(self.preprocess(images), self.compute_dtype)
        features, attention = [], []
        for stage in self.stages:
            x, query_keys = stage(x, training=training)
            features.append(x)
            attention += query_keys
        return features, attention

    def call(self, images, training=None, return_attention=False):
        features, attention = self.features_and_attention(images, training)
        return (features, attention[-2:]) if return_attention else features

    def reference_variables(self, prefix=""):
        """Variables under the names of the reference implementation, ``{name: variable}``."""
        variables = {}
        for number, stage in enumerate(self.stages, start=1):
            variables |= stage.reference_variables(prefix, number)
        return variables

    def get_config(self):
        policy = keras.saving.serialize_keras_object(self.dtype_policy)
        return self.settings | {"name": self.name, "dtype": policy}
