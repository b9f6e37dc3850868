"""A model as a folder that can be loaded from an untrusted place: settings, weights, checksums."""

import json
import textwrap

import h5py

from keras_wsss.checksums import check_sums, write_sums
from keras_wsss.errors import WeightsError
from keras_wsss.optimizers import batches_seen
from keras_wsss.registry import METHODS

SETTINGS, WEIGHTS = "model.json", "model.weights.h5"


def write_preset(model, folder):
    """Writes ``model.json`` (method, class names, settings), ``model.weights.h5`` and SHA-256 sums.

    No path of this machine is in them.

    Args:
        model: built :class:`~keras_wsss.methods.WSSSModel`.
        folder: ``pathlib.Path``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {"method": model.method, **model.get_config(), "state": model.get_build_config()}
    (folder / SETTINGS).write_text(json.dumps(content, indent=2) + "\n")
    model.save_weights(folder / WEIGHTS)
    write_sums(folder)


def read_preset(folder):
    """The model of a folder that :func:`write_preset` has written.

    Nothing in it is code: settings are checked against their schema, the weights are arrays, no
    object is unpickled, and a network of Keras as backbone is rebuilt in Keras' safe mode.

    Raises:
        WeightsError: a file is missing, was changed, was added, or does not fit the others.
        ConfigError: the settings are not those of this version.
    """
    check_sums(folder)
    try:
        content = json.loads((folder / SETTINGS).read_bytes())
        method, state = content.pop("method"), content.pop("state")
        content["weights"] = None  # they lie beside it, and nothing is to be fetched
        if not isinstance(content["backbone"], dict):
            raise ValueError("its backbone is no section")
        model = METHODS[method].model_class().from_config(content)
        model.build_from_config(state)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(f"{folder / SETTINGS}: cannot be read ({reason(error)})") from error
    _refuse_links(folder / WEIGHTS)
    try:
        model.load_weights(folder / WEIGHTS)
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{folder / WEIGHTS}: cannot be loaded into this network ({error})"
        ) from error
    return model


def reason(error):
    """One line of what Keras says, which is long, or of the error that it tells at its end."""
    return textwrap.shorten(str(error).rpartition("deserialization: ")[2], 300)


def trained_steps(model):
    """Optimiser steps that the weights of a model have seen."""
    now = batches_seen(model.optimizer) if model.compiled else 0
    return max(now, model.trained_steps)


def _refuse_links(path):
    """HDF5 can point to other files, which would then be read as weights."""

    def visit(group):
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink) or getattr(group[name], "is_virtual", False):
                raise WeightsError(f"{path}: {group.name}/{name}: points to another file; refused")
            if isinstance(group[name], h5py.Group):
                visit(group[name])
            elif group[name].external:
                raise WeightsError(f"{path}: {group.name}/{name}: points to another file; refused")

    try:
        with h5py.File(path) as file:
            visit(file)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
