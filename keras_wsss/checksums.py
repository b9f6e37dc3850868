"""SHA-256 sums of a folder's files, in the format of ``sha256sum --check SHA256SUMS``."""

from __future__ import annotations

import hashlib
from pathlib import Path

from keras_wsss.errors import WeightsError, one_line
from keras_wsss.limits import read_small

SUMS = "SHA256SUMS"


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path) -> None:
    """Writes ``SHA256SUMS`` for all that is in a folder.

    Example:

    >>> folder = Path("exported/weights/demo")
    >>> write_sums(folder)
    >>> check_sums(folder)
    """
    lines = [f"{sha256(folder / name)}  {name}" for name in _files(folder)]
    (folder / SUMS).write_text("\n".join(lines) + "\n")


def check_sums(folder: Path) -> None:
    """Compares a folder with its ``SHA256SUMS``.

    Raises:
        WeightsError: the list or one of its files is missing, a file was changed or is not listed.

    Example:

    >>> check_sums(Path("exported/weights/demo"))  # all is as it was written
    """
    try:
        lines = read_small(folder / SUMS).decode().splitlines()
    except (WeightsError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"{folder / SUMS}: cannot be read ({error}); copy the folder again, or "
            "export the run again"
        ) from error
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = _files(folder)
    for name in sorted({*expected, *found}):
        fault = None
        if name not in found:
            fault = "is missing"
        elif name not in expected:
            fault = "is not listed there"
        elif _sum_of(folder / name) != expected[name]:
            fault = "was changed"
        if fault:
            raise WeightsError(
                f"{folder / one_line(name[:200])}: {fault}, says {SUMS}; copy the folder "
                "again, or export the run again"
            )


def _sum_of(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror})") from error


def _files(folder: Path) -> list[str]:
    """Relative names of a folder's files, its list of sums left out.

    Raises:
        WeightsError: something else is in it: a linked folder, a pipe.
    """
    names = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if not path.is_file():
            raise WeightsError(f"{path}: is neither a file nor a folder of its own; remove it")
        names.append(path.relative_to(folder).as_posix())
    return sorted(name for name in names if name != SUMS)
