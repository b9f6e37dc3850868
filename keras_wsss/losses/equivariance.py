"""Scale equivariance: the CAM of a small view shall be the shrunk CAM of the image."""

from keras import ops

from keras_wsss.ops.resize import resize

EPSILON = 1e-5


def cam_equivariance(cam, small_cam, tags):
    """Mean absolute difference of both views' CAMs of the present classes, with gradient.

    What TSCD intends (eq. 10): ReLU, division by the maximum + 1e-5 of each
    class, masked by the tags, the image's CAM shrunk to the small view's, mean over all classes.

    Args:
        cam: float `[B,H,W,C]`, raw single-scale CAM of the image.
        small_cam: float `[B,h,w,C]`, the same of its small view.
        tags: `[B,C]`, 1 = class present.

    Returns:
        float32 scalar in 0..1.

    Example:

    >>> cam, small_cam = np.ones((1, 8, 8, 1)), np.zeros((1, 4, 4, 1))
    >>> round(float(cam_equivariance(cam, small_cam, np.array([[1.0]]))), 3)
    1.0
    """
    present = ops.cast(tags, "float32")[:, None, None, :]
    cam, small_cam = (_stretch(each) * present for each in (cam, small_cam))
    return ops.mean(ops.abs(_shrink(cam, small_cam) - small_cam))


def cam_equivariance_released(cam, small_cam):
    """The term as TSCD's released code computes it (TSCD, eq. 11).

    It takes fused CAMs, which carry no gradient, and leaves out the first class: a constant to
    log, not to learn from.

    Args:
        cam: float `[B,H,W,C]` in 0..1.
        small_cam: float `[B,h,w,C]` in 0..1.

    Returns:
        float32 scalar in 0..1.

    Example:

    >>> float(cam_equivariance_released(np.ones((1, 8, 8, 2)), np.zeros((1, 4, 4, 2))))
    1.0
    """
    return ops.mean(ops.abs(_shrink(cam, small_cam) - small_cam)[..., 1:])


def _stretch(cam):
    cam = ops.relu(ops.cast(cam, "float32"))
    return cam / (ops.max(cam, axis=(1, 2), keepdims=True) + EPSILON)


def _shrink(cam, small_cam):
    return resize(cam, ops.shape(small_cam)[1:3], align_corners=True)
