"""Files and folders that appear as a whole or not at all, whatever interrupts their writing.

Files of JSON lines grow line by line instead; :func:`whole_records` reads what is whole.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from keras_wsss.errors import ConfigError, DataError

PARTIAL = ".partial-"
"""Begin of the names of what is not complete; nothing that is hidden is read."""


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A file that appears, or takes the place of an older one, when the ``with`` block ends.

    Args:
        target: the file; its folder is made.

    Yields:
        The file to write, of the same name, in a folder that is hidden beside it.

    Raises:
        OSError: the disk is full or the folder read-only; ``target`` is as it was.

    Example:

    >>> with new_file(Path("numbers/summary.json")) as file:
    ...     _ = file.write_text("{}")
    >>> Path("numbers/summary.json").read_text()
    '{}'
    """
    with scratch_folder(target.parent) as folder:
        file = folder / target.name
        yield file
        file.chmod(0o644)
        _to_disk(file)
        os.replace(file, target)
        _to_disk(target.parent)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A folder on the disk of ``parent``, in it, that goes at the end of the ``with`` block.

    What writers that have died left in ``parent`` goes first.

    Raises:
        OSError: it cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent.resolve())
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=PARTIAL))
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache  # once a process and folder, which may hold 100,000 files
def _sweep(parent: Path) -> None:
    _remove_dead(parent.glob(f"{PARTIAL}*"))


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Holds the lock that tells a living writer; the system gives it back when a process ends.

    Yields:
        Whether it was free. It is not on a file system without locks, where leftovers stay.
    """
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _to_disk(path: Path) -> None:
    """Waits until a file, or the list of names of a folder, would survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_partial(folder: Path) -> None:
    """Removes what writers that have died have left in a folder and below.

    Example:

    >>> Path("runs/demo/.partial-1").mkdir()
    >>> remove_partial(Path("runs/demo"))
    >>> Path("runs/demo/.partial-1").exists()
    False
    """
    _remove_dead(folder.rglob(f"{PARTIAL}*"))


def _remove_dead(folders: Iterator[Path]) -> None:
    for folder in sorted(folders):
        with suppress(OSError), _locked(folder) as free:  # OSError: another process was faster
            if free:
                shutil.rmtree(folder, ignore_errors=True)


def link_or_copy(path: Path, target: Path) -> None:
    """A file under a second name: a hard link where the file system can, else a copy.

    Example:

    >>> link_or_copy(Path("photo.jpg"), Path("same.jpg"))
    """
    try:
        os.link(path.resolve(), target)  # a link to a link might lead nowhere from there
    except OSError:  # another disk, or a file system that knows no links
        shutil.copyfile(path, target)


def whole_records(file: Path) -> list[dict[str, Any]]:
    """Records of a file with a JSON object a line; the last line may have been cut off.

    Args:
        file: none means no records.

    Example:

    >>> whole_records(Path("runs/demo/metrics.jsonl"))[0]["step"]
    1
    """
    lines = file.read_text("utf-8", "replace").splitlines() if file.exists() else []
    return [record for line in lines if (record := _record(line)) is not None]


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def check_own_folder(target: Path, mark: str) -> bool:
    """Checks that ``target`` may be written to: what others have put there is not touched.

    Args:
        target: folder; one with nothing but what died writers have left counts as none.
        mark: name of a file that tells a folder of the same kind.

    Returns:
        Whether there is such a folder.

    Raises:
        ConfigError: something else is there.
    """
    if not target.exists() or (target.is_dir() and not _content(target)):
        return False
    if not (target / mark).is_file():
        raise ConfigError(
            f"{target}: is there already and was not written by this command, so it is not "
            "touched; choose another output"
        )
    return True


def _content(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(PARTIAL)]


def check_new_folder(target: Path, mark: str, overwrite: bool = False) -> None:
    """Checks that :func:`new_folder` may write ``target``, before the work is done.

    Args:
        target: folder; an empty one counts as none.
        mark: name of a file that tells a folder of the same kind: nothing else is overwritten.
        overwrite: whether such a folder may be replaced.

    Raises:
        ConfigError: something is there that may not be replaced.
    """
    if check_own_folder(target, mark) and not overwrite:
        raise ConfigError(f"{target}: is there already; replace it with --overwrite")


@contextmanager
def new_folder(target: Path, mark: str, overwrite: bool = False) -> Iterator[Path]:
    """A folder that appears as a whole when the ``with`` block ends, and not at all if it fails.

    Args:
        target, mark, overwrite: as for :func:`check_new_folder`.

    Yields:
        A folder beside ``target`` to write into.

    Raises:
        ConfigError: something is there that may not be replaced.
        DataError: a file cannot be read or written.

    Example:

    >>> with new_folder(Path("labels"), "labels.json") as folder:
    ...     _ = (folder / "labels.json").write_text("{}")
    >>> [path.name for path in Path("labels").iterdir()]
    ['labels.json']
    """
    target = target.absolute()
    check_new_folder(target, mark, overwrite)
    try:
        with scratch_folder(target.parent) as temporary:
            folder = temporary / target.name
            folder.mkdir()
            yield folder
            check_new_folder(target, mark, overwrite)
            if target.exists():
                target.rename(temporary / ".replaced")
            folder.rename(target)
    except OSError as error:
        raise DataError(
            f"{error.filename or target}: cannot be read or written ({error.strerror or error}); "
            "free some space, make the file readable or the folder writable, and start again"
        ) from error
