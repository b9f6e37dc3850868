"""What a run folder says about a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_wsss.config import Config, load_run_config, stage_configs
from keras_wsss.inference.evaluate_run import evaluate_run
from keras_wsss.output import whole_records
from keras_wsss.run_folder import RunDirectory

Content = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """One trained network.

    Attributes:
        name: of the run folder, with that of the stage.
        path: of the run folder, of which this may be a stage.
        config: its configuration.
        summary: content of ``summary.json``.
        metrics: records of ``metrics.jsonl``, in the order of their steps.
        images: content of ``image_results.json``.
    """

    name: str
    path: Path
    config: Config
    summary: Content
    metrics: list[Content]
    images: Content


def read_results(path: str | Path, verbose: bool = False) -> list[Results]:
    """Results of a run; of one with stages those of every stage that has been trained.

    Args:
        path: run folder.
        verbose: show the progress of an evaluation, where one is needed.

    Raises:
        ConfigError: the folder is no run.
        DataError: the images of the run cannot be read.
        WeightsError: nothing has been trained yet.
    """
    folder = Path(path)
    stages = stage_configs(load_run_config(folder))
    begun = [pair for pair in stages if RunDirectory(folder / pair[0]).has_checkpoint()]
    found = []
    for stage, config in begun or stages[-1:]:
        name = "/".join(filter(None, (folder.resolve().name, stage)))
        found.append(Results(name, folder, config, *_files(folder / stage, config, verbose)))
    return found


def _files(path: Path, config: Config, verbose: bool) -> tuple[Content, list[Content], Content]:
    run = RunDirectory(path)
    metrics = read_metrics(run.metrics_file)
    summary, images = _json(run.summary_file), _json(run.image_results)
    trained = metrics[-1]["step"] if metrics else 0
    # A run that was trained on has other weights than those that were evaluated.
    if not trained <= images.get("step", -1) == summary.get("step"):
        summary |= evaluate_run(path, config, sheet=True, verbose=verbose)
        images = _json(run.image_results)
    return summary, metrics, images


def _json(file: Path) -> Content:
    content: Content = json.loads(file.read_text()) if file.exists() else {}
    return content


def read_metrics(file: Path) -> list[Content]:
    """Records of a ``metrics.jsonl``, one for each step, in their order.

    A resumed run may have logged a step twice: what it says last counts.
    """
    records: dict[int, Content] = {}
    for record in whole_records(file):
        records[record["step"]] = records.get(record["step"], {}) | record
    return [records[step] for step in sorted(records)]
