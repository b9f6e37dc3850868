"""The formats of an export: functions of an :class:`ExportJob` that write files.

They are registered in :data:`keras_wsss.registry.FORMATS`. One of your own returns what is to be
compared with the Keras model, as :class:`~keras_wsss.export.comparison.Exported`:

>>> @wsss.register_format("mine")
... def mine(job):
...     path = job.folder / f"{job.name}.mine"
...     write_onnx(job.network, path, job.metadata)
...     return [Exported("mine", path, opener=wsss.export.open_model)]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from keras_wsss.checksums import write_sums
from keras_wsss.config import DataConfig
from keras_wsss.data import explain_errors, load_split
from keras_wsss.export.bundle import write_warmup
from keras_wsss.export.comparison import Exported, samples
from keras_wsss.export.litert_file import Precision, write_litert
from keras_wsss.export.metadata import Limits, Metadata
from keras_wsss.export.network import NetworkFunction
from keras_wsss.export.onnx_file import write_onnx
from keras_wsss.export.package import write_package
from keras_wsss.export.saved_model import write_saved_model
from keras_wsss.export.web_file import open_web, write_web

CALIBRATION_IMAGES = 32  # 16 are as good as 100 (docs/export-formats.md)


@dataclass(frozen=True)
class ExportJob:
    """All that a format may need.

    Attributes:
        folder: its own, empty folder.
        name: of the model.
        model: built :class:`~keras_wsss.methods.WSSSModel`.
        network: what is exported, see :func:`~keras_wsss.export.network.network_of`.
        metadata: what the model says about itself.
        size: height and width of files that take nothing else, or None.
        limits: what a SavedModel admits.
        data: where the training images are, for calibration.
    """

    folder: Path
    name: str
    model: Any
    network: NetworkFunction
    metadata: Metadata
    size: tuple[int, int] | None
    limits: Limits
    data: DataConfig

    @property
    def stem(self) -> str:
        """Name of a file that takes one size."""
        return self.name + ("_{}x{}".format(*self.size) if self.size else "")

    def calibration_images(self) -> Iterator[np.ndarray]:
        """Training images uint8 `[H,W,3]`, from which the ranges of full int8 are taken."""
        split = load_split(self.data, "train")
        with explain_errors(split):
            size = self.limits.working_size
            for image, _ in samples(split, CALIBRATION_IMAGES, size, masks=False):
                yield image[0]


def saved_model(job: ExportJob) -> list[Exported]:
    """``saved_model/NAME/VERSION`` for TF Serving."""
    path = job.folder / job.name / "1"
    write_saved_model(job.network, path, job.metadata, job.limits)
    write_warmup(path, job.name, job.limits)
    write_sums(path)
    return [Exported("saved_model", path)]


def onnx(job: ExportJob) -> list[Exported]:
    """``onnx/NAME.onnx``."""
    path = job.folder / f"{job.stem}.onnx"
    write_onnx(job.network, path, job.metadata, job.size)
    return [Exported("onnx", path, job.size)]


def litert(job: ExportJob) -> list[Exported]:
    """``litert/NAME_PRECISION.tflite``."""
    exported = []
    for precision in get_args(Precision):
        path = job.folder / f"{job.stem}_{precision}.tflite"
        calibration = job.calibration_images() if precision == "int8" else None
        write_litert(job.network, path, precision, job.metadata, job.size, calibration)
        exported.append(Exported(precision, path, job.size))
    return exported


def weights(job: ExportJob) -> list[Exported]:
    """``weights/NAME``, which :func:`keras_wsss.load` reads; it is the model itself."""
    write_package(job.model, job.folder / job.name, job.metadata)
    return []


def web(job: ExportJob) -> list[Exported]:
    """``web/NAME``, a page for any web server; its network takes photographs of any size."""
    path = job.folder / job.name
    write_web(job.network, path, job.metadata, job.limits)
    write_sums(path)
    return [Exported("web", path, opener=open_web)]
