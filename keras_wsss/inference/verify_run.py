"""Whether a run still is what its summary says: data, weights and scores."""

import json

from keras_wsss.config import load_run_config, stage_digests
from keras_wsss.config.identity import flat
from keras_wsss.data import load_splits
from keras_wsss.data.contents import contents
from keras_wsss.errors import WeightsError
from keras_wsss.inference.checkpoint_file import read_file
from keras_wsss.inference.checkpoints import stage_of_run
from keras_wsss.inference.evaluate_run import evaluate_run
from keras_wsss.inference.pseudo_labels import FOLDERS
from keras_wsss.limits import read_small
from keras_wsss.run_folder import RunDirectory


def verify_run(path, verbose=False):
    """Reads data and weights of a run anew, scores it again, and compares with what it has stored.

    Scores are computed from the last checkpoint (and the best one) on the validation list, as at
    the end of the training. They have to be equal to all stored digits: on another kind of
    processor the last of them may differ.

    Args:
        path: run folder; of a run with stages the last one is looked at.
        verbose: bool, show a progress bar.

    Returns:
        dict: ``compared``, list of names of all that was compared; ``different``, name -> pair of
        what is stored and what is found. Where the weights are damaged, nothing else is compared.

    Raises:
        WSSSError: there is no finished run, or its data cannot be read.

    Example:

    >>> verify_run("runs/demo")["different"]
    {}
    """
    whole, (path, config) = path, stage_of_run(path)
    digest = list(stage_digests(load_run_config(whole)).values())[-1]
    run = RunDirectory(path)
    stored = _summary(run)
    states, damaged = {}, {}
    for which in ("last", "best") if "best" in stored else ("last",):
        try:
            states[which] = read_file(run.checkpoint(which))[1]
        except WeightsError as error:
            damaged[f"weights: {which}"] = ("whole", str(error))
    if damaged:
        return {"compared": list(damaged), "different": damaged}
    labels = RunDirectory(whole).path / (config.labels_stage or "") / FOLDERS["train"]
    training, validation = load_splits(config, labels if config.labels_stage else None)
    scores = evaluate_run(path, config, split=validation, verbose=verbose)
    found = {
        **{f"data: {part}": each for part, each in contents(training, validation).items()},
        **_told({**scores, "config_hash": digest}),
    }
    trained_on = states["last"].get("data", {})
    before = {**{f"data: {part}": each for part, each in trained_on.items()}, **_told(stored)}
    different = {
        name: (before.get(name), found[name]) for name in found if before.get(name) != found[name]
    }
    return {
        "compared": [*(f"weights: {which}" for which in states), *found],
        "different": different,
    }


def _summary(run):
    """What the training has stored of its scores."""
    if not run.summary_file.exists():
        raise WeightsError(
            f"{run.summary_file}: is not there, so there is nothing to compare with; finish the "
            f"run with: keras-wsss train --resume --run-dir {run.whole}"
        )
    try:
        stored = json.loads(read_small(run.summary_file))
        return dict(stored)
    except (ValueError, TypeError, RecursionError) as error:
        raise WeightsError(f"{run.summary_file}: cannot be read ({error})") from error


def _told(summary):
    """Dotted name -> value as JSON has it."""
    return flat(json.loads(json.dumps(summary)))
