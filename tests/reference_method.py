"""Reference vectors of whole methods: schedule, a step on given outputs, a network's step."""

import numpy as np
import tensorflow as tf

from keras_wsss.backbones.weights import assign_state_dict
from keras_wsss.config import load_config
from keras_wsss.inference import fuse_logits
from keras_wsss.methods import TSCD
from keras_wsss.ops.cam import fuse_multi_scale
from keras_wsss.ops.resize import resize
from keras_wsss.training import GroupedAdamW, PolyWarmup

WEIGHTS = {
    "classification": 1.0,
    "segmentation": 0.1,
    "energy": 0.01,
    "affinity": 0.1,
    "correspondence": 0.1,
    "equivariance": 0.1,
}
LOSS_KEYS = {
    "cls_loss": "classification",
    "seg_loss": "segmentation",
    "aux_loss": "affinity",
    "loss_corr": "correspondence",
    "loss_er": "equivariance",
}
# An exact energy filter times the lattice's amplitude (0.46) against the lattice itself, whose
# response is 0.4 to 0.65 of the exact one (README of the vectors).
ENERGY_RATIO = (0.4 / 0.46, 0.65 / 0.46)


def tiny_tscd():
    """TSCD as released, on the tiny encoder of the vectors, without any random layer."""
    return TSCD(
        load_config(
            "voc_tscd",
            [
                "data.root=.",
                "parity=true",
                "backbone.name=mit_tiny",
                "backbone.weights=none",
                "backbone.drop_path_rate=0",
                "heads.embedding_dim=32",
                "heads.dropout=0",
                "losses.energy.stride=1",
            ],
        ),
        num_classes=20,
    )


def batch_of(case, image):
    return {
        "image": tf.constant(image, tf.float32),
        "labels": tf.constant(case["in_cls_label"]),
        "valid_box": tf.constant(case["in_box"], tf.int32),
        "index": tf.zeros(len(image), tf.int64),
    }


def give_points(model, case):
    def points(key):
        uniform = case[key].astype(np.float32)
        return tf.constant(2 * uniform.reshape(len(uniform), -1, 2) - 1)

    model.draw_points = lambda batch_size: (points("in_uniform1"), points("in_uniform2"))


def check_losses(terms, case, rtol, atol):
    for key, name in LOSS_KEYS.items():
        np.testing.assert_allclose(terms[name], case[f"out_{key}"], rtol, atol, err_msg=name)
    ratio = case["out_reg_loss"] / terms["energy"].numpy()
    assert ENERGY_RATIO[0] < ratio < ENERGY_RATIO[1]
    total = sum(WEIGHTS[name] * float(value) for name, value in terms.items())
    np.testing.assert_allclose(total, case["out_loss"], max(rtol, 1e-4), atol)


def check_gradient(ours, reference):
    reference = reference.astype(np.float32)
    np.testing.assert_allclose(ours, reference, rtol=1e-3, atol=1e-3 * np.abs(reference).max())


def step_tscd_given_outputs(case, file):
    model = tiny_tscd()
    give_points(model, case)
    batch = batch_of(case, case["out_denorm_u8"])
    size = case["in_image_u8"].shape[1]
    small = int(0.3 * size)

    def fused(view, side):
        keys = [f"in_rawcam_{view}_scale_{scale}" for scale in ("100", "050", "150")]
        cams = [tf.constant(case[key], tf.float32) for key in keys]
        return fuse_multi_scale(cams, (side, side))

    given = {
        "seg": tf.Variable(case["in_seg"].astype(np.float32)),
        "seg_small": tf.Variable(case["in_seg_small"].astype(np.float32)),
        "cls_logits": tf.Variable(case["in_cls_logits"].astype(np.float32)),
        "affinity": tf.Variable(case["in_affinity"].astype(np.float32)),
    }
    active = frozenset(WEIGHTS)
    with tf.GradientTape() as tape:
        outputs = {
            "view": {
                "image_logits": given["cls_logits"].value(),
                "segmentation_logits": given["seg"].value(),
                "affinity": given["affinity"].value(),
                "cam": None,
            },
            "small_view": {"segmentation_logits": given["seg_small"].value(), "cam": None},
            "cam": fused("full", size),
            "small_cam": fused("small", small),
        }
        labels = model.pseudo_labels(batch, outputs, active)
        terms = model.loss_terms(batch, outputs, labels, active)
        total = sum(WEIGHTS[name] * value for name, value in terms.items())

    np.testing.assert_allclose(outputs["cam"][:, ::4, ::4], case["out_cam_stride4"], 1e-4, 1e-5)
    np.testing.assert_allclose(outputs["small_cam"], case["out_cam_small"], 1e-4, 1e-5)
    assert np.mean(labels.numpy() == case["out_label_refined"]) >= 0.999
    check_losses(terms, case, rtol=1e-3, atol=1e-4)
    gradients = tape.gradient(total, given)
    check_gradient(gradients["seg"], case["out_grad_seg"])
    check_gradient(gradients["seg_small"], case["out_grad_seg_small"])
    check_gradient(gradients["cls_logits"], case["out_grad_cls_logits"])
    check_gradient(gradients["affinity"] * 1000, case["out_grad_affinity_times_1000"])


def tiny_train_step_tscd(case, file):
    model = tiny_tscd()
    model.build()
    names = model.reference_variables()
    weights = {key[7:]: file[key] for key in file.files if key.startswith("weight:")}
    assign_state_dict(names, weights)
    give_points(model, case)
    schedule = PolyWarmup(6e-5, total_steps=20000, warmup_steps=1500)
    rate = float(schedule(int(case["in_optimizer_step_index"])))
    model.compile(GroupedAdamW(rate))

    trainable = {id(v.value) for v in model.trainable_variables}
    position = {id(v.value): i for i, v in enumerate(model.trainable_variables)}
    before = {name: np.array(v) for name, v in names.items()}
    batch = batch_of(case, case["in_image_u8"])
    active = frozenset(WEIGHTS)
    terms, gradients = tf.function(model.terms_and_gradients, autograph=False)(batch, active)
    terms.pop("loss")
    check_losses(terms, case, rtol=1e-3, atol=1e-4)

    file_names = [str(name) for name in file["param_names"]]
    for name, norm in zip(file_names, case["out_grad_norm"], strict=True):
        variable = names[name].value
        if id(variable) in trainable:
            ours = np.linalg.norm(gradients[position[id(variable)]])
            np.testing.assert_allclose(ours, norm, rtol=1e-2, atol=1e-5, err_msg=name)

    model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    compared = 0
    for key in case:
        if not key.startswith("out_after:"):
            continue
        name = key[len("out_after:") :]
        after = layout(case[key].astype(np.float32), before[name].shape)
        start = layout(weights[name].astype(np.float32), before[name].shape)
        if id(names[name].value) not in trainable:
            np.testing.assert_array_equal(after, start, err_msg=name)
            np.testing.assert_array_equal(np.array(names[name]), before[name], err_msg=name)
            continue
        ours = (np.array(names[name]) - before[name]) / rate
        expected = (after - start) / rate
        multiplier = 1 if name.startswith("encoder") else 10
        close = np.abs(ours - expected) <= 0.02 * multiplier
        assert np.mean(close) >= 0.995, (name, np.mean(close))
        compared += 1
    assert compared

    # Keras averages the biased batch variance, the reference the unbiased one (0.25-0.4 % more).
    mean, variance = (
        np.array(names[f"decoder.linear_fuse.bn.running_{kind}"]) for kind in ("mean", "var")
    )
    scale = np.abs(case["out_bn_running_mean_after"]).max()
    np.testing.assert_allclose(mean, case["out_bn_running_mean_after"], 1e-3, 1e-3 * scale)
    np.testing.assert_allclose(variance, case["out_bn_running_var_after"], rtol=6e-3)


def layout(array, shape):
    """A PyTorch array in the layout of the Keras variable."""
    if array.ndim == 4 and array.shape != tuple(shape):
        kernel = array.transpose(2, 3, 1, 0)
        return kernel.reshape(shape) if kernel.size == np.prod(shape) else kernel
    return array.T if array.ndim == 2 else array.reshape(shape)


def lr_schedule(case, file):
    schedule = PolyWarmup(
        float(case["in_base_lr"]),
        total_steps=int(case["in_max_iter"]),
        warmup_steps=int(case["in_warmup"]),
        warmup_ratio=float(case["in_ratio"]),
        power=float(case["in_power"]),
    )
    ours = np.array([float(schedule(int(step))) for step in case["in_iterations"]])
    base = float(case["in_base_lr"])
    tolerance = {"rtol": 1e-6, "atol": 1e-7 * base}
    running = case["in_iterations"] < case["in_max_iter"]
    np.testing.assert_allclose(ours[running], case["out_lr"][running], **tolerance)
    # Past the end the reference leaves the rate alone: the last one in a run, the base rate in a
    # scheduler that was set there directly. Ours is the last one.
    last = float(schedule(int(case["in_max_iter"]) - 1))
    np.testing.assert_allclose(ours[~running], last, **tolerance)
    for rate in case["out_lr"][~running]:
        assert np.isclose(rate, last, **tolerance) or rate == base


def i2crc_seg_lr(case, file):
    base, total = float(case["in_base_lr"]), int(case["in_iter_max"])
    schedule = PolyWarmup(
        base, total, power=float(case["in_power"]), step_size=int(case["in_step_size"])
    )
    # The rate after the n-th step is that of step n; no step uses the last one.
    ours = [float(schedule(step)) for step in range(1, total)]
    np.testing.assert_allclose(ours, case["out_lr_after_step"][:-1], rtol=1e-6, atol=1e-7 * base)


def msflip_inference_fusion(case, file):
    logits = [
        tf.constant(case[f"in_logits_scale_{scale}"], tf.float32) for scale in ("100", "050", "075")
    ]
    fused = fuse_logits(logits)
    np.testing.assert_allclose(fused, case["out_fused_logits"], 1e-4, 1e-5)
    size = tuple(int(side) for side in case["in_label_height_width"])
    label = tf.argmax(resize(fused, size), axis=-1).numpy()[0]
    assert np.mean(label == case["out_fused_label"]) >= 0.999
    single = logits[0][:1]
    np.testing.assert_allclose(single, case["out_single_scale_logits"], 1e-4, 1e-5)
    label = tf.argmax(resize(single, size), axis=-1).numpy()[0]
    assert np.mean(label == case["out_single_scale_label"]) >= 0.999


CHECKS = {
    "step_tscd_given_outputs": step_tscd_given_outputs,
    "tiny_train_step_tscd": tiny_train_step_tscd,
    "lr_schedule": lr_schedule,
    "i2crc_seg_lr": i2crc_seg_lr,
    "msflip_inference_fusion": msflip_inference_fusion,
}
