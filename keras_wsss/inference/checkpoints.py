"""Checkpoints: weights, optimiser and random state in one file that is replaced as a whole."""

import json
import zipfile
from pathlib import Path

import h5py
import keras

from keras_wsss.config import load_run_config, stage_configs
from keras_wsss.errors import WeightsError, WSSSError
from keras_wsss.methods import WSSSModel, new_model
from keras_wsss.methods.preset import SETTINGS, WEIGHTS, read_preset, reason
from keras_wsss.registry import METHODS
from keras_wsss.run_folder import RunDirectory


def save_checkpoint(model, run, which, **state):
    """Writes the checkpoint ``which`` (``last`` or ``best``) of ``run``.

    Args:
        model: compiled model.
        run: :class:`~keras_wsss.run_folder.RunDirectory`.
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

    Args:
        model: built :class:`~keras_wsss.methods.WSSSModel` of the checkpoint's run.
        path: ``pathlib.Path`` of the weights, ``checkpoints/last.weights.h5`` of a run.

    Returns:
        The numbers given to :func:`save_checkpoint`, among them ``step``.

    Raises:
        WeightsError: the file is missing, damaged or of another network.

    Example:

    >>> model = load("runs/demo")
    >>> load_checkpoint(model, Path("runs/demo/checkpoints/last.weights.h5"))["step"]
    2
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


def load(path, checkpoint="last"):
    """The model of a run folder, of a preset or of a `.keras` file, with its weights.

    Args:
        path: run folder (of a run with stages the last one is loaded), folder of
            ``model.save_to_preset`` or of ``--format weights``, or file of ``model.save``.
        checkpoint: of a run, ``last`` or ``best``.

    Returns:
        A built :class:`~keras_wsss.methods.WSSSModel`; ``trained_steps`` says how long it was
        trained.

    Raises:
        WeightsError: there is no model, or a file is missing or damaged.

    Example:

    >>> model = load("runs/demo")
    >>> model.class_names[:3], model.trained_steps
    (('star', 'heart', 'moon'), 2)
    """
    path = Path(path)
    if path.suffix == ".keras":
        return _from_keras_file(path)
    if any((path / name).exists() for name in (SETTINGS, WEIGHTS)):
        return read_preset(path)
    if not (path / "config.yaml").exists():
        raise WeightsError(
            f"{path}: holds no model; it has to be the folder of a run or of save_to_preset, or a "
            ".keras file"
        )
    path, config = stage_of_run(path)
    run = RunDirectory(path)
    model = new_model(config, class_names(run))
    model.build()
    load_checkpoint(model, run.checkpoint(checkpoint))
    return model


def _from_keras_file(path):
    for method in METHODS:
        METHODS[method].model_class()  # Keras finds only classes that were imported
    try:
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():  # which Keras does not look at
                raise WeightsError(f"{path}: {damaged} in it was changed; copy the file again")
        model = keras.saving.load_model(path)
    except WSSSError:
        raise
    except Exception as error:  # zipfile, h5py and Keras raise all kinds of them
        raise WeightsError(f"{path}: cannot be loaded ({reason(error)})") from error
    if not isinstance(model, WSSSModel):
        raise WeightsError(f"{path}: holds a {type(model).__name__}, which is no model of ours")
    return model


def class_names(run):
    """Names of the foreground classes of a :class:`~keras_wsss.run_folder.RunDirectory`.

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

    Raises:
        WeightsError: it is not there yet; the message says how to go on.
    """
    path, stages = Path(path), stage_configs(config or load_run_config(path))
    stage, config = stages[-1]
    checkpoint = RunDirectory(path / stage).checkpoint("last")
    if checkpoint.exists():
        return path / stage, config
    if not stage:
        raise WeightsError(
            f"{checkpoint}: no such checkpoint; train the run first, which writes one after "
            f"{config.training.validate_every} steps"
        )
    missing = [name for name, _ in stages if not RunDirectory(path / name).summary_file.exists()]
    raise WeightsError(
        f"{path}: is not finished, its stages {', '.join(missing)} are missing; go on with: "
        f"keras-wsss train --resume --run-dir {path}"
    )


def _random_states(model):
    weights = {id(variable) for variable in model.weights}
    states = [v for v in model.variables if id(v) not in weights]
    metrics = {id(v) for metric in model.metrics for v in metric.variables}
    return [v for v in states if id(v) not in metrics]
