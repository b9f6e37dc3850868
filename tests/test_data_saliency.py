"""Saliency maps from an ONNX model, with a tiny one made here."""

import os
import sys

import numpy as np
import pytest
import tensorflow as tf
from data_folder import photograph
from PIL import Image

from keras_wsss.data.saliency import DEVIATION, MEAN, SaliencyModel, main, write_saliency
from keras_wsss.errors import ConfigError, DataError

WEIGHTS = np.array([0.6, -0.3, 0.2], np.float32)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


def make_model(path, side="side", channels=3, outputs=1):
    """A model whose map is a weighted sum of the colours; a second output is nonsense."""
    onnx = pytest.importorskip("onnx", reason="makes the test model")
    pytest.importorskip("onnxruntime", reason="the extra 'saliency' is not installed")
    from onnx import TensorProto, helper, numpy_helper

    weights = np.resize(WEIGHTS, (outputs, channels))[..., None, None]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "weights"], ["map"]),
            helper.make_node("Neg", ["map"], ["other"]),
        ],
        "saliency",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, side, side])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, outputs, side, side])
            for name in ("map", "other")
        ],
        [numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opset), path)
    return path


def write_photographs(folder, count=3):
    folder.mkdir()
    for number in range(count):
        image = Image.fromarray(photograph(number, 40 + number, 56))
        image.save(folder / f"{number}.jpg", quality=90)
    return folder


def expected_map(image, side):
    """Resize, largest value to 1, normalise, weigh, stretch, resize."""
    pixels = tf.image.resize(image.astype(np.float32), (side, side), antialias=True).numpy()
    map_ = ((pixels / pixels.max() - MEAN) / DEVIATION) @ WEIGHTS
    map_ = (map_ - map_.min()) / (map_.max() - map_.min())
    return 255 * tf.image.resize(map_[..., None], image.shape[:2])[..., 0].numpy()


@pytest.mark.parametrize("side", [16, 64])
def test_map_follows_the_preprocessing(model_file, side):
    image = photograph(5, 48, 33) // 2  # its largest value is not 255
    ours = SaliencyModel(model_file, side)(image)
    assert ours.shape == (48, 33) and ours.dtype == np.uint8
    np.testing.assert_allclose(ours, expected_map(image, side), atol=0.6)


def test_image_without_contrast_is_not_salient(model_file):
    assert not SaliencyModel(model_file, 32)(np.full((20, 30, 3), 90, np.uint8)).any()


def test_size_is_the_models_own_where_it_has_one(model_file, tmp_path):
    fixed = make_model(tmp_path / "fixed.onnx", side=24)
    assert SaliencyModel(fixed).size == SaliencyModel(fixed, 24).size == 24
    assert SaliencyModel(model_file).size == 320
    with pytest.raises(ConfigError, match="--size 32.*24 x 24"):
        SaliencyModel(fixed, 32)


def test_command_writes_grey_maps_and_skips_those_there(model_file, tmp_path, capsys):
    images, output = write_photographs(tmp_path / "images"), tmp_path / "new" / "Saliency"
    command = ["--model", str(model_file), "--images", str(images), "--output", str(output)]
    main([*command, "--size", "32"])
    assert "3 maps written" in capsys.readouterr().out
    for number in range(3):
        with Image.open(output / f"{number}.png") as map_:
            assert map_.mode == "L" and map_.size == (56, 40 + number)
    assert len(list(output.iterdir())) == 3
    (output / "1.png").unlink()
    kept = (output / "0.png").stat().st_mtime_ns
    main([*command, "--size", "32"])
    assert "1 maps written" in capsys.readouterr().out
    assert (output / "0.png").stat().st_mtime_ns == kept


def test_interrupted_writing_leaves_no_half_map(model_file, tmp_path, monkeypatch):
    def full_disk(self, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    images = write_photographs(tmp_path / "images", 1)
    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(DataError, match="No space left.*are kept"):
        write_saliency(SaliencyModel(model_file, 32), images, tmp_path / "maps")
    assert not list((tmp_path / "maps").iterdir())


def fails(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    errors = capsys.readouterr().err.splitlines()
    assert [line for line in errors if line.startswith("error: ")] == errors[-1:]
    return errors[-1]


def test_mistakes_are_one_message(model_file, tmp_path, capsys):
    images, output = write_photographs(tmp_path / "images"), str(tmp_path / "maps")

    def message(model=model_file, images=images):
        model, images = str(model), str(images)
        return fails(capsys, "--model", model, "--images", images, "--output", output)

    assert "nowhere.onnx" in message(model=tmp_path / "nowhere.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    assert "text.onnx" in message(model=tmp_path / "text.onnx")
    assert "[1, 3, H, W]" in message(model=make_model(tmp_path / "grey.onnx", channels=1))
    assert "[1, 1, H, W]" in message(model=make_model(tmp_path / "two.onnx", outputs=2))
    assert "holds no image" in message(images=tmp_path / "nothing")
    (images / "1.jpg").write_bytes(b"\xff\xd8 cut off")
    assert "1.jpg" in message()
    assert os.listdir(output) == ["0.png"]


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install .*keras_wsss\[saliency\]"):
        SaliencyModel("any.onnx")


def test_a_size_of_no_use_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--model", "m", "--images", "i", "--output", "o", "--size", "0"])
    assert "0: allowed: 32 or more" in capsys.readouterr().err
