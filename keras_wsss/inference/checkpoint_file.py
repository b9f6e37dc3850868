"""The file of a checkpoint: arrays and a state, in one verified unit."""

import hashlib
import json
from typing import Annotated

import numpy as np
import pydantic
import safetensors
import safetensors.numpy

from keras_wsss.data.text import first_fault
from keras_wsss.errors import WeightsError, one_line

STATE, DIGEST = "state", "sha256"  # keys of the file's metadata


class State(pydantic.BaseModel):
    """What stands beside the arrays.

    Attributes:
        step: optimiser steps so far.
        best: highest mIoU of a validation, percent; below 0: none yet.
        data: what the data held, by part; see :func:`keras_wsss.data.contents.contents`.
        versions: of libraries.
    """

    model_config = pydantic.ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    step: Annotated[int, pydantic.Field(ge=0, lt=2**31)]
    best: float = -1.0
    data: dict[str, str | list[str]] = {}
    versions: dict[str, str] = {}


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
        WeightsError: the file is missing, cut off or changed, or its state is none.
    """
    if not path.is_file():  # a pipe has no end
        raise WeightsError(f"{path}: no such checkpoint; train the run first")
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        told = metadata[STATE]
        whole = metadata[DIGEST] == _digest(arrays, told)
    except (OSError, KeyError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise WeightsError(
            f"{path}: is damaged or no checkpoint ({one_line(error):.300})"
        ) from error
    if not whole:
        raise WeightsError(f"{path}: is damaged: its content has another checksum")
    try:
        state = State.model_validate_json(told)
    except pydantic.ValidationError as error:
        place, wanted = first_fault(error)
        key = ".".join(map(str, place))
        raise WeightsError(
            f"{path}: is no checkpoint of this version ({key:.100}: {wanted})"
        ) from error
    return arrays, state.model_dump(exclude_unset=True)


def _digest(arrays, state):
    digest = hashlib.sha256(state.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8))
    return digest.hexdigest()
