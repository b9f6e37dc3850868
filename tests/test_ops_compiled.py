"""Every public function of ``ops`` gives the same compiled by XLA."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_wsss.ops import (
    affinity,
    cam,
    class_maps,
    correspondence,
    energy,
    guided_filter,
    label,
    pseudo_label,
    refine,
    self_affinity,
)
from keras_wsss.ops._backend import compiled
from keras_wsss.ops.resize import resize, resize_smooth


def random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


MAPS, IMAGE = random(2, 12, 16, 5), random(2, 12, 16, 3, seed=1)
TAGS = np.array([[1, 0, 1, 0, 0], [0, 1, 1, 1, 0]], np.float32)
BOX = np.array([[0, 12, 0, 16], [2, 10, 0, 9]], np.int32)
PAR, VARM = refine.pixel_adaptive_refinement, refine.variation_aware_refinement
SLOTS = np.array([[0, 1, 3], [0, 2, 3]], np.int32)

CALLS = {
    "resize": (functools.partial(resize, size=(7, 30)), [MAPS]),
    "resize_aligned": (functools.partial(resize, size=(7, 30), align_corners=True), [MAPS]),
    "resize_smooth": (functools.partial(resize_smooth, size=(7, 30)), [MAPS]),
    "normalize_cam": (cam.normalize_cam, [MAPS]),
    "fuse_multi_scale": (
        lambda a, b: cam.fuse_multi_scale([a, b], (24, 32)),
        [MAPS, random(2, 6, 8, 5, seed=4)],
    ),
    "cam_to_label": (cam.cam_to_label, [MAPS, TAGS]),
    "cam_to_label_box": (
        lambda *x: cam.cam_to_label(*x[:2], high=0.55, low=0.35, valid_box=x[2]),
        [MAPS, TAGS, BOX],
    ),
    "refined_pseudo_label": (
        functools.partial(cam.refined_pseudo_label, refine=VARM, high=0.55, low=0.35),
        [MAPS, TAGS, 255 * IMAGE, BOX],
    ),
    "half_size": (lambda *x: cam.half_size(*x)[1], [MAPS, 255 * IMAGE]),
    "present_slots": (lambda x: label.present_slots(x)[0], [TAGS]),
    "refined_scores": (
        lambda *x: cam.refined_scores(*x, refine=PAR, backgrounds=(0.5, 0.3)),
        [MAPS, IMAGE, SLOTS, TAGS],
    ),
    "inside": (lambda x: label.inside(x, (12, 16)), [BOX]),
    "three_way": (label.three_way, [(3 * MAPS[..., :2]).astype(np.int32), BOX]),
    "propagated_pseudo_label": (
        functools.partial(pseudo_label.propagated_pseudo_label, refine=PAR, high=0.5, low=0.3),
        [MAPS[:, :3, :4], random(2, 12, 12, seed=2), TAGS, 255 * IMAGE, BOX],
    ),
    "background_aware_label": (
        functools.partial(pseudo_label.background_aware_label, refine=PAR),
        [MAPS[..., 0], MAPS, TAGS, 255 * IMAGE, BOX],
    ),
    "confident_classes": (
        pseudo_label.confident_classes,
        [MAPS, MAPS[..., 0] > 0.3],
    ),
    "margin_label": (
        lambda *x: pseudo_label.margin_label(*x, 0.7, 0.4, 0.1),
        [MAPS[..., 0], MAPS[..., 0] * MAPS[..., 1], np.full((2, 12, 16), 3), BOX],
    ),
    "tagged_softmax": (class_maps.tagged_softmax, [random(4, 12, 16, 6), TAGS]),
    "mean_of_views": (class_maps.mean_of_views, [MAPS]),
    "stretched": (class_maps.stretched, [MAPS, np.float32(MAPS[..., 0] > 0.3)]),
    "at_places": (functools.partial(class_maps.at_places, grid=(3, 4)), [MAPS[..., 0] > 0.3]),
    "pixel_adaptive_refinement": (PAR, [IMAGE, MAPS]),
    "variation_aware_refinement": (VARM, [IMAGE, MAPS]),
    "affinity_targets": (
        functools.partial(affinity.affinity_targets, radius=2, stride=2),
        [(3 * MAPS[..., 0]).astype(np.int32)],
    ),
    "propagate": (
        functools.partial(affinity.propagate, background_score=0.35, radius=3),
        [MAPS, random(2, 192, 192, seed=2), TAGS],
    ),
    "sample_points": (correspondence.sample_points, [MAPS, 2 * random(2, 9, 2, seed=3) - 1]),
    "cosine_correspondence": (correspondence.cosine_correspondence, [MAPS[0], MAPS[1] - 0.5]),
    "gaussian_filter": (energy.gaussian_filter, [3 * IMAGE, MAPS]),
    "guided_filter": (functools.partial(guided_filter.guided_filter, radius=3), [IMAGE, MAPS]),
    "self_affinity": (
        lambda *x: self_affinity.self_affinity(x[:2], x[2]),
        [MAPS, IMAGE, np.ones((2, 12, 16), np.float32)],
    ),
    "random_walk": (self_affinity.random_walk, [MAPS, random(2, 192, 192, seed=2)]),
    "pool_to": (functools.partial(self_affinity.pool_to, size=(5, 8)), [MAPS]),
    "gaussian_filter_strided": (functools.partial(energy.gaussian_filter, stride=3), [IMAGE, MAPS]),
}


@pytest.mark.parametrize("name", CALLS)
def test_compiled_equals_eager(name):
    function, arguments = CALLS[name]
    arguments = [tf.constant(each) for each in arguments]
    eager, ours = function(*arguments), compiled(function)(*arguments)
    assert eager.dtype == ours.dtype
    np.testing.assert_allclose(
        tf.cast(ours, "float32"), tf.cast(eager, "float32"), rtol=1e-5, atol=1e-6
    )
