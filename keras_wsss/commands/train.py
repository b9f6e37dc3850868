"""Trains a segmentation network from image tags, and scores it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from keras_wsss._command import add_override_argument, import_tensorflow, show
from keras_wsss.commands._tables import score_table, table
from keras_wsss.config import Config, load_config, load_run_config, stage_configs
from keras_wsss.errors import ConfigError
from keras_wsss.run_folder import RunDirectory

HELP = "train from image tags, and score the result"
EXAMPLES = """\
  keras-wsss train --config photos --set data.root=my_set
  keras-wsss train --config photos --set data.root=my_set --dry-run
  keras-wsss train --resume --run-dir runs/photos
"""
TIME = (
    "The time is start-up, with compiling for every phase of the schedule, and all steps at the",
    "pace of the last phase, which is the slowest. Validation and final scores come on top.",
)


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("--config", help="name of a shipped configuration or path")
    add_override_argument(parser)
    parser.add_argument("--run-dir", help="folder of the run (default: runs/NAME)")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint, or begin anew where there is none yet; the "
        "configuration is the run's own",
    )
    parser.add_argument(
        "--accept-changes",
        action="store_true",
        help="with --resume: go on although data or configuration are other ones",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="four steps: model table, memory, estimated time"
    )


def run(options: Namespace) -> None:
    """Trains, or tries it."""
    from keras_wsss.data import load_splits

    config = _config(options)
    run_dir = options.run_dir or f"runs/{config.name}"
    # What can be found wrong without TensorFlow, whose import takes seconds.
    if not options.dry_run:
        RunDirectory(run_dir).check(options.resume)
    splits = load_splits(stage_configs(config)[0][1])
    import_tensorflow()
    from keras_wsss import training

    verbose = not options.quiet
    if options.dry_run:
        needs = training.dry_run(config, verbose, splits)
        show(options, needs, [*table(needs), "", *TIME])
        return
    summary = training.train(
        config, run_dir, options.resume, verbose, splits, options.accept_changes
    )
    written = [f"scores    {run_dir}/summary.json", f"pictures  {run_dir}/contact_sheet.png"]
    if verbose:
        from keras_wsss.inference.report import write_report

        written.append(f"report    {write_report([run_dir])['report']}")
    show(
        options,
        summary,
        [
            *score_table(summary),
            "",
            *written,
            f"next      keras-wsss predict --run {run_dir} PHOTOS -o masks",
        ],
    )


def _config(options: Namespace) -> Config:
    """What is to be trained: a configuration by name, or that of the run that goes on."""
    if options.config:
        return load_config(options.config, options.overrides)
    if not (options.resume and options.run_dir):
        raise ConfigError(
            "--config NAME is missing; or --resume --run-dir RUN, to go on with a run"
        )
    return load_run_config(options.run_dir, options.overrides)
