"""Reading tensors from weight files of other frameworks, without running any code in them."""

import io
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_wsss.errors import WeightsError

STORAGE_TYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_state_dict(path):
    """Reads a weight file into ``{name: array}``.

    ``.pth``, ``.pt`` and ``.bin`` files (PyTorch's zip format and the older one) are pickles,
    which can run any program when loaded carelessly. Here only tensors, numbers, strings and
    dictionaries of them are admitted; PyTorch is not needed. ``.npz`` files may not hold objects.

    Args:
        path: file ending in ``.pth``, ``.pt``, ``.bin``, ``.safetensors`` or ``.npz``.

    Returns:
        Dict of NumPy arrays under the names of the file.

    Raises:
        WeightsError: the file is missing, of another kind, damaged, or holds more than tensors.

    Example:

    >>> np.savez("weights.npz", **{"patch_embed1.proj.weight": np.zeros((64, 3, 7, 7))})
    >>> read_state_dict("weights.npz")["patch_embed1.proj.weight"].shape
    (64, 3, 7, 7)
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such weight file; put it there, or set `backbone.weights` to another file "
            "or to none (random weights)."
        )
    readers = {
        ".pth": _read_pytorch,
        ".pt": _read_pytorch,
        ".bin": _read_pytorch,
        ".npz": _read_npz,
        ".safetensors": _read_safetensors,
    }
    if path.suffix not in readers:
        raise WeightsError(
            f"{path}: weight files end in {', '.join(readers)}. Convert the file or rename it."
        )
    try:
        return readers[path.suffix](path)
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(f"{path}: not a readable weight file ({error}).") from error


def _read_npz(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read_safetensors(path):
    from safetensors.numpy import load_file

    return load_file(path)


@dataclass
class _Storage:
    dtype: np.dtype
    size: int
    values: np.ndarray | None = None


@dataclass
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple

    def array(self):
        steps = zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((size - 1) * stride for size, stride in steps)
        empty = 0 in self.shape
        if min((self.offset, *self.shape, *self.strides)) < 0 or not (
            empty or last < self.storage.values.size
        ):
            raise WeightsError("a tensor reaches outside its storage")
        if empty:
            return np.zeros(self.shape, self.storage.dtype)
        values = self.storage.values[self.offset :]
        strides = [stride * values.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(values, self.shape, strides).copy()


def _rebuild_tensor(storage, offset, shape, strides, *_):
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor, *_):
    return tensor


class _TensorUnpickler(pickle.Unpickler):
    """Admits the few names that a PyTorch state dict needs; all are replaced by our own."""

    ALLOWED = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        **{("torch", name): np.dtype(dtype) for name, dtype in STORAGE_TYPES.items()},
    }

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise WeightsError(
                f"holds the object `{module}.{name}`; only tensors are admitted. Save the plain "
                "state dict, or convert the file to .safetensors."
            )
        return self.ALLOWED[module, name]

    def persistent_load(self, identifier):
        kind, dtype, key, _, size, *view = identifier
        if kind != "storage" or any(part is not None for part in view):
            raise WeightsError("holds something else than plain tensor storages")
        return self.storages.setdefault(key, _Storage(dtype, size))


def _read_pytorch(path):
    try:
        read = _read_zip if zipfile.is_zipfile(path) else _read_legacy
        return _flatten(read(path))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _read_zip(path):
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(names) != 1:
            raise WeightsError("not a PyTorch file: it does not hold one data.pkl")
        root = names[0][: -len("data.pkl")]
        unpickler = _TensorUnpickler(io.BytesIO(archive.read(names[0])))
        content = unpickler.load()
        for key, storage in unpickler.storages.items():
            storage.values = np.frombuffer(archive.read(f"{root}data/{key}"), storage.dtype)
    return content


def _read_legacy(path):
    """Format before PyTorch 1.6: pickles in a row, then the storages one after the other."""
    with open(path, "rb") as file:
        if _TensorUnpickler(file).load() != LEGACY_MAGIC:
            raise WeightsError("not a PyTorch file")
        for _ in ("protocol version", "machine"):
            _TensorUnpickler(file).load()
        unpickler = _TensorUnpickler(file)
        content = unpickler.load()
        for key in _TensorUnpickler(file).load():
            storage = unpickler.storages[key]
            size = int(np.frombuffer(file.read(8), np.int64)[0])
            storage.values = np.frombuffer(file.read(size * storage.dtype.itemsize), storage.dtype)
    return content


def _flatten(content):
    """The state dict itself, which some files wrap beside an optimiser's or a step count."""
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise WeightsError(f"holds a {type(content).__name__}, not a state dict")
    tensors = {k: v.array() for k, v in content.items() if isinstance(v, _Tensor)}
    if not tensors:
        raise WeightsError("holds no tensors")
    return tensors


def assign_state_dict(variables, state, source="the given weights"):
    """Assigns PyTorch arrays to Keras variables of the same names, all or none.

    Layouts are transposed by rule: convolution kernels (out, in, h, w) -> (h, w, in, out),
    depthwise ones (c, 1, h, w) -> (h, w, c, 1), dense ones (out, in) -> (in, out), and 1x1
    convolutions that are dense layers here lose their two unit axes.

    Args:
        variables: dict name -> Keras variable, as ``reference_variables()`` gives it.
        state: dict name -> array in PyTorch's layout; ``num_batches_tracked`` is passed over.
        source: str, what to call the weights in an error message.

    Raises:
        WeightsError: lists all names that are missing, left over or of another shape.

    Example:

    >>> layer = keras.layers.Dense(2)
    >>> layer.build((None, 3))
    >>> names = {"fc.weight": layer.kernel, "fc.bias": layer.bias}
    >>> assign_state_dict(names, {"fc.weight": np.ones((2, 3)), "fc.bias": np.zeros(2)})
    >>> layer.kernel.numpy().shape
    (3, 2)
    """
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    arrays, misshaped = {}, []
    for name in variables.keys() & state.keys():
        array = np.asarray(state[name], np.float32)
        arrays[name] = _to_keras_layout(array, tuple(variables[name].shape))
        if arrays[name] is None:
            expected = tuple(variables[name].shape)
            misshaped.append(f"{name} {array.shape} does not fit {expected}")
    problems = {
        "missing": sorted(variables.keys() - state.keys()),
        "not part of the network": sorted(state.keys() - variables.keys()),
        "of another shape": sorted(misshaped),
    }
    if any(problems.values()):
        lists = "; ".join(f"{k}: {', '.join(v)}" for k, v in problems.items() if v)
        raise WeightsError(f"{source} do not fit the network. {lists}")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _to_keras_layout(array, shape):
    """``array`` transposed from PyTorch's layout, or None if it does not have that shape then."""
    if array.ndim == 4:
        depthwise = array.shape[1] == 1 and shape[-1] == 1
        array = array.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
        if array.shape[:2] == (1, 1) and len(shape) == 2:
            array = array[0, 0]
    elif array.ndim == 2:
        array = array.T
    return array if array.shape == shape else None
