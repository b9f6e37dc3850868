"""What ``keras-wsss import`` has written: ``tags.csv``, ``classes.txt``, ``photos``, ``masks``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from keras_wsss.data.files import files_by_stem
from keras_wsss.data.photos.rows import read_rows
from keras_wsss.data.photos.source import Source
from keras_wsss.data.photos.table import read_table
from keras_wsss.data.tables import SEPARATOR

TABLE, PHOTOS, CLASSES, MASKS = "tags.csv", "photos", "classes.txt", "masks"


def is_imported(path: Path) -> bool:
    """Whether a folder looks as an import leaves it."""
    return (path / TABLE).is_file() and (path / CLASSES).is_file() and (path / PHOTOS).is_dir()


def read_imported(path: Path) -> Source:
    """Reads an imported folder; ``masks/ID.png`` hold the numbers of the lines of classes.txt.

    Returns:
        :class:`~keras_wsss.data.photos.source.Source`.

    Raises:
        DataError: the folder was changed so that it does not fit together.

    Example:

    >>> read_imported(Path("my_set")).class_names
    ('cat', 'dog')
    """
    table = path / TABLE
    header, rows = read_rows(table)
    source = read_table(table, header, rows, path / PHOTOS, "tags", SEPARATOR, exact_ids=True)
    masks = files_by_stem(path / MASKS, (".png",))
    return replace(
        source,
        kind="imported",
        path=path,
        photographs=tuple(
            replace(photo, mask=Path(masks[photo.id]) if photo.id in masks else None)
            for photo in source.photographs
        ),
    )
