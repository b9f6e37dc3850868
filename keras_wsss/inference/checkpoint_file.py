"""The file of a checkpoint: arrays and a state, in one verified unit."""

import hashlib
import json

import numpy as np
import safetensors
import safetensors.numpy

from keras_wsss.errors import WeightsError

STATE, DIGEST = "state", "sha256"  # keys of the file's metadata


def write_file(path, arrays, state):
    """Writes a checkpoint.

    The file is made in memory, so that a full disk is an ``OSError`` and nothing worse.

    Args:
        path: ``pathlib.Path``.
        arrays: dict of numpy arrays.
        state: what JSON can hold.

    Raises:
        OSError: it cannot be written.
    """
    told = json.dumps(state)
    metadata = {STATE: told, DIGEST: _digest(arrays, told)}
    path.write_bytes(safetensors.numpy.save(arrays, metadata))


def read_file(path):
    """Reads a checkpoint, every bit of which is as it was written.

    Returns:
        Pair of a dict of numpy arrays and the state.

    Raises:
        WeightsError: the file is missing, cut off or changed.
    """
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        told = metadata[STATE]
        whole = metadata[DIGEST] == _digest(arrays, told)
        state = json.loads(told)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such checkpoint; train the run first") from None
    except (OSError, KeyError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path}: is damaged or no checkpoint ({error})") from error
    if not whole:
        raise WeightsError(f"{path}: is damaged: its content has another checksum")
    return arrays, state


def _digest(arrays, state):
    digest = hashlib.sha256(state.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8))
    return digest.hexdigest()
