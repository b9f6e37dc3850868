"""A folder for any web server: a page whose network runs in the browser, by onnxruntime-web."""

from __future__ import annotations

import importlib.resources
import json
import os
import shutil
import string
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from keras_wsss.errors import ConfigError
from keras_wsss.export.metadata import Limits, Metadata
from keras_wsss.export.onnx_file import OnnxModel, write_onnx
from keras_wsss.export.package import METADATA
from keras_wsss.export.photo_page import web_page

if TYPE_CHECKING:
    from keras_wsss.export.network import NetworkFunction

MODEL = "model.onnx"
RUNTIME = "onnxruntime-web"
RUNTIME_FILES = (
    "dist/ort.wasm.bundle.min.mjs",
    "dist/ort-wasm-simd-threaded.wasm",
    "package.json",
)


def write_web(network: NetworkFunction, path: Path, metadata: Metadata, limits: Limits) -> None:
    """Writes the folder.

    It holds ``index.html``, ``model.onnx``, ``metadata.json`` and what the page needs of
    onnxruntime-web. The network takes images float32: the page shrinks photographs as a served
    model does, and nothing is rounded on the way.

    Args:
        network: of :func:`~keras_wsss.export.network.network_of`.
        path: the folder to make.
        metadata: what the model says about itself.
        limits: what the page admits.

    Raises:
        ConfigError: onnxruntime-web, or the extra ``export``, is not installed.

    Example:

    >>> write_web(network_of(model), Path("web/cats"), metadata, Limits())  # doctest: +SKIP
    """
    runtime = find_runtime()
    (path / RUNTIME).mkdir(parents=True)
    for file in RUNTIME_FILES:
        shutil.copy(runtime / file, path / RUNTIME)
    version = json.loads((runtime / "package.json").read_text("utf-8"))["version"]
    templates = importlib.resources.files("keras_wsss.export.photo_page")
    licence = (templates / "onnxruntime-web-licence.txt").read_text("utf-8")
    (path / RUNTIME / "LICENSE").write_text(string.Template(licence).substitute(version=version))
    admitted = metadata.model_copy(update={"limits": limits})
    (path / METADATA).write_text(admitted.model_dump_json(indent=2) + "\n")
    (path / "index.html").write_text(web_page(metadata, limits), "utf-8")
    write_onnx(network, path / MODEL, metadata, dtype="float32")


def find_runtime() -> Path:
    """The folder of onnxruntime-web, where Node.js would find it.

    That is ``node_modules`` in the working folder and those above it, then the folders of the
    environment variable ``NODE_PATH``.

    Raises:
        ConfigError: it is not there, or is too old.

    Example:

    >>> find_runtime()  # doctest: +SKIP
    PosixPath('/home/me/node_modules/onnxruntime-web')
    """
    for folder in _node_folders():
        if (folder / RUNTIME).is_dir():
            missing = [file for file in RUNTIME_FILES if not (folder / RUNTIME / file).is_file()]
            if missing:
                raise ConfigError(
                    f"{folder / RUNTIME}: holds no {missing[0]}; npm install {RUNTIME}@latest"
                )
            return folder / RUNTIME
    raise ConfigError(
        f"format web: needs {RUNTIME}, which is in no node_modules here or above, nor in "
        f"NODE_PATH; npm install --no-save {RUNTIME}"
    )


def _node_folders() -> Iterator[Path]:
    here = Path.cwd()
    for folder in (here, *here.parents):
        yield folder / "node_modules"
    yield from map(Path, filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep)))


def open_web(path: Path) -> OnnxModel:
    """The network of a folder of :func:`write_web`."""
    return OnnxModel(path / MODEL)
