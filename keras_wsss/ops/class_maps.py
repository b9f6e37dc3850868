"""Class maps of several views (SGN), `[B,h,w,C]` on the grid of the features."""

from keras import ops

EPSILON = 1e-5
NEVER = -1e9  # logit of an absent class


def tagged_softmax(logits, tags):
    """Softmax over background and the classes of an image; its background is left out.

    Args:
        logits: float `[2B,h,w,C+1]`: the images, then the mirrored images; 0 = background.
        tags: `[B,C]`, > 0 = class present.

    Returns:
        float32 `[2B,h,w,C]` in 0..1, absent classes 0.

    Example:

    >>> tagged_softmax(np.zeros((2, 1, 1, 3)), np.array([[1, 0]])).numpy()[0, 0, 0]
    array([0.5, 0. ], dtype=float32)
    """
    present = ops.tile(tags, (2, 1))
    kept = ops.concatenate([ops.ones_like(present[:, :1]), present], axis=1)[:, None, None, :]
    logits = ops.cast(logits, "float32")
    return ops.softmax(ops.where(kept > 0, logits, NEVER), axis=-1)[..., 1:]


def mean_of_views(maps):
    """Mean of the maps of images and of the mirrored images, which are mirrored back.

    Args:
        maps: float `[2B,h,w,C]`: the images, then the mirrored images.

    Returns:
        float `[B,h,w,C]`.

    Example:

    >>> maps = np.array([[1.0, 0.0], [0.0, 1.0]]).reshape(2, 1, 2, 1)  # the views agree
    >>> mean_of_views(maps).numpy()[0, 0, :, 0]
    array([1., 0.])
    """
    plain, mirrored = ops.split(maps, 2)
    return (plain + ops.flip(mirrored, axis=2)) / 2


def stretched(maps, valid=None):
    """Maps over their maximum + 1e-5, class by class.

    Args:
        maps: float `[B,h,w,C]`, at least 0.
        valid: float `[B,h,w]`, 0 = padding, where the result is 0; None: all counts.

    Returns:
        float `[B,h,w,C]` in [0,1).

    Example:

    >>> stretched(np.array([[[[1.0], [4.0]]]])).numpy()[0, 0, :, 0].round(3)
    array([0.25, 1.  ])
    """
    if valid is not None:
        maps = maps * valid[..., None]
    return maps / (ops.max(maps, axis=(1, 2), keepdims=True) + EPSILON)


def at_places(valid, grid):
    """A mask read at the centres of a coarser grid's places.

    Args:
        valid: `[B,H,W]`, 1 = pixel of the image, 0 = padding.
        grid: pair (h, w), ints.

    Returns:
        float32 `[B,h,w]`.

    Example:

    >>> at_places(np.array([[[1, 1, 1, 0, 0, 0, 0, 0]]]), (1, 2)).numpy()[0]
    array([[1., 0.]], dtype=float32)
    """
    for axis, places in zip((1, 2), grid, strict=True):
        side = ops.shape(valid)[axis]
        centres = (2 * ops.arange(places, dtype="int32") + 1) * side // (2 * places)
        valid = ops.take(valid, centres, axis=axis)
    return ops.cast(valid, "float32")
