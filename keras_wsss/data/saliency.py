"""``python -m keras_wsss.data.saliency``: saliency maps from any salient-object model in ONNX.

The model reads one image, float [1, 3, H, W], RGB divided by the image's largest value, normalised
with ImageNet's mean and deviation (as U2-Net does); its first output [1, 1, H, W] is the map. Such
a model was trained on masks of salient objects: a method that reads its maps learns from image tags
and saliency, and reports say so.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_wsss._command import bounded, run_command
from keras_wsss.data.decode import read_image
from keras_wsss.data.files import files_by_stem
from keras_wsss.errors import ConfigError, DataError
from keras_wsss.output import new_file

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEFAULT_SIZE = 320


class SaliencyModel:
    """A salient-object model that maps images of any size.

    Args:
        path: ONNX file.
        size: side of the square that the model sees; None: what the file says, else 320.

    Raises:
        ConfigError: onnxruntime is not installed, or the file is no such model.

    Example:

    >>> SaliencyModel("u2netp.onnx")(np.asarray(Image.open("photo.jpg"))).shape
    (48, 64)
    """

    def __init__(self, path: str | Path, size: int | None = None):
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise ConfigError(
                'saliency models need a package: pip install "keras_wsss[saliency]" (or '
                "onnxruntime)"
            ) from error
        self.path = path
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), providers=onnxruntime.get_available_providers()
            )
        except Exception as error:  # onnxruntime raises a family of errors of its own
            raise ConfigError(f"{path}: not a model that onnxruntime can read ({error})") from error
        self.input = self.session.get_inputs()[0]
        fixed = self._fixed_size()
        if size is not None and fixed not in (None, size):
            raise ConfigError(
                f"--size {size}: {path} takes images of {fixed} x {fixed} only; leave out --size"
            )
        self.size = size or fixed or DEFAULT_SIZE

    def _fixed_size(self) -> int | None:
        shape = self.input.shape
        sides = {side for side in shape[2:] if isinstance(side, int)}  # others may be any
        if len(shape) != 4 or shape[1] != 3 or len(sides) > 1:
            raise ConfigError(
                f"{self.path}: its first input is {shape}; a saliency model here reads one image "
                "[1, 3, H, W] with H = W"
            )
        return next(iter(sides), None)

    def __call__(self, image: Any) -> np.ndarray:
        """Saliency uint8 [H, W] of an image uint8 [H, W, 3], stretched to 0..255."""
        height, width = image.shape[:2]
        pixels = tf.image.resize(tf.cast(image, tf.float32), (self.size,) * 2, antialias=True)
        pixels = pixels / tf.maximum(tf.reduce_max(pixels), 1.0)
        pixels = tf.transpose((pixels - MEAN) / DEVIATION, (2, 0, 1))[None]
        try:
            map_ = self.session.run(None, {self.input.name: pixels.numpy()})[0]
        except Exception as error:
            raise ConfigError(f"{self.path}: cannot map an image ({error})") from error
        if map_.ndim != 4 or map_.shape[:2] != (1, 1) or not np.all(np.isfinite(map_)):
            raise ConfigError(
                f"{self.path}: its first output is {list(map_.shape)}; needed is a finite map "
                "[1, 1, H, W]"
            )
        low, high = map_.min(), map_.max()
        map_ = (map_[0, 0] - low) / max(high - low, 1e-8)
        full = tf.image.resize(map_[..., None], (height, width))[..., 0]
        return np.asarray(np.rint(255.0 * full.numpy()), np.uint8)


def write_saliency(
    model: SaliencyModel, images: str | Path, output: str | Path, log: Any = print
) -> int:
    """Writes ``output/ID.png``, 8-bit grey at the size of ``images/ID.*``; skips those there.

    Args:
        model: :class:`SaliencyModel`.
        images: folder of photographs.
        output: folder of the maps, ``Saliency`` beside the photographs' folder in VOC layout.
        log: called with a line now and then.

    Returns:
        Number of maps written.

    Raises:
        DataError: no image in the folder, or one that cannot be decoded.

    Example:

    >>> model = SaliencyModel("u2netp.onnx", size=64)
    >>> write_saliency(model, "VOC2012/JPEGImages", "maps", log=lambda line: None)
    6
    """
    files = files_by_stem(Path(images))
    if not files:
        raise DataError(f"{images}: holds no image; name the folder of the photographs")
    output = Path(output)
    there = files_by_stem(output, (".png",))
    missing = sorted(files.keys() - there.keys())
    for done, stem in enumerate(missing, start=1):
        _write(model(read_image(files[stem])), output / f"{stem}.png")
        if done % 100 == 0 or done == len(missing):
            log(f"{done} of {len(missing)} maps")
    return len(missing)


def _write(map_: np.ndarray, target: Path) -> None:
    try:
        with new_file(target) as partial:
            Image.fromarray(map_).save(partial)
    except OSError as error:
        raise DataError(
            f"{target}: cannot be written ({error.strerror or error}); free some space or make the "
            "folder writable, then start again: maps that are there are kept"
        ) from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the command line and writes the maps."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_wsss.data.saliency", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--model", required=True, help="salient-object model, an ONNX file")
    parser.add_argument("--images", required=True, help="folder of photographs")
    parser.add_argument("--output", required=True, help="folder for the maps, e.g. ROOT/Saliency")
    parser.add_argument(
        "--size", type=bounded(32), help="side of the square that the model sees (320)"
    )
    options = parser.parse_args(arguments)

    def command() -> None:
        model = SaliencyModel(options.model, options.size)
        count = write_saliency(model, options.images, options.output)
        print(f"{count} maps written to {options.output}")

    run_command(command)


if __name__ == "__main__":
    main()
