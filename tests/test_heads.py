"""Heads: CAM classifier, affinity head, decoders, attention neck."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_wsss import heads
from keras_wsss.errors import ConfigError

CHANNELS = (16, 32, 40, 64)


def features_of(height=75, width=101, batch=2, channels=CHANNELS, seed=0):
    random = np.random.default_rng(seed)
    sizes = [(-(-height // s), -(-width // s)) for s in (4, 8, 16, 16)]
    return [
        tf.constant(random.normal(size=(batch, *size, c)).astype(np.float32))
        for size, c in zip(sizes, channels, strict=True)
    ]


def attention_of(tokens=12, dim=64, blocks=2, batch=2, seed=0):
    random = np.random.default_rng(seed)
    pair = lambda: random.normal(size=(2, batch, tokens, dim)).astype(np.float32)  # noqa: E731
    return [tuple(tf.constant(x) for x in pair()) for _ in range(blocks)]


# ---- classifier -------------------------------------------------------------------------------


@pytest.mark.parametrize(("pooling", "pool"), [("max", np.max), ("average", np.mean)])
def test_classifier_pools_and_maps(pooling, pool):
    feature = features_of()[-1]
    classifier = heads.CAMClassifier(5, pooling=pooling)
    logits, cam = classifier.image_logits(feature), classifier.cam(feature)
    kernel = np.array(classifier.kernel)
    np.testing.assert_allclose(logits, pool(feature.numpy(), axis=(1, 2)) @ kernel, 1e-5, 1e-5)
    np.testing.assert_allclose(cam, feature.numpy() @ kernel, 1e-5, 1e-5)
    np.testing.assert_array_equal(classifier(feature), logits)
    assert np.abs(kernel).max() <= 1 / np.sqrt(64) and np.abs(kernel).max() > 0.9 / np.sqrt(64)
    assert [v.path for v in classifier.weights] == ["classifier/kernel"]


def test_classifier_passes_gradients_from_both_outputs():
    feature, classifier = features_of()[-1], heads.CAMClassifier(5)
    for output in (classifier.image_logits, classifier.cam):
        with tf.GradientTape() as tape:
            tape.watch(feature)
            value = tf.reduce_sum(output(feature))
        gradients = tape.gradient(value, [feature, classifier.kernel.value])
        assert all(np.abs(g).max() > 0 for g in gradients)


def test_classifier_refuses_another_pooling():
    with pytest.raises(ConfigError, match="max or average.*median"):
        heads.CAMClassifier(5, pooling="median")


# ---- affinity -----------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("head_count", "blocks"), [(8, 2), (4, 3)])
def test_affinity_equals_the_explicit_score_maps(symmetric, head_count, blocks):
    head = heads.AffinityHead(symmetric=symmetric, heads=head_count, blocks=blocks)
    attention = attention_of(blocks=blocks)
    maps = []
    for query, key in attention:
        for q, k in zip(*(np.split(x.numpy(), head_count, -1) for x in (query, key)), strict=True):
            maps.append(q @ k.swapaxes(1, 2))
    scores = np.stack(maps, axis=-1).astype(np.float64)
    if symmetric:
        scores = scores + scores.swapaxes(1, 2)
    logits = (scores @ np.array(head.kernel, np.float64) + np.array(head.bias))[..., 0]
    affinity = head(attention)
    np.testing.assert_allclose(affinity, 1 / (1 + np.exp(-logits)), 1e-4, 1e-5)
    asymmetry = np.abs(affinity - np.swapaxes(affinity, 1, 2)).max()
    assert asymmetry < 1e-6 if symmetric else asymmetry > 0.1


def test_affinity_trains_queries_and_keys():
    head, attention = heads.AffinityHead(), attention_of()
    flat = [x * 0.1 for pair in attention for x in pair]
    with tf.GradientTape() as tape:
        tape.watch(flat)
        value = tf.reduce_sum(head([flat[:2], flat[2:]]) ** 2)
    assert all(np.abs(g).max() > 0 for g in tape.gradient(value, [*flat, head.kernel.value]))


def test_affinity_without_attention_names_the_neck():
    with pytest.raises(ConfigError, match="AttentionNeck"):
        heads.AffinityHead()([])


# ---- attention neck -----------------------------------------------------------------------------


def test_neck_starts_as_if_its_first_block_were_not_there():
    feature, neck = features_of()[-1], heads.AttentionNeck(dim=32)
    pairs = neck(feature)
    assert [x.shape for pair in pairs for x in pair] == [(2, 5 * 7, 32)] * 4
    tokens = neck.reduce(tf.reshape(feature, (2, 35, 64)))
    for pair, layer, norm in zip(pairs, neck.query_key, neck.norms, strict=True):
        np.testing.assert_allclose(tf.concat(pair, -1), layer(norm(tokens)), 1e-5, 1e-5)
    zero = [v for v in neck.trainable_variables if "project" in v.path or "contract" in v.path]
    assert len(zero) == 4 and all(np.all(np.array(v) == 0) for v in zero)


def test_neck_attention_equals_numpy_and_learns():
    neck = heads.AttentionNeck(dim=32)
    feature = features_of()[-1]
    neck(feature)
    query, key, value = (np.array(x) for x in np.random.default_rng(1).normal(size=(3, 2, 35, 32)))
    wanted = []
    for q, k, v in zip(*(np.split(x, 8, -1) for x in (query, key, value)), strict=True):
        scores = np.exp(q @ k.swapaxes(1, 2) / 2)  # head size 4
        wanted.append(scores / scores.sum(-1, keepdims=True) @ v)
    ours = neck.attend(*(tf.constant(x, tf.float32) for x in (query, key, value)))
    np.testing.assert_allclose(ours, np.concatenate(wanted, -1), 1e-4, 1e-5)

    head = heads.AffinityHead()
    for step in range(2):  # values and expansion get a gradient once the outputs left zero
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((head(neck(feature)) - tf.eye(35)) ** 2)
        variables = neck.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        for variable, gradient in zip(variables, gradients, strict=True):
            assert gradient is not None, variable.path
            if step:
                assert np.abs(gradient).max() > 0 or "bias" in variable.path, variable.path
            variable.assign_sub(gradient)


# ---- decoders -----------------------------------------------------------------------------------


def test_segformer_equals_the_unfused_computation():
    decoder, features = heads.SegFormerDecoder(6, embedding_dim=24), features_of()
    logits = decoder(features, training=False)
    weights = {k: np.array(v) for k, v in decoder.reference_variables().items()}
    size, mapped = features[0].shape[1:3], []
    for k in (4, 3, 2, 1):
        x = (
            features[k - 1] @ weights[f"linear_c{k}.proj.weight"]
            + weights[f"linear_c{k}.proj.bias"]
        )
        mapped.append(tf.image.resize(x, size))
    x = tf.concat(mapped, -1) @ weights["linear_fuse.conv.weight"]
    x = tf.nn.relu(x / np.sqrt(1 + 1e-5))
    wanted = x @ weights["linear_pred.weight"] + weights["linear_pred.bias"]
    np.testing.assert_allclose(logits, wanted, 1e-4, 1e-5)


def test_segformer_initial_values_follow_the_paper():
    keras.utils.set_random_seed(0)
    decoder, features = heads.SegFormerDecoder(21), features_of(32, 32)
    decoder(features)
    variables = decoder.reference_variables()
    for k, channels in enumerate(CHANNELS, start=1):
        kernel = np.abs(variables[f"linear_c{k}.proj.weight"])
        assert 0.95 < kernel.max() * np.sqrt(channels) <= 1.0001
    assert abs(np.std(variables["linear_fuse.conv.weight"]) - np.sqrt(2 / 256)) < 1e-3
    assert np.abs(variables["linear_pred.bias"]).max() <= 1 / 16


def test_segformer_dropout_is_seeded_and_drops_channels():
    features = features_of()
    first, second = (heads.SegFormerDecoder(6, 24, dropout=0.5, seed=7) for _ in range(2))
    first(features), second(features)
    second.set_weights(first.get_weights())
    draw, again = (decoder(features, training=True) for decoder in (first, second))
    np.testing.assert_array_equal(draw, again)
    assert np.abs(draw - first(features, training=True)).max() > 1e-3


def test_deeplabv2_is_the_sum_of_four_dilated_convolutions():
    features = features_of(33 * 16, 30 * 16)  # wider than the largest dilation
    decoder, feature = heads.build_decoder("deeplabv2", 6), features[-1]
    decoder.build(feature.shape)
    state = {k: np.array(v, np.float64) for k, v in decoder.reference_variables().items()}
    assert all(not np.any(state[f"{k}.bias"]) for k in range(4))
    stacked = np.concatenate([state[f"{k}.weight"].ravel() for k in range(4)])
    assert np.std(stacked) == pytest.approx(0.01, rel=0.02)
    for k, branch in enumerate(decoder.branches):
        branch.bias.assign(np.full(6, k + 1.0))
    x = np.pad(feature.numpy().astype(np.float64), ((0, 0), (24, 24), (24, 24), (0, 0)))
    height, width = feature.shape[1:3]
    wanted = np.full((*feature.shape[:3], 6), 10.0)
    for k, rate in enumerate((6, 12, 18, 24)):
        for i in range(3):
            for j in range(3):
                top, left = 24 + (i - 1) * rate, 24 + (j - 1) * rate
                part = x[:, top : top + height, left : left + width]
                wanted += part @ state[f"{k}.weight"][i, j]
    np.testing.assert_allclose(decoder(features), wanted, 1e-5, 1e-5)
    np.testing.assert_allclose(decoder(feature), wanted, 1e-5, 1e-5)


def test_classifier_bias_is_part_of_the_activations():
    feature = features_of()[-1]
    classifier = heads.CAMClassifier(5, pooling="average", use_bias=True)
    plain = np.array(classifier.cam(feature))
    classifier.bias.assign(np.arange(5.0))
    np.testing.assert_allclose(classifier.cam(feature), plain + np.arange(5.0), 1e-5, 1e-5)
    # I2CRC, eq. 1: the logits are the spatial mean of the class map.
    mean = np.mean(classifier.cam(feature), axis=(1, 2))
    np.testing.assert_allclose(classifier.image_logits(feature), mean, 1e-4, 1e-5)
    assert set(classifier.reference_variables()) == {"weight", "bias"}


@pytest.mark.parametrize("name", ["segformer", "largefov", "deeplabv2", "linear"])
def test_decoders_train_save_and_take_any_size(name, tmp_path):
    decoder, features = heads.build_decoder(name, 6, embedding_dim=24), features_of()

    @tf.function(
        input_signature=[[tf.TensorSpec([None, None, None, channels]) for channels in CHANNELS]]
    )
    def dynamic(features):
        return decoder(features, training=False)

    logits = dynamic(features)
    assert logits.shape == (2, *features[0 if name == "segformer" else 3].shape[1:3], 6)
    np.testing.assert_allclose(decoder(features), logits, 1e-4, 1e-5)
    assert dynamic(features_of(64, 64, batch=1)).shape[0] == 1

    copy = type(decoder).from_config(decoder.get_config())
    assert copy.get_config() == decoder.get_config()
    copy(features)
    model, other = (keras.Sequential([d]) for d in (decoder, copy))
    model.built = other.built = True
    model.save_weights(tmp_path / "decoder.weights.h5")
    other.load_weights(tmp_path / "decoder.weights.h5")
    np.testing.assert_array_equal(copy(features), decoder(features))

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(decoder(features, training=True) ** 2)
    gradients = tape.gradient(loss, [v.value for v in decoder.trainable_variables])
    assert all(g is not None and np.isfinite(g).all() for g in gradients)


def test_mixed_precision_gives_float32_outputs():
    features = [tf.cast(f, tf.bfloat16) for f in features_of()]
    attention = [tuple(tf.cast(x, tf.bfloat16) for x in pair) for pair in attention_of()]
    policy = {"dtype": "mixed_bfloat16"}
    classifier = heads.CAMClassifier(5, **policy)
    outputs = [
        heads.SegFormerDecoder(6, 24, **policy)(features, training=True),
        heads.LargeFOVDecoder(6, 24, **policy)(features),
        heads.LinearDecoder(6, **policy)(features),
        heads.DeepLabV2Decoder(6, **policy)(features),
        heads.AffinityHead(**policy)(attention),
        heads.AffinityHead(**policy)(heads.AttentionNeck(32, **policy)(features[-1])),
        classifier.image_logits(features[-1]),
        classifier.cam(features[-1]),
        classifier(features[-1]),
    ]
    assert all(output.dtype == tf.float32 for output in outputs)


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (heads.CAMClassifier, {"num_classes": 4, "pooling": "average", "use_bias": True}),
        (heads.DeepLabV2Decoder, {"num_classes": 4, "dilation_rates": (1, 2)}),
        (heads.AffinityHead, {"symmetric": True, "heads": 4, "blocks": 3}),
        (heads.AttentionNeck, {"dim": 64, "num_heads": 4, "blocks": 3}),
    ],
)
def test_configurations_of_heads_survive(cls, options):
    config = cls(**options).get_config()
    assert options.items() <= config.items()
    assert cls.from_config(config).get_config() == config


def test_unknown_decoder():
    with pytest.raises(ConfigError, match="fcn.*deeplabv2, largefov, linear, segformer"):
        heads.build_decoder("fcn", 21)
