"""What TF Serving needs beside the SavedModel: configuration, deployment, warm-up, instructions."""

from __future__ import annotations

import importlib.resources
import io
import string
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_wsss.export.files import import_extra, size_on_disk
from keras_wsss.export.metadata import SIGNATURE, Limits, Metadata

# Template -> where it goes.
FILES = {
    "README.md": "README.md",
    "compose.yaml": "compose.yaml",
    "kubernetes.yaml": "kubernetes.yaml",
    "models.config": "serving/models.config",
    "batching_parameters.txt": "serving/batching_parameters.txt",
    "monitoring.config": "serving/monitoring.config",
}
# Measured (docs/export.md) with EfficientNet-Lite0 at a working size of 512: a process that has
# answered, and each image while it is segmented.
PROCESS_MB, BYTES_PER_PIXEL = 1024, 16
AT_ONCE = 4  # images that the manifests let be segmented at once


def write_bundle(folder: Path, metadata: Metadata, limits: Limits) -> None:
    """Writes the files beside ``saved_model/``.

    Args:
        folder: that of the export.
        metadata: of the model.
        limits: what its SavedModel admits.
    """
    provenance = metadata.provenance
    image_mb = limits.max_pixels * BYTES_PER_PIXEL // 2**20
    # While a version takes the place of another both are loaded.
    process_mb = PROCESS_MB + 2 * size_on_disk(folder / "saved_model") // 2**20
    named = enumerate(zip(metadata.classes, metadata.palette, strict=True))
    legend = "\n".join(f"* {number}: {name} ({colour})" for number, (name, colour) in named)
    values = {
        "name": metadata.name,
        # Host names have no underscore.
        "service": metadata.name.lower().replace("_", "-"),
        "classes": ", ".join(metadata.classes[1:]),
        "version": provenance.keras_wsss,
        "config": provenance.config,
        "supervision": provenance.supervision,
        "licence": metadata.licence,
        "weights_licence": metadata.weights_licence,
        "legend": legend,
        "serving": version("tensorflow-serving-api"),
        "at_once": AT_ONCE,
        "process_mb": process_mb,
        "image_mb": image_mb,
        "memory_mb": process_mb + AT_ONCE * image_mb,
        **limits.model_dump(),
    }
    templates = importlib.resources.files("keras_wsss.export") / "templates"
    for template, place in FILES.items():
        text = (templates / template).read_text()
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text(string.Template(text).substitute(values))


def write_warmup(path: Path, name: str, limits: Limits) -> None:
    """Writes ``assets.extra/tf_serving_warmup_requests`` of a SavedModel.

    TF Serving sends them before a version takes requests, so that the first user does not wait for
    graphs to be optimised.

    Args:
        path: version folder.
        name: of the model.
        limits: what it admits.
    """
    predict, log = import_extra(
        "tensorflow_serving.apis.predict_pb2", "tensorflow_serving.apis.prediction_log_pb2"
    )
    target = path / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(target)) as writer:
        for image in _warmup_images(limits):
            request = predict.PredictRequest()
            request.model_spec.name = name
            request.model_spec.signature_name = SIGNATURE
            request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([image]))
            record = log.PredictionLog(predict_log=log.PredictLog(request=request))
            writer.write(record.SerializeToString())


def _warmup_images(limits: Limits) -> Iterator[bytes]:
    """A gradient as JPEG and PNG, upright and wide, and larger than the network sees it."""
    side = limits.working_size
    for height, width, kind in ((side, side * 3 // 4, "JPEG"), (side, 2 * side, "PNG")):
        rows = np.linspace(0, 255, height)[:, None, None]
        columns = np.linspace(0, 255, width)[None, :, None]
        pixels = (rows * [1, 0, 0.5] + columns * [0, 1, 0.5]).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        yield file.getvalue()
