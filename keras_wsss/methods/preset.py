"""A model as a folder that can be loaded from an untrusted place: settings, weights, checksums."""

import json
import textwrap
from contextlib import contextmanager
from typing import Any

import pydantic

from keras_wsss.checksums import check_sums, write_sums
from keras_wsss.data.text import first_fault
from keras_wsss.errors import WeightsError, WSSSError
from keras_wsss.limits import read_small
from keras_wsss.methods.foreign_weights import check_finite, check_hdf5, weights_within
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


class _BuildState(pydantic.BaseModel):
    trained_steps: pydantic.NonNegativeInt
    steps: pydantic.PositiveInt | None
    classifier_steps: pydantic.NonNegativeInt | None


class _Preset(pydantic.BaseModel):
    """What ``model.json`` has to hold before a method looks at its settings."""

    model_config = pydantic.ConfigDict(extra="allow")

    method: str
    classes: list[str] | pydantic.PositiveInt
    backbone: dict[str, Any]
    state: _BuildState


def read_preset(folder):
    """The model of a folder that :func:`write_preset` has written.

    Nothing in it is code: settings are checked against their schema, the weights are arrays, no
    object is unpickled, and a network of Keras as backbone is rebuilt in Keras' safe mode.

    Raises:
        WeightsError: a file is missing, was changed, was added, or does not fit the others.
        ConfigError: the settings are not those of this version.
    """
    check_sums(folder)
    settings, weights = folder / SETTINGS, folder / WEIGHTS
    try:
        content = _Preset.model_validate_json(read_small(settings)).model_dump()
    except pydantic.ValidationError as error:
        place, wanted = first_fault(error)
        key = ".".join(map(str, place)) or "the file"
        raise WeightsError(f"{settings}: cannot be read ({key:.100}: {wanted})") from error
    method, state = METHODS[content.pop("method")], content.pop("state")
    content["weights"] = None  # they lie beside it, and nothing is to be fetched
    with weights_within(check_hdf5(weights), weights):
        with _explained(f"{settings}: cannot be read"):
            model = method.model_class().from_config(content)
            model.build_from_config(state)
    with _explained(f"{weights}: cannot be loaded into this network"):
        model.load_weights(weights)
    check_finite(model, weights)
    return model


@contextmanager
def _explained(fault):
    """One message for what Keras raises, which is of all kinds."""
    try:
        yield
    except WSSSError:
        raise
    except Exception as error:
        raise WeightsError(f"{fault} ({reason(error)})") from error


def reason(error):
    """One line of what Keras says, which is long, or of the error that it tells at its end."""
    return textwrap.shorten(str(error).rpartition("deserialization: ")[2], 300)


def trained_steps(model):
    """Optimiser steps that the weights of a model have seen."""
    now = batches_seen(model.optimizer) if model.compiled else 0
    return max(now, model.trained_steps)
