"""Folders of masks that grow photograph by photograph: what ``predict`` and ``ask`` write."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_wsss.errors import ConfigError, InterruptionError
from keras_wsss.output import check_own_folder, new_file, whole_records
from keras_wsss.photographs import Photograph
from keras_wsss.pictures import MASKS, OVERLAYS


class MaskFolder:
    """``masks/NAME.png``, ``overlays/NAME.jpg`` and a row for each photograph.

    The rows are lines of JSON, so that an interrupted command goes on where it stopped. A
    photograph that has changed since has no row.

    Args:
        path: of the folder.
        kind: the rows are in ``KIND.jsonl``, and ``KIND.json`` tells a folder of this kind.
        settings: what the masks depend on, as JSON can hold it.
        overwrite: begin anew where the folder holds masks of other settings.

    Attributes:
        rows: path of a photograph -> its row, of all that have a mask.

    Raises:
        ConfigError: the folder holds something else, or masks of other settings.

    Example:

    >>> from keras_wsss.photographs import find_photographs
    >>> from keras_wsss.pictures import save_mask
    >>> photographs = find_photographs(["photo.jpg"])
    >>> folder = MaskFolder(Path("found"), "found", {})
    >>> folder.begin(folder.todo(photographs))
    >>> save_mask([[0, 1]], folder.path / "masks" / "photo.png")
    >>> folder.add(photographs[0], {"classes": ["cat"]})
    >>> MaskFolder(Path("found"), "found", {}).todo(photographs)
    []
    """

    def __init__(self, path: Path, kind: str, settings: dict[str, Any], overwrite: bool = False):
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        self._kind, self._settings, self._overwrite = kind, settings, overwrite
        self._mark, self._file = path / f"{kind}.json", path / f"{kind}.jsonl"
        self._states: dict[str, dict[str, int]] = {}
        if check_own_folder(path, self._mark.name) and not overwrite:
            self._refuse_other_settings()
            self.rows = {
                row["path"]: row
                for row in whole_records(self._file)
                if (path / MASKS / f"{row['name']}.png").exists()
            }

    def _refuse_other_settings(self) -> None:
        found, own = next(iter(whole_records(self._mark)), {}), self._settings
        if other := [key for key in {**own, **found} if found.get(key) != own.get(key)]:
            raise ConfigError(
                f"{self.path}: holds {self._kind} of other settings ({', '.join(other)}); choose "
                "another folder, or --overwrite to begin anew"
            )

    def todo(self, photographs: Iterable[Photograph]) -> list[Photograph]:
        """The photographs that have no mask, or had another content when it was made.

        Raises:
            ConfigError: a name is that of another photograph.
        """
        paths = {row["name"]: path for path, row in self.rows.items()}
        todo = []
        for photograph in photographs:
            path = str(photograph.path)
            if (other := paths.get(photograph.name, path)) != path:
                raise ConfigError(
                    f"{self.path}: holds {self._kind} of {other}, which has the same name as "
                    f"{path}; choose another folder"
                )
            found = photograph.path.stat()
            # Before it is read: what is still being copied then counts as changed.
            state = {"bytes": found.st_size, "modified": found.st_mtime_ns}
            self._states[path] = state
            row = self.rows.get(path, {})
            if any(row.get(key) != value for key, value in state.items()):
                todo.append(photograph)
        return todo

    def begin(self, todo: Sequence[Photograph]) -> None:
        """Writes what tells the folder, and the rows that stay; masks of others are removed."""
        if self._overwrite:
            self._file.unlink(missing_ok=True)  # first: a mask without a row counts as none
            for name in (MASKS, OVERLAYS):
                shutil.rmtree(self.path / name, ignore_errors=True)
        with new_file(self._mark) as file:
            file.write_text(json.dumps(self._settings) + "\n", encoding="utf-8")
        old = [self.rows.pop(path) for each in todo if (path := str(each.path)) in self.rows]
        with new_file(self._file) as file:
            file.write_text("".join(map(_line, self.rows.values())), encoding="utf-8")
        for row in old:
            (self.path / MASKS / f"{row['name']}.png").unlink(missing_ok=True)
            (self.path / OVERLAYS / f"{row['name']}.jpg").unlink(missing_ok=True)

    @contextmanager
    def interruptible(self, photographs: Sequence[Photograph]) -> Iterator[None]:
        """Ctrl-C in the ``with`` block is one line that says how to go on.

        Raises:
            InterruptionError: that line.
        """
        try:
            yield
        except KeyboardInterrupt:
            done = sum(str(each.path) in self.rows for each in photographs)
            same = "the same command without --overwrite" if self._overwrite else "the same command"
            raise InterruptionError(f"done: {done} of {len(photographs)}; {same} goes on") from None

    def add(self, photograph: Photograph, row: dict[str, Any]) -> None:
        """Adds the row of a photograph whose mask is written."""
        path = str(photograph.path)
        row = {"path": path, "name": photograph.name, **self._states[path], **row}
        self.rows[path] = row
        with self._file.open("a", encoding="utf-8") as file:
            file.write(_line(row))


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
