"""From run folders to the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_wsss.errors import DataError
from keras_wsss.inference.report.page import report_page
from keras_wsss.inference.report.results import read_results
from keras_wsss.output import new_file
from keras_wsss.run_folder import RunDirectory


def write_report(
    runs: Sequence[str | Path], output: str | Path | None = None, verbose: bool = False
) -> dict[str, Any]:
    """Writes one HTML file about one run, or about several side by side.

    What the evaluation at the end of a training has found is read from the run folder; where it
    is not there, or is of other weights, the run is evaluated first.

    Args:
        runs: folders; of a run with stages every stage is shown.
        output: file; None: ``report.html`` in the folder of the run, of several runs in the
            working directory.
        verbose: show the progress of an evaluation.

    Returns:
        dict: ``report``, the path, ``megabytes`` and ``runs``, the names of what is shown.

    Raises:
        ConfigError: a folder is no run.
        DataError: the file cannot be written, or the data cannot be read.
        WeightsError: a run has no checkpoint.

    Example:

    >>> write_report(["runs/demo"])["runs"]
    ['demo']
    """
    folders = {Path(run).resolve(): Path(run) for run in runs}.values()
    results = [each for folder in folders for each in read_results(folder, verbose)]
    if len({each.name for each in results}) < len(results):  # folders of one name
        results = [replace(each, name=f"{each.path.parent}/{each.name}") for each in results]
    if output is None:
        output = RunDirectory(runs[0]).report if len(folders) == 1 else Path("report.html")
    text = report_page(results).encode()
    try:
        with new_file(Path(output)) as file:
            file.write_bytes(text)
    except OSError as error:
        raise DataError(f"{output}: cannot be written ({error.strerror})") from error
    megabytes = round(len(text) / 1e6, 1)
    return {"report": str(output), "megabytes": megabytes, "runs": [each.name for each in results]}
