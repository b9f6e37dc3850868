"""Exports a trained run, and compares every file with the Keras model."""

from __future__ import annotations

import argparse

import pydantic

from keras_wsss._command import add_override_argument, bounded, import_tensorflow, show
from keras_wsss.config import Config, load_run_config
from keras_wsss.config.messages import what_is_allowed
from keras_wsss.errors import ConfigError
from keras_wsss.export.metadata import Limits, limits_of
from keras_wsss.registry import FORMATS, usual_formats

HELP = "write SavedModel, ONNX and LiteRT files, or a page for browsers"
EXAMPLES = """\
  keras-wsss export --run runs/photos --output exported
  keras-wsss export --run runs/photos --output exported --format onnx --size 384 512
  keras-wsss export --run runs/photos --output exported --format web
"""
# What is done with a format, if it was written.
NEXT = {
    "saved_model": "keras-wsss serve {output}/saved_model/{name}",
    "web": "python -m http.server --directory {output}/web/{name}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("--run", required=True, help="folder of a trained run")
    parser.add_argument("-o", "--output", required=True, help="folder of the exported models")
    parser.add_argument(
        "--format",
        type=lambda text: text.split(","),
        default=usual_formats(),
        metavar="NAME,...",
        help=f"some of {','.join(FORMATS)} (all but web)",
    )
    parser.add_argument("--name", help="of the model (that of the configuration)")
    parser.add_argument("--checkpoint", choices=("last", "best"), default="last")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="the only size that ONNX and LiteRT files are to take (any)",
    )
    parser.add_argument(
        "--images", type=bounded(1), default=100, help="validation images compared (100)"
    )
    parser.add_argument("--no-speed", action="store_true", help="measure neither speed nor memory")
    admitted = parser.add_argument_group("what the SavedModel and the page admit")
    for name, field in Limits.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        admitted.add_argument(flag, type=int, help=f"({field.default})")
    add_override_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Exports."""
    config = load_run_config(options.run, options.overrides)
    limits = _limits(load_run_config(options.run), options)
    import_tensorflow()
    from keras_wsss.export.comparison import table
    from keras_wsss.export.run_export import export_run

    compared = export_run(
        options.run,
        options.output,
        options.format,
        config=config,
        name=options.name,
        which=options.checkpoint,
        size=options.size and tuple(options.size),
        limits=limits,
        images=options.images,
        speed=not options.no_speed,
    )
    name = options.name or config.name
    known = [NEXT[each] for each in options.format if each in NEXT]
    lines = [f"next      {each.format(output=options.output, name=name)}" for each in known]
    written = f"written   {options.output} (comparison.json, comparison.md)"
    show(options, compared, [table(compared), "", written, *lines])


def _limits(run: Config, options: argparse.Namespace) -> Limits:
    values = {name: getattr(options, name) for name in Limits.model_fields}
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return limits_of(run, **given)
    except pydantic.ValidationError as error:
        detail = error.errors()[0]
        flag = str(detail["loc"][0]).replace("_", "-")
        allowed = what_is_allowed(detail)
        raise ConfigError(f"--{flag} {detail['input']}: allowed: {allowed}") from error
