"""Class activation maps (CAM): fusion over views, and pseudo labels made from them."""

from keras import ops

from keras_wsss.ops.resize import resize

IGNORE_ID = 255
GROUP = 4  # classes refined at once: background and up to three tags fill one group
EPSILON = 1e-5
ABSENT = -1.0  # below every score


def normalize_cam(cam):
    """Stretches each class of each image to [0,1): minus the minimum, over the maximum + 1e-5.

    afa.md section 2.3. A constant map becomes 0.

    Args:
        cam: float `[B,H,W,C]`.

    Returns:
        float32 `[B,H,W,C]`.

    Example:

    >>> normalize_cam(ops.reshape([2.0, 4.0, 6.0], (1, 1, 3, 1)))[0, 0, :, 0]
    [0.0, 0.49999875, 0.9999975]
    """
    cam = ops.cast(cam, "float32")
    cam = cam - ops.min(cam, axis=(1, 2), keepdims=True)
    return cam / (ops.max(cam, axis=(1, 2), keepdims=True) + EPSILON)


def fuse_segmentation(logits, size):
    """Fuses decoder logits like :func:`fuse_multi_scale` does CAMs: mean of view and mirror, sum.

    BMP, bmp.md section 2.3.

    Args:
        logits: list, one `[2B,h,w,K]` a scale: first the images, then the mirrored images.
        size: pair (H, W), ints or scalar int tensors.

    Returns:
        float32 `[B,H,W,K]` in [0,1), each channel of each image stretched.

    Example:

    >>> fuse_segmentation([logits_100, logits_050, logits_150], (320, 320)).shape
    (2, 320, 320, 21)
    """
    total = 0.0
    for view in logits:
        plain, mirrored = ops.split(resize(ops.cast(view, "float32"), size), 2, axis=0)
        total = total + (plain + ops.flip(mirrored, axis=2)) / 2
    return normalize_cam(total)


def fuse_multi_scale(cams, size):
    """Fuses the CAMs of several scales, each with its mirrored view, into one normalised CAM.

    Maximum over plain and mirrored view, ReLU, sum over scales, :func:`normalize_cam`; afa.md
    section 2.3. Absent classes are stretched like present ones.

    Args:
        cams: list, one raw CAM `[2B,h,w,C]` a scale: first the B images, then the B horizontally
            mirrored images (as the network gives them, not mirrored back).
        size: pair (H, W), ints or scalar int tensors.

    Returns:
        float32 `[B,H,W,C]` in [0,1).

    Example:

    >>> fuse_multi_scale([cam_100, cam_050, cam_150], (320, 320)).shape
    (2, 320, 320, 20)
    """
    total = 0.0
    for cam in cams:
        plain, mirrored = ops.split(resize(ops.cast(cam, "float32"), size), 2, axis=0)
        total = total + ops.relu(ops.maximum(plain, ops.flip(mirrored, axis=2)))
    return normalize_cam(total)


def cam_to_label(
    cam, labels, background_score=0.45, high=None, low=None, valid_box=None, ignore_id=IGNORE_ID
):
    """Labels each pixel with its strongest present class, or background where that is weak.

    A score equal to a threshold counts as below it; the lowest class wins a tie.

    Args:
        cam: float `[B,H,W,C]` in 0..1.
        labels: `[B,C]`, 1 = class present.
        background_score: scores up to this are background; not used where ``high`` is given.
        high, low: scores up to ``high`` are ignored, up to ``low`` they are background.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open: pixels outside are ignored.
        ignore_id: int written where a pixel is ignored.

    Returns:
        int32 `[B,H,W]`: 0 = background, c + 1 = class c, or ``ignore_id``.

    Example:

    >>> cam_to_label(cam, labels, high=0.55, low=0.35, valid_box=box).shape
    (2, 320, 320)
    """
    cam = ops.cast(cam, "float32") * ops.cast(labels, "float32")[:, None, None, :]
    score = ops.max(cam, axis=-1)
    label = ops.cast(ops.argmax(cam, axis=-1), "int32") + 1
    if high is None:
        label = ops.where(score <= background_score, 0, label)
    else:
        label = ops.where(score <= high, ignore_id, label)
        label = ops.where(score <= low, 0, label)
    if valid_box is None:
        return label
    return ops.where(inside(valid_box, ops.shape(cam)[1:3]), label, ignore_id)


def refined_pseudo_label(cam, labels, image, valid_box, refine, high=0.55, low=0.35, iterations=10):
    """Three-way pseudo label: confident class, confident background, or ignored.

    The CAM is refined at half resolution against two constant background scores. What is a class
    against the strong background (``high``) is trusted; what is background even against the weak
    one (``low``) is trusted; all else is ignored. ``THREEWAY`` of afa.md section 3.2.

    Args:
        cam: float `[B,H,W,C]` in 0..1 (:func:`fuse_multi_scale`).
        labels: `[B,C]`, > 0 = class present.
        image: float `[B,H,W,3]`, RGB 0..255; fractions are cut off.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open; pixels outside are ignored.
        refine: :func:`~keras_wsss.ops.refine.pixel_adaptive_refinement` or
            :func:`~keras_wsss.ops.refine.variation_aware_refinement`.
        high, low: background scores.
        iterations: int, sweeps of ``refine``.

    Returns:
        int32 `[B,H,W]`: 0 = background, c + 1 = class c, 255 = ignored.

    Example:

    >>> refined_pseudo_label(cam, labels, image, box, variation_aware_refinement).shape
    (2, 320, 320)
    """
    size = ops.shape(cam)[1:3]
    cam, guide = half_size(cam, image)

    def scores_of(slots):
        maps = refined_scores(cam, guide, slots, labels, refine, (high, low), iterations)
        return ops.reshape(resize(merge_last(maps), size), (ops.shape(cam)[0], *size, 2, GROUP))

    _, label = strongest_class(scores_of, labels, (ops.shape(cam)[0], *size, 2))
    return three_way(label, valid_box)


def strongest_class(scores_of, labels, shape):
    """Strongest among background and the present classes of each image, and its score.

    An image has few of the classes, so only present ones are looked at: in groups of four, as many
    as the image with the most tags needs. A loop over groups, rather than one branch for each
    number of channels, makes XLA compile ``scores_of`` once.

    Args:
        scores_of: function of int32 `[B,4]` class ids (0 = background) to float `[*shape,4]`, at
            least 0; what it gives for an absent class is not used.
        labels: `[B,C]`, > 0 = class present.
        shape: tuple (B, ...).

    Returns:
        Pair of float32 and int32 of ``shape``: the score and the class id. The lowest id wins a
        tie.
    """
    slots, kept = present_slots(labels)
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


def half_size(cam, image):
    """CAM, and the image in 0..1 that guides its refinement, at half their size (rounded down)."""
    height, width = ops.shape(cam)[1:3]
    size = height // 2, width // 2
    image = ops.floor(ops.cast(image, "float32")) / 255.0
    return resize(ops.cast(cam, "float32"), size), resize(image, size)


def present_slots(labels):
    """Background and present classes of each image in ascending order, then absent classes.

    Args:
        labels: `[B,C]`, > 0 = class present.

    Returns:
        Pair of int32 `[B,L]`, L = C + 1 rounded up to whole groups: the class ids (0 = background),
        and 1 where the class is present (background always is).
    """
    labels = ops.cast(labels > 0, "int32")
    batch, classes = ops.shape(labels)[0], labels.shape[1]
    filler = -(classes + 1) % GROUP
    kept = ops.concatenate([ops.ones((batch, 1), "int32"), labels], axis=1)
    kept = ops.pad(kept, ((0, 0), (0, filler)))
    ids = ops.arange(classes + 1 + filler, dtype="int32")
    slots = ops.argsort((1 - kept) * (classes + 1 + filler) + ids, axis=1)
    slots = ops.cast(slots, "int32")
    return slots, ops.take_along_axis(kept, slots, axis=1)


def refined_scores(cam, guide, slots, labels, refine, backgrounds, iterations=10):
    """Refined softmax over background and present classes, for the classes in ``slots``.

    The softmax runs over all present classes of an image, however few of them are asked for, so
    classes can be refined in groups.

    Args:
        cam: float `[B,h,w,C]` in 0..1.
        guide: float `[B,h,w,3]`, image in 0..1.
        slots: int `[B,K]` class ids, 0 = background. An absent class gets meaningless scores.
        labels: `[B,C]`, > 0 = class present.
        refine: refinement function.
        backgrounds: background scores, T constants or maps `[B,h,w,T]`.
        iterations: int, sweeps of ``refine``.

    Returns:
        float32 `[B,h,w,T,K]`.
    """
    backgrounds = ops.exp(ops.convert_to_tensor(backgrounds, "float32"))[..., None]
    evidence = ops.exp(cam)
    total = ops.sum(evidence * ops.cast(labels > 0, "float32")[:, None, None, :], axis=-1)
    chosen = take_channels(evidence, ops.maximum(slots - 1, 0))[:, :, :, None]
    chosen = ops.where((slots == 0)[:, None, None, None], backgrounds, chosen)
    scores = chosen / (total[..., None, None] + backgrounds)
    refined = refine(guide, merge_last(scores), iterations=iterations)
    return ops.reshape(refined, ops.shape(scores))


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
