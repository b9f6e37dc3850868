"""Reference vectors of refinement, label operators, losses and metrics."""

import numpy as np
import tensorflow as tf

from keras_wsss import losses
from keras_wsss.metrics import MeanIoU, multilabel_f1
from keras_wsss.ops import (
    affinity,
    box,
    cam,
    correspondence,
    energy,
    pseudo_label,
    refine,
    saliency_labels,
)
from keras_wsss.ops.label import inside, present_slots
from keras_wsss.ops.resize import resize

MEAN = np.array((123.675, 116.28, 103.53), np.float32)
STD = np.array((58.395, 57.12, 57.375), np.float32)


def floats(case, key):
    return tf.constant(case[key].astype(np.float32))


def ints(case, key):
    return tf.constant(case[key].astype(np.int32))


def check_maps(ours, reference):
    np.testing.assert_allclose(ours, reference, rtol=1e-4, atol=1e-5)


def check_loss(function, inputs, case, gradients, rtol=1e-5, times=1.0, loss="out_loss"):
    """Value of ``function(*inputs)`` and its gradient with respect to each input."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
    np.testing.assert_allclose(value, case[loss], rtol=rtol, atol=1e-6 / times)
    for ours, key in zip(tape.gradient(value, inputs), gradients, strict=True):
        reference = case[key]
        np.testing.assert_allclose(
            ours * times, reference, rtol=1e-4, atol=1e-5 * np.abs(reference).max(), err_msg=key
        )


def refinement(refine_function):
    def check(case, file):
        image, mask = floats(case, "in_image"), floats(case, "in_mask")
        for key in (key for key in case if key.startswith("out_")):
            iterations, *dilations = [int(n) for n in key[8:].replace("_dil", "").split("_")]
            ours = refine_function(image, mask, iterations, dilations or refine.DILATIONS)
            check_maps(ours, case[key])

    return check


def multiscale_cam(case, file):
    _, height, width = case["in_batch_height_width"]
    raw = [floats(case, f"in_raw_scale_{round(100 * s):03d}") for s in case["in_scales"]]
    ours = cam.fuse_multi_scale(raw, (int(height), int(width))).numpy()
    check_maps(ours[:, ::2, ::2], case["out_cam_stride2"])
    check_maps(ours.mean(axis=(1, 2)), case["out_cam_channel_mean"])


def cam_to_label(case, file):
    maps, labels, box = floats(case, "in_cam"), floats(case, "in_cls_label"), ints(case, "in_box")
    np.testing.assert_array_equal(cam.cam_to_label(maps, labels, 0.45), case["out_label_nobox"])
    ours = cam.cam_to_label(maps, labels, 0.45, valid_box=box)
    np.testing.assert_array_equal(ours, case["out_label_box"])
    ours = cam.cam_to_label(maps, labels, high=0.55, low=0.35, valid_box=box)
    np.testing.assert_array_equal(ours, case["out_label_ignore_mid"])


def refined_label(refine_function):
    def check(case, file):
        image, maps, labels = (floats(case, f"in_{k}") for k in ("image_u8", "cam", "cls_label"))
        half, guide = cam.half_size(maps, image)
        slots, kept = present_slots(labels)
        soft = cam.refined_scores(half, guide, slots, labels, refine_function, (0.55, 0.35)).numpy()
        for i, used in enumerate(kept.numpy().sum(axis=1)):
            check_maps(soft[i, :, :, 0, :used], case[f"out_soft_high_img{i}"])
            check_maps(soft[i, :, :, 1, :used], case[f"out_soft_low_img{i}"])
        ours = cam.refined_pseudo_label(
            maps, labels, image, case["in_box"], refine_function, high=0.55, low=0.35
        )
        assert np.mean(ours == case["out_label"]) >= 0.999

    return check


def refine_cls_label_par(case, file):
    """Given scores of background and present classes, refined inside the box."""
    image, labels = floats(case, "in_image_u8"), floats(case, "in_cls_label_with_bkg")
    maps = floats(case, "in_cam") * labels[:, None, None, :]
    channels = case["out_nonzero_channels"]
    soft = box.refined_in_box(
        tf.gather(maps, channels, axis=-1),
        image,
        ints(case, "in_box"),
        refine.pixel_adaptive_refinement,
    )
    check_maps(soft, case["out_refined_at_nonzero_channels"])
    ours = tf.gather(channels, tf.argmax(soft, axis=-1))
    assert np.mean(ours == case["out_label"]) >= 0.999


def bmp_background_aware_propagation(case, file):
    image, maps = floats(case, "in_image_u8"), floats(case, "in_cam")
    labels, valid_box = floats(case, "in_cls_label_with_bkg")[:, 1:], ints(case, "in_box")
    background = floats(case, "in_seg_channel0")[..., 0]
    channels = case["out_nonzero_channels"]
    stacked = tf.concat([background[..., None], maps * labels[:, None, None, :]], axis=-1)
    soft = box.refined_in_box(
        tf.gather(stacked, channels, axis=-1), image, valid_box, refine.pixel_adaptive_refinement
    )
    check_maps(soft, case["out_propagated_at_nonzero_channels"])
    ours = pseudo_label.background_aware_label(
        background, maps, labels, image, valid_box, refine.pixel_adaptive_refinement
    )
    assert np.mean(ours == case["out_label_sigma_c_050"]) >= 0.999


def bmp_multiscale_cam_seg(case, file):
    _, height, width = (int(n) for n in case["in_batch_height_width"])
    for kind, fuse, key in [
        ("cam", cam.fuse_multi_scale, "out_cam"),
        ("seg", cam.fuse_segmentation, "out_seg"),
    ]:
        views = []
        for scale in case["in_scales"]:
            grid = floats(case, f"in_{kind}_grid_scale_{round(100 * scale):03d}")
            views.append(resize(grid, (int(scale * height), int(scale * width))))
        check_maps(fuse(views, (height, width)), case[key])


def radius_mask(case, file):
    ours = affinity.radius_mask(*(int(case[f"in_{key}"]) for key in ("h", "w", "radius")))
    np.testing.assert_array_equal(ours, case["out_mask"])


def affinity_label(case, file):
    label, radius = ints(case, "in_label"), int(case["in_radius"])
    ours = affinity.affinity_targets(label, radius)
    np.testing.assert_array_equal(ours, case["out_affinity"])
    ours = affinity.affinity_targets(label, None)
    np.testing.assert_array_equal(ours, case["out_affinity_nomask"])


def propagate_affinity(case, file):
    inputs = [floats(case, f"in_{key}") for key in ("cam", "affinity", "cls_label")]
    radius = int(case["in_radius"])
    for score, window, key in [
        (0.35, radius, "with_bkg_035"),
        (0.55, radius, "with_bkg_055"),
        (0.35, None, "with_bkg_035_nomask"),
        (None, radius, "no_bkg"),
    ]:
        check_maps(affinity.propagate(*inputs, score, window), case[f"out_{key}"])


def loss_affinity(case, file):
    target = ints(case, "in_target")
    check_loss(
        lambda x: losses.affinity_loss(target, x),
        [floats(case, "in_affinity")],
        case,
        ["out_grad_affinity"],
    )


def loss_seg_balanced_ce(case, file):
    label, logits = ints(case, "in_label"), floats(case, "in_logits")
    np.testing.assert_allclose(losses.cross_entropy(label, logits), case["out_plain_ce"], 1e-5)
    if not np.isnan(case["out_loss"]):
        check_loss(
            lambda x: losses.balanced_cross_entropy(label, x), [logits], case, ["out_grad_logits"]
        )
        return
    # One half is empty: it counts 0 with us, and the other is the plain mean.
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = losses.balanced_cross_entropy(label, logits)
    np.testing.assert_allclose(value, 0.5 * case["out_plain_ce"], rtol=1e-5)
    assert np.all(np.isfinite(tape.gradient(value, logits)))


def loss_scd_correlation(case, file):
    cam1, cam2, seg1, seg2 = (floats(case, f"in_{k}") for k in ("cam", "cam2", "seg", "seg2"))
    side = case["in_uniform1"].shape[1]

    def points(key):
        places = 2 * floats(case, key) - 1
        return tf.reshape(tf.transpose(places, (0, 2, 1, 3)), (-1, side**2, 2))

    one, two = points("in_uniform1"), points("in_uniform2")
    for ours, key in [
        (correspondence.sample_points(cam1, one), "out_sampled_cam"),
        (correspondence.sample_points(cam2, two), "out_sampled_cam2"),
    ]:
        check_maps(tf.reshape(ours, case[key].shape), case[key])
    if "out_code_correlation" in case:
        ours = correspondence.cosine_correspondence(
            correspondence.sample_points(seg1, one), correspondence.sample_points(seg2, two)
        )
        reference = case["out_code_correlation"]
        check_maps(tf.reshape(ours, reference.shape), reference)
    check_loss(
        lambda a, b: losses.correspondence_distillation(cam1, cam2, a, b, one, two),
        [seg1, seg2],
        case,
        ["out_grad_seg", "out_grad_seg2"],
    )


def loss_dense_energy(case, file):
    image = (case["in_image_u8"].astype(np.float32) - MEAN) / STD * STD + MEAN
    label, box = ints(case, "in_label"), ints(case, "in_box")
    logits = floats(case, "in_logits")
    check_loss(
        lambda x: losses.dense_energy(image, label, x, box),
        [logits],
        case,
        ["out_grad_logits_exact"],
        rtol=1e-4,
        times=1e7,
        loss="out_loss_exact",
    )
    height, width = (side // 2 for side in label.shape[1:])
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1)
    colours = image[:, : 2 * height : 2, : 2 * width : 2]
    places = np.broadcast_to(places, (len(image), height, width, 2))
    features = np.concatenate([places / 50, colours / 15], axis=-1).astype(np.float32)
    valid = inside(box, label.shape[1:]).numpy()[:, : 2 * height : 2, : 2 * width : 2]
    values = tf.nn.softmax(logits)[:, : 2 * height, : 2 * width]
    values = resize(values, (height, width)) * valid[..., None]
    filtered = energy.gaussian_filter(tf.constant(features), values)
    reference = case["out_filtered_exact"]
    np.testing.assert_allclose(filtered, reference, 1e-4, 1e-5 * reference.max())


def loss_multilabel_soft_margin(case, file):
    label = floats(case, "in_label")
    check_loss(
        lambda x: losses.multilabel_soft_margin(label, x),
        [floats(case, "in_logits")],
        case,
        ["out_grad_logits"],
    )


def loss_equivariance(case, file):
    maps, small = floats(case, "in_cam"), floats(case, "in_cam2")
    shrunk = resize(maps, small.shape[1:3], align_corners=True)
    check_maps(shrunk, case["out_cam_scaled_03"])
    check_loss(
        lambda x: losses.cam_equivariance_released(maps, x), [small], case, ["out_grad_cam2"]
    )


def i2crc_distance_losses(case, file):
    labels, maps = floats(case, "in_label"), floats(case, "in_score_map")
    saliency = floats(case, "in_saliency_u8")[..., None] / 255

    def distances(x):
        return {
            "agnostic_fg": losses.class_agnostic_distance(x, saliency, labels),
            "agnostic_bg": losses.class_agnostic_distance(x, 1 - saliency, labels),
            "class_specific": losses.class_specific_distance(x, saliency, labels),
        }

    def classification(x):
        return losses.multilabel_soft_margin(labels, tf.reduce_mean(x, axis=(1, 2)))

    def total(x):
        terms = distances(x)
        weighted = 0.01 * terms["agnostic_fg"] + 0.025 * terms["agnostic_bg"]
        return classification(x) + weighted + 0.1 * terms["class_specific"]

    for name in ("agnostic_fg", "agnostic_bg", "class_specific"):
        gradients = [f"out_grad_{name}"]
        if gradients[0] not in case:  # no image with one tag: the loss is a constant
            case[gradients[0]] = np.zeros_like(case["out_grad_score_map"])
        check_loss(lambda x, n=name: distances(x)[n], [maps], case, gradients, loss=f"out_{name}")
    np.testing.assert_allclose(classification(maps), case["out_cls_loss"], rtol=1e-5)
    check_loss(total, [maps], case, ["out_grad_score_map"], loss="out_total")


def miou_scores(case, file):
    def score(prediction):
        metric = MeanIoU(int(case["in_num_classes"]))
        # In two parts, as a stream.
        metric.update_state(case["in_label"][:1], case[prediction][:1])
        metric.update_state(case["in_label"][1:], case[prediction][1:])
        return metric

    metric, pseudo = score("in_pred"), score("in_pred_with_255")
    np.testing.assert_array_equal(metric.confusion, case["out_confusion"])
    np.testing.assert_allclose(metric.result(), case["out_miou"], rtol=1e-5)
    np.testing.assert_allclose(pseudo.result(), case["out_pseudo_miou"], rtol=1e-5)
    # The reference gives 0 to a class that is predicted but not there; it is no part of the mean.
    for ours, key in [(metric, "out_iou"), (pseudo, "out_pseudo_iou")]:
        there = ours.confusion.sum(axis=1) > 0
        np.testing.assert_allclose(ours.per_class()[there], case[key][there], rtol=1e-9)
        assert np.all(np.isnan(ours.per_class()[~there]))


def multilabel_f1_score(case, file):
    labels, predictions = case["in_label"], case["in_pred"]
    ours = [multilabel_f1(a[None], b[None]) for a, b in zip(labels, predictions, strict=True)]
    np.testing.assert_allclose(ours, case["out_f1"], rtol=1e-9)
    np.testing.assert_allclose(multilabel_f1(labels, predictions), case["out_f1"].mean(), rtol=1e-9)


def attention_map(case, file):
    score, size = case["in_score"][..., None], tuple(case["in_height_width"])
    ours = saliency_labels.attention_map(score, score.shape[:2])[..., 0]
    np.testing.assert_array_equal(ours, case["out_u8_lowres"])
    ours = saliency_labels.attention_map(score, size)[..., 0].astype(int)
    assert np.max(np.abs(ours - case["out_u8_resized"])) <= 2


def pseudo_labels(case, file):
    saliency, prediction = case["in_saliency_u8"], case["in_seg_prediction"]
    tags = np.isin(np.arange(20), case["in_classes"])
    # A class without a map had no file.
    attention = np.zeros((*saliency.shape, 20), np.uint8)
    for number in case["in_classes"]:
        attention[..., number] = case.get(f"in_attention_u8_class{number}", 0)
    initial = saliency_labels.saliency_guided_label(attention, saliency, tags)
    np.testing.assert_array_equal(initial, case["out_initial_label"])
    refined = saliency_labels.object_guided_label(prediction, initial, tags)
    np.testing.assert_array_equal(refined, case["out_refined_label"])


CHECKS = {
    "i2crc_attention_map": attention_map,
    "i2crc_pseudo_labels": pseudo_labels,
    "par_refine": refinement(refine.pixel_adaptive_refinement),
    "varm_refine": refinement(refine.variation_aware_refinement),
    "multiscale_cam": multiscale_cam,
    "cam_to_label": cam_to_label,
    "refine_with_bkg_par": refined_label(refine.pixel_adaptive_refinement),
    "refine_with_bkg_varm": refined_label(refine.variation_aware_refinement),
    "refine_cls_label_par": refine_cls_label_par,
    "bmp_background_aware_propagation": bmp_background_aware_propagation,
    "bmp_multiscale_cam_seg": bmp_multiscale_cam_seg,
    "radius_mask": radius_mask,
    "affinity_label": affinity_label,
    "propagate_affinity": propagate_affinity,
    "loss_affinity": loss_affinity,
    "loss_seg_balanced_ce": loss_seg_balanced_ce,
    "loss_scd_correlation": loss_scd_correlation,
    "loss_dense_energy": loss_dense_energy,
    "loss_multilabel_soft_margin": loss_multilabel_soft_margin,
    "loss_equivariance": loss_equivariance,
    "i2crc_distance_losses": i2crc_distance_losses,
    "miou_scores": miou_scores,
    "multilabel_f1": multilabel_f1_score,
}
