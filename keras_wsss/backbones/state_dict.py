"""Reading tensors from weight files of other frameworks, without running any code in them."""

import io
import zipfile
from pathlib import Path

import numpy as np

from keras_wsss.backbones.torch_pickle import Tensor, read_pickle
from keras_wsss.errors import WeightsError, one_line
from keras_wsss.limits import check_archive, check_unfolded, read_entry

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
WRAPPERS = ("state_dict", "model_state_dict", "model")
MOST_NAMED = 20  # tensors in a message


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
    except WeightsError as error:
        text = str(error)
        raise WeightsError(text if text.startswith(f"{path}:") else f"{path}: {text}") from error
    except Exception as error:
        raise WeightsError(
            f"{path}: not a readable weight file ({one_line(error):.300})."
        ) from error


def _read_npz(path):
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, path)
        for name in archive.namelist():
            if name.endswith(".npy"):
                arrays[name.removesuffix(".npy")] = _npy(read_entry(archive, name), name)
    return arrays


def _npy(data, name):
    """An array of numbers; its header cannot ask for more than there is."""
    file = io.BytesIO(data)
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, by_columns, dtype = headers[np.lib.format.read_magic(file)](file)
    if dtype.kind not in "fiub":
        raise WeightsError(f"{name!r:.100} holds {dtype}; only numbers are admitted")
    values = np.frombuffer(data, dtype, offset=file.tell())
    return values.reshape(shape, order="F" if by_columns else "C").copy()


def _read_safetensors(path):
    from safetensors.numpy import load_file

    return load_file(path)


def _read_pytorch(path):
    read = _read_zip if zipfile.is_zipfile(path) else _read_legacy
    return _flatten(read(path), path)


def _read_zip(path):
    storages = {}
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, path)
        names = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(names) != 1:
            raise WeightsError("not a PyTorch file: it does not hold one data.pkl")
        root = names[0][: -len("data.pkl")]
        content = read_pickle(io.BytesIO(read_entry(archive, names[0])), storages)
        for key, storage in storages.items():
            storage.values = np.frombuffer(read_entry(archive, f"{root}data/{key}"), storage.dtype)
    return content


def _read_legacy(path):
    """Format before PyTorch 1.6: pickles in a row, then the storages one after the other."""
    storages, file = {}, io.BytesIO(path.read_bytes())
    if read_pickle(file, {}) != LEGACY_MAGIC:
        raise WeightsError("not a PyTorch file")
    for _ in ("protocol version", "machine"):
        read_pickle(file, {})
    content = read_pickle(file, storages)
    for key in read_pickle(file, {}):
        storage = storages[key]
        size = int(np.frombuffer(file.read(8), np.int64)[0])
        storage.values = np.frombuffer(file.read(size * storage.dtype.itemsize), storage.dtype)
    return content


def _flatten(content, path):
    """The state dict itself, which some files wrap beside an optimiser's or a step count."""
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise WeightsError(f"holds a {type(content).__name__}, not a state dict")
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError("holds no tensors")
    if unnamed := [key for key in tensors if not isinstance(key, str)]:
        raise WeightsError(f"names a tensor {unnamed[0]}; names are text")
    check_unfolded(path, sum(tensor.nbytes for tensor in tensors.values()))
    return {name: tensor.array() for name, tensor in tensors.items()}


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
        WeightsError: lists the names that are missing, left over, of another shape or not finite.

    Example:

    >>> layer = keras.layers.Dense(2)
    >>> layer.build((None, 3))
    >>> names = {"fc.weight": layer.kernel, "fc.bias": layer.bias}
    >>> assign_state_dict(names, {"fc.weight": np.ones((2, 3)), "fc.bias": np.zeros(2)})
    >>> layer.kernel.numpy().shape
    (3, 2)
    """
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    arrays, misshaped, no_numbers = {}, [], []
    for name in variables.keys() & state.keys():
        array, expected = np.asarray(state[name]), tuple(variables[name].shape)
        fitting = _to_keras_layout(array, expected)
        if fitting is None:
            misshaped.append(f"{name} {array.shape} does not fit {expected}")
        elif array.dtype.names or array.dtype.kind in "OSUcmM":
            no_numbers.append(name)
        else:
            arrays[name] = fitting.astype(np.float32)
    problems = {
        "missing": variables.keys() - state.keys(),
        "not part of the network": state.keys() - variables.keys(),
        "of another shape": misshaped,
        "no numbers": no_numbers,
        "not finite": [name for name, array in arrays.items() if not np.isfinite(array).all()],
    }
    if any(problems.values()):
        lists = "; ".join(f"{kind}: {_listed(names)}" for kind, names in problems.items() if names)
        raise WeightsError(f"{source} do not fit the network. {lists}")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _listed(names):
    """Names with commas between them, not all where there are thousands."""
    shown = [one_line(f"{name:.200}") for name in sorted(names)[:MOST_NAMED]]
    left = len(names) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "")


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
