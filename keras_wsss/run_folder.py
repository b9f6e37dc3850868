"""The folder of a training run: names of its files, and what may be written there."""

import json
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_wsss.config import Config
from keras_wsss.errors import ConfigError, TrainingError
from keras_wsss.output import new_file

LABEL_MANIFEST = "label_manifest.json"
"""In a folder of labels for an annotation tool: what they are."""


class RunDirectory:
    """Paths of one run.

    * ``config.yaml``: the resolved configuration
    * ``classes.txt``: names of the foreground classes, one a line
    * ``metrics.jsonl``: one line per logged step and per validation
    * ``checkpoints/last.weights.h5``, ``checkpoints/best.weights.h5``
    * ``tensorboard/``: scalars and pictures
    * ``summary.json``, ``contact_sheet.png``: the final evaluation
    * ``image_results.json``: what it found on single images, with small pictures of a few
    * ``report.html``: all of this as a page
    * ``pseudo_labels/``: label files for a later training, where the configuration asks for them

    Of a run with stages the folder holds ``config.yaml``, ``summary.json`` and such a folder for
    each stage.

    Args:
        path: of the folder.
        part_of: folder of the whole run, where this is one of its stages.

    Example:

    >>> run = RunDirectory("runs/demo")
    >>> run.summary_file.name
    'summary.json'
    """

    def __init__(self, path: str | Path, part_of: str | Path | None = None):
        self.path = Path(path)
        self.whole = Path(part_of or path)
        self.config_file = self.path / "config.yaml"
        self.classes_file = self.path / "classes.txt"
        self.metrics_file = self.path / "metrics.jsonl"
        self.summary_file = self.path / "summary.json"
        self.contact_sheet = self.path / "contact_sheet.png"
        self.image_results = self.path / "image_results.json"
        self.report = self.path / "report.html"
        self.tensorboard = self.path / "tensorboard"

    def checkpoint(self, which: str) -> Path:
        """Path of the checkpoint ``last`` or ``best``."""
        return self.path / "checkpoints" / f"{which}.weights.h5"

    def check(self, resume: bool = False) -> None:
        """Whether a training can begin here, or go on.

        Raises:
            ConfigError: a run is there already and is not to be resumed, or is to be resumed and
                is not there.
        """
        if resume and not self.checkpoint("last").exists():
            raise ConfigError(
                f"{self.checkpoint('last')}: no checkpoint to resume from; leave out --resume, or "
                "name the run with --run-dir"
            )
        if not resume and self.metrics_file.exists():
            way = "continue it with --resume"
            if not self.checkpoint("last").exists():
                way = "it stopped before its first checkpoint, so delete it"
            raise ConfigError(
                f"{self.path}: holds a run already; {way}, or choose another --run-dir"
            )

    def prepare(self, config: Config, resume: bool = False) -> None:
        """Makes the folder and writes ``config.yaml``.

        Raises:
            ConfigError: as :meth:`check`.
            TrainingError: the folder cannot be written.
        """
        self.check(resume)
        self.write(self.config_file, lambda path: path.write_text(config.to_yaml()))

    def prepare_stages(self, config: Config, resume: bool = False) -> None:
        """As :meth:`prepare`, for a run whose stages have folders of their own.

        Raises:
            ConfigError: as there.
        """
        if resume and not self.config_file.exists():
            raise ConfigError(
                f"{self.config_file}: no run to resume; leave out --resume, or name the run with "
                "--run-dir"
            )
        if not resume and self.config_file.exists():
            raise ConfigError(
                f"{self.path}: holds a run already; continue it with --resume, or choose another "
                "--run-dir"
            )
        self.write(self.config_file, lambda path: path.write_text(config.to_yaml()))

    def write(self, target: Path, writer: Callable[[Path], Any]) -> None:
        """Calls ``writer(temporary path)`` and moves the result to ``target`` in one step.

        Raises:
            TrainingError: the disk is full or the folder read-only; ``target`` is as it was.
        """
        try:
            with new_file(target) as temporary:
                writer(temporary)
        except OSError as error:
            raise TrainingError(
                f"{target}: cannot be written ({error.strerror or error}); free some space or make "
                "the folder writable, then go on with --resume. The last checkpoint is kept"
            ) from error

    def write_json(self, target: Path, content: dict) -> None:
        """Writes ``content`` as indented JSON."""
        self.write(target, lambda path: path.write_text(json.dumps(content, indent=2) + "\n"))

    def append_metrics(self, record: dict) -> None:
        """Adds one line to ``metrics.jsonl``."""
        try:
            with self.metrics_file.open("a") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise TrainingError(
                f"{self.metrics_file}: cannot be written ({error.strerror or error}); free some "
                "space or make the folder writable, then go on with --resume"
            ) from error


def peak_memory_mb() -> int:
    """Largest resident memory of this process so far, in MB.

    Example:

    >>> peak_memory_mb() > 50
    True
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # not Linux
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    # Unlike this, Linux' getrusage also counts the program that started this one.
    (kilobytes,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return round(int(kilobytes) / 1024)
