"""Attention for backbones that have none, so that affinity can be learned on them as well."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_wsss")
class AttentionNeck(keras.layers.Layer):
    """Transformer blocks on F4 that only give queries and keys.

    F4 is mapped linearly to ``dim`` channels; each block but the last adds attention and an MLP
    (pre-norm, output layers zero at the start, so that every block first sees the pretrained
    features as they are); the last block is just its queries and keys, since nothing reads more.
    Decoder and classifier keep using F4 itself: exported graphs hold no part of the neck.

    Args:
        dim: int, width of the blocks, a multiple of ``num_heads``.
        num_heads: int.
        blocks: int, number of (q, k) pairs.

    Call:
        features: F4, `[B,h,w,D]`.

    Returns:
        List of ``blocks`` pairs (q, k), each `[B,h*w,dim]`.

    Example:

    >>> attention = AttentionNeck(dim=64)(ops.ones((1, 4, 4, 128)))
    >>> ops.shape(wsss.heads.AffinityHead()(attention))
    (1, 16, 16)
    """

    def __init__(self, dim=256, num_heads=8, blocks=2, name="neck", **kwargs):
        super().__init__(name=name, **kwargs)
        self.dim = dim
        self.num_heads = num_heads
        self.blocks = blocks

    def build(self, input_shape):
        tokens = (None, None, self.dim)

        def norm(name):
            layer = keras.layers.LayerNormalization(
                epsilon=1e-6, name=name, dtype=self.dtype_policy
            )
            layer.build(tokens)
            return layer

        def linear(units, name, channels=self.dim, initializer="glorot_uniform"):
            layer = keras.layers.Dense(
                units, kernel_initializer=initializer, name=name, dtype=self.dtype_policy
            )
            layer.build((None, None, channels))
            return layer

        self.reduce = linear(self.dim, "reduce", channels=input_shape[-1])
        self.norms = [norm(f"norm{i + 1}") for i in range(self.blocks)]
        self.query_key = [linear(2 * self.dim, f"query_key{i + 1}") for i in range(self.blocks)]
        inner = range(1, self.blocks)  # the last block needs no output
        self.value = [linear(self.dim, f"value{i}") for i in inner]
        self.project = [linear(self.dim, f"project{i}", initializer="zeros") for i in inner]
        self.mlp_norms = [norm(f"mlp_norm{i}") for i in inner]
        self.expand = [linear(4 * self.dim, f"expand{i}") for i in inner]
        self.contract = [
            linear(self.dim, f"contract{i}", 4 * self.dim, initializer="zeros") for i in inner
        ]

    def call(self, features, training=None):
        batch, height, width = ops.shape(features)[:3]
        x = self.reduce(ops.reshape(features, (batch, height * width, features.shape[-1])))
        pairs = []
        for block in range(self.blocks):
            y = self.norms[block](x)
            query, key = ops.split(self.query_key[block](y), 2, axis=-1)
            pairs.append((query, key))
            if block < self.blocks - 1:
                x = x + self.project[block](self.attend(query, key, self.value[block](y)))
                y = self.expand[block](self.mlp_norms[block](x))
                x = x + self.contract[block](ops.relu(y))
        return pairs

    def attend(self, query, key, value):
        """Multi-head attention, one head at a time on 3-D tensors."""
        size = self.dim // self.num_heads
        outputs = []
        for start in range(0, self.dim, size):
            q, k, v = (x[..., start : start + size] for x in (query, key, value))
            scores = ops.matmul(q, ops.transpose(k, (0, 2, 1))) * size**-0.5
            outputs.append(ops.matmul(ops.softmax(scores), v))
        return ops.concatenate(outputs, axis=-1)

    def get_config(self):
        return super().get_config() | {
            "dim": self.dim,
            "num_heads": self.num_heads,
            "blocks": self.blocks,
        }
