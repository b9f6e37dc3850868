"""Affinity of tokens from the raw attention scores of the last blocks."""

import math

import keras
from keras import ops

from keras_wsss.errors import ConfigError


@keras.saving.register_keras_serializable("keras_wsss")
class AffinityHead(keras.layers.Layer):
    """Sigmoid of a 1x1 convolution over all heads' scores (AFA, eq. 3).

    With Z the unscaled scores `q k^T` of ``blocks * heads`` heads, the reference computes
    `sigmoid(sum_h w_h (Z_h + Z_h^T) + b)` (AFA, BMP) or without the transpose (TSCD). Here each
    head's weight is multiplied into its channels of q, so that the sum over heads happens inside
    one matrix product a block and the score maps of the heads never exist.

    Args:
        symmetric: bool, whether the transposed scores are added.
        heads: int, heads of a block.
        blocks: int, number of blocks whose scores are used.

    Call:
        attention: list of ``blocks`` pairs (q, k), each `[B,N,D]`, D a multiple of ``heads``.

    Returns:
        Affinity in (0, 1), float32 `[B,N,N]`.

    Example:

    >>> attention = 2 * [(ops.ones((1, 16, 64)), ops.ones((1, 16, 64)))]  # (q, k) of two blocks
    >>> ops.shape(AffinityHead(symmetric=True)(attention))
    (1, 16, 16)
    """

    def __init__(self, symmetric=False, heads=8, blocks=2, name="affinity_head", **kwargs):
        super().__init__(name=name, autocast=False, **kwargs)
        self.symmetric = symmetric
        self.heads = heads
        self.blocks = blocks
        self.build()

    def build(self, input_shape=None):
        channels = self.blocks * self.heads
        bound = 1 / math.sqrt(channels)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(channels, 1),
            initializer=keras.initializers.RandomNormal(0.0, math.sqrt(1 / 3)),
            autocast=False,
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(1,),
            initializer=keras.initializers.RandomUniform(-bound, bound),
            autocast=False,
        )

    def call(self, attention):
        if len(attention) != self.blocks:
            raise ConfigError(
                f"The affinity head was built for {self.blocks} attention blocks and got "
                f"{len(attention)}; a backbone without attention needs an AttentionNeck."
            )
        weights = ops.reshape(self.kernel, (self.blocks, self.heads))
        logits = self.bias
        for block, (query, key) in enumerate(attention):
            query, key = ops.cast(query, "float32"), ops.cast(key, "float32")
            weight = ops.repeat(weights[block], query.shape[-1] // self.heads)
            logits = logits + ops.matmul(query * weight, ops.transpose(key, (0, 2, 1)))
        if self.symmetric:
            logits = logits + ops.transpose(logits, (0, 2, 1)) - self.bias
        return ops.sigmoid(logits)

    def reference_variables(self, prefix=""):
        """``{PyTorch name: variable}``."""
        return {prefix + "weight": self.kernel, prefix + "bias": self.bias}

    def get_config(self):
        return super().get_config() | {
            "symmetric": self.symmetric,
            "heads": self.heads,
            "blocks": self.blocks,
        }
