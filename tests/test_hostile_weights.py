"""Weights, checkpoints and packages from elsewhere: read, or refused with one line, in bounds."""

import json
import os
import random
import shutil
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import safetensors.numpy

from benchmarks import hostile_weights
from benchmarks.hostile import GOOD, outcome
from benchmarks.hostile_weights import READERS, whole
from keras_wsss import load
from keras_wsss.backbones import build_backbone, load_weights
from keras_wsss.backbones.state_dict import assign_state_dict, read_state_dict
from keras_wsss.checksums import write_sums
from keras_wsss.errors import WeightsError
from keras_wsss.inference.checkpoint_file import DIGEST, STATE, _digest, read_file, write_file
from keras_wsss.inference.checkpoints import load_checkpoint
from keras_wsss.run_folder import RunDirectory, peak_memory_mb

pytestmark = pytest.mark.usefixtures("eager")


@pytest.mark.parametrize("name", READERS)
def test_hostile_files_are_read_or_refused(name, tmp_path):
    """The first of those that `python -m benchmarks.hostile` makes."""
    quick = name in ("pytorch", "npz", "safetensors")
    for number in range(40 if quick else 12):
        verdict, told = outcome(name, number, tmp_path / "one")
        assert verdict in GOOD, f"{name} {number}: {verdict}: {told}"


# ---- weight files ------------------------------------------------------------------------------


def pytorch_file(path, content, floats=bytes(40)):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + content + b".")
        archive.writestr("a/data/0", floats)
    return path


class Fixed(random.Random):
    """Draws the first of everything, so that a tensor is a right one."""

    def random(self):
        return 0.5

    def randint(self, low, high):
        return low

    def choice(self, items):
        return items[0]


TENSOR = hostile_weights.tensor(Fixed())


def repeated(times):
    """A tensor of so many numbers that are all the first of its storage."""
    shape, stride = (hostile_weights._tuple(hostile_weights._number(n)) for n in (times, 0))
    old = [
        hostile_weights._tuple(*map(hostile_weights._number, numbers))
        for numbers in ((2, 5), (5, 1))
    ]
    return TENSOR.replace(old[0], shape).replace(old[1], stride)


def test_a_few_bytes_make_no_gigabytes(tmp_path):
    name, before = hostile_weights._text("w"), peak_memory_mb()
    for times in (500_000_000, 10**12, 2**70):
        path = pytorch_file(tmp_path / "w.pth", b"}" + name + repeated(times) + b"s")
        with pytest.raises(WeightsError, match=r"w\.pth: asks for \d+ bytes of memory and has \d+"):
            read_state_dict(path)
    path = pytorch_file(tmp_path / "w.pth", b"}" + name + repeated(10) + b"s")
    assert read_state_dict(path)["w"].shape == (10,)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"}.")
        archive.writestr("a/data/0", bytes(2**28))
    with pytest.raises(WeightsError, match="asks for 268435458 bytes"):
        read_state_dict(path)
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", bytes(2**28))
    with pytest.raises(WeightsError, match="asks for 268435456 bytes"):
        read_state_dict(tmp_path / "w.npz")
    assert peak_memory_mb() < before + 300  # the two files were packed here


def test_a_pickle_changes_nothing(tmp_path):
    """BUILD sets attributes of what it is given, even of a function of this library."""
    function = b"ctorch._utils\n_rebuild_tensor_v2\n"
    attributes = b"(N}" + hostile_weights._text("__doc__") + hostile_weights._text("x") + b"st"
    path = pytorch_file(tmp_path / "w.pth", function + attributes + b"b")
    with pytest.raises(WeightsError, match=r"w\.pth: holds more than tensors"):
        read_state_dict(path)
    # A state dict has such attributes itself.
    content = b"ccollections\nOrderedDict\n)R" + hostile_weights._text("w") + TENSOR + b"s"
    path = pytorch_file(tmp_path / "w.pth", content + attributes + b"b")
    assert list(read_state_dict(path)) == ["w"]


@pytest.mark.parametrize("content", [b"}N" + b"\x85" * 10**6 + b"Ns", b"}" * (10**6 + 1)])
def test_a_pickle_is_flat_and_short(tmp_path, content):
    """Python's reader ends with a segmentation fault at the first."""
    with pytest.raises(WeightsError, match="by a tuple, not by text|more than 1000000 operations"):
        read_state_dict(pytorch_file(tmp_path / "w.pth", content))


def test_weights_that_are_no_numbers_are_named(tmp_path):
    state = dict(hostile_weights.fitting())
    name = "patch_embed1.proj.weight"
    for value, fault in ((np.nan, "not finite"), (1j, "no numbers")):
        state[name] = np.full(state[name].shape, value)
        with pytest.raises(WeightsError, match=f"do not fit the network. {fault}: {name}$"):
            assign_state_dict(hostile_weights.backbone().reference_variables(), state)
    np.savez(tmp_path / "w.npz", **{f"{number:05}": np.ones(1) for number in range(3000)})
    with pytest.raises(WeightsError, match="00019 and 2980 more$") as caught:
        load_weights(hostile_weights.backbone(), str(tmp_path / "w.npz"))
    assert len(str(caught.value)) < 2000


def test_npz_headers_that_ask_for_more_than_there_is(tmp_path):
    head = b"{'descr':'<f4','fortran_order':False,'shape':(1500000000,)}"
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("w.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head)
    with pytest.raises(WeightsError, match="cannot reshape array of size 0"):
        read_state_dict(tmp_path / "w.npz")


# ---- checkpoints -------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    shutil.copytree(whole() / "run", tmp_path / "run")
    return RunDirectory(tmp_path / "run")


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ("{}", r"\(step: Field required\)"),
        ("[1]", r"\(: Input should be an object\)"),
        ('{"step": "x"}', r"\(step: Input should be a valid integer\)"),
        ('{"step": -1}', r"\(step: Input should be greater than or equal to 0\)"),
        ('{"step": 3, "best": []}', r"\(best: Input should be a valid number\)"),
        ('{"step": 3, "versions": [1]}', r"\(versions: Input should be an object\)"),
        ("[" * 100_000, "Invalid JSON: recursion limit exceeded"),
    ],
)
def test_a_state_that_is_none(run, told, fault):
    path = run.checkpoint("last")
    arrays, _ = read_file(path)
    content = {STATE: told, DIGEST: _digest(arrays, told)}
    path.write_bytes(safetensors.numpy.save(arrays, content))
    with pytest.raises(WeightsError, match=rf"is no checkpoint of this version .*{fault}"):
        load(run.path)


def test_arrays_of_another_kind_or_value_change_nothing(run):
    path = run.checkpoint("last")
    arrays, state = read_file(path)
    model = load(run.path)
    before = model.get_weights()
    for array, fault in (
        (arrays["weights/0003"].astype(np.float64), "another network .its weights are other ones"),
        (np.full_like(arrays["weights/0003"], np.nan), "holds a weight that is not finite"),
    ):
        write_file(path, {**arrays, "weights/0003": array}, state)
        with pytest.raises(WeightsError, match=fault):
            load_checkpoint(model, path)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"caf\xe9\n", "'utf-8' codec can't decode"),
        (b"", "names no class"),
        (b"cat\ncat\n", "names the class 'cat' twice"),
        (b"a" * 11_000_000, r"has 11000000 bytes; at most 10485760 are read"),
        (None, "is no file"),
    ],
)
def test_classes_that_are_none(run, content, fault):
    run.classes_file.unlink()
    run.classes_file.write_bytes(content) if content is not None else os.mkfifo(run.classes_file)
    with pytest.raises(WeightsError, match=rf"classes\.txt: .*{fault}.*; write the names"):
        load(run.path)


def test_a_width_of_a_hundred_million(run):
    text = run.config_file.read_text()
    run.config_file.write_text(text.replace("embedding_dim: 8", "embedding_dim: 100000000"))
    with pytest.raises(WeightsError, match=r"last\.safetensors: is of another network: its setti"):
        load(run.path)


# ---- packages ----------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path):
    return shutil.copytree(whole() / "preset", tmp_path / "preset")


def holds_itself(file):
    file["loop"] = file["/"]


def is_deep(file):
    for _ in range(2000):
        file = file.create_group("g")


def is_packed(file):
    file.create_dataset("x", (1024, 2**20), np.float32, chunks=(64, 64), compression="gzip")


def says_more(file):
    file.create_dataset("x", (2**20, 2**18), np.float32)


def is_text(file):
    file["x"] = "text"


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (holds_itself, "/loop: stands in the file twice"),
        (is_deep, "more than 30 groups in one another"),
        (is_packed, "/x: is no plain array of numbers"),
        (says_more, "/x: is no plain array of numbers"),
        (is_text, "/x: is no plain array of numbers"),
    ],
)
def test_hdf5_that_keras_never_writes(package, spoil, fault):
    with h5py.File(package / "model.weights.h5", "a") as file:
        spoil(file)
    write_sums(package)
    with pytest.raises(WeightsError, match=rf"model\.weights\.h5: .*{fault}"):
        load(package)


def test_a_package_with_weights_that_are_not_finite(package):
    with h5py.File(package / "model.weights.h5", "a") as file:
        names = []
        file.visititems(lambda name, x: names.append(name) if hasattr(x, "nbytes") else None)
        file[names[-1]][...] = np.nan
    write_sums(package)
    with pytest.raises(WeightsError, match=r"model\.weights\.h5: \S+ is not finite"):
        load(package)


@pytest.mark.parametrize("width", [10**8, 2**62])
def test_a_package_that_asks_for_all_memory(package, width):
    settings = json.loads((package / "model.json").read_text())
    settings["heads"]["embedding_dim"] = width
    (package / "model.json").write_text(json.dumps(settings))
    write_sums(package)
    with pytest.raises(WeightsError, match="its settings ask for more weights than it has"):
        load(package)


def test_pipes_and_linked_folders_beside_the_files(package, tmp_path):
    os.mkfifo(package / "x")
    with pytest.raises(WeightsError, match="x: is neither a file nor a folder of its own"):
        load(package)
    (package / "x").unlink()
    (package / "x").symlink_to("/etc")
    with pytest.raises(WeightsError, match="x: is neither a file nor a folder of its own"):
        load(package)
    (package / "x").unlink()
    # Stores with a name for each content link to single files.
    os.rename(package / "model.weights.h5", tmp_path / "blob")
    (package / "model.weights.h5").symlink_to(tmp_path / "blob")
    assert load(package).class_names == ("circle", "square")


def test_no_other_network_is_refused_meanwhile(package):
    """What is built in another thread, or afterwards, is not counted."""
    from keras_wsss.methods.foreign_weights import weights_within

    with weights_within(0, package):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(build_backbone, "mit_b0").result()
        with pytest.raises(WeightsError, match="asks? for more weights"):
            build_backbone("mit_b0")(np.zeros((1, 64, 64, 3)))
