"""Whether a run may go on with what it is given now, and from where."""

import logging
from importlib.metadata import version

from keras_wsss.config import decisive, load_run_config, stage_configs, stage_digests
from keras_wsss.errors import ConfigError
from keras_wsss.inference.checkpoints import LIBRARIES, resumed
from keras_wsss.run_folder import RunDirectory

logger = logging.getLogger(__name__)

MAY_CHANGE = {"optimizer.learning_rate", "optimizer.clip_norm"}
"""Keys with which a training that diverged goes on."""


def refuse_foreign(run, config, accept_changes):
    """Raises where the run, or a stage of it that has begun, is of another configuration.

    Args:
        run: :class:`~keras_wsss.run_folder.RunDirectory`.
        config: of now.
        accept_changes: bool, warn of what differs; so it is with :data:`MAY_CHANGE` in any case.

    Raises:
        ConfigError: something else differs.
    """
    if not run.config_file.exists():
        return
    begun = load_run_config(run.path)
    before, now = dict(stage_configs(begun)), dict(stage_configs(config))
    digest_before, digest_now = stage_digests(begun), stage_digests(config)
    for stage in now:
        part = RunDirectory(run.path / stage)
        has_begun = part.has_checkpoint() or part.summary_file.exists()
        if not has_begun or digest_before.get(stage) == digest_now[stage]:
            continue
        old, new = decisive(before.get(stage, begun)), decisive(now[stage])
        differ = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        for key in differ:
            logger.warning("%s: %s was %s, now %s", part.path, key, old.get(key), new.get(key))
        if not differ or not (accept_changes or set(differ) <= MAY_CHANGE):
            raise ConfigError(
                f"{part.path}: was trained with another configuration (other "
                f"{', '.join(differ) or 'labels of an earlier stage'}); choose another --run-dir, "
                "or go on with it: --accept-changes"
            )


def newest_state(model, run, fresh, accept_changes):
    """Loads the run's newest checkpoint.

    Args:
        model: compiled model.
        run: :class:`~keras_wsss.run_folder.RunDirectory`.
        fresh: dict, state of a training that begins: ``step``, ``best`` and, as ``data``, the
            :func:`~keras_wsss.data.contents.contents` of now.
        accept_changes: bool, warn of other data.

    Returns:
        The state to go on with; ``fresh`` where there is no checkpoint yet.

    Raises:
        ConfigError: it was trained on other data.
        WeightsError: no checkpoint is whole.
    """
    state = resumed(model, run)
    if state is None:
        logger.info("%s: has no checkpoint yet; the training begins anew", run.path)
        run.forget_metrics_after(0)
        return fresh
    before = state.get("data", {})
    differ = [what for what, now in fresh["data"].items() if before.get(what) != now]
    if differ and not accept_changes:
        raise ConfigError(
            f"{run.path}: was trained on other data ({', '.join(differ)} are not as they were); "
            "put them back, train anew in another --run-dir, or go on with them: --accept-changes"
        )
    for what in differ:
        logger.warning("%s: %s are not as they were", run.path, what)
    for name, was in state.get("versions", {}).items():
        if name in LIBRARIES and version(name) != was:
            logger.warning("%s: was begun with %s %s, now %s", run.path, name, was, version(name))
    if not run.checkpoint("best").exists():
        state["best"] = -1.0
    run.forget_metrics_after(state["step"])
    return {**fresh, **state, "data": fresh["data"]}
