"""Models of a folder: the newest version of each, swapped while requests run."""

from __future__ import annotations

import gc
import logging
import weakref
from pathlib import Path
from typing import Any

import grpc
from tensorflow_serving.apis import get_model_status_pb2

from keras_wsss.errors import ServingError, one_line
from keras_wsss.export.files import version_folders
from keras_wsss.export.serving.gate import RequestError
from keras_wsss.export.serving.servable import Servable

LOG = logging.getLogger(__name__)
State = get_model_status_pb2.ModelVersionStatus.State
Stamp = list[tuple[str, int, int]]
MAX_VERSION = 2**63 - 1  # int64, in TF Serving and in all of its messages


class ModelStore:
    """The newest version of each model of a folder.

    Requests hold the version that they found until they are answered, so that a newer one can take
    its place at any time.

    Args:
        folder: of one model, which is named after it and holds folders 1, 2 ...; or of such
            folders. Folders with other names are left alone: a version is written under another
            name, then renamed.

    Example:

    >>> store = ModelStore(Path("exported/saved_model"))
    >>> store.poll()  # doctest: +SKIP
    >>> store.find("cats").version  # doctest: +SKIP
    1
    """

    def __init__(self, folder: Path):
        self._folder = folder.resolve()
        self._served: dict[str, Servable] = {}
        self._status: dict[str, dict[int, Any]] = {}
        self._failed: dict[Path, Stamp] = {}
        self._retired: list[tuple[str, int, weakref.ref[Servable]]] = []
        self._told: dict[Path, str] = {}

    def poll(self) -> None:
        """Looks for versions that are newer than those served, or takes the newest that is left.

        A version that does not load is logged, and tried again only when its files have changed.

        Raises:
            OSError: the folder cannot be read.
        """
        for name, folder in self._models().items():
            try:
                self._update(name, self._versions(folder))
            # Whatever is wrong with one model, the others are looked for.
            except Exception as error:
                self._tell(folder, f"the folder of {name} cannot be read: {one_line(error)}")
        self._forget_retired()

    def keep_polling(self) -> None:
        """:meth:`poll` that goes on whatever happens, for it is what brings new versions."""
        try:
            self.poll()
        except Exception as error:
            self._tell(self._folder, f"the folder of models cannot be read: {one_line(error)}")

    def _tell(self, folder: Path, message: str) -> None:
        """Logs what is wrong with a folder, once, though it is found at each look."""
        if self._told.get(folder) != message:
            self._told[folder] = message
            LOG.error("%s", message)

    def names(self) -> list[str]:
        """Names of the models that are served."""
        return sorted(self._served)

    def untaught(self) -> list[str]:
        """Names of those models whose class scores mean nothing."""
        return [name for name in self.names() if not self._served[name].scores_trained]

    def failures(self) -> list[str]:
        """Why versions could not be loaded."""
        return [
            f"{name}, version {status.version}: {status.status.error_message}"
            for name, versions in self._status.items()
            for status in versions.values()
            if status.status.error_code
        ]

    def find(self, name: str, version: int | None = None) -> Servable:
        """The served version of a model.

        Args:
            name: of the model.
            version: None: the newest.

        Raises:
            RequestError: it is not served.
        """
        served = self._served.get(name)
        if served is None or version not in (None, served.version):
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise RequestError(
                grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}"
            )
        return served

    def status(self, name: str, version: int | None = None) -> Any:
        """``GetModelStatusResponse`` of a model or of one version of it.

        Raises:
            RequestError: never seen.
        """
        known = self._status.get(name, {})
        if version is None:
            chosen = [known[number] for number in sorted(known, reverse=True)]
        else:
            chosen = [known[version]] if version in known else []
        if not chosen:
            which = "any versions" if version is None else f"version {version}"
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find {which} of model {name}")
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=chosen)

    def _models(self) -> dict[str, Path]:
        """Folders by the names of their models."""
        if version_folders(self._folder):
            return {self._folder.name: self._folder}
        return {path.name: path for path in sorted(self._folder.iterdir()) if path.is_dir()}

    def _versions(self, folder: Path) -> dict[int, Path]:
        versions = version_folders(folder)
        for number in [number for number in versions if number > MAX_VERSION]:
            path = versions.pop(number)
            self._tell(path, f"{path}: is ignored, versions end at {MAX_VERSION}; rename it")
        return versions

    def _update(self, name: str, versions: dict[int, Path]) -> None:
        for number in sorted(versions, reverse=True):
            served = self._served.get(name)
            if served and served.version == number:
                return
            if self._load(name, number, versions[number]):
                return

    def _load(self, name: str, number: int, folder: Path) -> bool:
        stamp = _stamp(folder)
        if self._failed.get(folder) == stamp:
            return False
        self._note(name, number, State.LOADING)
        try:
            _check_kinds(folder)
            servable = Servable(name, number, folder)
        # Whatever is wrong with a folder, the versions that are served stay so.
        except Exception as error:
            message = one_line(error) or type(error).__name__
            LOG.error("%s, version %d does not load: %s", name, number, message)
            self._failed[folder] = stamp
            self._note(name, number, State.END, grpc.StatusCode.UNKNOWN, message)
            return False
        old = self._served.get(name)
        self._served[name] = servable
        self._note(name, number, State.AVAILABLE)
        LOG.info("serving %s, version %d", name, number)
        if old is not None:
            self._note(name, old.version, State.UNLOADING)
            self._retired.append((name, old.version, weakref.ref(old)))
        return True

    def _forget_retired(self) -> None:
        if not self._retired:
            return
        gc.collect()  # loaded graphs hold themselves in cycles
        for name, number, servable in self._retired:
            if servable() is None and self._served[name].version != number:
                self._note(name, number, State.END)
        self._retired = [entry for entry in self._retired if entry[2]() is not None]

    def _note(
        self,
        name: str,
        number: int,
        state: Any,
        code: grpc.StatusCode = grpc.StatusCode.OK,
        message: str = "",
    ) -> None:
        status = get_model_status_pb2.ModelVersionStatus(version=number, state=state)
        status.status.error_code = code.value[0]
        status.status.error_message = message
        # A new dict, because another thread may be reading the old one.
        self._status[name] = {**self._status.get(name, {}), number: status}


def find_models(folder: Path) -> ModelStore:
    """A store with at least one model.

    Raises:
        ServingError: there is no folder, no model in it, or none that can be loaded.

    Example:

    >>> find_models(Path("exported/saved_model")).names()  # doctest: +SKIP
    ['cats']
    """
    if not folder.is_dir():
        raise ServingError(f"{folder}: no such folder; give the folder of a model or of models")
    store = ModelStore(folder)
    try:
        store.poll()
    except OSError as error:
        raise ServingError(f"{folder}: cannot be read ({error.strerror})") from error
    if not store.names():
        reasons = store.failures() or [f"{folder}: no model here; {_way_to_models(folder)}"]
        raise ServingError("; ".join(reasons))
    return store


def _way_to_models(folder: Path) -> str:
    """What can be served in the folders of an export, or around one of its versions."""
    files = [file for depth in range(4) for file in folder.glob("*/" * depth + "saved_model.pb")]
    versions = [file.resolve().parent for file in files]
    models = {each.parent for each in versions if each in version_folders(each.parent).values()}
    if models:
        return f"serve {' or '.join(map(str, sorted(models)))}"
    return (
        "give the folder NAME that holds NAME/1/saved_model.pb, or the folder that holds NAME "
        "(`keras-wsss export --format saved_model` writes them)"
    )


def _check_kinds(folder: Path) -> None:
    """Refuses what is no file and no folder: to open a pipe is to wait for ever."""
    for path in folder.rglob("*"):
        if not path.is_file() and not path.is_dir():
            raise ServingError(f"{path}: is neither a file nor a folder; remove it")


def _stamp(folder: Path) -> Stamp:
    """What changes when a file does."""
    paths = [(path, path.lstat()) for path in sorted(folder.rglob("*"))]
    return [(str(path), facts.st_mtime_ns, facts.st_size) for path, facts in paths]
