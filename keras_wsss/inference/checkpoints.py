"""Checkpoints: weights, optimiser, random states and means in one file, replaced as a whole."""

import functools
import logging
import zipfile
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_wsss.class_names import fault_of
from keras_wsss.config import load_run_config, stage_configs
from keras_wsss.errors import DivergenceError, WeightsError, WSSSError
from keras_wsss.inference.checkpoint_file import read_file, write_file
from keras_wsss.limits import check_archive, read_small
from keras_wsss.methods import WSSSModel, new_model
from keras_wsss.methods.foreign_weights import check_finite, weights_within
from keras_wsss.methods.preset import SETTINGS, WEIGHTS, read_preset, reason
from keras_wsss.output import link_or_copy
from keras_wsss.registry import METHODS
from keras_wsss.run_folder import RESUMED_FROM, RunDirectory

logger = logging.getLogger(__name__)

LIBRARIES = "keras", "tensorflow", "numpy"


def taken_from(model, **state):
    """All that a training needs to go on exactly, as copies.

    Args:
        model: compiled model.
        **state: numbers kept beside the weights, e.g. ``step`` and ``best``.

    Returns:
        Pair of a dict of numpy arrays and the state, with the versions of the libraries.

    Raises:
        DivergenceError: a weight is not finite.
    """
    arrays = {
        name: np.array(ops.convert_to_numpy(variable))
        for variables in _variables(model).values()
        for name, variable in variables.items()
    }
    if not all(np.isfinite(a).all() for a in arrays.values() if a.dtype.kind == "f"):
        raise DivergenceError(
            f"after step {state['step']} a weight is not finite, so nothing is saved; go on from "
            "the last checkpoint with a lower rate: --resume --set optimizer.learning_rate=..."
        )
    return arrays, {**state, "versions": {name: version(name) for name in LIBRARIES}}


def save_checkpoint(run, which, arrays, state):
    """Writes a checkpoint; the one before ``last`` stays as ``previous``.

    Args:
        run: :class:`~keras_wsss.run_folder.RunDirectory`.
        which: ``last`` or ``best``.
        arrays, state: of :func:`taken_from`.

    Raises:
        TrainingError: it cannot be written; the older ones are as they were.
    """
    path = run.checkpoint(which)
    if which == "last" and path.exists():
        run.write(run.checkpoint("previous"), lambda older: link_or_copy(path, older))
    run.write(path, lambda new: write_file(new, arrays, state))


def load_checkpoint(model, path):
    """Loads a checkpoint into ``model`` (and its optimiser where it is compiled).

    Args:
        model: built :class:`~keras_wsss.methods.WSSSModel` of the checkpoint's run.
        path: ``pathlib.Path``, e.g. ``checkpoints/last.safetensors`` of a run.

    Returns:
        The state given to :func:`save_checkpoint`, among it ``step``.

    Raises:
        WeightsError: the file is missing, damaged or of another network.

    Example:

    >>> model = load("runs/demo")
    >>> load_checkpoint(model, Path("runs/demo/checkpoints/last.safetensors"))["step"]
    2
    """
    arrays, state = read_file(path)
    if model.compiled and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    parts = _variables(model)
    for kind, variables in parts.items():
        saved = {name: array for name, array in arrays.items() if name.startswith(f"{kind}/")}
        expected = {name: (tuple(v.shape), v.dtype) for name, v in variables.items()}
        if expected != {name: (array.shape, array.dtype.name) for name, array in saved.items()}:
            raise WeightsError(
                f"{path}: is of another network (its {kind} are other ones); it belongs to another "
                "configuration"
            )
    if not all(np.isfinite(a).all() for a in arrays.values() if a.dtype.kind == "f"):
        raise WeightsError(f"{path}: holds a weight that is not finite")
    for variables in parts.values():
        for name, variable in variables.items():
            variable.assign(arrays[name])
    model.trained_steps = state["step"]
    return state


def resumed(model, run):
    """Loads the newest checkpoint of a run that is whole.

    Args:
        model: compiled model.
        run: :class:`~keras_wsss.run_folder.RunDirectory`.

    Returns:
        Its state; None where the run has none.

    Raises:
        WeightsError: all are damaged, or of another network.
    """
    failed = []
    for which in RESUMED_FROM:
        path = run.checkpoint(which)
        if not path.exists():
            continue
        try:
            state = load_checkpoint(model, path)
        except WeightsError as error:
            failed.append(error)
            continue
        for fault in failed:
            logger.warning("%s; going on from %s, step %d", fault, which, state["step"])
        if which != "last":  # there may be no step left that would write it
            run.write(run.checkpoint("last"), functools.partial(link_or_copy, path))
        return state
    if failed:
        raise failed[0]
    return None


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
    path = run.checkpoint(checkpoint)
    with weights_within(path.stat().st_size if path.is_file() else 0, path):
        model = new_model(config, class_names(run))
        model.build()
    load_checkpoint(model, path)
    return model


def _from_keras_file(path):
    for method in METHODS:
        METHODS[method].model_class()  # Keras finds only classes that were imported
    if path.exists() and not path.is_file():  # a pipe has no end
        raise WeightsError(f"{path}: is no file; put the file itself there")
    try:
        with zipfile.ZipFile(path) as file:
            check_archive(file, path)
            size = sum(entry.file_size for entry in file.infolist())
            if damaged := file.testzip():  # which Keras does not look at
                raise WeightsError(f"{path}: {damaged} in it was changed; copy the file again")
        with weights_within(size, path):
            model = keras.saving.load_model(path)
    except WSSSError:
        raise
    except Exception as error:  # zipfile, h5py and Keras raise all kinds of them
        raise WeightsError(f"{path}: cannot be loaded ({reason(error)})") from error
    if not isinstance(model, WSSSModel):
        raise WeightsError(f"{path}: holds a {type(model).__name__}, which is no model of ours")
    check_finite(model, path)
    return model


def class_names(run):
    """Names of the foreground classes of a :class:`~keras_wsss.run_folder.RunDirectory`.

    Raises:
        WeightsError: ``classes.txt`` is missing, is no text, or names no classes.
    """
    fix = "write the names of the classes into it, one a line, in the order of the training"
    try:
        names = tuple(read_small(run.classes_file).decode().splitlines())
    except (WeightsError, UnicodeDecodeError) as error:
        raise WeightsError(f"{run.classes_file}: cannot be read ({error}); {fix}") from error
    if fault := fault_of(names):
        raise WeightsError(f"{run.classes_file}: {fault:.300}; {fix}")
    return names


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
    run = RunDirectory(path / stage)
    if run.has_checkpoint():
        return path / stage, config
    if not stage:
        raise WeightsError(
            f"{run.checkpoint('last')}: no such checkpoint; train the run first, which writes one "
            f"after {config.training.validate_every} steps"
        )
    missing = [name for name, _ in stages if not RunDirectory(path / name).summary_file.exists()]
    raise WeightsError(
        f"{path}: is not finished, its stages {', '.join(missing)} are missing; go on with: "
        f"keras-wsss train --resume --run-dir {path}"
    )


def _variables(model):
    """Kind -> name in a checkpoint -> variable; random states because weight files lack them."""
    weights = {id(variable) for variable in model.weights}
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    others = weights | {id(variable) for variable in metrics}
    kinds = {
        "weights": model.weights,
        "random": [variable for variable in model.variables if id(variable) not in others],
    }
    if model.compiled:
        kinds |= {"optimizer": model.optimizer.variables, "metrics": metrics}
    return {
        # Not their paths: Keras numbers layers and optimisers as a process makes them.
        kind: {f"{kind}/{number:04}": variable for number, variable in enumerate(variables)}
        for kind, variables in kinds.items()
    }
