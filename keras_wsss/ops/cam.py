"""Class activation maps (CAM): fusion over views, and three-way labels made from them."""

from keras import ops

from keras_wsss.ops.label import (
    GROUP,
    IGNORE_ID,
    inside,
    merge_last,
    strongest_class,
    take_channels,
    three_way,
)
from keras_wsss.ops.resize import resize

EPSILON = 1e-5


def normalize_cam(cam):
    """Stretches each class of each image to [0,1): minus the minimum, over the maximum + 1e-5.

    AFA, eq. 5. A constant map becomes 0.

    Args:
        cam: float `[B,H,W,C]`.

    Returns:
        float32 `[B,H,W,C]`.

    Example:

    >>> normalize_cam(np.array([[[[2.0], [4.0], [6.0]]]])).numpy()[0, 0, :, 0].round(3)
    array([0. , 0.5, 1. ], dtype=float32)
    """
    cam = ops.cast(cam, "float32")
    cam = cam - ops.min(cam, axis=(1, 2), keepdims=True)
    return cam / (ops.max(cam, axis=(1, 2), keepdims=True) + EPSILON)


def fuse_segmentation(logits, size):
    """Fuses decoder logits like :func:`fuse_multi_scale` does CAMs: mean of view and mirror, sum.

    BMP, eq. 3 and 4.

    Args:
        logits: list, one `[2B,h,w,K]` a scale: first the images, then the mirrored images.
        size: pair (H, W), ints or scalar int tensors.

    Returns:
        float32 `[B,H,W,K]` in [0,1), each channel of each image stretched.

    Example:

    >>> logits = [np.ones((2, side, side, 21)) for side in (20, 10, 30)]  # an image and its mirror
    >>> ops.shape(fuse_segmentation(logits, (320, 320)))
    (1, 320, 320, 21)
    """
    total = 0.0
    for view in logits:
        plain, mirrored = ops.split(resize(ops.cast(view, "float32"), size), 2, axis=0)
        total = total + (plain + ops.flip(mirrored, axis=2)) / 2
    return normalize_cam(total)


def fuse_multi_scale(cams, size):
    """Fuses the CAMs of several scales, each with its mirrored view, into one normalised CAM.

    Maximum over plain and mirrored view, ReLU, sum over scales, :func:`normalize_cam`; AFA,
    eq. 4 and 5. Absent classes are stretched like present ones.

    Args:
        cams: list, one raw CAM `[2B,h,w,C]` a scale: first the B images, then the B horizontally
            mirrored images (as the network gives them, not mirrored back).
        size: pair (H, W), ints or scalar int tensors.

    Returns:
        float32 `[B,H,W,C]` in [0,1).

    Example:

    >>> cams = [np.ones((2, side, side, 20)) for side in (20, 10, 30)]  # an image and its mirror
    >>> ops.shape(fuse_multi_scale(cams, (320, 320)))
    (1, 320, 320, 20)
    """
    total = 0.0
    for cam in cams:
        plain, mirrored = ops.split(resize(ops.cast(cam, "float32"), size), 2, axis=0)
        total = total + ops.relu(ops.maximum(plain, ops.flip(mirrored, axis=2)))
    return normalize_cam(total)


def cam_to_label(
    cam, tags, background_score=0.45, high=None, low=None, valid_box=None, ignore_class=IGNORE_ID
):
    """Labels each pixel with its strongest present class, or background where that is weak.

    A score equal to a threshold counts as below it; the lowest class wins a tie.

    Args:
        cam: float `[B,H,W,C]` in 0..1.
        tags: `[B,C]`, 1 = class present.
        background_score: scores up to this are background; not used where ``high`` is given.
        high: scores up to this are ignored.
        low: scores up to this are background.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open: pixels outside are ignored.
        ignore_class: int written where a pixel is ignored.

    Returns:
        int32 `[B,H,W]`: 0 = background, c + 1 = class c, or ``ignore_class``.

    Example:

    >>> cam = np.array([[[[0.9, 0.1], [0.4, 0.5], [0.2, 0.1]]]])
    >>> cam_to_label(cam, np.array([[1, 1]]), high=0.55, low=0.35).numpy()
    array([[[  1, 255,   0]]], dtype=int32)
    """
    cam = ops.cast(cam, "float32") * ops.cast(tags, "float32")[:, None, None, :]
    score = ops.max(cam, axis=-1)
    label = ops.cast(ops.argmax(cam, axis=-1), "int32") + 1
    if high is None:
        label = ops.where(score <= background_score, 0, label)
    else:
        label = ops.where(score <= high, ignore_class, label)
        label = ops.where(score <= low, 0, label)
    if valid_box is None:
        return label
    return ops.where(inside(valid_box, ops.shape(cam)[1:3]), label, ignore_class)


def refined_pseudo_label(cam, tags, image, valid_box, refine, high, low, iterations=10):
    """Three-way pseudo label: confident class, confident background, or ignored.

    The CAM is refined at half resolution against two constant background scores. What is a class
    against the strong background (``high``) is trusted; what is background even against the weak
    one (``low``) is trusted; all else is ignored. See AFA, eq. 6 to 8.

    Args:
        cam: float `[B,H,W,C]` in 0..1 (:func:`fuse_multi_scale`).
        tags: `[B,C]`, > 0 = class present.
        image: float `[B,H,W,3]`, RGB 0..255; fractions are cut off.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open; pixels outside are ignored.
        refine: :func:`~keras_wsss.ops.refine.pixel_adaptive_refinement` or
            :func:`~keras_wsss.ops.refine.variation_aware_refinement`.
        high: background score that a class has to beat.
        low: background score that has to beat all classes.
        iterations: int, sweeps of ``refine``.

    Returns:
        int32 `[B,H,W]`: 0 = background, c + 1 = class c, 255 = ignored.

    Example:

    >>> from keras_wsss.ops.refine import variation_aware_refinement as refine
    >>> cam = np.zeros((1, 8, 8, 2))
    >>> cam[:, :, 4:] = 1
    >>> tags, image, box = np.array([[0, 1]]), np.zeros((1, 8, 8, 3)), np.array([[0, 8, 0, 8]])
    >>> refined_pseudo_label(cam, tags, image, box, refine, 0.55, 0.35, iterations=1).numpy()[0, 4]
    array([  0,   0, 255, 255,   2,   2,   2,   2], dtype=int32)
    """
    size = ops.shape(cam)[1:3]
    cam, guide = half_size(cam, image)

    def scores_of(slots):
        maps = refined_scores(cam, guide, slots, tags, refine, (high, low), iterations)
        return ops.reshape(resize(merge_last(maps), size), (ops.shape(cam)[0], *size, 2, GROUP))

    _, label = strongest_class(scores_of, tags, (ops.shape(cam)[0], *size, 2))
    return three_way(label, valid_box)


def half_size(cam, image):
    """CAM, and the image in 0..1 that guides its refinement, at half their size (rounded down).

    Args:
        cam: float `[B,H,W,C]`.
        image: float `[B,H,W,3]`, RGB 0..255; fractions are cut off.

    Returns:
        Pair of float32 `[B,H//2,W//2,C]` and `[B,H//2,W//2,3]`.

    Example:

    >>> cam, guide = half_size(np.ones((1, 4, 6, 2)), np.full((1, 4, 6, 3), 255.0))
    >>> ops.shape(cam), float(ops.max(guide))
    ((1, 2, 3, 2), 1.0)
    """
    height, width = ops.shape(cam)[1:3]
    size = height // 2, width // 2
    image = ops.floor(ops.cast(image, "float32")) / 255.0
    return resize(ops.cast(cam, "float32"), size), resize(image, size)


def refined_scores(cam, guide, slots, tags, refine, backgrounds, iterations=10):
    """Refined softmax over background and present classes, for the classes in ``slots``.

    The softmax runs over all present classes of an image, however few of them are asked for, so
    classes can be refined in groups.

    Args:
        cam: float `[B,h,w,C]` in 0..1.
        guide: float `[B,h,w,3]`, image in 0..1.
        slots: int `[B,K]` class ids, 0 = background. An absent class gets meaningless scores.
        tags: `[B,C]`, > 0 = class present.
        refine: refinement function.
        backgrounds: background scores, T constants or maps `[B,h,w,T]`.
        iterations: int, sweeps of ``refine``.

    Returns:
        float32 `[B,h,w,T,K]`.

    Example:

    >>> from keras_wsss.ops.refine import pixel_adaptive_refinement as refine
    >>> cam, guide, tags = ops.ones((1, 8, 8, 2)), ops.zeros((1, 8, 8, 3)), ops.ones((1, 2))
    >>> slots = ops.convert_to_tensor([[0, 1]])  # background and the first class
    >>> ops.shape(refined_scores(cam, guide, slots, tags, refine, backgrounds=(0.55, 0.35)))
    (1, 8, 8, 2, 2)
    """
    backgrounds = ops.exp(ops.convert_to_tensor(backgrounds, "float32"))[..., None]
    evidence = ops.exp(cam)
    total = ops.sum(evidence * ops.cast(tags > 0, "float32")[:, None, None, :], axis=-1)
    chosen = take_channels(evidence, ops.maximum(slots - 1, 0))[:, :, :, None]
    chosen = ops.where((slots == 0)[:, None, None, None], backgrounds, chosen)
    scores = chosen / (total[..., None, None] + backgrounds)
    refined = refine(guide, merge_last(scores), iterations=iterations)
    return ops.reshape(refined, ops.shape(scores))
