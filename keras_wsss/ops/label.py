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

    Example:

    >>> inside(np.array([[0, 1, 1, 3]]), (2, 4)).numpy().astype(int)[0]
    array([[0, 1, 1, 0],
           [0, 0, 0, 0]])
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

    Example:

    >>> scores = np.array([[0.2, 0.7, 0.9]], "float32")  # of background and two classes
    >>> def scores_of(slots):
    ...     return ops.take_along_axis(scores, ops.minimum(slots, 2), axis=1)
    >>> score, winner = strongest_class(scores_of, np.array([[1, 0]]), shape=(1,))
    >>> score.numpy(), winner.numpy()  # the second class is absent
    (array([0.7], dtype=float32), array([1], dtype=int32))
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
    """Joins the labels against a strong and a weak background into one.

    A class that beats the strong background is kept, so is background that beats all classes even
    when it is weak; all else, and what lies outside ``valid_box``, is ignored.

    Args:
        label: int `[B,H,W,2]`, against the strong and the weak background; 0 = background.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open.

    Returns:
        int `[B,H,W]`: 0 = background, c + 1 = class c, 255 = ignored.

    Example:

    >>> three_way(np.array([[[[2, 2], [0, 0], [0, 2]]]]), np.array([[0, 1, 0, 3]])).numpy()
    array([[[  2,   0, 255]]])
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

    Example:

    >>> slots, present = present_slots(np.array([[0, 0, 1, 0]]))
    >>> slots.numpy(), present.numpy()
    (array([[0, 3, 1, 2, 4, 5, 6, 7]], dtype=int32), array([[1, 1, 0, 0, 0, 0, 0, 0]], dtype=int32))
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
    """Channels of a map, other ones for each image.

    Args:
        x: float `[B,H,W,C]`.
        channels: int `[B,K]`; a number beyond the last channel stands for the last.

    Returns:
        `[B,H,W,K]`.

    Example:

    >>> x, channels = np.array([[[[0.1, 0.2, 0.3]]]]), np.array([[2, 0]], "int32")
    >>> take_channels(x, channels).numpy()
    array([[[[0.3, 0.1]]]])
    """
    batch, height, width = ops.shape(x)[:3]
    count = x.shape[-1]
    channels = ops.minimum(channels, count - 1)
    planes = ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (batch * count, height, width))
    chosen = ops.take(planes, channels + count * ops.arange(batch, dtype="int32")[:, None], axis=0)
    return ops.transpose(chosen, (0, 2, 3, 1))


def merge_last(x):
    """Joins the last two axes: `[B,H,W,T,K]` to `[B,H,W,T*K]`.

    Example:

    >>> ops.shape(merge_last(np.zeros((1, 4, 4, 2, 3))))
    (1, 4, 4, 6)
    """
    return ops.reshape(x, (*ops.shape(x)[:3], x.shape[3] * x.shape[4]))
