"""Looks for faults in a data set before anybody trains on it: in images, tags, lists and masks."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_wsss._command import add_override_argument, show
from keras_wsss.commands.import_ import add_tag_arguments
from keras_wsss.errors import ConfigError, DataError

if TYPE_CHECKING:
    from keras_wsss.config import DataConfig
    from keras_wsss.data.checking.check import Report

HELP = "look for faults in images, tags, lists and masks"
EXAMPLES = """\
  keras-wsss check my_set                             # or whatever `keras-wsss import` takes
  keras-wsss check photos/ --untagged negative --html check.html
  keras-wsss check my_set --fix cleaned               # the same without what cannot be used
  keras-wsss check --config voc_tscd --set data.root=VOC2012 --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("source", type=Path, nargs="?", help="file with the tags, or folder")
    add_tag_arguments(parser)
    parser.add_argument("--config", help="check the data of this configuration (name or path)")
    add_override_argument(parser)
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures")
    parser.add_argument(
        "--fix",
        type=Path,
        metavar="FOLDER",
        help="write cleaned lists there, with links to your images and a note of what is left out",
    )


def run(options: Namespace) -> int:
    """Checks, and says what was found; 1 where something is wrong."""
    from keras_wsss.data.checking.check import check
    from keras_wsss.data.checking.cleaned import NOTE, write_cleaned
    from keras_wsss.data.checking.page import page_of

    report = check(_data(options))
    result = report.as_dict()
    written = []
    if options.html:
        try:
            options.html.parent.mkdir(parents=True, exist_ok=True)
            options.html.write_text(page_of(report), "utf-8")
        except OSError as error:
            raise DataError(f"{options.html}: cannot be written ({error.strerror})") from error
        written.append(f"look at: {options.html}")
    if options.fix:
        result["left_out"] = write_cleaned(report, options.fix)
        written.append(
            f"written: {options.fix}/ ({len(result['left_out'])} images are left out, see {NOTE})"
        )
        written.append(f"next:    {_next(options, report)}")
    show(options, result, [*_lines(report), *written, report.line])
    return int(report.faults > 0)


def _data(options: Namespace) -> DataConfig:
    from keras_wsss.config import load_config
    from keras_wsss.data.checking.source import data_of

    if bool(options.config) == bool(options.source):
        raise ConfigError("check: name either a file or folder, or --config NAME")
    if options.config:
        return load_config(options.config, options.overrides).data
    if options.overrides:
        raise ConfigError("--set: changes a configuration; name it with --config")
    return data_of(
        options.source,
        images=options.images,
        format=options.format,
        tags_column=options.tags_column,
        classes=options.classes,
        untagged=options.untagged,
        negative=options.negative,
        follow_links=options.follow_links,
    )


def _lines(report: Report) -> list[str]:
    lines = [f"{each.severity}: {each.kind}: {each.message}" for each in report.findings]
    return lines or [f"{report.contents.root}: nothing found"]


def _next(options: Namespace, report: Report) -> str:
    if options.config:
        return f"keras-wsss train --config {options.config} ... --set data.root={options.fix}"
    if report.contents.imports:
        return f"keras-wsss import {options.fix} -o my_set"
    config = "voc_tscd" if report.contents.kind == "voc" else "photos"
    return f"keras-wsss train --config {config} --set data.root={options.fix}"
