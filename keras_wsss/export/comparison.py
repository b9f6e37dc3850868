"""Is what was exported the model that was trained? Every export is compared, and fails if not."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_wsss.data.decode import read_image
from keras_wsss.data.sizes import shrunk
from keras_wsss.data.split import Split
from keras_wsss.errors import ExportError
from keras_wsss.export.files import size_on_disk
from keras_wsss.export.network import NetworkFunction
from keras_wsss.export.readers import OpenedModel, open_model
from keras_wsss.metrics import MeanIoU

Sample = tuple[np.ndarray, "np.ndarray | None"]
SIZES = (320, 512)  # at which latency is measured
THREADS = (1, 2)
MIOU = ("miou", "miou_keras")


@dataclass(frozen=True)
class Bounds:
    """What a format may differ from the Keras model; None: not judged by this.

    Attributes:
        max_abs_logits: largest difference of a logit.
        equal_pixels: least percentage of pixels with the same class.
        miou_drop: most percentage points of mIoU that may be lost.
    """

    max_abs_logits: float | None = None
    equal_pixels: float | None = None
    miou_drop: float | None = None


EXACT = Bounds(max_abs_logits=1e-4, equal_pixels=99.99)
BOUNDS = {
    "saved_model": EXACT,
    "onnx": EXACT,
    "float32": EXACT,
    "float16": Bounds(equal_pixels=99.5),
    "dynamic_int8": Bounds(miou_drop=1.5),
    "int8": Bounds(miou_drop=1.5),
}


@dataclass(frozen=True)
class Exported:
    """A model that was written.

    Attributes:
        kind: ``saved_model``, ``onnx``, ``web``, the precision of a LiteRT file, or the name of a
            format of one's own.
        path: file, version folder of a SavedModel, or folder of a page.
        size: the only height and width that it takes, or None.
        bounds: what it may differ; None: those of its kind, ``EXACT`` for one of one's own.
        opener: function of the path to a :class:`~keras_wsss.export.readers.OpenedModel`.
    """

    kind: str
    path: Path
    size: tuple[int, int] | None = None
    bounds: Bounds | None = None
    opener: Callable[[Path], OpenedModel] = open_model

    @property
    def megabytes(self) -> float:
        """Size on disk."""
        return size_on_disk(self.path) / 1e6


class Agreement:
    """Differences of one format from the Keras model, over images that come one by one."""

    def __init__(self, classes: int):
        self.largest = self.total = 0.0
        self.logits = self.equal = self.pixels = 0
        self.ours, self.reference = MeanIoU(classes), MeanIoU(classes)
        self.scored = False

    def update(self, ours: Mapping[str, Any], reference: Mapping[str, Any], truth: Any) -> None:
        """Adds an image; ``truth`` int `[H,W]`, 255 = ignore, or None."""
        difference = np.abs(np.asarray(ours["logits"], np.float64) - reference["logits"])
        if not np.all(np.isfinite(difference)):
            difference = np.full_like(difference, np.inf)
        self.largest = max(self.largest, float(difference.max()))
        self.total += float(difference.sum())
        self.logits += difference.size
        same = np.asarray(ours["class_map"]) == np.asarray(reference["class_map"])
        self.equal += int(same.sum())
        self.pixels += same.size
        if truth is not None:
            self.scored = True
            self.ours.update_state(truth[None], ours["class_map"])
            self.reference.update_state(truth[None], reference["class_map"])

    def result(self) -> dict[str, float | None]:
        """The numbers of the report."""
        ours, reference = (100 * float(metric.result()) for metric in (self.ours, self.reference))
        return {
            "max_abs_logits": self.largest,
            "mean_abs_logits": self.total / self.logits,
            "equal_pixels": 100 * self.equal / self.pixels,
            "miou": round(ours, 2) if self.scored else None,
            "miou_keras": round(reference, 2) if self.scored else None,
            "miou_drop": round(reference - ours, 2) if self.scored else None,
        }


def violations(result: Mapping[str, Any], bounds: Bounds) -> list[str]:
    """What is out of bounds, in words.

    Example:

    >>> violations({"max_abs_logits": 0.2, "equal_pixels": 100.0}, EXACT)
    ['max_abs_logits 0.2 > 0.0001']
    """
    found = []
    for name in ("max_abs_logits", "miou_drop"):
        bound, value = getattr(bounds, name), result.get(name)
        if bound is not None and value is not None and not value <= bound:
            found.append(f"{name} {value:.3g} > {bound:g}")
    if bounds.equal_pixels is not None and not result["equal_pixels"] >= bounds.equal_pixels:
        found.append(f"equal_pixels {result['equal_pixels']:.4f} < {bounds.equal_pixels:g}")
    return found


def samples(split: Split, count: int, working_size: int, masks: bool = True) -> Iterator[Sample]:
    """Images uint8 `[1,H,W,3]`, spread over a list, with their masks int32 `[H,W]` or None.

    They are as large as a served network sees them, so that every format gets the same.
    """
    for position in np.linspace(0, len(split) - 1, min(count, len(split))).astype(int):
        if split.read_image is not None:
            image = split.read_image(position)
        else:
            image = read_image(split.image_paths[position]).numpy()
        has_truth = masks and split.mask_paths is not None
        truth = split.mask(position) if has_truth else None
        yield resized(image, truth, shrunk(image[None], working_size).shape[1:3])


def resized(image: np.ndarray, truth: np.ndarray | None, size: tuple[int, int]) -> Sample:
    """A sample at another size; the mask by nearest neighbour."""
    pixels = tf.image.resize(image[None], size, antialias=True) if image.shape[:2] != size else None
    images = image[None] if pixels is None else tf.cast(tf.round(pixels), tf.uint8).numpy()
    if truth is None:
        return images, None
    return images, tf.image.resize(truth[..., None], size, method="nearest").numpy()[..., 0]


def compare(
    network: NetworkFunction, exported: Sequence[Exported], images: Iterable[Sample], classes: int
) -> list[dict[str, Any]]:
    """Differences of each exported model from the Keras model, in the order of ``exported``.

    Args:
        network: as of :func:`~keras_wsss.export.network.network_of`.
        exported: models that were written from it.
        images: as of :func:`samples`.
        classes: background included.

    Example:

    >>> from keras_wsss.export.network import network_of
    >>> network, onnx = network_of(wsss.load("runs/demo")), Path("exported/onnx/demo.onnx")
    >>> split = wsss.load_split(wsss.config.load_run_config("runs/demo").data, "val")
    >>> (result,) = compare(network, [Exported("onnx", onnx)], samples(split, 1, 512), 7)
    >>> 0 <= result["equal_pixels"] <= 100
    True
    """
    signature = [tf.TensorSpec([None, None, None, 3], tf.float32)]
    keras_model = tf.function(network, input_signature=signature, autograph=False)
    readers = [model.opener(model.path) for model in exported]
    agreements = [Agreement(classes) for _ in exported]
    for image, truth in images:
        references: dict[Any, tuple[Sample, Any]] = {}
        for model, reader, agreement in zip(exported, readers, agreements, strict=True):
            if model.size not in references:
                sample = resized(image[0], truth, model.size) if model.size else (image, truth)
                references[model.size] = sample, keras_model(tf.cast(sample[0], tf.float32))
            (pixels, mask), reference = references[model.size]
            agreement.update(reader(pixels), reference, mask)
    return [agreement.result() for agreement in agreements]


def measurable(model: Exported) -> bool:
    """Whether :func:`performance` can open it in a process of its own."""
    return model.opener is open_model


def performance(model: Exported) -> dict[str, Any]:
    """Latency and memory of an exported model, each number from a process of its own.

    Returns:
        dict: ``latency_ms``, the median over images of noise, by size and number of threads, and
        ``peak_memory_mb`` of the process, TensorFlow or onnxruntime included.
    """
    sizes = [f"{side}x{side}" for side in SIZES]
    if model.size:
        sizes = ["{}x{}".format(*model.size)]
    latency: dict[str, dict[str, float]] = {size: {} for size in sizes}
    memory = 0.0
    for threads in THREADS:
        module = "keras_wsss.export.measure"
        command = [sys.executable, "-m", module, str(model.path), "--threads", str(threads)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        answer = subprocess.run(
            [*command, "--sizes", *sizes], capture_output=True, text=True, env=environment
        )
        if answer.returncode:
            said = (answer.stderr.strip() or f"exit status {answer.returncode}").splitlines()[-1]
            raise ExportError(
                f"{model.path.name}: cannot be timed ({said}); --no-speed leaves it out"
            )
        measured = json.loads(answer.stdout.splitlines()[-1])
        for size in sizes:
            latency[size][f"{threads} threads"] = measured["latency_ms"][size]
        memory = max(memory, measured["peak_memory_mb"])
    return {"latency_ms": latency, "peak_memory_mb": memory}


def report(
    exported: Sequence[Exported], results: Sequence[Mapping[str, Any]], **facts: Any
) -> dict[str, Any]:
    """Content of ``comparison.json``.

    Args:
        exported, results: models and what :func:`compare` and :func:`performance` say of them.
        **facts: what else the report is to hold.
    """
    return {
        **facts,
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "versions": {name: version(name) for name in ("tensorflow", "keras", "numpy")},
        "models": {
            model.path.name if model.path.is_file() else model.kind: {
                "kind": model.kind,
                "megabytes": round(model.megabytes, 2),
                **result,
                "out_of_bounds": violations(result, model.bounds or BOUNDS.get(model.kind, EXACT)),
            }
            for model, result in zip(exported, results, strict=True)
        },
    }


def table(comparison: Mapping[str, Any]) -> str:
    """A report as a Markdown table."""
    header = ["model", "MB", "max difference of logits", "equal pixels, %", "mIoU", "Keras"]
    sizes = dict.fromkeys(
        (size, threads)
        for model in comparison["models"].values()
        for size, by_threads in model.get("latency_ms", {}).items()
        for threads in by_threads
    )
    header += [f"ms, {size}, {threads}" for size, threads in sizes]
    header += ["memory, MB"] if sizes else []
    rows = [header, ["---"] * len(header)]
    for name, model in comparison["models"].items():
        scores = ["–" if model[key] is None else f"{model[key]:.2f}" for key in MIOU]
        row = [name, f"{model['megabytes']:.1f}", f"{model['max_abs_logits']:.1e}"]
        row += [f"{model['equal_pixels']:.3f}", *scores]
        times = model.get("latency_ms", {})
        known = [times.get(size, {}).get(threads) for size, threads in sizes]
        row += ["–" if value is None else f"{value:.0f}" for value in known]
        row += [f"{model['peak_memory_mb']:.0f}"] if sizes else []
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
