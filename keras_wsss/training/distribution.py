"""Devices: replicas, XLA, precision and threads."""

import logging
from contextlib import contextmanager

import keras
import tensorflow as tf

from keras_wsss.errors import ConfigError

logger = logging.getLogger(__name__)


def replica_strategy(distribution):
    """``MirroredStrategy`` over all visible GPUs, or the default strategy for one device.

    Args:
        distribution: ``mirrored`` or ``none``.

    Example:

    >>> replica_strategy("none").num_replicas_in_sync
    1
    """
    if distribution == "mirrored" and len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def use_xla(setting):
    """Whether to compile the replica's step: ``auto`` is on with a GPU or TPU, off on CPU.

    On CPU the XLA-compiled network is several times slower than the graph.
    """
    if setting == "auto":
        return any(tf.config.list_physical_devices(kind) for kind in ("GPU", "TPU"))
    return setting


def synchronize_batch_norm(strategy, xla):
    """Whether the decoder's batch norm pools its statistics over the replicas.

    A synchronised layer cannot be compiled inside a replica, so with several replicas and XLA
    each replica normalises by its own statistics; that is said in the log.
    """
    if strategy.num_replicas_in_sync == 1:
        return False
    if xla:
        logger.warning("several replicas with XLA: batch norm statistics are kept per replica")
    return not xla


@contextmanager
def precision_put_back():
    """Leaves the precision policy of the process as it was, for what else runs in it."""
    policy = keras.config.dtype_policy()
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def configure(settings, seed):
    """Seeds and precision policy, before any layer is made."""
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy("mixed_float16" if settings.mixed_precision else "float32")


def set_threads(settings):
    """Threads of an operation, before TensorFlow computes anything.

    Raises:
        ConfigError: TensorFlow runs already with another number of threads.
    """
    threads = tf.config.threading
    if settings.threads and settings.threads != threads.get_intra_op_parallelism_threads():
        try:
            threads.set_intra_op_parallelism_threads(settings.threads)
        except RuntimeError as error:
            raise ConfigError(
                f"training.threads: {settings.threads} cannot be set any more, because TensorFlow "
                "has begun in this process; restart it (in a notebook, the kernel), or leave "
                "training.threads out"
            ) from error
    elif not settings.threads and (set_before := threads.get_intra_op_parallelism_threads()):
        logger.warning(
            "training.threads is not set, but TensorFlow has %d from before in this process, and "
            "keeps them",
            set_before,
        )
