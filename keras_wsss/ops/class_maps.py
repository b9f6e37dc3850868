"""Class maps of several views (SGN), `[B,h,w,C]` on the grid of the features."""

from keras import ops

EPSILON = 1e-5
NEVER = -1e9  # logit of an absent class


def tagged_softmax(logits, tags):
    """Softmax of logits `[2B,h,w,C+1]` over background and present classes; without background."""
    present = ops.tile(tags, (2, 1))
    kept = ops.concatenate([ops.ones_like(present[:, :1]), present], axis=1)[:, None, None, :]
    logits = ops.cast(logits, "float32")
    return ops.softmax(ops.where(kept > 0, logits, NEVER), axis=-1)[..., 1:]


def mean_of_views(maps):
    """Mean of the maps of the images and of their mirror images, `[2B,h,w,C]` to `[B,h,w,C]`."""
    plain, mirrored = ops.split(maps, 2)
    return (plain + ops.flip(mirrored, axis=2)) / 2


def stretched(maps, valid=None):
    """Maps `[B,h,w,C]` over their maximum + 1e-5."""
    if valid is not None:
        maps = maps * valid[..., None]
    return maps / (ops.max(maps, axis=(1, 2), keepdims=True) + EPSILON)


def at_places(valid, grid):
    """The mask `[B,H,W]` read at the centres of a coarser grid's places, float32 `[B,h,w]`."""
    for axis, places in zip((1, 2), grid, strict=True):
        side = ops.shape(valid)[axis]
        centres = (2 * ops.arange(places, dtype="int32") + 1) * side // (2 * places)
        valid = ops.take(valid, centres, axis=axis)
    return ops.cast(valid, "float32")
