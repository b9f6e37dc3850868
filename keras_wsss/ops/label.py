"""Label maps: ignored pixels, the valid part of a crop, the strongest of the present classes."""

from keras import ops

from keras_wsss.palette import IGNORE_ID

__all__ = [
    "GROUP",
    "IGNORE_ID",
    "inside",
    "merge_last",
    "present_slots",
    "strongest_class",
    "take_channels",
    "three_way",
]

GROUP = 4  # classes looked at together: background and up to three tags fill one group
ABSENT = -1.0  # below every score


def inside(valid_box, size):
    """Which pixels lie in the box of their image: bool `[B,H,W]`.

    Args:
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open.
        size: pair (H, W), ints or scalar int tensors.
    """
    y0, y1, x0, x1 = (ops.cast(valid_box, "int32")[:, i, None] for i in range(4))
    rows, columns = (ops.arange(side, dtype="int32") for side in size)
    rows, columns = (rows >= y0) & (rows < y1), (columns >= x0) & (columns < x1)
    return rows[:, :, None] & columns[:, None, :]


def strongest_class(scores_of, tags, shape):
    """Strongest among background and the present classes of each image, and its score.

    An image has few of the classes, so only present ones are looked at: in groups of four, as many
    as the image with the most tags needs. A loop over groups, rather than one branch for each
    number of channels, makes XLA compile ``scores_of`` once.

    Args:
        scores_of: function of int32 `[B,4]` class ids (0 = background) to float `[*shape,4]`, at
            least 0; what it gives for an absent class is not used.
        tags: `[B,C]`, > 0 = class present.
        shape: tuple (B, ...).

    Returns:
        Pair of float32 and int32 of ``shape``: the score and the class id. The lowest id wins a
        tie.
    """
    slots, kept = present_slots(tags)
    used = ops.max(ops.sum(kept, axis=1))

    def unfinished(first, best, winner):
        return first < used

    def next_group(first, best, winner):
        group = ops.slice(slots, (0, first), (ops.shape(slots)[0], GROUP))
        present = ops.slice(kept, (0, first), (ops.shape(kept)[0], GROUP))
        maps = scores_of(group)
        for_pixels = (-1, *[1] * (len(shape) - 1), GROUP)
        maps = ops.where(ops.reshape(present, for_pixels) > 0, maps, ABSENT)
        score, place = ops.max(maps, axis=-1), ops.argmax(maps, axis=-1)
        chosen = sum(
            ops.where(place == i, ops.reshape(group[:, i], for_pixels[:-1]), 0)
            for i in range(GROUP)
        )
        better = score > best  # a tie goes to the lower class, which came first
        return first + GROUP, ops.where(better, score, best), ops.where(better, chosen, winner)

    start = 0, ops.full(shape, ABSENT, "float32"), ops.zeros(shape, "int32")
    _, best, winner = ops.while_loop(unfinished, next_group, start)
    return best, winner


def three_way(label, valid_box):
    """Joins the labels against a strong and a weak background, `[B,H,W,2]`, into one `[B,H,W]`.

    A class that beats the strong background is kept, so is background that beats all classes even
    when it is weak; all else, and what lies outside ``valid_box``, is ignored.
    """
    strict, loose = label[..., 0], label[..., 1]
    label = ops.where((strict == 0) & (loose != 0), IGNORE_ID, strict)
    return ops.where(inside(valid_box, ops.shape(label)[1:3]), label, IGNORE_ID)


def present_slots(tags):
    """Background and present classes of each image in ascending order, then absent classes.

    Args:
        tags: `[B,C]`, > 0 = class present.

    Returns:
        Pair of int32 `[B,L]`, L = C + 1 rounded up to whole groups: the class ids (0 = background),
        and 1 where the class is present (background always is).
    """
    tags = ops.cast(tags > 0, "int32")
    batch, classes = ops.shape(tags)[0], tags.shape[1]
    filler = -(classes + 1) % GROUP
    kept = ops.concatenate([ops.ones((batch, 1), "int32"), tags], axis=1)
    kept = ops.pad(kept, ((0, 0), (0, filler)))
    ids = ops.arange(classes + 1 + filler, dtype="int32")
    slots = ops.argsort((1 - kept) * (classes + 1 + filler) + ids, axis=1)
    slots = ops.cast(slots, "int32")
    return slots, ops.take_along_axis(kept, slots, axis=1)


def take_channels(x, channels):
    """Channels `[B,K]` (the last for any beyond) of each image `[B,H,W,C]`: `[B,H,W,K]`."""
    batch, height, width = ops.shape(x)[:3]
    count = x.shape[-1]
    channels = ops.minimum(channels, count - 1)
    planes = ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (batch * count, height, width))
    chosen = ops.take(planes, channels + count * ops.arange(batch, dtype="int32")[:, None], axis=0)
    return ops.transpose(chosen, (0, 2, 3, 1))


def merge_last(x):
    """`[B,H,W,T,K]` to `[B,H,W,T*K]`."""
    return ops.reshape(x, (*ops.shape(x)[:3], x.shape[3] * x.shape[4]))
