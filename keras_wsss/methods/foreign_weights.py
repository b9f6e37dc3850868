"""Weight files of Keras from elsewhere: what they may hold, and which network they can fill."""

import math
import threading
from contextlib import contextmanager

import h5py
import keras
import numpy as np
from keras import ops

from keras_wsss.errors import WeightsError, one_line

MOST_LEVELS = 30  # groups in one another; those of a network are about eight
SLACK = 2**20  # bytes of what is no weight, such as the states of random numbers

_one_at_a_time = threading.RLock()


def check_hdf5(path):
    """Refuses what Keras never writes: links, groups in themselves, packed data, no numbers.

    HDF5 can point to other files, which would then be read as weights, and a few of its bytes can
    stand for any number of groups and values.

    Args:
        path: ``pathlib.Path`` of a file ``.weights.h5``.

    Returns:
        int, bytes that its arrays take.

    Raises:
        WeightsError: it holds such a thing, or cannot be read.
    """
    seen, total = set(), 0

    def visit(group, level):
        nonlocal total
        if level > MOST_LEVELS:
            raise WeightsError(f"{path}: holds more than {MOST_LEVELS} groups in one another")
        for name in group:
            place = one_line(f"{group.name}/{name!s:.100}")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise WeightsError(f"{path}: {place}: points to another file; refused")
            entry = group[name]
            if (address := h5py.h5o.get_info(entry.id).addr) in seen:
                raise WeightsError(f"{path}: {place}: stands in the file twice; refused")
            seen.add(address)
            if isinstance(entry, h5py.Group):
                visit(entry, level + 1)
                continue
            if not isinstance(entry, h5py.Dataset) or entry.external or entry.is_virtual:
                raise WeightsError(f"{path}: {place}: points to another file; refused")
            total += entry.nbytes
            packed = entry.chunks is not None or total > path.stat().st_size
            if packed or entry.dtype.kind not in "fiub":
                raise WeightsError(f"{path}: {place}: is no plain array of numbers; refused")

    try:
        with h5py.File(path) as file:
            seen.add(h5py.h5o.get_info(file.id).addr)
            visit(file, 1)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise WeightsError(f"{path}: cannot be read ({one_line(error):.300})") from error
    return total


@contextmanager
def weights_within(size, path):
    """No larger network than the file can fill is built in the ``with`` block.

    A width of a hundred million in the settings would ask for all memory of the machine.

    Args:
        size: bytes of the weights in the file.
        path: the file, for the message.

    Raises:
        WeightsError: the network would have more.
    """
    thread, left, add_weight = threading.get_ident(), size + SLACK, keras.layers.Layer.add_weight
    fault = WeightsError(
        f"{path}: is of another network: its settings ask for more weights than it has"
    )

    def counted(layer, shape=None, *arguments, **options):
        nonlocal left
        if threading.get_ident() == thread:
            left -= 4 * math.prod(shape or ())
            if left < 0:
                raise fault
        return add_weight(layer, shape, *arguments, **options)

    with _one_at_a_time:
        keras.layers.Layer.add_weight = counted
        try:
            yield
        except Exception:
            if left < 0:  # Keras has made another error of it
                raise fault from None
            raise
        finally:
            keras.layers.Layer.add_weight = add_weight


def check_finite(model, path):
    """Raises WeightsError where a weight of a model is no finite number."""
    for variable in model.weights:
        value = ops.convert_to_numpy(variable)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise WeightsError(
                f"{path}: {variable.path} is not finite; take an earlier state of the training"
            )
