"""From people's photographs to a data set that trains without a second look."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_wsss.config.data import Untagged
from keras_wsss.data.classes import mask_lookup, renumbered
from keras_wsss.data.files import THREADS, read_values
from keras_wsss.data.photos.brushes import Brush, painted
from keras_wsss.data.photos.convert import check_plugins, examined, reason_of, save_converted
from keras_wsss.data.photos.cvat import Colour, read_colours
from keras_wsss.data.photos.imported import CLASSES, MASKS, PHOTOS, TABLE
from keras_wsss.data.photos.labels import Labelled, label
from keras_wsss.data.photos.reader import TRAIN, VAL, divided
from keras_wsss.data.photos.recognise import find_source
from keras_wsss.data.photos.scan import SUMMARY
from keras_wsss.data.photos.sheet import sheet_of
from keras_wsss.data.photos.source import Dropped, Photograph, Source, with_negatives
from keras_wsss.data.tables import SEPARATOR, write_csv
from keras_wsss.data.text import write_lines
from keras_wsss.errors import ConfigError, DataError
from keras_wsss.output import check_new_folder, new_folder
from keras_wsss.palette import IGNORE_ID
from keras_wsss.pictures import save_mask

SHEET = "sheet.jpg"


def import_photos(
    source: Path,
    output: Path,
    *,
    images: Path | None = None,
    format: str | None = None,
    tags_column: str | None = None,
    classes: Sequence[str] | None = None,
    untagged: Untagged = "error",
    negative: Sequence[str] = (),
    val_fraction: float = 0.15,
    seed: int = 0,
    link: bool = False,
    follow_links: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Copies tagged photographs into a folder that ``data.kind: photos`` reads.

    Photographs that a training cannot read (TIFF, HEIC, AVIF) are saved as JPEG or PNG. The folder
    appears when it is complete, or not at all.

    Args:
        source: file or folder with the tags, see
            :func:`~keras_wsss.data.photos.recognise.find_source`.
        output: folder to write: ``photos``, ``tags.csv``, ``classes.txt``, ``train.txt``,
            ``val.txt``, ``masks`` where the source has some, ``import.json`` and ``sheet.jpg``.
        images: folder of the photographs, if it is elsewhere.
        format: kind of the source, where it is not recognised.
        tags_column: column or control that holds the tags, likewise.
        classes: the classes wanted; None: all.
        untagged: what photographs without a tag are, see
            :func:`~keras_wsss.data.photos.labels.label`.
        negative: tags that say that nothing is there.
        val_fraction: of the photographs that are for validation.
        seed: of the division.
        link: make hard links in place of copies.
        follow_links: take photographs that are links to files elsewhere.
        overwrite: replace ``output`` if it is there, and nobody has worked on it.

    Returns:
        The summary, which ``import.json`` holds as well.

    Raises:
        ConfigError: something is at ``output`` that may not be replaced.
        DataError: the source cannot be used, or a file cannot be written.

    Example:

    >>> import_photos(Path("photos"), Path("new_set"))["images"]
    8
    """
    _check_output(source, output, overwrite)
    found = find_source(
        source,
        images=images,
        format=format,
        tags_column=tags_column,
        follow_links=follow_links,
    )
    found = _without_unreadable(with_negatives(found, untagged))
    labelled = label(
        found,
        classes=classes,
        negative=negative,
        untagged="negative" if found.kind == "imported" else untagged,
        # Ids in masks that were drawn stay those of the labels they correct.
        all_classes=any(photo.brushes is not None for photo in found.photographs),
    )
    if odd := [name for name in labelled.class_names if SEPARATOR in name]:
        raise DataError(
            f"{source}: the class {odd[0]!r} has a {SEPARATOR!r}, which separates tags; rename it"
        )
    for_val, notes = divided(labelled, val_fraction, seed)
    if not for_val.any():
        notes = [*notes, "too few photographs to keep some for validation; add some"]
    labelled = replace(labelled, warnings=(*labelled.warnings, *notes))

    with new_folder(output, SUMMARY, overwrite) as folder:
        converted = _write_photos(labelled.photographs, folder / PHOTOS, link)
        masks = _write_masks(found, labelled, folder / MASKS)
        _write_lists(labelled, for_val, folder)
        sheet_of(labelled, folder / PHOTOS).save(folder / SHEET, quality=90)
        summary = _summary(found, labelled, for_val, source, output)
        summary |= {"converted": converted, "masks": masks}
        (folder / SUMMARY).write_text(
            json.dumps(summary, indent=2, ensure_ascii=False) + "\n", "utf-8"
        )
    return summary


def _check_output(source: Path, output: Path, overwrite: bool) -> None:
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    inner, outer = output.resolve(), source.resolve()
    if inner == outer or inner in outer.parents:
        raise DataError(f"{output}: holds the source, which must stay; choose another folder")
    check_new_folder(output, SUMMARY, overwrite)
    if edited := _edited(output):
        raise ConfigError(
            f"{edited}: was written after the import, and --overwrite would delete it; choose "
            f"another output, or delete {output} yourself"
        )


def _edited(folder: Path) -> Path | None:
    """A file of an imported folder that is newer than the import, whose last file is its summary.

    Hard links to the photographs may be: those change with their source, and stay there.
    """
    if not (folder / SUMMARY).is_file():
        return None
    written = (folder / SUMMARY).stat().st_mtime_ns
    for path in sorted(folder.rglob("[!.]*")):
        state = path.lstat()
        if state.st_mtime_ns > written and state.st_nlink == 1 and not path.is_dir():
            return path
    return None


def _without_unreadable(source: Source) -> Source:
    """The source without photographs that cannot be decoded, which are listed."""
    spoken_of = [photo for photo in source.photographs if photo.tags is not None]
    check_plugins([photo.path for photo in spoken_of])

    def fault(photo: Photograph) -> Dropped | None:
        try:
            examined(photo.path)
        except DataError as error:
            return Dropped(photo.path.name, reason_of(error, photo.path))
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        faults = list(pool.map(fault, spoken_of))
    broken = {photo.id for photo, found in zip(spoken_of, faults, strict=True) if found}
    if len(broken) == len(spoken_of) > 0:
        first = next(found for found in faults if found)
        raise DataError(f"{source.path}: no photograph can be read; {first.name}: {first.reason}")
    return replace(
        source,
        photographs=tuple(photo for photo in source.photographs if photo.id not in broken),
        dropped=(*source.dropped, *filter(None, faults)),
    )


def _write_photos(photographs: Sequence[Photograph], folder: Path, link: bool) -> int:
    """Copies, links or converts; returns how many were converted."""
    folder.mkdir()

    def write(photo: Photograph) -> bool:
        suffix = examined(photo.path).suffix
        if suffix is None:
            save_converted(photo.path, folder / photo.id)
            return True
        target = folder / f"{photo.id}{suffix}"
        if not link:
            shutil.copyfile(photo.path, target)
            return False
        try:
            os.link(photo.path.resolve(), target)
        except OSError as error:
            raise DataError(
                f"{photo.path}: cannot be linked ({error.strerror}); leave --link out"
            ) from error
        return False

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(write, photographs))


def _write_masks(source: Source, labelled: Labelled, folder: Path) -> int:
    """Masks as ids in the order of the classes, with VOC's palette; returns how many."""
    masked = [p for p in labelled.photographs if p.mask or p.brushes is not None]
    if masked:
        folder.mkdir()
    lookup = mask_lookup(source.class_names, labelled.class_names, IGNORE_ID)
    for photo in masked:
        drawn = photo.path, photo.mask, photo.brushes
        values = ids_of_mask(*drawn, source.class_names, source.mask_colours)
        save_mask(renumbered(values, lookup, photo.mask), folder / f"{photo.id}.png")
    return len(masked)


def ids_of_mask(
    photograph: Path,
    mask: Path | None,
    brushes: Sequence[Brush] | None,
    class_names: Sequence[str],
    colours: Mapping[Colour, int] | None,
) -> np.ndarray:
    """A mask with the ids of its source.

    Args:
        photograph: its file.
        mask, brushes: see :class:`~keras_wsss.data.photos.source.Photograph`.
        class_names, colours: of the :class:`~keras_wsss.data.photos.source.Source`.

    Returns:
        uint8 [H, W], as stored.

    Raises:
        DataError: it cannot be read, or was drawn on a photograph of another size.
    """
    if mask is None:
        return painted(brushes or (), class_names, photograph)
    return read_colours(mask, colours) if colours else read_values(str(mask))[0]


def _write_lists(labelled: Labelled, for_val: np.ndarray, folder: Path) -> None:
    ids = [photo.id for photo in labelled.photographs]
    names = labelled.class_names
    tags = {
        image: [names[number] for number in np.flatnonzero(row)]
        for image, row in zip(ids, labelled.labels, strict=True)
    }
    write_csv(folder / TABLE, tags)
    write_lines(folder / CLASSES, names)
    for name, chosen in ((TRAIN, ~for_val), (VAL, for_val)):
        write_lines(folder / f"{name}.txt", itertools.compress(ids, chosen))


def _summary(
    source: Source, labelled: Labelled, for_val: np.ndarray, path: Path, output: Path
) -> dict[str, Any]:
    labels = labelled.labels > 0

    def counts(chosen: np.ndarray) -> dict[str, int]:
        parts = {"images": chosen, "train": chosen & ~for_val, "val": chosen & for_val}
        return {name: int(part.sum()) for name, part in parts.items()}

    return {
        "source": str(path),
        "kind": source.kind,
        "taken": source.taken,
        "output": str(output),
        **counts(np.ones(len(labels), bool)),
        "negatives": counts(np.asarray(~labels.any(1))),
        "classes": {
            name: counts(column)
            for name, column in zip(labelled.class_names, labels.T, strict=True)
        },
        "dropped": [
            {"name": each.name, "reason": each.reason, "asked": each.asked}
            for each in labelled.dropped
        ],
        "warnings": list(labelled.warnings),
    }
