"""Evaluation of a trained run on any list."""

import logging
import platform
from importlib.metadata import version
from pathlib import Path

from rich.progress import track

from keras_wsss import __version__
from keras_wsss._environment import described
from keras_wsss.data import explain_errors, load_split
from keras_wsss.data.checks import sizes_that_differ
from keras_wsss.inference.checkpoints import load, load_checkpoint, stage_of_run
from keras_wsss.inference.evaluation import evaluate
from keras_wsss.inference.image_results import ImageResults
from keras_wsss.run_folder import RunDirectory

logger = logging.getLogger(__name__)


def evaluate_run(
    path, config=None, scales=None, flip=None, *, split=None, sheet=False, verbose=False
):
    """Scores of a run's last checkpoint, with the best checkpoint's decoder beside them.

    Args:
        path: run folder; of a run with stages the last one is scored.
        config: :class:`~keras_wsss.config.Config` to take data, test-time views and tag cut from;
            None: the run's own.
        scales, flip: test-time views; None: those of the configuration.
        split: :class:`~keras_wsss.data.Split` to score; None: the validation list is read.
        sheet: bool, write ``contact_sheet.png`` and ``image_results.json`` into the run folder.
        verbose: bool, show a progress bar.

    Returns:
        dict as of :func:`~keras_wsss.inference.evaluate`, with ``step``, ``checkpoint``,
        ``supervision`` (what the network learned from) and, of a trained decoder, ``best``. The
        best checkpoint was chosen on the validation list: report ``last``. A list without masks
        gives what :func:`~keras_wsss.inference.evaluate` says of such.

    Example:

    >>> scores = evaluate_run("runs/demo", scales=[1.0], flip=False)
    >>> 0 <= scores["decoder"]["miou"] <= 100, sorted(scores["decoder"]["per_class"])
    (True, ['background', 'bolt', 'cross', 'heart', 'moon', 'ring', 'star'])
    """
    path, config = stage_of_run(path, config)
    run = RunDirectory(path)
    if split is None:
        split = load_split(config.data, "val")
    views = {
        "scales": config.evaluation.scales if scales is None else scales,
        "flip": config.evaluation.flip if flip is None else flip,
        "tag_cut": config.heads.tag_cut,
    }

    def progress(batches):
        return track(batches, f"scoring {split.name}", len(split), disable=not verbose)

    if advice := sizes_that_differ(split, config.data):
        logger.warning("%s", advice)
    model = load(path)
    step = model.trained_steps
    best, images = {}, ImageResults(split)
    with explain_errors(split):
        scores = evaluate(
            model,
            split,
            crf=config.evaluation.crf,
            sheet=run.contact_sheet if sheet else None,
            watch=images if sheet else None,
            progress=progress,
            **views,
        )
        # A training without masks to watch has none.
        if "decoder" in scores and run.checkpoint("best").exists():
            best_state, best_scores = load_checkpoint(model, run.checkpoint("best")), scores
            if best_state["step"] != step:
                best_scores = evaluate(model, split, tags=False, **views)
            best = {"best": {"step": best_state["step"], "decoder": best_scores["decoder"]}}
    if sheet:
        results = {"step": step, **images.found(), "made_with": _made_with()}
        run.write_json(run.image_results, results)
    return {
        "run": config.name,
        "method": config.method,
        "parity": config.parity,
        "seed": config.seed,
        "supervision": supervision(config),
        "checkpoint": "last",
        "step": step,
        **scores,
        **best,
    }


def _made_with():
    """Versions and processor, for reports."""
    return {
        "keras_wsss": __version__,
        **{name: version(name) for name in ("keras", "tensorflow", "numpy")},
        "python": platform.python_version(),
        "processor": described(),
    }


def supervision(config):
    """What a network learned from, for reports.

    Example:

    >>> supervision(wsss.load_config("shapes_supervised"))
    'masks'
    """
    if config.declaration.needs_masks:
        if config.labels_stage is not None:
            return f"pseudo labels of stage {config.labels_stage}"
        # The name alone: exported files say it too, and no path of the machine that trained.
        return f"masks in {Path(config.data.masks).name}" if config.data.masks else "masks"
    return "tags and saliency maps" if config.needs_saliency else "tags"
