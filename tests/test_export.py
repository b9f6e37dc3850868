"""A run becomes a bundle: files, parity report, provenance, and packages that can be trusted."""

import json
import shutil
from importlib.metadata import version

import h5py
import numpy as np
import pytest
import tensorflow as tf
import yaml
from conftest import tiny_config
from google.protobuf import text_format

from keras_wsss.config import Config
from keras_wsss.errors import ConfigError, ExportError, WeightsError
from keras_wsss.export import export_run, load_package, open_model, parity
from keras_wsss.export.__main__ import main
from keras_wsss.checksums import SUMS, check_sums, sha256, write_sums
from keras_wsss.export.files import version_folders
from keras_wsss.export.metadata import Limits, Metadata
from keras_wsss.export.comparison import Agreement, Bounds, Exported, performance, violations
from keras_wsss.export.export_run import _move
from keras_wsss.inference import load_run
from keras_wsss.inference.checkpoints import save_checkpoint
from keras_wsss.methods import METHODS
from keras_wsss.run_folder import RunDirectory

NAME = "shapes_supervised"
SMALL = Limits(working_size=128, max_pixels=300_000)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a run as training leaves it, with random weights."""
    run = RunDirectory(tmp_path_factory.mktemp("runs") / "one")
    config = tiny_config(config=NAME)
    run.prepare(config)
    run.classes_file.write_text("circle\nsquare\ntriangle\nstar\nring\ncross\n")
    model = METHODS[config.method](config, 6)
    model.build()
    save_checkpoint(model, run, "last", step=8, miou=12.5)
    run.write_json(run.summary_file, {"decoder": {"miou": 12.5}})
    return run


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    """Folder of an export in all formats, and its report."""
    output = tmp_path_factory.mktemp("exported")
    return output, export_run(run.path, output, images=3, limits=SMALL, speed=False)


# ---- bundle ----------------------------------------------------------------------------------


def test_every_format_is_there_and_equal(bundle):
    output, report = bundle
    kinds = {model["kind"]: model for model in report["models"].values()}
    assert set(kinds) == set(parity.BOUNDS)
    for kind, model in kinds.items():
        assert model["out_of_bounds"] == [] and model["megabytes"] > 0.05, kind
        assert model["miou_drop"] == pytest.approx(model["miou_keras"] - model["miou"], abs=0.011)
    for kind in ("saved_model", "onnx", "float32"):
        assert kinds[kind]["max_abs_logits"] < 1e-4 and kinds[kind]["equal_pixels"] > 99.99
    assert 1e-4 < kinds["float16"]["max_abs_logits"] < kinds["int8"]["max_abs_logits"]
    assert report == json.loads((output / "parity.json").read_text())
    assert (output / "parity.md").read_text().count("\n") == 2 + len(kinds)
    check_sums(output / "saved_model" / NAME / "1")
    assert not list(output.glob(".partial*"))


def test_all_files_tell_where_they_come_from(run, bundle):
    output, _ = bundle
    found = [
        output / "saved_model" / NAME / "1" / "assets.extra" / "metadata.json",
        output / "weights" / NAME / "metadata.json",
    ]
    metadata = [Metadata.model_validate_json(path.read_text()) for path in found]
    files = [*output.glob("onnx/*"), *output.glob("litert/*")]
    metadata += [open_model(path).metadata for path in files]
    assert len(metadata) == 7
    assert metadata[0].limits == SMALL
    for one in metadata:
        assert one.model_copy(update={"limits": None}) == metadata[1]
    assert metadata[1].classes == (
        "background",
        "circle",
        "square",
        "triangle",
        "star",
        "ring",
        "cross",
    )
    assert metadata[1].palette[1] == "#800000"
    provenance = metadata[1].provenance
    assert provenance.weights_sha256 == sha256(run.checkpoint("last"))
    assert (provenance.step, provenance.validation_miou) == (8, 12.5)
    assert (provenance.method, provenance.supervision) == ("supervised", "masks")


def test_metadata_tell_the_normalisation_of_the_encoder(run, bundle):
    model, _ = load_run(run.path)
    _, metadata = load_package(bundle[0] / "weights" / NAME)
    pixels = np.array([[[[12, 130, 255]]]], np.float32)
    expected = np.asarray(model.backbone.preprocess(pixels)).ravel()
    ours = np.array(metadata.scale) * pixels.ravel() + metadata.offset
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_serving_files_are_what_tf_serving_reads(bundle):
    """Parsed with TF Serving's own schema where it is published; it was not started."""
    from tensorflow_serving.config import model_server_config_pb2

    output, _ = bundle
    text = (output / "serving" / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == (NAME, f"/models/{NAME}")
    service = yaml.safe_load((output / "compose.yaml").read_text())["services"]["shapes-supervised"]
    assert f"./saved_model/{NAME}:/models/{NAME}:ro" in service["volumes"]
    kinds = yaml.safe_load_all((output / "kubernetes.yaml").read_text())
    assert [each["kind"] for each in kinds] == ["Deployment", "Service"]
    assert service["image"] == f"tensorflow/serving:{version('tensorflow-serving-api')}"
    assert "$" not in (output / "README.md").read_text().replace("$(base64", "")


def test_warm_up_requests_can_be_answered(bundle):
    from tensorflow_serving.apis import prediction_log_pb2

    folder = bundle[0] / "saved_model" / NAME / "1"
    model = tf.saved_model.load(str(folder))
    records = list(
        tf.data.TFRecordDataset(str(folder / "assets.extra" / "tf_serving_warmup_requests"))
    )
    assert len(records) == 2
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == NAME
        images = tf.make_ndarray(request.inputs["image_bytes"])
        answer = model.signatures[request.model_spec.signature_name](
            image_bytes=tf.constant(images)
        )
        assert list(answer["status"].numpy()) == [b"ok"]


def test_a_second_export_is_the_next_version(run, bundle, tmp_path):
    output = tmp_path / "exported"
    shutil.copytree(bundle[0], output)
    before = (output / "onnx" / f"{NAME}.onnx").stat().st_mtime
    again = {"images": 1, "limits": SMALL, "speed": False}
    export_run(run.path, output, ["saved_model", "weights"], **again)
    assert sorted(path.name for path in (output / "saved_model" / NAME).iterdir()) == ["1", "2"]
    assert (output / "onnx" / f"{NAME}.onnx").stat().st_mtime == before
    load_package(output / "weights" / NAME)


def test_an_export_beside_another_takes_the_next_number(tmp_path):
    made, output = tmp_path / "made", tmp_path / "exported"
    for folder in (made, output):
        (folder / "saved_model" / "cats" / "1").mkdir(parents=True)
        (folder / "saved_model" / "cats" / "1" / SUMS).write_text(folder.name)
    (output / "saved_model" / "cats" / "02").mkdir()
    _move(made, output)
    versions = version_folders(output / "saved_model" / "cats")
    assert {n: (path / SUMS).read_text() for n, path in versions.items()} == {
        1: "exported",
        2: "made",
    }


def test_overrides_change_the_data_and_nothing_else(run, bundle, tmp_path):
    config = Config.from_run(run.path, ["seed=9", "heads.embedding_dim=32", "backbone.weights=x"])
    again = {"images": 1, "limits": SMALL, "speed": False}
    export_run(run.path, tmp_path, ["weights"], config=config, **again)
    ours = load_package(tmp_path / "weights" / NAME)[1]
    assert ours == load_package(bundle[0] / "weights" / NAME)[1]


def test_what_differs_is_not_exported(run, tmp_path, monkeypatch):
    """Nor does it take away what was there."""
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "old.onnx").write_text("old")
    monkeypatch.setitem(parity.BOUNDS, "onnx", Bounds(max_abs_logits=-1))
    with pytest.raises(ExportError, match=r"shapes_supervised.onnx: max_abs_logits .* > -1"):
        export_run(run.path, tmp_path, ["onnx"], images=1, speed=False)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "old.onnx",
        "onnx",
        "parity.json",
        "parity.md",
    ]


def test_speed_and_memory(bundle):
    onnx = bundle[0] / "onnx" / f"{NAME}.onnx"
    measured = performance(Exported("onnx", onnx, size=(64, 96)))
    assert set(measured["latency_ms"]) == {"64x96"}
    assert set(measured["latency_ms"]["64x96"]) == {"1 threads", "2 threads"}
    assert all(value > 0 for value in measured["latency_ms"]["64x96"].values())
    assert 30 < measured["peak_memory_mb"] < 5000


# ---- parity ----------------------------------------------------------------------------------


def test_agreement_counts_what_it_says():
    agreement = Agreement(2)
    truth = np.array([[0, 1], [1, 255]])
    reference = {"logits": np.zeros((1, 2, 2, 2)), "class_map": np.array([[[0, 1], [1, 1]]])}
    ours = {"logits": np.zeros((1, 2, 2, 2)), "class_map": np.array([[[0, 0], [1, 0]]])}
    ours["logits"][0, 0, 0, 0] = -0.5
    agreement.update(ours, reference, truth)
    result = agreement.result()
    assert result["max_abs_logits"] == 0.5 and result["mean_abs_logits"] == 0.5 / 8
    assert result["equal_pixels"] == 50
    assert (result["miou_keras"], result["miou"]) == (100, 50)  # both classes: 1 of 2 pixels
    assert result["miou_drop"] == 50
    faults = violations(result, Bounds(max_abs_logits=0.4, equal_pixels=60, miou_drop=49))
    assert [fault.split()[0] for fault in faults] == ["max_abs_logits", "miou_drop", "equal_pixels"]
    assert violations(result, Bounds(max_abs_logits=0.5, equal_pixels=50, miou_drop=50)) == []


def test_nan_is_out_of_bounds():
    agreement = Agreement(2)
    reference = {"logits": np.zeros((1, 1, 1, 2)), "class_map": np.zeros((1, 1, 1))}
    ours = {"logits": np.full((1, 1, 1, 2), np.nan), "class_map": np.zeros((1, 1, 1))}
    agreement.update(ours, reference, None)
    assert violations(agreement.result(), parity.EXACT)


# ---- packages --------------------------------------------------------------------------------


@pytest.fixture
def package(bundle, tmp_path):
    return shutil.copytree(bundle[0] / "weights" / NAME, tmp_path / "package")


def test_a_package_is_the_model(run, package):
    model, metadata = load_package(package)
    images = tf.random.stateless_uniform((1, 70, 90, 3), [0, 1]) * 255
    expected = load_run(run.path)[0](images)["segmentation_logits"]
    np.testing.assert_array_equal(model(images)["segmentation_logits"], expected)
    assert metadata.name == NAME


@pytest.mark.parametrize("name", ["config.yaml", "metadata.json", "model.weights.h5", "SHA256SUMS"])
def test_a_changed_byte_is_refused(package, name):
    content = bytearray((package / name).read_bytes())
    content[len(content) // 2] ^= 1
    (package / name).write_bytes(content)
    with pytest.raises(WeightsError, match="was changed|is missing|is not listed"):
        load_package(package)


def test_a_list_of_sums_that_is_no_text(package):
    (package / SUMS).write_bytes(b"\xff")
    with pytest.raises(WeightsError, match="SHA256SUMS: cannot be read"):
        load_package(package)


def test_other_files_are_refused(package):
    (package / "extra.py").write_text("print()")
    with pytest.raises(WeightsError, match=r"extra.py: is not listed there"):
        load_package(package)
    (package / "extra.py").unlink()
    (package / "metadata.json").unlink()
    with pytest.raises(WeightsError, match=r"metadata.json: is missing"):
        load_package(package)
    (package / "SHA256SUMS").unlink()
    with pytest.raises(WeightsError, match=r"SHA256SUMS: cannot be read"):
        load_package(package)


def test_weights_that_point_elsewhere_are_refused(package, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.zeros(3)
    with h5py.File(package / "model.weights.h5", "a") as file:
        file["link"] = h5py.ExternalLink(str(secret), "x")
    write_sums(package)
    with pytest.raises(WeightsError, match=r"/link: points to another file"):
        load_package(package)


def test_weights_of_another_network_are_refused(package):
    config = yaml.safe_load((package / "config.yaml").read_text())
    config["heads"]["embedding_dim"] = 32
    (package / "config.yaml").write_text(yaml.safe_dump(config))
    write_sums(package)
    with pytest.raises(WeightsError, match=r"model.weights.h5: does not fit config.yaml"):
        load_package(package)


# ---- bad input -------------------------------------------------------------------------------


def fails(capsys, *arguments):
    """The one message of a command that refuses its arguments."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    assert stopped.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    return line


def test_bad_arguments_are_one_message(run, tmp_path, capsys):
    given = ["--run", str(run.path), "--output", str(tmp_path / "out")]
    assert "known: saved_model, onnx, litert, weights" in fails(capsys, *given, "--format", "pb")
    assert "--max-pixels -1" in fails(capsys, *given, "--max-pixels", "-1")
    for name in ("a b", "2024", "cats_", "c" * 64):
        assert f"name {name!r}: allowed" in fails(capsys, *given, f"--name={name}")
    with pytest.raises(SystemExit):
        main([*given, "--images", "0"])
    assert "--images: 0: allowed: 1 or more" in capsys.readouterr().err
    assert "not the folder of a run" in fails(
        capsys, "--run", str(tmp_path), "--output", str(tmp_path / "out")
    )
    assert "best.weights.h5: no such checkpoint" in fails(capsys, *given, "--checkpoint", "best")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").write_text("a file")
    assert "out: cannot be written" in fails(capsys, *given)


def test_a_run_without_its_classes(run, tmp_path):
    copy = shutil.copytree(run.path, tmp_path / "run")
    (copy / "classes.txt").unlink()
    with pytest.raises(WeightsError, match=r"classes.txt: cannot be read .* write the names"):
        export_run(copy, tmp_path / "out")


def test_open_model_wants_an_exported_file(tmp_path):
    with pytest.raises(WeightsError, match=r"model.pb: no SavedModel folder"):
        open_model(tmp_path / "model.pb")


def test_a_size_that_no_network_takes(run, tmp_path):
    with pytest.raises(ConfigError, match=r"size 0 320: allowed: sides of 64 or more"):
        export_run(run.path, tmp_path / "out", ["onnx"], size=(0, 320))
