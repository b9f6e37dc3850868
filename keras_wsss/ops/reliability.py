"""Reliable regions (RRM): labels only where refined scores and CAM agree that they are sure.

Zhang et al., *Reliability Does Matter*, AAAI 2020 (arXiv 1911.08039); RRM, eq. 3 to 9. The CAM
here is ReLU'd, masked by the tags and divided by its maximum, so that 0 is no evidence at all.
"""

import numpy as np
from keras import ops

from keras_wsss.ops._backend import on_host
from keras_wsss.ops.cam import half_size, refined_scores
from keras_wsss.ops.crf import dense_crf
from keras_wsss.ops.label import (
    GROUP,
    IGNORE_ID,
    inside,
    merge_last,
    present_slots,
    strongest_class,
)
from keras_wsss.ops.resize import resize

POWERS = (4.0, 32.0)  # of a strong and of a weak background
LEAST_SCORE = 1e-5
LEAST_EVIDENCE = 0.1  # of a pixel that takes part in the ranking of its class
SURE_BACKGROUND = 0.8
CRF = {
    "gaussian_sxy": 3,
    "gaussian_weight": 3,
    "bilateral_sxy": 80,
    "bilateral_srgb": 13,
    "bilateral_weight": 10,
}


def scaled_cam(cam, tags):
    """Divides each present class of each image by its maximum (+ 1e-5); absent classes become 0.

    RRM, eq. 2. Unlike :func:`~keras_wsss.ops.cam.normalize_cam` it leaves the minimum where
    it is: a place without evidence stays without.

    Args:
        cam: float `[B,H,W,C]`, at least 0.
        tags: `[B,C]`, 1 = class present.

    Returns:
        float32 `[B,H,W,C]` in [0,1).

    Example:

    >>> scaled_cam(np.array([[[[2.0, 5.0], [4.0, 1.0]]]]), np.array([[1, 0]])).numpy().round(3)
    array([[[[0.5, 0. ],
             [1. , 0. ]]]], dtype=float32)
    """
    cam = ops.cast(cam, "float32") * ops.cast(tags, "float32")[:, None, None, :]
    return cam / (ops.max(cam, axis=(1, 2), keepdims=True) + LEAST_SCORE)


def background_scores(cam, powers=POWERS):
    """Scores of the background, (1 - strongest class)^power; the higher the power, the weaker.

    Args:
        cam: float `[B,H,W,C]` of :func:`scaled_cam`.
        powers: T floats.

    Returns:
        float32 `[B,H,W,T]` in 0..1.

    Example:

    >>> background_scores(np.full((1, 1, 1, 1), 0.1)).numpy().round(4)
    array([[[[0.6561, 0.0343]]]], dtype=float32)
    """
    rest = 1.0 - ops.max(ops.cast(cam, "float32"), axis=-1, keepdims=True)
    return ops.power(rest, ops.convert_to_tensor(powers, "float32"))


def reliable_pseudo_label(cam, tags, image, valid_box, refine, iterations=10, confidence=0.8):
    """:func:`reliable_label` of a CAM that one of our refiners sharpens.

    Args:
        cam: float `[B,H,W,C]` of :func:`scaled_cam`.
        tags: `[B,C]`, > 0 = class present.
        image: float `[B,H,W,3]`, RGB 0..255; fractions are cut off.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open; pixels outside are ignored.
        refine: function of :mod:`keras_wsss.ops.refine`.
        iterations: int, sweeps of ``refine``.
        confidence: float, least share of the scores.

    Returns:
        Pair of int32 `[B,H,W]`: the label of the reliable pixels, 255 elsewhere; and the winner
        against the strong background everywhere.

    Example:

    >>> from keras_wsss.ops.refine import pixel_adaptive_refinement as refine
    >>> cam, tags = np.zeros((1, 8, 8, 1), "float32"), np.array([[1]])
    >>> cam[:, :, 4:] = [[0.8], [0.8], [0.9], [1.0]]
    >>> image, box = np.zeros((1, 8, 8, 3)), np.array([[0, 8, 0, 8]])
    >>> image[:, :, 4:] = 255  # an edge
    >>> label, full = reliable_pseudo_label(cam, tags, image, box, refine)
    >>> label.numpy()[0, 4].tolist()
    [0, 0, 0, 255, 255, 255, 255, 1]
    >>> full.numpy()[0, 4].tolist()
    [0, 0, 0, 0, 1, 1, 1, 1]
    """
    share, winner = refined_winners(cam, tags, image, refine, iterations)
    return reliable_label(share, winner, cam, tags, valid_box, confidence), winner[..., 0]


def refined_winners(cam, tags, image, refine, iterations=10):
    """Strongest of background and present classes after refinement, and its share of all scores.

    Stands in for the dense CRF of the paper, at half resolution. What the refiners give is no
    probability: the scores of a pixel sum to 1.01^iterations (PAR) or 0.99^iterations (VARM). The
    share is what remains when that growth is divided out.

    Args:
        cam: float `[B,H,W,C]` of :func:`scaled_cam`.
        tags: `[B,C]`, > 0 = class present.
        image: float `[B,H,W,3]`, RGB 0..255; fractions are cut off.
        refine: function of :mod:`keras_wsss.ops.refine`.
        iterations: int, sweeps of ``refine``.

    Returns:
        Pair of float32 and int32 `[B,H,W,2]`, against the strong and the weak background: share in
        0..1 and class id, 0 = background.

    Example:

    >>> from keras_wsss.ops.refine import pixel_adaptive_refinement as refine
    >>> cam, tags, image = np.ones((1, 8, 8, 1)), np.array([[1]]), np.zeros((1, 8, 8, 3))
    >>> share, winner = refined_winners(cam, tags, image, refine)
    >>> share.numpy()[0, 0, 0].round(3), winner.numpy()[0, 0, 0]
    (array([1., 1.], dtype=float32), array([1, 1], dtype=int32))
    """

    def shares(guide, scores, iterations):
        ones = ops.ones_like(scores[..., :1])
        refined = refine(guide, ops.concatenate([scores, ones], axis=-1), iterations=iterations)
        return refined[..., :-1] / refined[..., -1:]

    shape = (*ops.shape(cam)[:3], len(POWERS))
    cam, guide = half_size(cam, image)
    # Softmax of logarithms: scores divided by their sum.
    evidence = ops.log(ops.maximum(cam, LEAST_SCORE))
    backgrounds = ops.log(ops.maximum(background_scores(cam), LEAST_SCORE))

    def scores_of(slots):
        maps = refined_scores(evidence, guide, slots, tags, shares, backgrounds, iterations)
        return ops.reshape(resize(merge_last(maps), shape[1:3]), (*shape, GROUP))

    return strongest_class(scores_of, tags, shape)


def crf_winners(cam, tags, image, iterations=10):
    """As :func:`refined_winners`, by the dense CRF of the paper (its kernels) at full resolution.

    Runs on the host, image by image and seconds each, and XLA cannot compile it.

    Args:
        cam: as there.
        tags: as there.
        image: as there.
        iterations: int, mean field updates.

    Returns:
        As there, with probabilities for shares.

    Raises:
        ConfigError: the backend is not TensorFlow.

    Example:

    >>> cam, tags, image = np.ones((1, 8, 8, 1)), np.array([[1]]), np.zeros((1, 8, 8, 3))
    >>> share, winner = crf_winners(cam, tags, image)
    >>> winner.numpy()[0, 0, 0]
    array([1, 1], dtype=int32)
    """

    def winners(cam, tags, image, backgrounds):
        share, winner = np.ones_like(backgrounds), np.zeros(backgrounds.shape, np.int32)
        for i, power in np.ndindex(len(cam), len(POWERS)):
            present = np.flatnonzero(tags[i] > 0)
            if present.size:
                stack = np.concatenate(
                    [backgrounds[i, ..., power, None], cam[i][..., present]], axis=-1
                )
                stack = np.clip(stack, LEAST_SCORE, 1)
                stack = stack / np.sum(stack, axis=-1, keepdims=True)
                refined = dense_crf(image[i], stack, iterations, **CRF)
                share[i, ..., power] = np.max(refined, axis=-1)
                winner[i, ..., power] = np.append(0, present + 1)[np.argmax(refined, axis=-1)]
        return share, winner

    inputs = [cam, tags, ops.floor(image), background_scores(cam)]
    share, winner = on_host(winners, inputs, ("float32", "int32"))
    shape = (*ops.shape(cam)[:3], len(POWERS))
    return ops.reshape(share, shape), ops.reshape(winner, shape)


def reliable_label(score, winner, cam, tags, valid_box, confidence=0.8):
    """Labels of the pixels that are sure by their refined score and by their rank in the CAM.

    A class has to win against the strong background, background to win even when it is weak (where
    both do, it is background). Of these remain the pixels whose winner scores at least
    ``confidence`` and that lead their class in the CAM (:func:`leading_pixels`).

    Args:
        score: float `[B,H,W,2]` of :func:`refined_winners`, against the strong and the weak
            background.
        winner: int `[B,H,W,2]`, as ``score``.
        cam: float `[B,H,W,C]` of :func:`scaled_cam`.
        tags: `[B,C]`, > 0 = class present.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open; pixels outside are ignored.
        confidence: float in (0.5, 1).

    Returns:
        int32 `[B,H,W]`: 0 = background, c + 1 = class c, 255 = ignored.

    Example:

    >>> cam, tags = np.array([[[[0.0], [0.5], [0.9], [0.6]]]], "float32"), np.array([[1]])
    >>> score = np.full((1, 1, 4, 2), 0.9)
    >>> winner = np.array([[[[0, 0], [1, 1], [1, 1], [1, 1]]]], "int32")  # against both backgrounds
    >>> reliable_label(score, winner, cam, tags, np.array([[0, 1, 0, 4]])).numpy()
    array([[[  0, 255,   1, 255]]], dtype=int32)
    """
    valid = inside(valid_box, ops.shape(cam)[1:3])
    is_class = winner[..., 0] != 0
    is_background = winner[..., 1] == 0
    label = ops.where(is_class & ~is_background, winner[..., 0], 0)
    sure = ops.where(is_background, score[..., 1], score[..., 0]) >= confidence
    leading = leading_pixels(cam, tags, winner[..., 0], valid)
    known = (is_class | is_background) & sure & leading & valid
    return ops.where(known, label, IGNORE_ID)


def leading_pixels(cam, tags, found, valid):
    """Pixels in the upper 40 % of their class by CAM alone, and all but certain background.

    A class takes the pixels where it is strongest, above the weak background and above 0.1; those
    strictly above the value at position floor(0.6 x count) of the ascending values lead. None of
    a constant map does.

    Args:
        cam: float `[B,H,W,C]` of :func:`scaled_cam`.
        tags: `[B,C]`, > 0 = class present.
        found: int `[B,H,W]`, class ids after refinement; a class that is nowhere in it leads none.
        valid: bool `[B,H,W]`, pixels that are ranked.

    Returns:
        bool `[B,H,W]`.

    Example:

    >>> cam, tags = np.array([[[[0.0], [0.5], [0.9], [0.6]]]], "float32"), np.array([[1]])
    >>> found, valid = np.array([[[0, 1, 1, 1]]]), np.ones((1, 1, 4), bool)
    >>> leading_pixels(cam, tags, found, valid).numpy()
    array([[[ True, False,  True, False]]])
    """
    background = background_scores(cam, POWERS[1:])[..., 0]
    strongest = ops.max(cam, axis=-1)
    place = ops.cast(ops.argmax(cam, axis=-1), "int32") + 1
    place = ops.where(strongest > background, place, 0)
    ranked = (place != 0) & (strongest > LEAST_EVIDENCE) & valid
    slots, kept = present_slots(tags)
    used = ops.max(ops.sum(kept, axis=1))

    def unfinished(position, leading):
        return position < used

    def next_class(position, leading):
        class_id = ops.take(slots, position, axis=1)[:, None, None]
        own = ranked & (place == class_id)
        values = ops.reshape(ops.where(own, strongest, 2.0), (ops.shape(cam)[0], -1))
        count = ops.sum(ops.cast(own, "int32"), axis=(1, 2))
        bound = ops.take_along_axis(ops.sort(values, axis=1), count[:, None] * 3 // 5, axis=1)
        is_found = ops.any(found == class_id, axis=(1, 2), keepdims=True)
        return position + 1, leading | (own & is_found & (strongest > bound[:, :, None]))

    start = 1, (place == 0) & (background > SURE_BACKGROUND)  # slot 0 is the background
    return ops.while_loop(unfinished, next_class, start)[1]
