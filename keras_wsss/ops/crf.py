"""Fully connected CRF: sharpens class probabilities by the colours of an image, on the host."""

import numpy as np

from keras_wsss.errors import ConfigError


def dense_crf(
    image,
    probabilities,
    iterations=10,
    gaussian_sxy=1,
    gaussian_weight=3,
    bilateral_sxy=67,
    bilateral_srgb=3,
    bilateral_weight=4,
):
    """Mean field of a CRF whose every two pixels are neighbours, near ones of like colour most.

    Krähenbühl and Koltun, NIPS 2011 (arXiv 1210.5644); the defaults are those of I2CRC,
    "CRF". On the host and slow (seconds an image): for post-processing, and for RRM where the
    configuration asks for it.

    Args:
        image: `[H,W,3]` RGB, 0..255; rounded to whole numbers.
        probabilities: `[H,W,K]`, the classes of a pixel sum to 1.
        iterations: int, mean field updates.
        gaussian_sxy: float, pixels, width of the kernel of place alone.
        gaussian_weight: float, its weight.
        bilateral_sxy: float, pixels, width in place of the kernel of place and colour.
        bilateral_srgb: float, grey levels, its width in colour.
        bilateral_weight: float, its weight.

    Returns:
        numpy float32 `[H,W,K]`, probabilities.

    Raises:
        ConfigError: the package that computes it is not installed.

    Example:

    >>> probabilities = np.full((4, 6, 2), 0.5, "float32")
    >>> probabilities[:, :3] = 0.9, 0.1
    >>> dense_crf(np.zeros((4, 6, 3)), probabilities).argmax(axis=-1)[0]  # of one colour: one class
    array([0, 0, 0, 0, 0, 0])
    """
    require_crf()
    from pydensecrf import densecrf
    from pydensecrf.utils import unary_from_softmax

    height, width, classes = np.shape(probabilities)
    image = np.clip(np.rint(image), 0, 255).astype(np.uint8, order="C")
    channels_first = np.moveaxis(np.asarray(probabilities, np.float32), -1, 0)
    field = densecrf.DenseCRF2D(width, height, classes)
    field.setUnaryEnergy(np.ascontiguousarray(unary_from_softmax(channels_first)))
    field.addPairwiseGaussian(sxy=gaussian_sxy, compat=gaussian_weight)
    field.addPairwiseBilateral(
        sxy=bilateral_sxy, srgb=bilateral_srgb, rgbim=image, compat=bilateral_weight
    )
    refined = np.reshape(field.inference(iterations), (classes, height, width))
    return np.ascontiguousarray(np.moveaxis(refined, 0, -1))


def require_crf():
    """Raises the error of :func:`dense_crf` where its package is missing, before hours of work.

    Example:

    >>> require_crf()  # the package is there
    """
    try:
        import pydensecrf  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            'the dense CRF needs a package: pip install "keras_wsss[crf]" (or pydensecrf2)'
        ) from error
