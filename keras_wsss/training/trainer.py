"""From a configuration to a trained run folder; ``model.fit`` is the loop."""

import json
import logging
import time

from keras_wsss._environment import described
from keras_wsss.config import (
    digest,
    of_length,
    stage_configs,
    stage_digests,
)
from keras_wsss.data import explain_errors, load_splits, step_ids, training_dataset
from keras_wsss.data.checks import sizes_that_differ
from keras_wsss.data.contents import contents
from keras_wsss.errors import ConfigError, DivergenceError, UnreadableError
from keras_wsss.inference.evaluate_run import evaluate_run
from keras_wsss.inference.pseudo_labels import FOLDERS, check_labels, write_pseudo_labels
from keras_wsss.methods import build_model
from keras_wsss.ops.crf import require_crf
from keras_wsss.optimizers import build_optimizer
from keras_wsss.output import remove_partial
from keras_wsss.run_folder import RunDirectory, peak_memory_mb
from keras_wsss.training.board import Board
from keras_wsss.training.callbacks import Pictures, StepLog, StopOnNaN, StopOnSignal, Validation
from keras_wsss.training.distribution import (
    configure,
    precision_put_back,
    replica_strategy,
    set_threads,
    synchronize_batch_norm,
    use_xla,
)
from keras_wsss.training.resuming import newest_state, refuse_foreign
from keras_wsss.training.saving import Saver

logger = logging.getLogger(__name__)
DRY_STEPS = 4


@precision_put_back()
def train(config, run_dir, resume=False, verbose=True, splits=None, accept_changes=False):
    """Trains ``config`` into ``run_dir`` and evaluates the result.

    The stages of a multi-stage configuration run in order, each in a sub-folder of its name. A
    stage may leave label files (``writes``) on which a later one trains (``data.masks``).

    Args:
        config: :class:`~keras_wsss.config.Config`.
        run_dir: folder of the run, see :class:`~keras_wsss.run_folder.RunDirectory`.
        resume: bool, go on from the last checkpoint, or from the beginning where there is none
            yet. Data order, augmentation and random draws continue as if the run had never
            stopped. Stages and label files that are complete are not made again.
        verbose: bool, print progress and scores.
        splits: what :func:`~keras_wsss.data.load_splits` has read for the configuration, or for its
            first stage; None: it is read here.
        accept_changes: bool, go on although data or configuration are other ones.

    Returns:
        The content of ``summary.json``: the scores of the last stage, with those of all of them in
        ``stages`` where there are several.

    Raises:
        WSSSError: anything the user can put right, in one message.

    Example:

    >>> config = wsss.config.load_run_config("runs/demo")  # or wsss.load_config("photos", ...)
    >>> train(config, "runs/demo", resume=True, verbose=False)["step"]
    2
    """
    logger.info(described())
    if any(_uses_crf(each) for _, each in stage_configs(config)):
        require_crf()
    config, splits = _read(config, splits)  # faults of the data come before anything is written
    set_threads(stage_configs(config)[0][1].training)
    run = RunDirectory(run_dir)
    run.check(resume)
    with run.locked():
        return _train_all(config, run, splits, resume, verbose, accept_changes)


def _train_all(config, run, splits, resume, verbose, accept_changes):
    stages, digests = stage_configs(config), stage_digests(config)
    remove_partial(run.path)
    if resume:
        refuse_foreign(run, config, accept_changes)
    if not config.stages:
        job = config, run, digest(config), None, splits
        return _train_stage(*job, resume, verbose, accept_changes)
    run.write_config(config)
    runs, summaries = {}, {}
    for stage, stage_config in stages:
        if verbose:
            print(f"stage {stage}", flush=True)
        runs[stage] = RunDirectory(run.path / stage, part_of=run.path)
        source = runs.get(stage_config.labels_stage)
        if summaries:
            set_threads(stage_config.training)
            splits = load_splits(stage_config, source and source.path / FOLDERS["train"])
        job = stage_config, runs[stage], digests[stage], source, splits
        summaries[stage] = _finished(*job) or _train_stage(*job, resume, verbose, accept_changes)
    sources = (each["supervision"] for each in summaries.values())
    whole = {
        "method": config.method,
        # Pseudo labels are worth what they were made from.
        "supervision": ", ".join(s for s in dict.fromkeys(sources) if not s.startswith("pseudo")),
        "stages": summaries,
    }
    summary = {**summaries[stage], **whole}
    run.write_json(run.summary_file, summary)
    return summary


def _read(config, splits):
    """The lists of the (first) stage, and the configuration with the steps that suit them."""
    splits = splits or load_splits(stage_configs(config)[0][1])
    if config.training.recipe_steps is None:
        return config, splits
    images = len(splits[0])
    config = of_length(config, images)
    passes = config.training.steps * config.data.batch_size / images
    logger.info("%d steps: %.1f passes over %d images", config.training.steps, passes, images)
    return config, splits


def _uses_crf(config):
    refiner = getattr(getattr(config, "pseudo_label", None), "refiner", None)
    return config.evaluation.crf or refiner == "crf"


def _finished(config, run, digest, source, splits):
    """Summary of a stage that an earlier call has completed, else None."""
    if not run.summary_file.exists():
        return None
    summary = json.loads(run.summary_file.read_text())
    if summary["step"] < config.training.steps:  # see training.on_divergence
        return None
    if config.writes != "none":
        # Only those that are gone.
        write_pseudo_labels(run.path, config, digest, splits, source and source.path)
    return summary


def _train_stage(config, run, digest, source, splits, resume, verbose, accept_changes):
    """Trains one network; ``source`` is the run whose label files are its masks."""
    training, validation = splits
    _warn_of_sizes(training, config)
    if config.writes != "none":
        for name in FOLDERS.values():
            check_labels(run.path / name, digest)
    data, diverged = contents(training, validation), None
    try:
        told = _trained(config, run, splits, data, resume, verbose, accept_changes)
    except DivergenceError as error:
        if config.training.on_divergence == "stop" or not run.has_checkpoint():
            raise
        logger.warning("%s. Scores and labels are those of the last checkpoint", error)
        told, diverged = {"diverged": str(error)}, error
    if config.writes != "none":
        labels = write_pseudo_labels(run.path, config, digest, splits, source and source.path)
        told["written_labels"] = labels
    scores = evaluate_run(run.path, split=validation, sheet=True, verbose=verbose)
    summary = {**scores, **told, "peak_memory_mb": peak_memory_mb(), "config_hash": digest}
    run.write_json(run.summary_file, summary)
    if diverged:
        raise diverged
    return summary


def _trained(config, run, splits, data, resume, verbose, accept_changes, broken=frozenset()):
    """Trains one network, without the photographs at the positions ``broken``.

    Returns:
        What ``summary.json`` tells of it.
    """
    started = time.perf_counter()
    training, validation = splits
    model, strategy = _compiled_model(config, training.class_names)
    state = {"step": 0, "best": -1.0, "data": data, "unreadable": []}
    if resume:
        state = newest_state(model, run, state, accept_changes)
    state["unreadable"] = sorted({*state["unreadable"], *(training.ids[i] for i in broken)})
    run.write_config(config)
    names = "\n".join(training.class_names)
    run.write(run.classes_file, lambda path: path.write_text(f"{names}\n"))
    steps, begun, whole = config.training.steps, state["step"], training.without(broken)
    try:
        if begun < steps:
            _fit(model, config, run, (whole, validation), state, verbose)
    except UnreadableError as error:
        broken = broken | error.broken.keys()
        allowed = config.training.unreadable_share * len(training)
        if error.split is not whole or len(broken) > allowed:
            raise
        for message in error.broken.values():
            logger.warning("%s", message)
        logger.warning(
            "%d of %d photographs cannot be read and are left out (training.unreadable_share)",
            len(broken),
            len(training),
        )
        # As a training that had known of them from its beginning: it met none until now.
        return _trained(config, run, splits, data, True, verbose, accept_changes, broken)
    seconds = time.perf_counter() - started
    told = {
        "seconds": round(seconds, 1),
        "images_per_second": round((steps - begun) * config.data.batch_size / seconds, 2),
        "replicas": strategy.num_replicas_in_sync,
    }
    if state["unreadable"]:
        told["unreadable"] = state["unreadable"]
    return told


def _fit(model, config, run, splits, state, verbose):
    """The steps that are left, with all that happens around them."""
    training, validation = splits
    settings, begun = config.training, state["step"]
    steps, every, batch_size = settings.steps, settings.validate_every, config.data.batch_size

    def ids_of_step(step):
        return step_ids(training, config.seed, step, batch_size)

    board, saver = Board(run, begun), Saver(run)
    log = StepLog(run, board, settings.log_every, steps, batch_size, verbose)
    watched = validation.take(config.evaluation.max_images)
    validate = Validation(watched, saver, board, every, steps, state, verbose)
    stop = StopOnSignal(validate)
    callbacks = [StopOnNaN(ids_of_step, run), log, validate, stop]
    if settings.pictures:
        batch = next(iter(_dataset(config, training, 1, 0)))
        batch = {name: value[: settings.pictures] for name, value in batch.items()}
        callbacks.insert(-1, Pictures(batch, training, board, every))
    if begun < model.schedule.decoder_start < steps:
        logger.info("masks are trained from step %d", model.schedule.decoder_start)
    try:
        with explain_errors(training):
            model.fit(_dataset(config, training, steps, begun), callbacks=callbacks, verbose=0)
    finally:
        stop.release()
        log.progress.stop()
        saver.close()
        board.close()


@precision_put_back()
def dry_run(config, verbose=True, splits=None):
    """Builds everything, runs four steps with all loss terms and reports what the run will need.

    Of a run with stages the first is tried: the later ones train on what it leaves. The time holds
    what a user waits for before the last step: start-up, compiling (once for each phase of the
    schedule) and all steps, each as slow as those of the last phase. Validation and final scores
    come on top.

    Args:
        config: :class:`~keras_wsss.config.Config`.
        verbose: bool, print the model table.
        splits: as of :func:`train`.

    Returns:
        dict with ``parameters``, ``steps``, ``images``, ``epochs``, ``seconds_per_step``,
        ``startup_minutes``, ``estimated_minutes`` and ``peak_memory_mb``.

    Example:

    >>> report = dry_run(wsss.load_config("runs/demo/config.yaml"), verbose=False)
    >>> report["steps"], report["images"], report["parameters"]
    (2, 2, 260575)
    """
    began = time.perf_counter()
    config, (training, _) = _read(config, splits)
    _, config = stage_configs(config)[0]
    set_threads(config.training)
    _warn_of_sizes(training, config)
    model, _ = _compiled_model(config, training.class_names)
    if verbose:
        model.summary()
    # At the end of the schedule every loss term is active.
    model.optimizer.iterations.assign(max(0, config.training.steps - DRY_STEPS))
    batches = _dataset(config, training, DRY_STEPS, 0)
    built = time.perf_counter()
    model.fit(batches.take(1), verbose=0)  # compiles
    compiled = time.perf_counter()
    model.fit(batches.skip(1), verbose=0)
    seconds = (time.perf_counter() - compiled) / (DRY_STEPS - 1)
    phases = len(set(model.schedule.phases(config.training.steps)))
    startup = built - began + phases * max(0, compiled - built - seconds)
    return {
        "parameters": model.count_params(),
        "steps": config.training.steps,
        "images": len(training),
        "epochs": round(config.training.steps * config.data.batch_size / len(training), 1),
        "seconds_per_step": round(seconds, 3),
        "startup_minutes": round(startup / 60, 1),
        "estimated_minutes": round((startup + seconds * config.training.steps) / 60, 1),
        "peak_memory_mb": peak_memory_mb(),
    }


def _warn_of_sizes(training, config):
    if advice := sizes_that_differ(training, config.data):
        logger.warning("%s", advice)


def _compiled_model(config, classes):
    """The model on all replicas, with their strategy."""
    configure(config.training, config.seed)
    strategy = replica_strategy(config.training.distribution)
    if config.data.batch_size % strategy.num_replicas_in_sync:
        raise ConfigError(
            f"data.batch_size: {config.data.batch_size} images cannot be shared by "
            f"{strategy.num_replicas_in_sync} replicas; use a multiple"
        )
    xla = use_xla(config.training.xla)
    with strategy.scope():
        model = build_model(config, classes, synchronize_batch_norm(strategy, xla))
        model.check_crop(config.data.crop_size)
        optimizer = build_optimizer(config.optimizer, config.training.steps)
        model.compile(optimizer, jit_compile=xla)
    return model, strategy


def _dataset(config, split, steps, start_step):
    return training_dataset(
        split,
        config.data,
        seed=config.seed,
        steps=steps,
        start_step=start_step,
        batch_size=config.data.batch_size,
        masks=config.declaration.needs_masks,
        saliency=config.needs_saliency,
    )
