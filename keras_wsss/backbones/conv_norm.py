"""Convolution with a frozen batch norm."""

import math

import keras
from keras import ops


class ConvNorm(keras.layers.Layer):
    """Convolution without bias followed by a frozen batch norm.

    The norm is an affine map per channel, so its scale is multiplied into the kernel: one pass
    over the activations instead of two, forward and backward, with the same result and gradient.

    Args:
        filters: int, for ``depthwise`` that of the input.
        padding: ``"same"`` (TensorFlow's, asymmetric for even strides) or ``"valid"``.
        activation: function, or None.
        epsilon: float, of the batch norm.
        gain: float, variance of the random kernel times its fan-in; by default 2 before an
            activation (He), else 1.

    Example:

    >>> ops.shape(ConvNorm(8, 3, strides=2)(ops.ones((1, 32, 32, 3))))
    (1, 16, 16, 8)
    """

    def __init__(
        self,
        filters,
        kernel_size=1,
        strides=1,
        dilation_rate=1,
        depthwise=False,
        padding="same",
        activation=ops.relu6,
        epsilon=1e-3,
        gain=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self.depthwise = depthwise
        self.padding = padding
        self.activation = activation
        self.epsilon = epsilon
        self.gain = gain or (2 if activation else 1)

    def build(self, input_shape):
        size, channels = self.kernel_size, input_shape[-1]
        fan_in = size * size * (1 if self.depthwise else channels)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, size, channels, 1 if self.depthwise else self.filters),
            initializer=keras.initializers.RandomNormal(0.0, math.sqrt(self.gain / fan_in)),
            autocast=False,
        )

        def frozen(name, initializer):
            return self.add_weight(
                name=name,
                shape=(self.filters,),
                initializer=initializer,
                trainable=False,
                autocast=False,
            )

        self.gamma, self.beta = frozen("gamma", "ones"), frozen("beta", "zeros")
        self.moving_mean = frozen("moving_mean", "zeros")
        self.moving_variance = frozen("moving_variance", "ones")

    def call(self, x):
        scale = self.gamma * ops.rsqrt(self.moving_variance + self.epsilon)
        offset = ops.cast(self.beta - self.moving_mean * scale, x.dtype)
        per_filter = ops.reshape(scale, (-1, 1)) if self.depthwise else scale
        kernel = ops.cast(self.kernel * per_filter, x.dtype)
        convolve = ops.depthwise_conv if self.depthwise else ops.conv
        x = convolve(
            x, kernel, self.strides, padding=self.padding, dilation_rate=self.dilation_rate
        )
        return self.activation(x + offset) if self.activation else x + offset

    def reference_variables(self, convolution, norm):
        """Variables under the names of a PyTorch convolution and of its batch norm."""
        return {
            f"{convolution}.weight": self.kernel,
            f"{norm}.weight": self.gamma,
            f"{norm}.bias": self.beta,
            f"{norm}.running_mean": self.moving_mean,
            f"{norm}.running_var": self.moving_variance,
        }
