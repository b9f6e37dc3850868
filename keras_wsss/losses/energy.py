"""Gated dense energy: near pixels of like colour shall have the same class."""

from keras import ops

from keras_wsss.ops._backend import compiled
from keras_wsss.ops.energy import gaussian_filter
from keras_wsss.ops.label import IGNORE_ID, inside
from keras_wsss.ops.resize import resize

UNIT = 1e-7  # internal weight of the released implementation

# XLA joins differences, squares and exponential into one pass: three times faster, also on CPU.
_filter = compiled(gaussian_filter)


def dense_energy(
    image, labels, logits, valid_box, sigma_rgb=15.0, sigma_xy=100.0, scale=0.5, stride=1
):
    """Negative sum over pixel pairs of kernel x agreement x gate, times 1e-7.

    RRM (Zhang et al., AAAI 2020, arXiv 1911.08039), eq. 11 to 14; also used by AFA and TSCD.
    The gate of a pixel is 1 where it is not labelled and 1 - confidence where it is, so the energy
    carries labels into unlabelled areas. The gradient is the prescribed one: twice that of the
    energy with gate and filtered probabilities held fixed.

    Args:
        image: float `[B,H,W,3]`, RGB 0..255.
        labels: int `[B,H,W]`, 255 = not labelled.
        logits: float `[B,H,W,K]`, already of the image's size.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open: pixels outside take no part.
        sigma_rgb: bandwidth in grey levels.
        sigma_xy: bandwidth in pixels of the image.
        scale: 1 / scale must be whole: the energy is taken on a grid that is coarser by it.
        stride: int, 1 = exact; see :func:`~keras_wsss.ops.energy.gaussian_filter`.

    Returns:
        float32 scalar, at most 0.

    Example:

    >>> image, box = np.zeros((1, 64, 64, 3)), np.array([[0, 64, 0, 64]])
    >>> labels, logits = np.full((1, 64, 64), 255), np.zeros((1, 64, 64, 3))
    >>> round(float(dense_energy(image, labels, logits, box, stride=4)), 4)
    -0.0327
    """
    step = round(1 / scale)
    image_size = ops.shape(image)[1:3]
    height, width = size = [side // step for side in image_size]

    def coarse(x):
        return x[:, : height * step : step, : width * step : step]

    valid = coarse(ops.cast(inside(valid_box, image_size), "float32"))
    probabilities = ops.softmax(ops.cast(logits, "float32"), axis=-1)
    probabilities = resize(probabilities[:, : height * step, : width * step], size)
    gate = ops.relu(valid - ops.max(probabilities, axis=-1))
    gate = ops.where(coarse(labels) == IGNORE_ID, 1.0, gate)
    probabilities = probabilities * valid[..., None]

    colours = coarse(ops.cast(image, "float32")) / sigma_rgb
    rows, columns = (ops.arange(side, dtype="float32") / (sigma_xy * scale) for side in size)
    places = ops.stack(ops.meshgrid(rows, columns, indexing="ij"), axis=-1)[None]
    places = ops.broadcast_to(places, (ops.shape(colours)[0], height, width, 2))
    features = ops.concatenate([places, colours], axis=-1)

    filtered = _filter(features, ops.stop_gradient(probabilities), stride=stride)
    pull = ops.stop_gradient(filtered * gate[..., None])
    agreement = ops.sum(probabilities * pull)
    # The value of the energy with twice the gradient that holding the pull fixed would give it.
    agreement = 2 * agreement - ops.stop_gradient(agreement)
    return -UNIT * agreement / ops.cast(ops.shape(colours)[0], "float32")
