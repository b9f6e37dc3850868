"""From a trained run to a folder of exported models, each compared with the Keras model."""

from __future__ import annotations

import errno
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

import keras_wsss
from keras_wsss.backbones import weights_licence
from keras_wsss.checksums import SUMS, sha256
from keras_wsss.config import Config, DataConfig, digest
from keras_wsss.data import Split, explain_errors, load_split
from keras_wsss.errors import ConfigError, ExportError
from keras_wsss.export.bundle import write_bundle
from keras_wsss.export.comparison import (
    Exported,
    compare,
    measurable,
    performance,
    report,
    samples,
    table,
)
from keras_wsss.export.files import version_folders
from keras_wsss.export.formats import ExportJob
from keras_wsss.export.metadata import Checkpoint, Limits, Metadata, Provenance, limits_of
from keras_wsss.export.network import network_of
from keras_wsss.export.web_file import find_runtime
from keras_wsss.inference import load
from keras_wsss.inference.checkpoints import class_names, stage_of_run
from keras_wsss.inference.evaluate_run import supervision
from keras_wsss.output import scratch_folder
from keras_wsss.palette import colour_codes
from keras_wsss.prediction import SMALLEST_SIDE
from keras_wsss.registry import FORMATS, usual_formats
from keras_wsss.run_folder import RunDirectory


def export_run(
    run: str | Path,
    output: str | Path,
    formats: Sequence[str] | None = None,
    *,
    config: Config | None = None,
    name: str | None = None,
    which: Checkpoint = "last",
    size: tuple[int, int] | None = None,
    limits: Limits | None = None,
    images: int = 100,
    speed: bool = True,
) -> dict[str, Any]:
    """Exports a trained run and compares every file with the Keras model.

    ``output`` then holds, by format, ``saved_model/NAME/VERSION``, ``onnx/NAME.onnx``,
    ``litert/NAME_PRECISION.tflite``, ``weights/NAME`` and ``web/NAME``, with ``comparison.json``,
    ``comparison.md`` and what TF Serving needs. Nothing is left there but the two reports if a
    model is out of bounds.

    Args:
        run: folder of a trained run.
        output: folder; a SavedModel there gets a new version beside its old ones, other files are
            replaced.
        formats: names of export formats; None: :func:`usual_formats`.
        config: :class:`~keras_wsss.config.Config` to take the data from, and nothing else; None:
            the run's own.
        name: of the model, letters, digits, ``_`` and ``-``; None: that of the configuration.
        which: checkpoint, ``last`` or ``best``.
        size: height and width of ONNX and LiteRT files that take nothing else; None: any size.
        limits: what the SavedModel and the page admit; None: :func:`limits_of` the run.
        images: int, how many of the validation list are compared.
        speed: bool, also measure latency and memory, in a process for each model.

    Returns:
        The content of ``comparison.json``.

    Raises:
        ExportError: a model differs from the Keras model by more than its bounds.
        WSSSError: anything else that the user can put right.

    Example:

    >>> report = export_run("runs/demo", "for_us", ["weights"], images=1, speed=False)
    >>> sorted(path.name for path in Path("for_us").iterdir())
    ['comparison.json', 'comparison.md', 'weights']
    """
    output = Path(output)
    formats = usual_formats() if formats is None else formats
    if unknown := set(formats) - set(FORMATS):
        raise ConfigError(f"format {', '.join(unknown)}: not known; known: {', '.join(FORMATS)}")
    if size and min(size) < SMALLEST_SIDE:
        raise ConfigError(f"size {size[0]} {size[1]}: allowed: sides of {SMALLEST_SIDE} or more")
    if "web" in formats:
        find_runtime()  # before minutes of work on other formats
    stage, trained = stage_of_run(run)
    limits = limits or limits_of(trained)
    data = stage_of_run(run, config)[1].data
    name = _checked_name(name or trained.name)
    model = load(run, which)
    metadata = describe(name, model, stage, trained, which)
    network = network_of(model)
    with ExitStack() as scratch:
        try:
            made = scratch.enter_context(scratch_folder(output))
        except OSError as error:
            raise ConfigError(f"output {output}: cannot be written ({error.strerror})") from error
        exported = []
        for each in formats:
            folder = made / each
            folder.mkdir()
            job = ExportJob(folder, name, model, network, metadata, size, limits, data)
            exported += FORMATS[each](job)
        compared = _compared(network, exported, data, metadata, images, limits, speed)
        comparison = {"run": trained.name, **compared}
        wrong = {key: of["out_of_bounds"] for key, of in comparison["models"].items()}
        wrong = {key: faults for key, faults in wrong.items() if faults}
        if wrong:
            shutil.rmtree(made)
            made.mkdir()
        elif "saved_model" in formats:
            write_bundle(made, metadata, limits)
        (made / "comparison.json").write_text(json.dumps(comparison, indent=2) + "\n")
        (made / "comparison.md").write_text(table(comparison))
        _move(made, output)
    if wrong:
        faults = "; ".join(f"{key}: {', '.join(of)}" for key, of in wrong.items())
        raise ExportError(
            f"not exported, because the result differs from the Keras model: {faults}. The numbers "
            f"are in {output / 'comparison.json'}; leave the format out, or train on"
        )
    return comparison


def describe(name: str, model: Any, stage: Path, config: Config, which: Checkpoint) -> Metadata:
    """Metadata of a trained model.

    Args:
        name: of the exported model.
        model: :class:`~keras_wsss.methods.WSSSModel`.
        stage: run folder of the stage that has trained it.
        config: its configuration.
        which: the checkpoint.
    """
    run = RunDirectory(stage)
    classes = ("background", *class_names(run))
    summary = json.loads(run.summary_file.read_text()) if run.summary_file.exists() else {}
    black, white = (np.full((1, 1, 1, 3), value, np.float32) for value in (0, 255))
    # Asked of the encoder, so that it cannot differ from what the encoder does.
    low, high = (np.asarray(model.backbone.preprocess(image)).ravel() for image in (black, white))
    scored = summary if which == "last" else summary.get("best", {})
    return Metadata(
        name=name,
        classes=classes,
        palette=colour_codes(len(classes)),
        scale=tuple(((high - low) / 255).tolist()),
        offset=tuple(low.tolist()),
        square=config.data.square,
        scores_trained=config.trains_classifier,
        weights_licence=weights_licence(config.backbone.name, config.backbone.weights),
        provenance=Provenance(
            config=config.name,
            config_hash=digest(config),
            method=config.method,
            parity=config.parity,
            seed=config.seed,
            supervision=supervision(config),
            checkpoint=which,
            step=model.trained_steps,
            weights_sha256=sha256(run.checkpoint(which)),
            validation_miou=scored.get("decoder", {}).get("miou"),
            keras_wsss=keras_wsss.__version__,
        ),
    )


def _compared(
    network: Any,
    exported: Sequence[Exported],
    data: DataConfig,
    metadata: Metadata,
    images: int,
    limits: Limits,
    speed: bool,
) -> dict[str, Any]:
    split: Split = load_split(data, "val")
    with explain_errors(split):
        chosen = samples(split, images, limits.working_size)
        results = compare(network, exported, chosen, len(metadata.classes))
    if speed:
        pairs = zip(exported, results, strict=True)
        results = [
            {**result, **(performance(each) if measurable(each) else {})} for each, result in pairs
        ]
    return report(exported, results, list=split.name, images=min(images, len(split)))


def _checked_name(name: str) -> str:
    """Folders, URLs, host names and keys of YAML files all take it."""
    if not re.fullmatch("[A-Za-z]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", name):
        raise ConfigError(
            f"name {name!r}: allowed: up to 63 letters, digits, _ and -, first a letter, last no _ "
            "or -; --name gives another"
        )
    return name


def _move(made: Path, output: Path) -> None:
    """Moves what was made to its place: whole version folders and packages, single files."""
    for source in sorted(made.rglob("*")):
        if not source.exists():
            continue  # went along with its folder
        target = output / source.relative_to(made)
        if source.is_file():
            source.replace(target)
        elif not (source / SUMS).exists():
            target.mkdir(exist_ok=True)
        elif source.parent.parent == made / "saved_model":
            _move_version(source, target.parent)
        else:
            if target.exists():
                target.replace(tempfile.mkdtemp(dir=made))  # goes with the rest of ``made``
            source.replace(target)


def _move_version(source: Path, folder: Path) -> None:
    """TF Serving serves the highest number, and never reads the same number again."""
    while True:
        newest = max(version_folders(folder), default=0)
        try:
            source.rename(folder / str(newest + 1))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            continue  # another export was faster
        return
