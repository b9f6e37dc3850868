"""Cleaned lists: the same data set without the images that cannot be used."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from keras_wsss.data.checking.check import Report
from keras_wsss.data.checking.contents import Contents, Item
from keras_wsss.data.photos import imported
from keras_wsss.data.photos.importing import ids_of_mask
from keras_wsss.data.tables import write_csv
from keras_wsss.data.text import write_lines
from keras_wsss.data.voc import IMAGES, LISTS, MASKS
from keras_wsss.errors import DataError
from keras_wsss.output import link_or_copy, new_folder
from keras_wsss.pictures import save_mask

NOTE = "left_out.csv"
BEYOND_LISTS = ("missing-list", "unreadable-list", "empty-list", "unreadable-tags")


def write_cleaned(report: Report, folder: Path) -> dict[str, str]:
    """Writes a data set of the same layout.

    Its images are hard links to the user's own files, or copies on another disk. It lacks the
    images of errors. Of those that stand in several lists, or look like one of the validation, the
    ones in the training list are left out, so that the validation stays what it was.

    Args:
        report: of a folder in VOC layout, or of tagged photographs.
        folder: is made; holds ``left_out.csv`` besides.

    Returns:
        Image id -> why it was left out.

    Raises:
        DataError: lists or tags have to be put right by hand, nothing would be left, or the folder
            cannot be written.

    Example:

    >>> from keras_wsss.data.checking.check import check
    >>> data = wsss.load_config("photos", ["data.root=my_set"]).data
    >>> write_cleaned(check(data), Path("cleaned"))  # nothing had to be left out
    {}
    """
    contents = report.contents
    _check(report, folder)
    left_out = {
        item.id: finding.kind for finding in report.findings for item in finding.to_leave_out
    }
    kept = [item for item in contents.items.values() if item.id not in left_out]
    lists = _lists(contents, left_out)
    empty = [name for name, ids in lists.items() if not ids]
    if empty or not kept:
        raise DataError(
            f"{contents.root}: nothing would be left of {empty[0] if empty else 'the photographs'}"
            "; put right what was found by hand"
        )
    with new_folder(folder, NOTE) as unfinished:
        _write(contents, kept, lists, unfinished)
        _write_note(contents, left_out, unfinished / NOTE)
    return left_out


def _check(report: Report, folder: Path) -> None:
    contents = report.contents
    if contents.kind == "coco":
        raise DataError("--fix: COCO files are put right where they were made")
    for finding in report.findings:
        if finding.kind in BEYOND_LISTS:
            raise DataError(f"--fix: this has to be put right by hand: {finding.message}")
    if folder.exists():
        raise DataError(f"{folder}: is there already; choose another folder for --fix")
    root = contents.root if contents.root.is_dir() else contents.root.parent
    if contents.root.is_dir() and root.resolve() in folder.resolve().parents:
        raise DataError(f"{folder}: lies in {root}, which stays as it is; choose another folder")


def _lists(contents: Contents, left_out: Iterable[str]) -> dict[str, list[str]]:
    """List -> its ids, each once."""
    dropped, validation = set(left_out), contents.ids("val")
    lists: dict[str, list[str]] = {}
    for each in contents.lists:
        without = dropped | validation if each.part == "train" else dropped
        lists[each.name] = [name for name in dict.fromkeys(each.ids) if name not in without]
    return lists


def _write(contents: Contents, kept: list[Item], lists: dict[str, list[str]], folder: Path) -> None:
    voc = contents.kind == "voc"
    images = folder / (IMAGES if voc else imported.PHOTOS)
    masks = folder / (MASKS if voc else imported.MASKS)
    has_masks = any(item.mask_path or item.brushes is not None for item in kept)
    for each in (images, folder / LISTS if voc else folder, *([masks] if has_masks else [])):
        each.mkdir(parents=True, exist_ok=True)
    for item in kept:
        if item.path is not None:
            link_or_copy(item.path, images / f"{item.id}{item.path.suffix}")
            _write_mask(contents, item, item.path, masks / f"{item.id}.png")
    # Ids in masks are positions in the whole list of classes.
    names = contents.mask_classes if voc or has_masks else contents.classes
    write_lines(folder / imported.CLASSES, names)
    for name, ids in lists.items():
        write_lines((folder / LISTS if voc else folder) / f"{name}.txt", ids)
    table = folder / ("labels.csv" if voc else imported.TABLE)
    write_csv(table, {item.id: item.tags or () for item in kept})


def _write_mask(contents: Contents, item: Item, photograph: Path, target: Path) -> None:
    """A link to a mask or a copy; one in colours, or drawn with a brush, is written as ids."""
    colours = contents.mask_colours
    if item.mask_path and colours is None:
        link_or_copy(item.mask_path, target)
    elif item.mask_path or item.brushes is not None:
        drawn = photograph, item.mask_path, item.brushes
        save_mask(ids_of_mask(*drawn, contents.mask_classes, colours), target)


def _write_note(contents: Contents, left_out: dict[str, str], path: Path) -> None:
    rows = [(name, contents.items[name].path or "", kind) for name, kind in left_out.items()]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("image", "file", "reason"), *rows])
