"""Folders in VOC layout: JPEGImages, SegmentationClass, ImageSets/Segmentation/LIST.txt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_wsss.data.files import check_image_file, check_map_size, files_by_stem, header_size
from keras_wsss.data.labels import TagTable, multi_hot, nearest, read_tags
from keras_wsss.data.split import IGNORE, Split
from keras_wsss.errors import DataError

if TYPE_CHECKING:
    from keras_wsss.config import DataConfig

IMAGES, MASKS, SALIENCY = "JPEGImages", "SegmentationClass", "Saliency"


def load_voc(
    data: DataConfig, name: str, *, masks: bool | None = None, saliency: bool = False
) -> Split:
    """Reads a list, its tags and the names of its files.

    Args:
        data: configuration of the data.
        name: list ``ImageSets/Segmentation/NAME.txt``.
        masks: True: they must be there; None: used when there; False: not even looked for.
        saliency: saliency maps must be there.

    Returns:
        :class:`~keras_wsss.data.Split`; images without a tag of ``data.classes`` are dropped.

    Raises:
        DataError: the list, tags, images or masks cannot be used.

    Example:

    >>> load_voc(config.data, "train_animals5").class_names
    ('cat', 'cow', 'dog', 'horse', 'sheep')
    """
    root = Path(data.root or ".")
    ids = read_list(root, name)
    table = read_tags(root, data.labels, data.labels_key, ids, data.classes)
    classes = chosen_classes(table.class_names, data.classes, str(table.source))
    labels = multi_hot(table, ids, classes)
    kept, dropped = drop_untagged(table, ids, classes, labels)
    ids, labels = [ids[row] for row in kept], labels[kept]
    if not ids:
        raise DataError(f"{_list_path(root, name)}: no image has a tag of data.classes")

    images = _find(root / IMAGES, ids, "image")
    for path in images:
        check_image_file(path)
    mask_paths = None
    if masks is not False:
        mask_paths = _maps(root / MASKS, ids, images, "mask", required=bool(masks))
    saliency_paths = None
    if saliency:
        folder = data.saliency or root / SALIENCY
        saliency_paths = _maps(Path(folder), ids, images, "saliency map", required=True)
    return Split(
        name=name,
        ids=tuple(ids),
        class_names=classes,
        labels=labels,
        image_paths=images,
        mask_paths=mask_paths,
        saliency_paths=saliency_paths,
        mask_map=mask_lookup(table.class_names, classes, table.ignore_id),
        dropped=dropped,
    )


def read_list(root: Path, name: str) -> list[str]:
    """Image ids of a list, one a line.

    Raises:
        DataError: no such list, or it is empty.
    """
    path = _list_path(root, name)
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        there = sorted(file.stem for file in path.parent.glob("*.txt"))
        known = f"there are: {', '.join(there)}" if there else f"there is no list in {path.parent}"
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); {known}. Set data.train_list and "
            "data.val_list, or data.root"
        ) from error
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise DataError(f"{path}: the list is empty; write one image id a line")
    return ids


def chosen_classes(
    known: Sequence[str], chosen: Sequence[str] | None, source: str
) -> tuple[str, ...]:
    """``chosen``, or all classes.

    Raises:
        DataError: a chosen class is not known.
    """
    for name in chosen or ():
        if name not in known:
            raise DataError(
                f"data.classes: {name!r} is no class of {source}{nearest(name, known)} It knows: "
                f"{', '.join(known)}"
            )
    return tuple(chosen or known)


def drop_untagged(
    table: TagTable, ids: Sequence[str], classes: Sequence[str], labels: np.ndarray
) -> tuple[list[int], dict[str, int]]:
    """Rows of the images that keep a tag, and what was left out."""
    kept = np.flatnonzero(labels.any(axis=1)).tolist()
    other = sum(tag not in classes for row in kept for tag in set(table.tags[ids[row]]))
    counts = {
        "images without a tag of data.classes": len(ids) - len(kept),
        "tags outside data.classes": other,
    }
    return kept, {reason: count for reason, count in counts.items() if count}


def mask_lookup(known: Sequence[str], classes: Sequence[str], ignore_id: int) -> np.ndarray:
    """int32 [256] for :attr:`Split.mask_map`; known classes that were not chosen become 0."""
    lookup = np.full(256, -1, np.int32)
    lookup[0] = 0
    for number, name in enumerate(known, start=1):
        lookup[number] = classes.index(name) + 1 if name in classes else 0
    lookup[ignore_id] = IGNORE
    return lookup


def _list_path(root: Path, name: str) -> Path:
    return root / "ImageSets" / "Segmentation" / f"{name}.txt"


def _find(folder: Path, ids: Sequence[str], kind: str) -> tuple[str, ...]:
    files = files_by_stem(folder)
    missing = [image for image in ids if image not in files]
    if missing:
        more = f" ({len(missing)} such ids)" if len(missing) > 1 else ""
        raise DataError(
            f"{folder / missing[0]}.*: the list names this {kind}, but there is no such file"
            f"{more}; add it, or take the id out of the list"
        )
    return tuple(files[image] for image in ids)


def _maps(
    folder: Path, ids: Sequence[str], images: Sequence[str], kind: str, required: bool
) -> tuple[str, ...] | None:
    """Paths of masks or saliency maps; None where the folder holds none of the list."""
    files = files_by_stem(folder, (".png",))
    if not required and not any(image in files for image in ids):
        return None
    paths = _find(folder, ids, kind)
    for path, image in zip(paths, images, strict=True):
        check_map_size(path, header_size(path), image)
    return paths
