"""SegFormer's all-MLP decoder."""

import math

import keras
from keras import ops

from keras_wsss.ops.resize import resize


def uniform_fan_in(fan_in):
    """PyTorch's default initialiser of linear layers and convolutions."""
    bound = 1 / math.sqrt(fan_in)
    return keras.initializers.RandomUniform(-bound, bound)


@keras.saving.register_keras_serializable("keras_wsss")
class SegFormerDecoder(keras.layers.Layer):
    """Linear maps of all features, fused at stride 4 (Xie et al., arXiv 2105.15203; AFA, "Heads").

    The reference enlarges each mapped feature, concatenates them and fuses them with a 1x1
    convolution. A 1x1 convolution and a bilinear resize may change places, so here each feature
    passes its part of the fusing kernel on its own small grid before it is enlarged and added:
    the same result for a third of the multiplications.

    Args:
        num_classes: int, channels of the logits, background included.
        embedding_dim: int, width of the decoder.
        dropout: float, rate of the channel dropout before the last layer.
        synchronized: bool, whether batch-norm statistics are pooled over replicas.
        seed: int or None, seed of the dropout.

    Call:
        features: list F1..F4 of `[B,h,w,C]`, F1 the largest.
        training: bool, batch statistics and dropout.

    Returns:
        Logits, float32 `[B,h1,w1,num_classes]` on the grid of F1.

    Example:

    >>> features = [ops.ones((1, side, side, 32)) for side in (16, 8, 4, 4)]
    >>> ops.shape(SegFormerDecoder(21)(features))
    (1, 16, 16, 21)
    """

    def __init__(
        self,
        num_classes,
        embedding_dim=256,
        dropout=0.1,
        synchronized=False,
        seed=None,
        name="decoder",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.num_classes = num_classes
        self.embedding_dim = embedding_dim
        self.dropout_rate = dropout
        self.synchronized = synchronized
        self.seed = seed
        self.normalization = keras.layers.BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            synchronized=synchronized,
            name="normalization",
            dtype=self.dtype_policy,
        )
        self.dropout = keras.layers.SpatialDropout2D(
            dropout, seed=seed, name="dropout", dtype=self.dtype_policy
        )

    def build(self, input_shape):
        width = self.embedding_dim
        self.projections = []
        for index, shape in enumerate(input_shape):
            projection = keras.layers.Dense(
                width,
                kernel_initializer=uniform_fan_in(shape[-1]),
                bias_initializer=uniform_fan_in(shape[-1]),
                name=f"projection{index + 1}",
                dtype=self.dtype_policy,
            )
            projection.build(shape)
            self.projections.append(projection)
        self.fuse_kernel = self.add_weight(
            name="fuse_kernel",
            shape=(len(input_shape) * width, width),
            initializer=keras.initializers.RandomNormal(0.0, math.sqrt(2 / width)),
        )
        self.normalization.build((None, None, None, width))
        self.classify = keras.layers.Dense(
            self.num_classes,
            kernel_initializer=uniform_fan_in(width),
            bias_initializer=uniform_fan_in(width),
            name="classify",
            dtype="float32",
        )
        self.classify.build((None, None, None, width))

    def call(self, features, training=None):
        # The parts of the kernel follow the order F4, F3, F2, F1 of the reference.
        parts = ops.split(self.fuse_kernel, len(features))[::-1]
        mapped = [
            ops.matmul(projection(feature), part)
            for projection, feature, part in zip(self.projections, features, parts, strict=True)
        ]
        size = ops.shape(mapped[0])[1:3]
        x = mapped[0]
        for small in mapped[1:]:
            x = x + ops.cast(resize(small, size), x.dtype)
        x = ops.relu(self.normalization(x, training=training))
        return self.classify(self.dropout(x, training=training))

    def reference_variables(self, prefix=""):
        """``{PyTorch name: variable}``."""
        variables = {}
        for index, projection in enumerate(self.projections):
            variables[f"{prefix}linear_c{index + 1}.proj.weight"] = projection.kernel
            variables[f"{prefix}linear_c{index + 1}.proj.bias"] = projection.bias
        norm = self.normalization
        return variables | {
            prefix + "linear_fuse.conv.weight": self.fuse_kernel,
            prefix + "linear_fuse.bn.weight": norm.gamma,
            prefix + "linear_fuse.bn.bias": norm.beta,
            prefix + "linear_fuse.bn.running_mean": norm.moving_mean,
            prefix + "linear_fuse.bn.running_var": norm.moving_variance,
            prefix + "linear_pred.weight": self.classify.kernel,
            prefix + "linear_pred.bias": self.classify.bias,
        }

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "embedding_dim": self.embedding_dim,
            "dropout": self.dropout_rate,
            "synchronized": self.synchronized,
            "seed": self.seed,
        }
