"""Files that lie, for the readers of weights: each is refused with one message, or read.

``READERS`` is the list of what is tried; see ``benchmarks.hostile``.
"""

import functools
import io
import json
import os
import pickle
import shutil
import struct
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import safetensors.numpy

from keras_wsss.backbones import build_backbone, load_weights
from keras_wsss.checksums import write_sums
from keras_wsss.config import load_config
from keras_wsss.errors import WSSSError
from keras_wsss.inference import load
from keras_wsss.inference.checkpoint_file import DIGEST, STATE, _digest
from keras_wsss.inference.checkpoints import save_checkpoint, taken_from
from keras_wsss.methods import new_model
from keras_wsss.run_folder import RunDirectory

NUMBERS = (0, 1, -1, 2, 7, 255, 256, 2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 10**30)
VALUES = (None, True, [], {}, "", "x", 1.5, -1, 2**70, [[]], {"a": []}, "é\n", "../..", [1] * 50)
TEXTS = ("", "os", "a\nb", "../../etc/passwd", "é", "x" * 5000, "\0", "weight", "{}")
TIME_LIMIT = 30  # seconds
FIRST = "patch_embed1.proj.weight"  # a name of the network


# ---- what all files can suffer -----------------------------------------------------------------


def spoiled(draw, path):
    """Cuts a file off, turns bits in it, or puts something else in its place."""
    content = bytearray(path.read_bytes())
    way = draw.choice(("flip", "flip", "flip", "cut", "zeros", "grown", "fifo", "folder", "link"))
    if way == "flip":
        for _ in range(draw.choice((1, 1, 3, 30))):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif way == "cut":
        del content[draw.randrange(len(content)) :]
    elif way == "zeros":
        start = draw.randrange(len(content))
        content[start : start + 1000] = bytes(len(content[start : start + 1000]))
    elif way == "grown":
        content += draw.randbytes(draw.randrange(2000))
    path.unlink()
    if way == "fifo":
        os.mkfifo(path)
    elif way == "folder":
        path.mkdir()
    elif way == "link":
        path.symlink_to(draw.choice(("/dev/zero", "/nowhere", "/etc", path.name, "/proc/self/mem")))
    else:
        path.write_bytes(content)


def mangled(draw, content):
    """A JSON value of which one part is another one, is gone, or holds too much."""
    content = json.loads(json.dumps(content))
    place, parents = content, []
    while isinstance(place, dict | list) and place and (not parents or draw.random() < 0.6):
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        parents.append((place, key))
        place = place[key]
    if not parents:
        return draw.choice(VALUES)
    place, key = parents[-1]
    if draw.random() < 0.25:
        del place[key]
    else:
        place[key] = draw.choice((*VALUES, *NUMBERS, *TEXTS, float("nan"), ["a"] * 10_000))
    return content


def text_of(draw, content):
    """A mangled value as JSON, or what is none."""
    way = draw.random()
    if way < 0.85:
        return json.dumps(mangled(draw, content)).encode()
    depth = draw.choice((10, 200, 100_000))
    return draw.choice(
        (b"", b"\xff\xfe{}", b"[" * depth, b'{"a":' * depth, b"[1, 2", b"1" * 5000, b"null", b"\0")
    )


# ---- weight files ------------------------------------------------------------------------------


@functools.cache
def backbone():
    """The network that weights are loaded into."""
    return build_backbone("mit_tiny")


@functools.cache
def fitting():
    """A state dict that it takes."""
    state = {}
    for name, variable in backbone().reference_variables().items():
        values = np.zeros(variable.shape, np.float32)
        if values.ndim == 4:
            values = values.transpose((2, 3, 0, 1) if values.shape[-1] == 1 else (3, 2, 0, 1))
        state[name] = np.ascontiguousarray(values.T if values.ndim == 2 else values)
    return state


def few(draw):
    """Part of such a state dict, perhaps with values that are none."""
    state = dict(fitting())
    if draw.random() < 0.5:
        state = {name: state[name] for name in draw.sample(sorted(state), draw.randint(1, 5))}
    name = draw.choice(sorted(state))
    odd = draw.choice(("nothing", "nan", "shape", "kind", "name", "scalar"))
    if odd == "nan":
        state[name] = np.full_like(state[name], draw.choice((np.nan, np.inf)))
    elif odd == "shape":
        state[name] = np.zeros(draw.choices((0, 1, 2, 3, 64), k=draw.randint(0, 6)), np.float32)
    elif odd == "kind":
        state[name] = state[name].astype(draw.choice((np.float16, np.int8, np.uint64, np.bool_)))
    elif odd == "name":
        state[draw.choice((*TEXTS, "patch_embeddings.0.proj.weight", "decode_head.x"))] = np.ones(3)
    elif odd == "scalar":
        state["block.0.0.attention.self.key.weight"] = np.ones(())
        state["patch_embeddings.0.block.0.0.attention.self.value.weight"] = np.ones(3)
    return state


def _name(module, name):
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def _text(text):
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _number(number):
    size = (number.bit_length() // 8) + 1
    return b"\x8a" + bytes([size]) + number.to_bytes(size, "little", signed=True)


def _tuple(*parts):
    return b"(" + b"".join(parts) + b"t"


def tensor(draw, key="0"):
    """A tensor of PyTorch as a pickle, of which some number is none."""
    shape, stride, offset = [2, 5], [5, 1], 0
    for _ in range(draw.randint(0, 2)):
        target = draw.choice((shape, stride))
        target[draw.randrange(len(target))] = draw.choice(NUMBERS)
    if draw.random() < 0.2:
        offset = draw.choice(NUMBERS)
    kind = draw.choice(("FloatStorage",) * 4 + ("LongStorage", "BoolStorage", "Nonsense"))
    storage = (_text("storage"), _name("torch", kind), _text(key), _text("cpu"), _number(10))
    if draw.random() < 0.1:
        storage = storage[: draw.randrange(5)]
    arguments = (
        *(_tuple(*storage) + b"Q", _number(offset)),
        *(_tuple(*map(_number, numbers)) for numbers in (shape, stride)),
        *(b"\x89", b"}"),
    )
    return _name("torch._utils", "_rebuild_tensor_v2") + _tuple(*arguments) + b"R"


def program(draw):
    """A pickle that does what a state dict does not."""
    function = _name("torch._utils", "_rebuild_tensor_v2")
    poison = b"}" + _text("__doc__") + _text("poison") + b"s"
    return draw.choice(
        (
            _name("os", "system") + _tuple(_text("false")) + b"R",
            _name("builtins", "eval") + _tuple(_text("1 / 0")) + b"R",
            _text("os") + _text("system") + b"\x93" + _tuple(_text("false")) + b"R",
            b"(" + _text("false") + b"ios\nsystem\n",
            _name("torch", "FloatStorage.__class__"),
            function + _tuple(b"N", poison) + b"b",
            _name("collections", "OrderedDict") + _tuple(b"N", poison) + b"b",
            _name("torch", "FloatStorage") + _tuple(_number(3), _text(">"), b"N") + b"b",
            _name("collections", "OrderedDict") + _tuple(_tuple(_tuple(_number(1)))) + b"R",
            b"\x82\x01",
            b"Nr" + struct.pack("<I", 2**28),
            b"(" * 100_000 + b"t" * 100_000,
            b"N" + b"\x85" * 100_000,
            b"}N" + b"\x85" * 100_000 + b"Ns",
            b"}" * 100_000,
            b"]" + b"q\0h\0a" * 1000,
            b"}q\0" + _text("state_dict") + b"h\0s",
            b"\x96" + struct.pack("<Q", 2**62),
            b"\x8e" + struct.pack("<Q", 2**62),
            b"\x8d" + struct.pack("<Q", 2**40),
            b"\x8b" + struct.pack("<i", 2**31 - 1),
            b"h\x07",
            b"I" + b"9" * 10_000 + b"\n",
            b"}" + b"".join(_number(k * (2**61 - 1)) + b"Ns" for k in range(20_000)),
        )
    )


def pytorch(draw, folder):
    """Both formats of PyTorch: tensors that lie, programs, zip files that unfold."""
    path, key = folder / draw.choice(("a.pth", "a.pt", "a.bin")), draw.choice(("0", "0", "../9"))
    if draw.random() < 0.7:
        names = [FIRST, *draw.choices((*TEXTS, "state_dict"), k=draw.randint(0, 3))]
        pairs = b"".join(_text(name) + tensor(draw, key) + b"s" for name in names)
        if draw.random() < 0.2:
            pairs += draw.choice((_number(3), b"N", b"\x88", b"]")) + tensor(draw) + b"s"
        content = b"}" + pairs
    else:
        content = program(draw)
    content = b"\x80\x02" + content + b"." * (draw.random() < 0.95)
    floats = np.arange(10, dtype=np.float32).tobytes()[: draw.choice((40, 40, 39, 0))]
    if draw.random() < 0.3:
        heads = [pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {})]
        tail = pickle.dumps(["0"], 2) + struct.pack("<q", draw.choice((10, 10, *NUMBERS[:10])))
        path.write_bytes(b"".join(heads) + content + tail + floats)
    else:
        packing = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
        with zipfile.ZipFile(path, "w", packing) as archive:
            archive.writestr("a/data.pkl", content)
            archive.writestr("a/data/0", floats if draw.random() < 0.97 else bytes(2**27))
            if draw.random() < 0.05:
                archive.writestr("b/data.pkl", b"")
    if draw.random() < 0.4:
        spoiled(draw, path)
    load_weights(backbone(), str(path))


def npz(draw, folder):
    """Archives of NumPy: objects, headers that lie, what is no number."""
    path = folder / "a.npz"
    way = draw.random()
    if way < 0.4:
        np.savez(path, **{name.replace("\0", "0"): array for name, array in few(draw).items()})
    elif way < 0.6:
        kinds = ("O", "U3", "S3", "c8", "M8[D]", "m8[s]", "V4", [("a", "f4")])
        odd = np.zeros(draw.choice(((), (3,), (64, 3, 7, 7))), draw.choice(kinds))
        np.savez_compressed(path, **{FIRST: odd})
    else:
        shape = tuple(draw.choices(NUMBERS, k=draw.randint(0, 4)))
        kind = draw.choice(("<f4", "|O", "<f8", "|V0", "nonsense", "<U1000000000", "|b1"))
        head = draw.choice(
            (
                f"{{'descr':'{kind}','fortran_order':{draw.choice(VALUES)!r},'shape':{shape}}}",
                f"{{'descr':'{kind}','fortran_order':False,'shape':{shape}}}",
                "__import__('os').system('false')",
                "(" * 5000,
                "[" + "9" * 5000 + "]",
            )
        )
        version = draw.choice((b"\1\0", b"\1\0", b"\3\0", b"\7\7"))
        data = b"\x93NUMPY" + version + struct.pack("<H", len(head)) + head.encode() + bytes(40)
        packing = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
        with zipfile.ZipFile(path, "w", packing) as archive:
            archive.writestr(f"{FIRST}.npy", data + bytes(2**27) * (draw.random() < 0.02))
    if draw.random() < 0.4:
        spoiled(draw, path)
    load_weights(backbone(), str(path))


def safetensors_file(draw, folder):
    """Headers of safetensors that lie."""
    path = folder / "a.safetensors"
    state = few(draw)
    content = safetensors.numpy.save({name: array for name, array in state.items()})
    (size,) = struct.unpack("<Q", content[:8])
    if draw.random() < 0.6:
        header = text_of(draw, json.loads(content[8 : 8 + size]))
        length = draw.choice((len(header),) * 5 + NUMBERS[:8])
        content = struct.pack("<q", length) + header + content[8 + size :]
    path.write_bytes(content)
    if draw.random() < 0.4:
        spoiled(draw, path)
    load_weights(backbone(), str(path))


# ---- runs and packages -------------------------------------------------------------------------


@functools.cache
def whole():
    """A small run and its model as a preset, which every input is a copy of."""
    folder = Path(tempfile.mkdtemp())
    overrides = ["backbone.name=mit_tiny", "backbone.weights=none", "heads.embedding_dim=8"]
    config, run = load_config("shapes_supervised", overrides), RunDirectory(folder / "run")
    model = new_model(config, ("circle", "square"))
    model.build()
    run.write_config(config)
    run.classes_file.write_text("circle\nsquare\n")
    save_checkpoint(run, "last", *taken_from(model, step=8, best=12.5, data={}))
    model.save_to_preset(folder / "preset")
    return folder


def checkpoint(draw, folder):
    """A run whose checkpoint has a right sum and a wrong content, or odd files beside it."""
    run = RunDirectory(shutil.copytree(whole() / "run", folder / "run"))
    path = run.checkpoint("last")
    way = draw.choice(("state", "state", "arrays", "classes", "spoiled", "config"))
    with safetensors.safe_open(path, "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        told = file.metadata()[STATE]
    if way in ("state", "arrays"):
        if way == "state":
            told = text_of(draw, json.loads(told)).decode("latin-1")
        else:
            name = draw.choice(sorted(arrays))
            arrays[name] = draw.choice(
                (
                    np.full_like(arrays[name], np.nan, np.float32),
                    np.zeros((), np.float32),
                    arrays[name].astype(np.float64),
                    np.zeros((0, 2**40), np.int8),
                    arrays[name][None],
                )
            )
            if draw.random() < 0.3:
                arrays[draw.choice(TEXTS)] = arrays.pop(name)
        metadata = {STATE: told, DIGEST: _digest(arrays, told)}
        path.write_bytes(safetensors.numpy.save(arrays, metadata))
    elif way == "classes":
        names = draw.choice((b"", b"caf\xe9\n", b"\n", b"a\na\n", b"a\n" * 10**6, b"\0\n", b"a"))
        run.classes_file.write_bytes(names)
        if draw.random() < 0.3:
            spoiled(draw, run.classes_file) if names else run.classes_file.unlink()
    elif way == "config":
        text = run.config_file.read_text()
        width = draw.choice((10**5, 10**8, 10**12, -1, "a", "[1]"))
        text = text.replace("embedding_dim: 8", f"embedding_dim: {width}")
        run.config_file.write_text(text + draw.choice(("", "2020-01-01: 3\n", "a: &a [*a]\n")))
        if draw.random() < 0.3:
            spoiled(draw, run.config_file)
    else:
        spoiled(draw, path)
    load(run.path)


def package(draw, folder):
    """A preset from elsewhere: its sums are right, all else may be wrong."""
    path = shutil.copytree(whole() / "preset", folder / "preset")
    settings, weights, sums = (path / x for x in ("model.json", "model.weights.h5", "SHA256SUMS"))
    way = draw.choice(
        ("settings", "settings", "width", "hdf5", "hdf5", "spoiled", "beside", "sums")
    )
    content = json.loads(settings.read_bytes())
    if way == "settings":
        settings.write_bytes(text_of(draw, content))
    elif way == "width":
        content["heads"]["embedding_dim"] = draw.choice((10**5, 10**8, 2**62))
        settings.write_text(json.dumps(content))
    elif way == "hdf5":
        with h5py.File(weights, "a") as file:
            hdf5(draw, file, folder)
    elif way == "spoiled":
        spoiled(draw, draw.choice((settings, weights)))
    elif way == "beside":
        other = path / draw.choice(("x", ".x", "metadata.json"))
        other.write_text("x")
        spoiled(draw, other)
    try:
        write_sums(path)
    except (WSSSError, OSError):
        pass
    if way == "sums":
        sums.write_bytes(
            draw.choice(
                (b"", b"\xff", b"x\n" * 1000, b"0" * 64 + b"  ../../etc/passwd\n", b"a  \x1b[1m\n")
            )
        )
        if draw.random() < 0.3:
            spoiled(draw, settings)
    load(path)


def hdf5(draw, file, folder):
    """Puts into a file of HDF5 what Keras never writes."""
    names = []
    file.visititems(lambda name, x: names.append(name) if isinstance(x, h5py.Dataset) else None)
    name = draw.choice(names)
    shape = file[name].shape
    way = draw.randrange(11)
    if way == 0:
        file["loop"] = file["/"]
        return
    if way == 1:
        group = file
        for _ in range(draw.choice((10, 100, 1000))):
            group = group.create_group("g")
        return
    if way == 2:
        file["0a"] = file["0b"] = file[names[0].split("/")[0]]
        for level in range(1, 25):
            for twice in "ab":
                file[f"{level}{twice}"] = file[f"{level - 1}a"]
        return
    if way == 3:
        file[name][...] = draw.choice((np.nan, np.inf))
        return
    del file[name]
    if way == 4:
        file.create_dataset(name, (1024, 2**20), np.float32, chunks=(64, 64), compression="gzip")
    elif way == 5:
        file.create_dataset(name, (2**20, 2**18), np.float32)
    elif way == 6:
        file.create_dataset(name, data=np.zeros(shape, draw.choice(("f8", "c8", "i1", "f2"))))
    elif way == 7:
        file[name] = draw.choice(("text", ["a", "b"], np.zeros((0, 3)), np.zeros((1, 2))))
    elif way == 8:
        file[name] = h5py.SoftLink(draw.choice(("/", "/nowhere", f"/{names[0]}", f"/{name}")))
    elif way == 9:
        file[name] = h5py.ExternalLink(str(whole() / "preset" / "model.weights.h5"), name)
    else:
        size = int(np.prod(shape)) * 4
        file.create_dataset(name, shape, np.float32, external=[("/etc/passwd", 0, size)])


def keras_file(draw, folder):
    """A ``.keras`` file whose settings or weights are other ones, or which unfolds."""
    path = folder / "model.keras"
    if not (source := whole() / "model.keras").exists():
        load(whole() / "preset").save(source)
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    way = draw.choice(("config", "weights", "bomb", "spoiled"))
    if way == "config":
        config = json.loads(entries["config.json"])
        entries["config.json"] = text_of(draw, config)
    elif way == "weights":
        hidden = folder / "weights.h5"
        hidden.write_bytes(entries["model.weights.h5"])
        with h5py.File(hidden, "a") as file:
            hdf5(draw, file, folder)
        entries["model.weights.h5"] = hidden.read_bytes()
    elif way == "bomb" and draw.random() < 0.1:
        entries["assets/x"] = bytes(2**27)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    path.write_bytes(file.getvalue())
    if way == "spoiled":
        spoiled(draw, path)
    load(path)


READERS = {
    "pytorch": pytorch,
    "npz": npz,
    "safetensors": safetensors_file,
    "checkpoint": checkpoint,
    "package": package,
    "keras_file": keras_file,
}
