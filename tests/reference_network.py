"""Reference vectors of the network: encoders, decoders and the whole TSCD model.

``CHECKS`` maps the name of a vector file to a function ``(case, file)``; ``case`` holds the arrays
of one case without the prefix ``case<i>_``. The walk over the files is in
``test_reference_vectors.py``.
"""

import types
import zlib

import numpy as np
import tensorflow as tf

from keras_wsss.backbones import build_backbone
from keras_wsss.backbones.normalise import DEVIATION, MEAN
from keras_wsss.backbones.weights import assign_state_dict
from keras_wsss.heads import CAMClassifier, LargeFOVDecoder, SegFormerDecoder
from keras_wsss.optimizers import rate_multipliers

SR_RATIOS = (8, 4, 2, 1)


def stored_weights(file, prefix=""):
    """Weights of a file under ``prefix``, which is cut off."""
    start = "weight:" + prefix
    return {key[len(start) :]: file[key] for key in file.files if key.startswith(start)}


def pixels(normalised):
    """The vectors give normalised images; our backbones take RGB 0..255."""
    return tf.constant((normalised * np.float64(DEVIATION) + MEAN).astype(np.float32))


def tensors(case, *names):
    return [tf.constant(case[name].astype(np.float32)) for name in names]


def scores(query, key, heads):
    """Raw attention scores `[B,heads,N,M]` from tokens with their heads side by side."""
    query, key = (np.stack(np.split(np.array(x), heads, axis=-1), axis=1) for x in (query, key))
    return query @ key.swapaxes(-1, -2)


def pooled(score, height, width, ratio):
    """Mean over windows of ``ratio x ratio`` queries; incomplete windows are dropped."""
    rows, columns = height // ratio, width // ratio
    grid = score.reshape(*score.shape[:2], height, width, -1)[
        :, :, : rows * ratio, : columns * ratio
    ]
    windows = grid.reshape(*score.shape[:2], rows, ratio, columns, ratio, -1).mean((3, 5))
    return windows.reshape(*score.shape[:2], rows * columns, -1)


def check_encoder(backbone, case):
    images = pixels(case["in_image"])
    with tf.GradientTape() as tape:
        tape.watch(images)
        features, attention = tf.function(backbone.features_and_attention)(images)
        value = sum(
            tf.reduce_sum(feature * case[f"in_cot{k}"])
            for k, feature in enumerate(features, start=1)
            if f"in_cot{k}" in case
        )
    for k, feature in enumerate(features, start=1):
        np.testing.assert_allclose(feature, case[f"out_x{k}"], 1e-4, 1e-4, err_msg=f"x{k}")
    if "out_grad_image" in case:
        gradient = tape.gradient(value, images) * DEVIATION
        peak = np.abs(case["out_grad_image"]).max()
        np.testing.assert_allclose(gradient, case["out_grad_image"], 1e-4, 1e-5 * peak)

    block = 0
    for stage, feature, ratio in zip(backbone.stages, features, SR_RATIOS, strict=True):
        for _ in stage.blocks:
            score = scores(*attention[block], heads=stage.blocks[0].attention.heads)
            ours = {
                f"out_attn_unpooled{block}": score,
                f"out_attn_pooled{block}": pooled(score, *feature.shape[1:3], ratio),
            }
            for name in ours.keys() & case.keys():
                np.testing.assert_allclose(ours[name], case[name], 1e-4, 5e-4, err_msg=name)
            block += 1
    last_two = backbone(images, return_attention=True)[1]
    for ours, expected in zip(last_two, attention[-2:], strict=True):
        np.testing.assert_allclose(ours[0], expected[0], 1e-4, 1e-4)
        np.testing.assert_allclose(ours[1], expected[1], 1e-4, 1e-4)


def mit_tiny_encoder(case, file):
    backbone = build_backbone("mit_tiny")
    assign_state_dict(backbone.reference_variables(), stored_weights(file))
    check_encoder(backbone, case)


def recipe(name, shape, seed):
    """Weights of files that store none."""
    random = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
    values = random.standard_normal(shape).astype(np.float32)
    if len(shape) == 1:
        return 1 + 0.1 * values if name.endswith("weight") else 0.1 * values
    return values * np.float32(1 / np.sqrt(np.prod(shape[1:])))


def weights_of_recipe(file, factor=1.0):
    """Weights by name; ``factor`` multiplies those with more than one axis."""
    state = {}
    keys = ("param_names", "param_shapes", "param_sums")
    for parameter, shape, total in zip(*(file[key] for key in keys), strict=True):
        size = tuple(int(n) for n in str(shape).split(","))
        values = recipe(str(parameter), size, int(file["recipe_seed"]))
        values = values * np.float32(factor if len(size) > 1 else 1.0)
        state[str(parameter)] = values
        np.testing.assert_allclose(values.sum(dtype="f8"), total, 1e-4, 1e-3)
    return state


def encoder_from_recipe(name):
    def check(case, file):
        backbone = build_backbone(name)
        assign_state_dict(backbone.reference_variables(), weights_of_recipe(file))
        check_encoder(backbone, case)

    return check


def i2crc_vgg16(case, file):
    state = weights_of_recipe(file, factor=1.4)
    classifier = CAMClassifier(len(state["extra_convs.6.bias"]), pooling="average", use_bias=True)
    backbone = build_backbone("vgg16")
    classifier.build((None, None, None, backbone.feature_channels[-1]))
    variables = backbone.reference_variables() | classifier.reference_variables("extra_convs.6.")
    assign_state_dict(variables, state)
    features = backbone(pixels(case["in_image"]))[-1]
    for ours, key in [
        (classifier.cam(features), "out_score_map"),
        (classifier.image_logits(features), "out_logits"),
    ]:
        np.testing.assert_allclose(ours, case[key], 1e-4, 1e-4, err_msg=key)

    groups = dict(str(pair).rsplit(":", 1) for pair in file["param_group_of_name"])
    paths = {name: types.SimpleNamespace(path=v.path) for name, v in variables.items()}
    for name, factor in zip(paths, rate_multipliers(paths.values(), 10.0, 2.0), strict=True):
        assert factor == {"0": 1, "1": 2, "2": 10, "3": 20}[groups[name]], name


def segformer_mlp_head(case, file):
    features = tensors(case, "in_c1", "in_c2", "in_c3", "in_c4")
    weights = stored_weights(file)
    classes, width = weights["linear_pred.weight"].shape[:2]
    decoder = SegFormerDecoder(classes, embedding_dim=width, dropout=0.0)
    decoder.build([feature.shape for feature in features])
    variables = decoder.reference_variables()
    assign_state_dict(variables, weights)

    logits = tf.function(decoder)(features, training=False)
    np.testing.assert_allclose(logits, case["out_logits_eval"], 1e-4, 1e-4)

    predict, gamma = (variables[f"linear_{name}.weight"].value for name in ("pred", "fuse.bn"))
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = decoder(features, training=True)
        value = tf.reduce_sum(logits * case["in_cot"].astype(np.float32))
    np.testing.assert_allclose(logits, case["out_logits_train_nodropout"], 1e-4, 1e-4)
    *of_features, of_predict, of_gamma = tape.gradient(value, [*features, predict, gamma])
    gradients = {f"out_grad_c{k}": g for k, g in enumerate(of_features, start=1)}
    gradients["out_grad_linear_pred_weight"] = tf.transpose(of_predict)[:, :, None, None]
    gradients["out_grad_bn_weight"] = of_gamma
    for name, gradient in gradients.items():
        peak = np.abs(case[name]).max()
        np.testing.assert_allclose(gradient, case[name], 1e-4, 1e-5 * peak, err_msg=name)

    mean, variance = (np.array(variables[f"linear_fuse.bn.running_{k}"]) for k in ("mean", "var"))
    np.testing.assert_allclose(mean, case["out_running_mean_after"], 1e-4, 1e-5)
    # Keras averages the biased batch variance, PyTorch n/(n-1) times as much.
    count = np.prod(logits.shape[:3])
    before = weights["linear_fuse.bn.running_var"]
    unbiased = 0.9 * before + (variance - 0.9 * before) * count / (count - 1)
    np.testing.assert_allclose(unbiased, case["out_running_var_after"], 1e-4, 1e-5)


def largefov_head(case, file):
    weights = stored_weights(file)
    decoder = LargeFOVDecoder(weights["conv8.weight"].shape[0], len(weights["conv6.weight"]))
    (features,) = tensors(case, "in_x")
    decoder.build(features.shape)
    assign_state_dict(decoder.reference_variables(), weights)
    np.testing.assert_allclose(decoder([features]), case["out_y"], 1e-4, 1e-4)


CHECKS = {
    "i2crc_vgg16_recipe": i2crc_vgg16,
    "mit_tiny_encoder": mit_tiny_encoder,
    "mit_b0_encoder": encoder_from_recipe("mit_b0"),
    "mit_b1_encoder": encoder_from_recipe("mit_b1"),
    "segformer_mlp_head": segformer_mlp_head,
    "largefov_head": largefov_head,
}
