"""The folder of a training run: names of its files, and what may be written there."""

import fcntl
import json
import logging
import os
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_wsss.config import Config
from keras_wsss.errors import ConfigError, TrainingError
from keras_wsss.output import new_file, whole_records

logger = logging.getLogger(__name__)

RESUMED_FROM = "last", "previous", "best"
"""Checkpoints that a training can go on from, the first that is whole."""

LOCK = ".lock"

LABEL_MANIFEST = "label_manifest.json"
"""In a folder of labels for an annotation tool: what they are."""


class RunDirectory:
    """Paths of one run.

    * ``config.yaml``: the resolved configuration
    * ``classes.txt``: names of the foreground classes, one a line
    * ``metrics.jsonl``: one line per logged step and per validation
    * ``checkpoints/last.safetensors``, the one before it (``previous``) and ``best``
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
        """Path of the checkpoint ``last``, ``previous`` or ``best``."""
        return self.path / "checkpoints" / f"{which}.safetensors"

    def has_checkpoint(self) -> bool:
        """Whether a training can go on here, be it from an older state."""
        return any(self.checkpoint(which).exists() for which in RESUMED_FROM)

    def check(self, resume: bool = False) -> None:
        """Whether a training can begin here, or go on.

        Raises:
            ConfigError: a run is there already and is not to be resumed, or is to be resumed and
                is not there.
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

    def write_config(self, config: Config) -> None:
        """Writes ``config.yaml``.

        Raises:
            TrainingError: the folder cannot be written.
        """
        self.write(self.config_file, lambda path: path.write_text(config.to_yaml()))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While the ``with`` block runs, no other training writes here.

        The system gives the lock back when its process ends, however that happens, so nothing has
        to be cleaned up after a crash.

        Raises:
            ConfigError: a training writes here already.
            TrainingError: the folder cannot be written.
        """
        file = self.path / LOCK
        with self.explained(file):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = file.read_text().strip() or "another process"
                raise ConfigError(
                    f"{self.path}: {owner} trains here; wait for its end, or choose another "
                    "--run-dir"
                ) from None
            except OSError as error:  # a file system without locks
                logger.warning("%s: cannot be locked (%s)", self.path, error.strerror)
            owner = f"process {os.getpid()} of {socket.gethostname()}, since {time.ctime()},"
            with self.explained(file):
                os.ftruncate(handle, 0)
                os.write(handle, owner.encode())
            yield
        finally:
            os.close(handle)

    def write(self, target: Path, writer: Callable[[Path], Any]) -> None:
        """Calls ``writer(temporary path)`` and moves the result to ``target`` in one step.

        Raises:
            TrainingError: the disk is full or the folder read-only; ``target`` is as it was.
        """
        with self.explained(target), new_file(target) as temporary:
            writer(temporary)

    @contextmanager
    def explained(self, target: Path) -> Iterator[None]:
        """Says in one message that ``target`` cannot be written in the ``with`` block.

        Raises:
            TrainingError: in place of an :exc:`OSError`.
        """
        try:
            yield
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
        with self.explained(self.metrics_file), self.metrics_file.open("a") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def forget_metrics_after(self, step: int) -> None:
        """Leaves of ``metrics.jsonl`` what was whole by ``step``: the steps after it come again."""
        if self.metrics_file.exists():
            kept = [r for r in whole_records(self.metrics_file) if r.get("step", 0) <= step]
            lines = "".join(json.dumps(record) + "\n" for record in kept)
            self.write(self.metrics_file, lambda path: path.write_text(lines))


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
