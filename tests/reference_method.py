"""Reference vectors of whole methods: schedule, a step on given outputs, a network's step."""

import numpy as np
import tensorflow as tf
from reference_network import pixels, stored_weights

from keras_wsss.backbones.weights import assign_state_dict
from keras_wsss.config import load_config
from keras_wsss.methods import new_model
from keras_wsss.ops.cam import fuse_multi_scale, fuse_segmentation
from keras_wsss.ops.resize import resize
from keras_wsss.optimizers import GroupedAdamW, PolyWarmup
from keras_wsss.prediction import fuse_logits

# The loss terms of the vectors, and how the vectors call them.
LOSS_KEYS = {
    "tscd": {
        "classification": "cls_loss",
        "segmentation": "seg_loss",
        "affinity": "aux_loss",
        "correspondence": "loss_corr",
        "equivariance": "loss_er",
        "energy": "reg_loss",
    },
    "afa": {"classification": "cls_loss", "segmentation": "seg_loss", "affinity": "aff_loss"},
    "bmp": {
        "classification": "cls_loss",
        "c2s": "c2s_loss",
        "s2c": "s2c_loss",
        "affinity": "aff_loss",
    },
}
# An exact energy filter times the lattice's amplitude (0.46) against the lattice itself, whose
# response is 0.4 to 0.65 of the exact one (README of the vectors).
ENERGY_RATIO = (0.4 / 0.46, 0.65 / 0.46)


def tiny(method, *overrides):
    """A method as released, on the tiny encoder of the vectors, without any random layer."""
    config = load_config(
        f"voc_{method}",
        [
            "data.root=.",
            "parity=true",
            "backbone.name=mit_tiny",
            "backbone.weights=none",
            "backbone.drop_path_rate=0",
            "heads.embedding_dim=32",
            "heads.dropout=0",
            *(["losses.energy.stride=1"] if method == "tscd" else []),
            *overrides,
        ],
    )
    model = new_model(config, classes=20)
    model.build()
    return model


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


def check_losses(model, terms, case, rtol=1e-3, atol=1e-4, prefix="out_"):
    for name, key in LOSS_KEYS[model.settings.method].items():
        if name == "energy":
            ratio = case[prefix + key] / float(terms[name])
            assert ENERGY_RATIO[0] < ratio < ENERGY_RATIO[1]
        else:
            np.testing.assert_allclose(terms[name], case[prefix + key], rtol, atol, err_msg=name)
    np.testing.assert_allclose(weighted(model, terms), case[prefix + "loss"], rtol, atol)


def weighted(model, terms):
    return sum(model.schedule.weights[name] * value for name, value in terms.items())


def fused(case, view, side):
    keys = [f"in_rawcam_{view}_scale_{scale}" for scale in ("100", "050", "150")]
    return fuse_multi_scale([tf.constant(case[key], tf.float32) for key in keys], (side, side))


def check_label(ours, case, key):
    assert np.mean(ours == case[f"out_label_{key}"]) >= 0.999, key


def check_gradient(ours, reference):
    reference = reference.astype(np.float32)
    np.testing.assert_allclose(ours, reference, rtol=1e-3, atol=1e-3 * np.abs(reference).max())


def whole_model(method):
    def check(case, file):
        model = tiny(method)
        assign_state_dict(model.reference_variables(), stored_weights(file))
        images = pixels(case["in_image"])
        ours = model(images, request=("cam", "affinity"))
        checked = {"cls_logits": ours["image_logits"], "affinity": ours["affinity"]}
        if method == "bmp":
            size = images.shape[1:3]
            pixel_maps = resize(ours["segmentation_logits"], size), resize(ours["cam"], size)
            for name, value in zip(("seg", "pixel_logits"), pixel_maps, strict=True):
                checked[f"{name}_stride2"] = value[:, ::2, ::2]
        else:
            checked |= {"cam_raw": ours["cam"], "seg_logits": ours["segmentation_logits"]}
        for name, value in checked.items():
            expected = case[f"out_{name}"]
            tolerance = 4e-3 if expected.dtype == np.float16 else 1e-4
            np.testing.assert_allclose(value, expected, 1e-3, tolerance, err_msg=name)

    return check


def step_tscd_given_outputs(case, file):
    model = tiny("tscd")
    give_points(model, case)
    batch = batch_of(case, case["out_denorm_u8"])
    size = case["in_image_u8"].shape[1]
    given = variables(case, "seg", "seg_small", "cls_logits", "affinity")
    phase = model.schedule.only(*LOSS_KEYS["tscd"])
    with tf.GradientTape() as tape:
        outputs = {
            "view": {
                "image_logits": given["cls_logits"].value(),
                "segmentation_logits": given["seg"].value(),
                "affinity": given["affinity"].value(),
                "cam": None,
            },
            "small_view": {"segmentation_logits": given["seg_small"].value(), "cam": None},
            "cam": fused(case, "full", size),
            "small_cam": fused(case, "small", int(0.3 * size)),
            "large_view": None,
            "logits": model.enlarged(given["seg"].value(), batch["image"]),
        }
        labels = model.pseudo_labels(batch, outputs, phase)
        terms = model.loss_terms(batch, outputs, labels, phase)
        total = weighted(model, terms)

    np.testing.assert_allclose(outputs["cam"][:, ::4, ::4], case["out_cam_stride4"], 1e-4, 1e-5)
    np.testing.assert_allclose(outputs["small_cam"], case["out_cam_small"], 1e-4, 1e-5)
    assert set(labels) == {"segmentation", "affinity", "energy"}
    for label in labels.values():
        check_label(label, case, "refined")
    check_losses(model, terms, case)
    gradients = tape.gradient(total, given)
    check_gradient(gradients["seg"], case["out_grad_seg"])
    check_gradient(gradients["seg_small"], case["out_grad_seg_small"])
    check_gradient(gradients["cls_logits"], case["out_grad_cls_logits"])
    check_gradient(gradients["affinity"] * 1000, case["out_grad_affinity_times_1000"])


def step_afa_given_outputs(case, file):
    model = tiny("afa")
    batch = batch_of(case, case["out_denorm_u8"])
    size = case["in_image_u8"].shape[1]
    given = variables(case, "seg", "cls_logits", "affinity")
    phase = model.schedule.phase(7000)
    assert "propagation" in phase.events
    with tf.GradientTape() as tape:
        outputs = {
            "view": {
                "image_logits": given["cls_logits"].value(),
                "segmentation_logits": given["seg"].value(),
                "affinity": given["affinity"].value(),
            },
            "cam": fused(case, "full", size),
            "large_view": {
                "cam": tf.constant(case["in_rawcam_full_scale_150"], tf.float32),
                "affinity": tf.constant(case["in_affinity_scale_150"], tf.float32),
            },
            "logits": model.enlarged(given["seg"].value(), batch["image"]),
        }
        labels = model.pseudo_labels(batch, outputs, phase)
        terms = model.loss_terms(batch, outputs, labels, phase)
        total = weighted(model, terms)

    check_label(labels["affinity"], case, "refined")
    check_label(labels["segmentation"], case, "affinity_refined")
    check_losses(model, terms, case)
    gradients = tape.gradient(total, given)
    check_gradient(gradients["seg"], case["out_grad_seg"])
    check_gradient(gradients["cls_logits"], case["out_grad_cls_logits"])
    check_gradient(gradients["affinity"] * 1000, case["out_grad_affinity_times_1000"])


def step_bmp_given_outputs(case, file):
    batch = batch_of(case, case["out_denorm_u8"])
    size = case["in_image_u8"].shape[1]

    def enlarged(key, side=size):
        return resize(tf.constant(case[key].astype(np.float32)), (side, side))

    def views(kind):
        scales = {"100": 1, "050": 0.5, "150": 1.5}
        return [
            enlarged(f"in_raw{kind}_full_scale_{key}", int(s * size)) for key, s in scales.items()
        ]

    given = variables(case, "cls_logits", "affinity")
    given["seg"] = tf.Variable(enlarged("in_seg_grid"))
    given["pixel_logit"] = tf.Variable(enlarged("in_pixel_logit_grid"))
    for form in ("bce", "ce"):
        model = tiny("bmp", f"losses.c2s.form={form}")
        phase = model.schedule.phase(5000)
        assert "propagation" in phase.events
        with tf.GradientTape() as tape:
            outputs = {
                "view": {
                    "image_logits": given["cls_logits"].value(),
                    "segmentation_logits": given["seg"].value(),
                    "affinity": given["affinity"].value(),
                    "cam": given["pixel_logit"].value(),
                },
                "cam": fuse_multi_scale(views("cam"), (size, size)),
                "segmentation": fuse_segmentation(views("seg"), (size, size)),
                "logits": model.enlarged(given["seg"].value(), batch["image"]),
            }
            labels = model.pseudo_labels(batch, outputs, phase)
            terms = model.loss_terms(batch, outputs, labels, phase)
            total = weighted(model, terms)
        stride4 = outputs["segmentation"][:, ::4, ::4]
        np.testing.assert_allclose(stride4, case["out_msc_seg_stride4"], 1e-4, 1e-5)
        np.testing.assert_allclose(outputs["cam"][:, ::4, ::4], case["out_cam_stride4"], 1e-4, 1e-5)
        check_label(labels["affinity"], case, "par")
        check_label(labels["c2s"], case, "bsp")
        assert np.mean(labels["s2c"] == case["out_Y_s"]) >= 0.999
        check_losses(model, terms, case, prefix=f"out_c2s_{form}_")
        gradients = tape.gradient(total, given)
        for name in ("seg", "pixel_logit"):
            key = f"out_c2s_{form}_grad_{name}"
            if f"{key}_channel_sum" in case:
                ours = gradients[name]
                check_gradient(ours[:, ::4, ::4] * 1e5, case[f"{key}_times_1e5_stride4"])
                sums = case[f"{key}_channel_sum"]
                check_gradient(tf.reduce_sum(ours, axis=(1, 2)), sums)


def variables(case, *names):
    return {name: tf.Variable(case[f"in_{name}"].astype(np.float32)) for name in names}


def tiny_train_step(method, step, labels=None):
    """Check of a whole optimisation step at the 0-based ``step`` of the schedule.

    Args:
        labels: loss term -> the vectors' name of its label, where they have it.
    """

    def check(case, file):
        model = tiny(method)
        if method == "tscd":
            give_points(model, case)
        names = model.reference_variables()
        weights = {key[7:]: file[key] for key in file.files if key.startswith("weight:")}
        assign_state_dict(names, weights)
        schedule = PolyWarmup(6e-5, total_steps=20000, warmup_steps=1500)
        rate = float(schedule(int(case["in_optimizer_step_index"])))
        model.compile(GroupedAdamW(rate))

        trainable = {id(v.value) for v in model.trainable_variables}
        position = {id(v.value): i for i, v in enumerate(model.trainable_variables)}
        before = {name: np.array(v) for name, v in names.items()}
        batch = batch_of(case, case["in_image_u8"])
        phase = model.schedule.phase(step)
        seen = {}
        make_labels = model.pseudo_labels

        def pseudo_labels(*inputs):
            made = make_labels(*inputs)
            seen.update(made)
            return made

        model.pseudo_labels = pseudo_labels

        @tf.function(autograph=False)
        def one_step(batch):
            return *model.terms_and_gradients(batch, phase), seen

        terms, gradients, made = one_step(batch)
        terms.pop("loss")
        check_losses(model, terms, case)
        for name, key in (labels or {}).items():
            check_label(made[name], case, key)

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

        # Keras averages the biased batch variance, the reference the unbiased one (0.25-0.4 %
        # more).
        mean, variance = (
            np.array(names[f"decoder.linear_fuse.bn.running_{kind}"]) for kind in ("mean", "var")
        )
        scale = np.abs(case["out_bn_running_mean_after"]).max()
        np.testing.assert_allclose(mean, case["out_bn_running_mean_after"], 1e-3, 1e-3 * scale)
        np.testing.assert_allclose(variance, case["out_bn_running_var_after"], rtol=6e-3)

    return check


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
    "model_tscd_tiny": whole_model("tscd"),
    "model_afa_tiny": whole_model("afa"),
    "model_bmp_tiny": whole_model("bmp"),
    "step_tscd_given_outputs": step_tscd_given_outputs,
    "step_afa_given_outputs": step_afa_given_outputs,
    "step_bmp_given_outputs": step_bmp_given_outputs,
    "tiny_train_step_tscd": tiny_train_step("tscd", step=5000),
    "tiny_train_step_afa": tiny_train_step(
        "afa", step=3000, labels={"segmentation": "refined_pseudo_label"}
    ),
    "tiny_train_step_bmp": tiny_train_step(
        "bmp",
        step=5000,
        labels={"affinity": "refined_pseudo_label", "c2s": "bsp_label", "s2c": "Y_s"},
    ),
    "lr_schedule": lr_schedule,
    "i2crc_seg_lr": i2crc_seg_lr,
    "msflip_inference_fusion": msflip_inference_fusion,
}
