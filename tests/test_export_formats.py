"""ONNX and LiteRT files against the Keras network that they were made of."""

import json
import runpy
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from data_folder import photograph
from tensorflow.lite.python import schema_py_generated as schema

from keras_wsss.errors import ConfigError, DataError, WeightsError
from keras_wsss.export.litert_file import LiteRTModel, write_litert
from keras_wsss.export.metadata import Metadata, Provenance
from keras_wsss.export.network import network_of
from keras_wsss.export.onnx_file import OnnxModel, write_onnx
from keras_wsss.methods import new_model

CLASSES = ("ant", "bee", "cat", "dog", "emu", "fox")
SHAPES = [(1, 96, 128), (3, 75, 101), (1, 40, 133), (2, 128, 97)]
STATIC = (88, 104)
PACKAGES = ("onnx", "onnxruntime", "tf2onnx", "ai_edge_litert")
PROVENANCE = Provenance(
    config="shapes_tscd",
    config_hash="0123",
    method="tscd",
    parity=False,
    seed=1,
    supervision="tags",
    checkpoint="last",
    step=8,
    weights_sha256="4567",
    validation_miou=None,
    keras_wsss="1",
)


METADATA = Metadata(
    name="zoo",
    classes=("background", *CLASSES),
    palette=("#000000", *["#800000"] * len(CLASSES)),
    scale=(0.1, 0.2, 0.3),
    offset=(-1.0, -2.0, -3.0),
    square=None,
    weights_licence="Apache-2.0",
    provenance=PROVENANCE,
)


class Exported:
    """A model with random weights, and its files, each of which is made once."""

    def __init__(self, folder, *overrides):
        for package in PACKAGES:
            pytest.importorskip(package, reason="the extra 'export' is not installed")
        # how far int8 is off depends on the draw: 0.05 to 0.2 of the largest logit over five seeds
        keras.utils.set_random_seed(1)
        config = tiny_config(*overrides)
        model = new_model(config, CLASSES)
        model.build()
        self.folder, self.files = folder, {}
        self.network = network_of(model)

    def file(self, kind, size=None):
        path = self.folder / f"{kind}-{size}"
        if path not in self.files:
            if kind == "onnx":
                write_onnx(self.network, path, METADATA, size)
                self.files[path] = OnnxModel(path, threads=2)
            else:
                examples = np.clip(images(4, 120, 90), 1, 254) if kind == "int8" else None
                write_litert(self.network, path, kind, METADATA, size, examples)
                self.files[path] = LiteRTModel(path, threads=2)
        return self.files[path]

    def difference(self, kind, size=None, shapes=SHAPES):
        """Largest difference of logits, that relative to the largest logit; equal pixels."""
        largest, relative, equal = [], [], []
        for shape in shapes:
            batch = images(*shape)
            got = self.file(kind, size)(batch)
            wanted = {k: v.numpy() for k, v in self.network(batch.astype(np.float32)).items()}
            assert sorted(got) == sorted(wanted)
            for name in wanted:
                assert got[name].dtype == wanted[name].dtype
                assert got[name].shape == wanted[name].shape
            equal.append(np.mean(got["class_map"] == wanted["class_map"]))
            assert len(np.unique(wanted["class_map"])) > 1
            for name in ("logits", "image_logits"):
                largest.append(np.abs(got[name] - wanted[name]).max())
                relative.append(largest[-1] / np.abs(wanted[name]).max())
        return max(largest), max(relative), min(equal)


def images(count, height, width):
    return np.stack([photograph(number, height, width) for number in range(count)])


@pytest.fixture(scope="module")
def lite(tmp_path_factory):
    return Exported(tmp_path_factory.mktemp("lite"), "backbone.name=efficientnet_lite0")


@pytest.fixture(scope="module")
def mit(tmp_path_factory):
    return Exported(tmp_path_factory.mktemp("mit"))


@pytest.fixture(params=["lite", "mit"])
def exported(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("kind", ["onnx", "float32"])
def test_equal_at_any_batch_and_size(exported, kind):
    largest, _, equal = exported.difference(kind)
    assert largest <= 1e-4
    assert equal >= 0.9999


@pytest.mark.parametrize("name, kind", [("lite", "onnx"), ("mit", "onnx"), ("lite", "float32")])
def test_equal_at_the_size_it_is_made_for(request, name, kind):
    largest, _, equal = request.getfixturevalue(name).difference(kind, STATIC, [(1, *STATIC)])
    assert largest <= 1e-4
    assert equal >= 0.9999


@pytest.mark.parametrize(
    "kind, bound, pixels",
    [("float16", 0.01, 0.995), ("dynamic_int8", 0.1, 0.95), ("int8", 0.25, 0.92)],
)
def test_near_in_low_precision(exported, kind, bound, pixels):
    _, relative, equal = exported.difference(kind, shapes=SHAPES[:2])
    print(kind, relative, equal)
    assert 1e-5 < relative <= bound
    assert equal >= pixels


def test_low_precision_is_small(lite):
    size = {
        kind: (lite.folder / f"{kind}-None").stat().st_size
        for kind in ("float32", "float16", "dynamic_int8", "int8")
        if lite.file(kind)
    }
    assert size["float16"] < 0.6 * size["float32"]
    assert max(size["dynamic_int8"], size["int8"]) < 0.4 * size["float32"]


def test_a_network_that_sees_squares_has_the_decoder_of_its_choice(tmp_path):
    model = Exported(
        tmp_path,
        "data.warp=true",
        "heads.decoder=linear",
        "backbone.name=efficientnet_lite0",
    )
    for kind in ("onnx", "float32"):
        largest, _, equal = model.difference(kind, shapes=[(2, 75, 101), (1, 130, 260)])
        assert largest <= 1e-4
        assert equal >= 0.9999


def test_deeplab_decoder(tmp_path):
    model = Exported(tmp_path, "heads.decoder=deeplabv2", "backbone.name=efficientnet_lite0")
    largest, _, equal = model.difference("float32")
    assert largest <= 1e-4
    assert equal >= 0.9999


def test_onnx_file_describes_itself(lite):
    import onnx

    reader = lite.file("onnx")
    assert reader.metadata == METADATA
    model = onnx.load(lite.folder / "onnx-None")
    assert model.graph.name == "zoo"
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [18]
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["classes"] == "background," + ",".join(CLASSES)
    assert properties["license"] == "Apache-2.0"
    assert json.loads(properties["keras_wsss"])["provenance"]["weights_sha256"] == "4567"


@pytest.mark.parametrize("size", [None, STATIC])
def test_onnx_axes(lite, size):
    session = lite.file("onnx", size).session
    axes = ["batch", "height", "width"] if size is None else [1, *size]
    described = {
        value.name: (value.type, value.shape)
        for value in session.get_inputs() + session.get_outputs()
    }
    assert described == {
        "images": ("tensor(uint8)", [*axes, 3]),
        "class_map": ("tensor(uint8)", axes),
        "logits": ("tensor(float)", [*axes, len(CLASSES) + 1]),
        "image_logits": ("tensor(float)", [axes[0], len(CLASSES)]),
    }


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_litert_file_describes_itself(lite, kind):
    reader = lite.file(kind)
    assert reader.metadata == METADATA
    assert reader.interpreter.get_signature_list() == {
        "serving_default": {
            "inputs": ["images"],
            "outputs": ["class_map", "image_logits", "logits"],
        }
    }
    assert reader.input["shape_signature"].tolist() == [-1, -1, -1, 3]
    outputs = reader.runner.get_output_details()
    assert outputs["class_map"]["dtype"] == np.uint8
    assert outputs["logits"]["dtype"] == outputs["image_logits"]["dtype"] == np.float32


def test_full_int8_reads_pixels_as_they_are(lite):
    # Its calibration images hold neither black nor white.
    reader = lite.file("int8")
    assert reader.input["dtype"] == np.uint8
    assert reader.input["quantization"] == (1.0, 0)
    # All between the input and the outputs is quantised: a float tensor is one of these.
    kinds = [tensor["dtype"] for tensor in reader.interpreter.get_tensor_details()]
    assert kinds.count(np.float32) <= 4


def test_litert_weights_are_aligned(lite):
    lite.file("float32")
    content = np.frombuffer((lite.folder / "float32-None").read_bytes(), np.uint8)
    model = schema.Model.GetRootAs(content)
    buffers = [model.Buffers(i) for i in range(model.BuffersLength())]
    starts = [
        buffer.DataAsNumpy().__array_interface__["data"][0] - content.ctypes.data
        for buffer in buffers
        if buffer.DataLength()
    ]
    assert len(starts) > 50
    assert not any(start % 16 for start in starts)


def test_low_precision_needs_what_it_needs(tmp_path, lite):
    with pytest.raises(ConfigError, match="calibration images"):
        write_litert(lite.network, tmp_path / "x", "int8", METADATA)
    with pytest.raises(ConfigError, match="'int4': allowed are float32, float16"):
        write_litert(lite.network, tmp_path / "x", "int4", METADATA)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("kind", ["onnx", "float32"])
def test_readers_refuse_other_images(lite, kind):
    batch = images(1, 64, 80)
    with pytest.raises(DataError, match=r"uint8 \[N,H,W,3\], not float32"):
        lite.file(kind)(batch.astype(np.float32))
    with pytest.raises(DataError, match=r"not uint8 \[64, 80, 3\]"):
        lite.file(kind)(batch[0])
    with pytest.raises(DataError, match=r"\[1, 88, 104, 3\] only, not \[1, 64, 80, 3\]"):
        lite.file(kind, STATIC)(batch)


@pytest.mark.parametrize("reader", [OnnxModel, LiteRTModel])
def test_readers_refuse_other_files(lite, tmp_path, reader):
    with pytest.raises(WeightsError, match="not a model that"):
        reader(tmp_path / "missing")
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 8)
    with pytest.raises(WeightsError, match="not a model that"):
        reader(tmp_path / "noise")


def test_readers_refuse_files_without_metadata_of_ours(lite, tmp_path):
    import onnx

    lite.file("onnx")
    model = onnx.load(lite.folder / "onnx-None")
    onnx.helper.set_model_props(model, {"keras_wsss": '{"format": 2}'})
    onnx.save(model, tmp_path / "later.onnx")
    with pytest.raises(WeightsError, match="cannot be read"):
        OnnxModel(tmp_path / "later.onnx")
    function = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([1])])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    (tmp_path / "other.tflite").write_bytes(converter.convert())
    with pytest.raises(WeightsError, match="none of keras_wsss"):
        LiteRTModel(tmp_path / "other.tflite")


def test_missing_extra(monkeypatch, tmp_path, lite):
    for package in (*PACKAGES, "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, package, None)
    for module in ("onnx_file", "litert_file"):
        monkeypatch.delitem(sys.modules, f"keras_wsss.export.{module}")
        runpy.run_module(f"keras_wsss.export.{module}")  # importing needs none of them

    def network(images):
        raise AssertionError("something was converted")

    for use in (
        lambda: write_onnx(network, tmp_path / "x", METADATA),
        lambda: write_litert(network, tmp_path / "x", "float32", METADATA),
        lambda: OnnxModel(tmp_path / "x"),
        lambda: LiteRTModel(tmp_path / "x"),
    ):
        with pytest.raises(ConfigError, match=r"pip install 'keras_wsss\[export\]'"):
            use()
