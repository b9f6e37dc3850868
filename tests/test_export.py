"""A run becomes a bundle: files, comparison, provenance, and packages that can be trusted."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from conftest import tiny_config
from google.protobuf import text_format

import keras_wsss
from keras_wsss.checksums import SUMS, check_sums, sha256, write_sums
from keras_wsss.config import load_run_config
from keras_wsss.errors import ConfigError, ExportError, WeightsError
from keras_wsss.export import comparison, export_run, open_model
from keras_wsss.export.__main__ import main
from keras_wsss.export.comparison import Agreement, Bounds, Exported, performance, violations
from keras_wsss.export.files import version_folders
from keras_wsss.export.metadata import Limits, Metadata
from keras_wsss.export.run_export import _move, describe
from keras_wsss.inference.checkpoints import load_checkpoint, save_checkpoint, taken_from
from keras_wsss.methods import new_model
from keras_wsss.registry import FORMATS, register_format
from keras_wsss.run_folder import RunDirectory

NAME = "shapes_supervised"
SMALL = Limits(working_size=128, max_pixels=300_000)
NAMES = ("circle", "square", "triangle", "star", "ring", "cross")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a run as training leaves it, with random weights.

    Its configuration names files and folders of the machine, none of which is read.
    """
    machine = tmp_path_factory.mktemp("machine")
    paths = {
        "data.root": "photos",
        "data.labels": "photos/labels.json",
        "data.masks": "drawn_by_hand",
        "data.saliency": "saliency",
        "backbone.weights": "encoder.pth",
    }
    overrides = [f"{key}={machine / path}" for key, path in paths.items()]
    config, run = tiny_config(*overrides, config=NAME), RunDirectory(machine / "run")
    run.write_config(config)
    run.classes_file.write_text("".join(f"{name}\n" for name in NAMES))
    model = new_model(config, NAMES)
    model.build()
    save_checkpoint(run, "last", *taken_from(model, step=8, miou=12.5))
    run.write_json(run.summary_file, {"decoder": {"miou": 12.5}})
    return run


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    """Folder of an export in all formats, and its report."""
    output = tmp_path_factory.mktemp("exported")
    return output, export_run(run.path, output, images=3, limits=SMALL, speed=False)


def metadata_of(package):
    return Metadata.model_validate_json((package / "metadata.json").read_text())


# ---- bundle ----------------------------------------------------------------------------------


def test_every_format_is_there_and_equal(bundle):
    output, report = bundle
    kinds = {model["kind"]: model for model in report["models"].values()}
    assert set(kinds) == set(comparison.BOUNDS)
    for kind, model in kinds.items():
        assert model["out_of_bounds"] == [] and model["megabytes"] > 0.05, kind
        assert model["miou_drop"] == pytest.approx(model["miou_keras"] - model["miou"], abs=0.011)
    for kind in ("saved_model", "onnx", "float32"):
        assert kinds[kind]["max_abs_logits"] < 1e-4 and kinds[kind]["equal_pixels"] > 99.99
    assert 1e-4 < kinds["float16"]["max_abs_logits"] < kinds["int8"]["max_abs_logits"]
    assert report == json.loads((output / "comparison.json").read_text())
    assert (output / "comparison.md").read_text().count("\n") == 2 + len(kinds)
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
    assert metadata[1].classes == ("background", *NAMES)
    assert metadata[1].palette[1] == "#800000"
    provenance = metadata[1].provenance
    assert provenance.weights_sha256 == sha256(run.checkpoint("last"))
    assert (provenance.step, provenance.validation_miou) == (8, 12.5)
    supervised = ("supervised", "masks in drawn_by_hand")
    assert (provenance.method, provenance.supervision) == supervised
    assert metadata[1].weights_licence == "that of encoder.pth"


def test_metadata_tell_the_normalisation_of_the_encoder(run, bundle):
    model = keras_wsss.load(run.path)
    metadata = metadata_of(bundle[0] / "weights" / NAME)
    pixels = np.array([[[[12, 130, 255]]]], np.float32)
    expected = np.asarray(model.backbone.preprocess(pixels)).ravel()
    ours = np.array(metadata.scale) * pixels.ravel() + metadata.offset
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_metadata_tell_whether_scores_mean_anything(run):
    config, model = load_run_config(run.path), keras_wsss.load(run.path)
    kept = {"segmentation": config.losses["segmentation"]}
    masks_alone = config.model_copy(update={"losses": kept})
    for each in (config, masks_alone):
        told = describe(NAME, model, run.path, each, "last")
        assert told.scores_trained == (each is config)


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


def test_the_readme_names_what_is_there(bundle):
    text = (bundle[0] / "README.md").read_text()
    named = [
        name for row in re.findall(r"^\| (`.*?) \|", text, re.M) for name in row.split("`")[1::2]
    ]
    assert len(named) > 8
    for name in named:
        assert (bundle[0] / name.replace("VERSION", "1")).exists(), name
    (loader,) = re.findall(r"`weights/`.*`keras_wsss\.(.*)` \|", text)
    assert callable(getattr(keras_wsss, loader))


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
    keras_wsss.load(output / "weights" / NAME)


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


def test_folders_of_several_formats_are_replaced_as_a_whole(tmp_path):
    made, output = tmp_path / "made", tmp_path / "exported"
    for folder in (made, output):
        for kind in ("weights", "web"):
            (folder / kind / "cats").mkdir(parents=True)
            (folder / kind / "cats" / SUMS).write_text(folder.name)
            (folder / kind / "cats" / f"{folder.name}.txt").write_text("")
    _move(made, output)
    for kind in ("weights", "web"):
        assert (output / kind / "cats" / SUMS).read_text() == "made"
        assert not (output / kind / "cats" / "exported.txt").exists()


def test_overrides_change_the_data_and_nothing_else(run, bundle, tmp_path):
    overrides = ["seed=9", "heads.embedding_dim=32", "backbone.weights=x"]
    config = load_run_config(run.path, overrides)
    again = {"images": 1, "limits": SMALL, "speed": False}
    export_run(run.path, tmp_path, ["weights"], config=config, **again)
    ours, others = (folder / "weights" / NAME for folder in (tmp_path, bundle[0]))
    assert metadata_of(ours) == metadata_of(others)
    assert (ours / "model.json").read_bytes() == (others / "model.json").read_bytes()


def test_what_differs_is_not_exported(run, tmp_path, monkeypatch):
    """Nor does it take away what was there."""
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "old.onnx").write_text("old")
    monkeypatch.setitem(comparison.BOUNDS, "onnx", Bounds(max_abs_logits=-1))
    with pytest.raises(ExportError, match=r"shapes_supervised.onnx: max_abs_logits .* > -1"):
        export_run(run.path, tmp_path, ["onnx"], images=1, speed=False)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "comparison.json",
        "comparison.md",
        "old.onnx",
        "onnx",
    ]


def test_speed_and_memory(bundle):
    onnx = bundle[0] / "onnx" / f"{NAME}.onnx"
    measured = performance(Exported("onnx", onnx, size=(64, 96)))
    assert set(measured["latency_ms"]) == {"64x96"}
    assert set(measured["latency_ms"]["64x96"]) == {"1 threads", "2 threads"}
    assert all(value > 0 for value in measured["latency_ms"]["64x96"].values())
    assert 30 < measured["peak_memory_mb"] < 5000


# ---- comparison ------------------------------------------------------------------------------


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
    assert violations(agreement.result(), comparison.EXACT)


# ---- formats of one's own --------------------------------------------------------------------


@pytest.fixture
def own_format():
    """Registers ``toy``, whose file holds how far its logits are off, until the end of the test."""

    def register(off, bounds):
        @register_format("toy")
        def toy(job):
            path = job.folder / f"{job.stem}.toy"
            path.write_text(str(off))

            def opener(path):
                shift = np.float32(path.read_text())

                def read(images):
                    outputs = job.network(tf.cast(images, tf.float32))
                    logits = np.array(outputs["logits"])
                    logits[..., 1] += shift
                    return {**outputs, "logits": logits, "class_map": logits.argmax(-1)}

                return read

            return [Exported("toy", path, job.size, bounds, opener)]

    yield register
    FORMATS.unregister("toy")


def export_toy(run, output):
    # It cannot be timed in a process of its own, which is no reason to fail.
    return export_run(run.path, output, ["toy"], images=2, limits=SMALL, speed=True)


def test_a_format_of_ones_own_is_exported_and_compared(run, tmp_path, own_format):
    own_format(off=0, bounds=comparison.EXACT)
    report = export_toy(run, tmp_path)
    assert list(report["models"]) == [f"{NAME}.toy"]
    model = report["models"][f"{NAME}.toy"]
    assert (model["kind"], model["equal_pixels"], model["out_of_bounds"]) == ("toy", 100, [])
    assert model["max_abs_logits"] <= 1e-4 and model["miou_drop"] == 0
    assert "latency_ms" not in model
    assert (tmp_path / "toy" / f"{NAME}.toy").read_text() == "0"
    assert f"| {NAME}.toy | 0.0 |" in (tmp_path / "comparison.md").read_text()


@pytest.mark.parametrize("bounds", [comparison.EXACT, None])
def test_a_format_of_ones_own_that_is_wrong_is_refused(run, tmp_path, own_format, bounds):
    own_format(off=0.5, bounds=bounds)
    with pytest.raises(ExportError, match=rf"{NAME}.toy: max_abs_logits 0.5 > 0.0001"):
        export_toy(run, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison.json", "comparison.md"]
    report = json.loads((tmp_path / "comparison.json").read_text())
    assert report["models"][f"{NAME}.toy"]["out_of_bounds"]


def test_a_format_of_ones_own_is_judged_by_its_own_bounds(run, tmp_path, own_format):
    own_format(off=0.5, bounds=Bounds(max_abs_logits=0.51))
    assert export_toy(run, tmp_path)["models"][f"{NAME}.toy"]["out_of_bounds"] == []
    own_format(off=100, bounds=Bounds(max_abs_logits=101, equal_pixels=99))
    with pytest.raises(ExportError, match=r"equal_pixels [\d.]+ < 99"):
        export_toy(run, tmp_path / "again")


def test_the_command_knows_registered_formats(run, tmp_path, own_format, capsys):
    own_format(off=0, bounds=None)
    given = ["--run", str(run.path), "--output", str(tmp_path), "--images", "1", "--no-speed"]
    main([*given, "--format", "toy"])
    said = capsys.readouterr().out
    assert f"{NAME}.toy" in said and "next" not in said
    with pytest.raises(ConfigError, match="export format onnx: is one of the library's"):
        register_format("onnx", print)


# ---- what is written says nothing of the machine that trained ---------------------------------


def contents(path):
    """Name and bytes of a file, of all files in a folder, and of what is in archives."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            yield str(file), file.read_bytes()
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                yield from ((f"{file}/{name}", archive.read(name)) for name in archive.namelist())


@pytest.fixture(scope="module")
def saved(run, bundle, tmp_path_factory):
    """Folder with one model in every form that is loaded."""
    folder = tmp_path_factory.mktemp("saved")
    shutil.copytree(run.path, folder / "run")
    shutil.copytree(bundle[0] / "weights" / NAME, folder / "package")
    model = keras_wsss.load(run.path)
    model.save_to_preset(folder / "preset")
    model.save(folder / "model.keras")
    return folder


@pytest.fixture(scope="module")
def in_training(run, tmp_path_factory):
    """A preset and a `.keras` file of a model that is being trained."""
    folder = tmp_path_factory.mktemp("in_training")
    model = keras_wsss.load(run.path)
    model.compile(steps=20)
    model.optimizer.iterations.assign(12)
    model.save_to_preset(folder / "preset")
    model.save(folder / "model.keras")
    return folder


def test_no_path_of_the_machine_that_trained_is_written(run, bundle, saved, in_training):
    machine = run.path.parent
    assert str(machine / "photos").encode() in run.config_file.read_bytes()  # else all is trivial
    found = [
        content
        for folder in (bundle[0], saved, in_training)
        for content in contents(folder)
        if not content[0].startswith(str(saved / "run"))
    ]
    names = [Path(name).name for name, _ in found]
    assert names.count("model.weights.h5") == 6 and names.count("config.json") == 2
    for expected in ("saved_model.pb", f"{NAME}.onnx", f"{NAME}_int8.tflite", "comparison.json"):
        assert expected in names
    # Of the run, of this library and of the Python that ran it.
    for path in (machine, keras_wsss.__path__[0], yaml.__path__[0], Path.cwd()):
        for name, content in found:
            assert str(path).encode() not in content, (name, path)
    for name, content in found:
        if Path(name).name in ("config.json", "model.json"):
            assert b'"weights": "encoder.pth"' in content, name


# ---- one way to load -------------------------------------------------------------------------

PLACES = ("run", "preset", "package", "model.keras")
IMAGES = np.random.default_rng(0).integers(0, 256, (1, 70, 90, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(run):
    """The model of the run, built by hand, and what it says of an image."""
    model = new_model(load_run_config(run.path), NAMES)
    model.build()
    load_checkpoint(model, run.checkpoint("last"))
    return model, model(IMAGES, training=False)


@pytest.fixture
def own_copy(saved, tmp_path):
    """Copies one of the forms, so that a test may damage it."""

    def copied(place):
        source, target = saved / place, tmp_path / place
        return Path((shutil.copytree if source.is_dir() else shutil.copy)(source, target))

    return copied


@pytest.mark.parametrize("place", PLACES)
def test_every_form_is_the_same_model(expected, saved, place):
    model = keras_wsss.load(saved / place)
    wanted, outputs = expected
    assert type(model) is type(wanted) and model.class_names == NAMES
    assert model.settings.losses == wanted.settings.losses
    assert model.settings.heads == wanted.settings.heads and model.square == wanted.square
    assert model.trained_steps == 8
    ours = model(IMAGES, training=False)
    assert list(ours) == list(outputs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], outputs[name], err_msg=name)


def test_every_form_loads_in_a_program_that_imports_nothing_else(saved):
    program = f"""
import keras_wsss
for place in {PLACES}:
    print(type(keras_wsss.load({str(saved)!r} + "/" + place)).__name__)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.split() == ["Supervised"] * 4, result.stderr[-2000:]


@pytest.mark.parametrize("place", ["preset", "model.keras"])
def test_a_model_in_training_knows_its_steps(in_training, place):
    model = keras_wsss.load(in_training / place)
    assert (model.trained_steps, model.steps) == (12, 20)


def test_what_holds_no_model(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere", Path(__file__)):
        with pytest.raises(WeightsError, match="holds no model; it has to be the folder of a run"):
            keras_wsss.load(path)
    with pytest.raises(WeightsError, match=r"none\.keras: cannot be loaded \(.*No such file"):
        keras_wsss.load(tmp_path / "none.keras")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(WeightsError, match=r"other\.keras: holds a Sequential, which is no model"):
        keras_wsss.load(tmp_path / "other.keras")


def change_a_byte(path, place=0.5):
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name",
    [
        *(f"package/{name}" for name in ("model.json", "metadata.json", "model.weights.h5", SUMS)),
        *(f"preset/{name}" for name in ("model.json", "model.weights.h5", SUMS)),
    ],
)
def test_a_changed_byte_is_refused(own_copy, name):
    folder, file = name.split("/")
    package = own_copy(folder)
    change_a_byte(package / file)
    with pytest.raises(WeightsError, match="was changed|is missing|is not listed"):
        keras_wsss.load(package)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.9, 0.9999])
def test_a_changed_byte_of_a_keras_file_is_refused(own_copy, place):
    path = own_copy("model.keras")
    change_a_byte(path, place)
    with pytest.raises(WeightsError, match=r"model\.keras: (\S+ in it was changed|cannot be loa)"):
        keras_wsss.load(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run/config.yaml", "holds no model"),
        ("run/classes.txt", r"classes\.txt: cannot be read .* write the names"),
        ("run/checkpoints/last.safetensors", r"last\.safetensors: no such checkpoint"),
        ("preset/model.json", r"model\.json: is missing"),
        ("preset/model.weights.h5", r"model\.weights\.h5: is missing"),
        ("preset/SHA256SUMS", "SHA256SUMS: cannot be read"),
        ("package/model.json", r"model\.json: is missing"),
        ("package/model.weights.h5", r"model\.weights\.h5: is missing"),
        ("package/metadata.json", r"metadata\.json: is missing"),
        ("package/SHA256SUMS", "SHA256SUMS: cannot be read"),
    ],
)
def test_a_missing_file_is_named(own_copy, name, message):
    place, _, file = name.partition("/")
    folder = own_copy(place)
    (folder / file).unlink()
    with pytest.raises(WeightsError, match=message) as error:
        keras_wsss.load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["run/checkpoints/last.safetensors", "model.keras"])
def test_a_file_that_is_cut_off_is_named(own_copy, name):
    place, _, file = name.partition("/")
    whole = own_copy(place)
    path = whole / file
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=f"{path.name}: (is damaged|cannot be loaded)"):
        keras_wsss.load(whole)


# ---- packages --------------------------------------------------------------------------------


@pytest.fixture
def package(own_copy):
    return own_copy("package")


def test_a_package_is_a_preset_with_metadata(package):
    assert sorted(path.name for path in package.iterdir()) == [
        "SHA256SUMS",
        "metadata.json",
        "model.json",
        "model.weights.h5",
    ]
    check_sums(package)
    settings = json.loads((package / "model.json").read_text())
    assert settings["method"] == "supervised" and settings["classes"] == list(NAMES)
    assert not {"data", "training", "evaluation"} & set(settings)
    assert metadata_of(package).name == NAME


def test_a_list_of_sums_that_is_no_text(package):
    (package / SUMS).write_bytes(b"\xff")
    with pytest.raises(WeightsError, match="SHA256SUMS: cannot be read"):
        keras_wsss.load(package)


def test_other_files_are_refused(package):
    (package / "extra.py").write_text("print()")
    with pytest.raises(WeightsError, match=r"extra.py: is not listed there"):
        keras_wsss.load(package)


def test_weights_that_point_elsewhere_are_refused(package, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.zeros(3)
    with h5py.File(package / "model.weights.h5", "a") as file:
        file["link"] = h5py.ExternalLink(str(secret), "x")
    write_sums(package)
    with pytest.raises(WeightsError, match=r"/link: points to another file"):
        keras_wsss.load(package)


def edit_settings(package, **changes):
    settings = json.loads((package / "model.json").read_text())
    settings = {key: value for key, value in {**settings, **changes}.items() if value is not ...}
    (package / "model.json").write_text(json.dumps(settings))
    write_sums(package)


def test_weights_of_another_network_are_refused(package):
    edit_settings(package, heads={"embedding_dim": 32})
    with pytest.raises(WeightsError, match=r"model.weights.h5: cannot be loaded into this network"):
        keras_wsss.load(package)


# A backbone that would run a program if modules were imported that a file names.
FOREIGN = {"module": "os", "class_name": "system", "config": {"command": "true"}}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"method": ...}, WeightsError, r"model\.json: cannot be read \(method: Field required"),
        ({"method": "tcsd"}, ConfigError, "method 'tcsd': not known.*did you mean tscd"),
        ({"classes": ...}, WeightsError, r"model\.json: cannot be read \(classes: Field required"),
        ({"state": ...}, WeightsError, r"model\.json: cannot be read \(state: Field required"),
        ({"state": {"trained_steps": None}}, WeightsError, r"model\.json: cannot be read"),
        ({"heads": {"embeding_dim": 3}}, ConfigError, "did you mean heads.embedding_dim"),
        ({"backbone": FOREIGN}, WeightsError, r"model\.json: cannot be read \(Could not locate"),
    ],
)
def test_settings_that_are_none(package, changes, error, message):
    edit_settings(package, **changes)
    with pytest.raises(error, match=message):
        keras_wsss.load(package)
    (package / "model.json").write_text("[]")
    write_sums(package)
    with pytest.raises(WeightsError, match=r"model\.json: cannot be read"):
        keras_wsss.load(package)


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
    assert "best.safetensors: no such checkpoint" in fails(capsys, *given, "--checkpoint", "best")
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
