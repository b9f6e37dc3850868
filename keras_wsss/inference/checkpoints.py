"""Checkpoints: weights, optimiser and random state in one file that is replaced as a whole."""

import json
from pathlib import Path

import h5py

from keras_wsss.config import Config
from keras_wsss.errors import WeightsError
from keras_wsss.methods import METHODS
from keras_wsss.run import RunDirectory


def save_checkpoint(model, run, which, **state):
    """Writes the checkpoint ``which`` (``last`` or ``best``) of ``run``.

    Args:
        model: compiled model.
        run: :class:`~keras_wsss.run.RunDirectory`.
        which: str.
        **state: numbers kept beside the weights, e.g. ``step`` and ``miou``.
    """

    def write(path):
        model.save_weights(path)
        with h5py.File(path, "a") as file:
            # Keras leaves random states out of weight files, and exact resume needs them.
            random = [v.numpy().tolist() for v in _random_states(model)]
            file.attrs["state"] = json.dumps({**state, "random": random})

    run.write(run.checkpoint(which), write)


def load_checkpoint(model, path):
    """Loads a checkpoint into ``model`` (and its optimiser where it is compiled).

    Returns:
        The numbers given to :func:`save_checkpoint`.

    Raises:
        WeightsError: the file is missing, damaged or of another network.
    """
    if not path.exists():
        raise WeightsError(f"{path}: no such checkpoint; train the run first")
    if model.compiled and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    try:
        model.load_weights(path)
        with h5py.File(path) as file:
            state = json.loads(file.attrs["state"])
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{path}: cannot be loaded into this network ({error}); it is damaged or belongs to "
            "another configuration"
        ) from error
    for variable, value in zip(_random_states(model), state.pop("random"), strict=True):
        variable.assign(value)
    model.trained_steps = state["step"]
    return state


def load_run(path, which="last"):
    """Model of a run with the weights of a checkpoint.

    Args:
        path: run folder; of a run with stages the last one is loaded.
        which: ``last`` or ``best``.

    Returns:
        Pair of the model and the checkpoint's state (``step``, ``miou``).

    Raises:
        WeightsError: the folder lacks a file, or holds one that is damaged.

    Example:

    >>> model, state = load_run("runs/demo")
    >>> state["step"]
    300
    """
    path, config = stage_of_run(path)
    run = RunDirectory(path)
    model = METHODS[config.method](config, len(class_names(run)))
    model.build()
    return model, load_checkpoint(model, run.checkpoint(which))


def class_names(run):
    """Names of the foreground classes of a :class:`~keras_wsss.run.RunDirectory`.

    Raises:
        WeightsError: ``classes.txt`` is missing.
    """
    try:
        return tuple(run.classes_file.read_text().splitlines())
    except OSError as error:
        raise WeightsError(
            f"{run.classes_file}: cannot be read ({error.strerror}); write the names of the "
            "classes into it, one a line, in the order of the training"
        ) from error


def stage_of_run(path, config=None):
    """Folder and configuration of the network that a run has trained, which is its last stage's.

    Args:
        path: run folder.
        config: the run's configuration, or None to read it.
    """
    config = config or Config.from_run(path)
    stage, config = config.stage_configs()[-1]
    return Path(path) / stage, config


def _random_states(model):
    weights = {id(variable) for variable in model.weights}
    states = [v for v in model.variables if id(v) not in weights]
    metrics = {id(v) for metric in model.metrics for v in metric.variables}
    return [v for v in states if id(v) not in metrics]
