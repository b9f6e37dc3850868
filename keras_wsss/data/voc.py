"""Folders in VOC layout: JPEGImages, SegmentationClass, ImageSets/Segmentation/LIST.txt."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from keras_wsss.data.classes import chosen_classes, mask_lookup
from keras_wsss.data.files import (
    check_image_file,
    files_by_stem,
    find_files,
    find_maps,
    find_saliency,
    holds_any,
)
from keras_wsss.data.labels import keep_tagged, read_tags, tag_files
from keras_wsss.data.masks import check_numbering
from keras_wsss.data.places import check_inside
from keras_wsss.data.split import Split, by_lists
from keras_wsss.data.text import read_lines
from keras_wsss.errors import DataError
from keras_wsss.photographs import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from keras_wsss.config import DataConfig

logger = logging.getLogger(__name__)
ANY_MASK = (*IMAGE_SUFFIXES, ".tif", ".tiff", ".npy")

IMAGES, MASKS, LISTS = Path("JPEGImages"), Path("SegmentationClass"), Path("ImageSets/Segmentation")


def load_voc(
    data: DataConfig, name: str, *, masks: bool | None = None, saliency: bool | None = False
) -> Split:
    """Reads a list, its tags and the names of its files.

    Args:
        data: configuration of the data.
        name: list ``ImageSets/Segmentation/NAME.txt``.
        masks: True: they must be there; None: used when there; False: not even looked for.
        saliency: likewise for saliency maps.

    Returns:
        :class:`~keras_wsss.data.Split`; images without a tag of ``data.classes`` are dropped.

    Raises:
        DataError: the list, tags, images or masks cannot be used.

    Example:

    >>> data = wsss.config.DataConfig(kind="voc", root="VOC2012")
    >>> load_voc(data, "train").class_names
    ('cat', 'dog', 'horse')
    """
    root = Path(data.root or ".")
    check_inside([root / LISTS / f"{name}.txt"], root, data.follow_links)
    ids = read_list(root, name)
    check_inside(tag_files(root, ids), root, data.follow_links)
    table = read_tags(root, data.labels, data.labels_key, ids, data.classes)
    classes = chosen_classes(table.class_names, data.classes, str(table.source))
    kept, labels, dropped = keep_tagged(table, ids, classes)
    images = find_files(root / IMAGES, kept)
    check_inside(images, root, data.follow_links)
    for path in images:
        check_image_file(path)
    mask_folder = root / MASKS
    wanted = bool(masks) if masks is not None else holds_any(mask_folder, kept)
    if masks is None and not wanted and (others := files_by_stem(mask_folder, ANY_MASK)):
        logger.warning(
            "%s: holds %s, but no ID.png of the list %s, which is used without masks",
            *(mask_folder, Path(min(others.values())).name, name),
        )
    masks_found = find_maps(mask_folder, kept) if wanted else None
    check_inside(masks_found or (), root, data.follow_links)
    split = Split(
        name=name,
        ids=tuple(kept),
        class_names=classes,
        labels=labels,
        image_paths=images,
        mask_paths=masks_found,
        saliency_paths=find_saliency(
            data.saliency or root / "Saliency", kept, saliency, data.follow_links
        ),
        mask_map=mask_lookup(table.class_names, classes, table.ignore_id),
        dropped=dropped,
    )
    if table.assumed and wanted:
        check_numbering(split, table, mask_folder)
    return split


read_voc = by_lists(load_voc)


def read_list(root: Path, name: str) -> list[str]:
    """Image ids of a list, one a line; one that is repeated counts once.

    Raises:
        DataError: no such list, or it is empty.
    """
    path = root / LISTS / f"{name}.txt"
    if not os.path.isfile(path):
        there = sorted(file.stem for file in path.parent.glob("*.txt"))
        known = f"there are: {', '.join(there)}" if there else f"there is no list in {path.parent}"
        raise DataError(
            f"{path}: cannot be read (no such file); {known}. Set data.train_list and "
            "data.val_list, or data.root"
        )
    lines = read_lines(path)
    ids = list(dict.fromkeys(lines))
    if not ids:
        raise DataError(f"{path}: the list is empty; write one image id a line")
    if len(ids) < len(lines):
        logger.warning("%s: repeats %d ids; each counts once", path, len(lines) - len(ids))
    return ids
