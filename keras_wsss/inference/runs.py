"""Evaluation of a trained run on any list."""

from keras_wsss.config import Config
from keras_wsss.data import explain_errors, load_split
from keras_wsss.inference.checkpoints import load_checkpoint, load_run
from keras_wsss.inference.evaluation import evaluate
from keras_wsss.run import RunDirectory


def evaluate_run(path, config=None, scales=None, flip=None, sheet=False):
    """Scores of a run's last checkpoint, with the best checkpoint's decoder beside them.

    Args:
        path: run folder.
        config: :class:`~keras_wsss.config.Config` to take the data from; None: the run's own.
        scales, flip: test-time views; None: those of the configuration.
        sheet: bool, write ``contact_sheet.png`` into the run folder.

    Returns:
        dict as of :func:`~keras_wsss.inference.evaluate`, with ``step``, ``checkpoint`` and
        ``best``. The best checkpoint was chosen on the validation list: report ``last``.

    Raises:
        DataError: the list has no masks.

    Example:

    >>> evaluate_run("runs/demo")["decoder"]["miou"]
    71.4
    """
    run = RunDirectory(path)
    config = config or Config.from_run(run.path)
    split = load_split(config.data, "val", require_masks=True)
    views = {
        "scales": config.evaluation.scales if scales is None else scales,
        "flip": config.evaluation.flip if flip is None else flip,
    }
    model, state = load_run(run.path, len(split.class_names))
    with explain_errors(split):
        scores = evaluate(model, split, sheet=run.contact_sheet if sheet else None, **views)
        best_state, best_scores = load_checkpoint(model, run.checkpoint("best")), scores
        if best_state["step"] != state["step"]:
            best_scores = evaluate(model, split, tags=False, **views)
    return {
        "run": config.name,
        "method": config.method,
        "parity": config.parity,
        "seed": config.seed,
        "checkpoint": "last",
        "step": state["step"],
        **scores,
        "best": {"step": best_state["step"], "decoder": best_scores["decoder"]},
    }
