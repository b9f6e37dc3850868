"""Stochastic depth: residual branches that are left out at random while training."""

import keras
from keras import ops


class StochasticDepth(keras.layers.Layer):
    """Zeroes a residual branch for some images of the batch and scales it up for the others.

    Huang et al., arXiv 1603.09382. The expected value stays the same; nothing happens outside
    training or at rate 0.

    Args:
        rate: float in [0, 1), the probability that an image loses the branch.
        seed: int or None, seed of the layer's own random state.

    Example:

    >>> branch = StochasticDepth(0.5, seed=1)(ops.ones((1000, 1)), training=True)
    >>> sorted(set(branch.numpy().ravel().tolist()))  # gone, or twice as large
    [0.0, 2.0]
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(seed) if rate > 0 else None

    def call(self, branch, training=None):
        if not training or self.rate == 0:
            return branch
        keep = 1.0 - self.rate
        shape = (ops.shape(branch)[0],) + (1,) * (len(branch.shape) - 1)
        draw = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        return branch * ops.cast(ops.floor(keep + draw) / keep, branch.dtype)


def linear_rates(rate, blocks):
    """Rates of ``blocks`` residual blocks, growing linearly from 0 to ``rate``."""
    return [rate * index / max(blocks - 1, 1) for index in range(blocks)]
