"""The colour normalisation that most ImageNet weights were trained with."""

from keras import ops

MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)


def normalise(images):
    """Images, RGB 0..255 -> mean 0, deviation 1 over ImageNet, float32.

    Example:

    >>> normalise(np.array([123.675, 116.28, 103.53])).numpy()
    array([0., 0., 0.], dtype=float32)
    """
    return (ops.cast(images, "float32") - ops.array(MEAN)) / ops.array(DEVIATION)
