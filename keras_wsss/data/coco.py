"""COCO folders: annotations/instances_LIST.json beside the folder LIST with the images.

Category ids are not consecutive in COCO; in ascending order they become the classes 1..80. Images
without any annotation are dropped (702 of 82,783 in train2014), as in the published lists.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_wsss.class_names import foreground, is_no_class
from keras_wsss.data.classes import chosen_classes
from keras_wsss.data.coco_file import (
    Annotation,
    Id,
    ImageEntry,
    called_once,
    check_outline,
    decompressed,
    encloses,
    extent_beyond,
    has_outline,
    read_instances,
)
from keras_wsss.data.files import (
    check_image_file,
    find_saliency,
    turn_of,
    upright,
)
from keras_wsss.data.labels import TagTable, keep_tagged
from keras_wsss.data.masks import check_presence
from keras_wsss.data.places import check_inside
from keras_wsss.data.split import Split, by_lists, identity_map
from keras_wsss.errors import DataError
from keras_wsss.palette import IGNORE_ID

if TYPE_CHECKING:
    from keras_wsss.config import DataConfig

logger = logging.getLogger(__name__)
TOLERANCE = 2
"""Pixels by which outlines may leave an image: tools round, and draw to the edge."""


def load_coco(
    data: DataConfig, name: str, *, masks: bool | None = None, saliency: bool | None = False
) -> Split:
    """Reads the tags from the instance annotations, and masks unless they are switched off.

    Args:
        data: configuration of the data; ``root`` holds ``annotations`` and the image folders.
        name: list, e.g. ``train2014``.
        masks: False: the outlines are not kept in memory.
        saliency: True: saliency maps must be there; None: used when there.

    Returns:
        :class:`~keras_wsss.data.Split`; a mask is drawn from the outlines when it is read.

    Raises:
        DataError: annotations or images cannot be used.

    Example:

    >>> data = wsss.config.DataConfig(kind="coco", root="coco2014")
    >>> load_coco(data, "val2014").class_names
    ('person', 'dog', 'brush')
    """
    root = Path(data.root or ".")
    path = root / "annotations" / f"instances_{name}.json"
    check_inside([path], root, data.follow_links)
    content = read_instances(path)
    names = {category.id: category.name for category in content.categories}
    numbers = sorted(names, key=lambda number: (isinstance(number, str), number))
    numbers = [number for number in numbers if not is_no_class(names[number])]
    known = foreground([names[number] for number in numbers], path)
    categories = dict(zip(numbers, known, strict=True))
    classes = chosen_classes(known, data.classes, str(path))

    entries = called_once(path, content.images)
    stems = {image.id: Path(image.file_name).stem for image in content.images}
    tags: dict[str, set[str]] = {}
    objects: dict[str, list[Annotation]] = {}
    for item in content.annotations:
        _check_listed(path, item, "category_id", names)
        _check_listed(path, item, "image_id", stems)
        if item.category_id in categories:
            tags.setdefault(stems[item.image_id], set()).add(categories[item.category_id])
            objects.setdefault(stems[item.image_id], []).append(item)

    table = TagTable(path, known, {stem: tuple(sorted(found)) for stem, found in tags.items()})
    kept, labels, dropped = keep_tagged(table, [stem for stem in entries if stem in tags], classes)
    if len(tags) < len(entries):
        dropped["images without any annotation"] = len(entries) - len(tags)
    files = tuple(str(root / name / entries[stem].file_name) for stem in kept)
    check_inside(files, root, data.follow_links)
    for file in files:
        if not os.path.isfile(file):
            raise DataError(
                f"{file}: cannot be read (no such file); {path} names it, and file_name is a path "
                f"within {root / name}"
            )
        check_image_file(file)
    split = Split(
        name=name,
        ids=tuple(kept),
        class_names=classes,
        labels=labels,
        image_paths=files,
        saliency_paths=find_saliency(
            data.saliency or root / "Saliency", kept, saliency, data.follow_links
        ),
        mask_map=identity_map(len(classes)),
        dropped=dropped,
    )
    if masks is False:
        return split
    if not any(has_outline(item) for item in content.annotations):
        if masks:
            raise DataError(f"{path}: has boxes and no outlines, so there are no masks")
        return split
    mask_ids = {
        number: classes.index(title) + 1 if title in classes else 0
        for number, title in categories.items()
    }
    drawn = [objects[stem] for stem in kept]
    return _with_masks(split, path, [entries[stem] for stem in kept], drawn, mask_ids)


read_coco = by_lists(load_coco)


def _with_masks(
    split: Split,
    path: Path,
    entries: Sequence[ImageEntry],
    objects: Sequence[Sequence[Annotation]],
    mask_ids: Mapping[Id, int],
) -> Split:
    """The images with masks that are drawn when they are read; their outlines are checked now."""
    sizes, turns, boxes, hollow, drawn = [], [], 0, 0, {0, IGNORE_ID}
    shapes: list[list[Annotation]] = []
    leaving: list[str] = []
    for entry, items, file in zip(entries, objects, split.image_paths, strict=True):
        if entry.width is None or entry.height is None:
            raise DataError(f"{path}: image {entry.file_name} has no width or height; add them")
        sizes.append((entry.width, entry.height))
        turns.append(turn_of(f"{path}, image {Path(entry.file_name).stem}", sizes[-1], file))
        shapes.append([])
        for item in items:
            try:
                check_outline(item, entry.height, entry.width)
                if has_outline(item) and not encloses(item):
                    item, hollow = replace(item, segmentation=None), hollow + 1
                    check_outline(item, entry.height, entry.width)
            except ValueError as error:
                raise DataError(
                    f"{path}: annotation {item.id}, image {entry.file_name}, {error}; correct it, "
                    "or remove the annotation"
                ) from error
            if extent_beyond(item, entry.height, entry.width) > TOLERANCE:
                leaving.append(f"{item.id} of {entry.file_name}")
            shapes[-1].append(item)
            boxes += not has_outline(item)
            if not _is_ignored(item):
                drawn.add(mask_ids[item.category_id])
    if hollow and not any(has_outline(item) for items in shapes for item in items):
        raise DataError(
            f"{path}: no outline encloses anything; give x and y in pixels, not in parts of the "
            "image"
        )
    if leaving:
        logger.warning(
            "%s: %d outlines leave their images, which cuts them off, first annotation %s; are x "
            "and y, or width and height, swapped?",
            *(path, len(leaving), leaving[0]),
        )
    check_presence(split, np.isin(np.arange(256), list(drawn)), str(path))

    def read_mask(position: int) -> np.ndarray:
        width, height = sizes[position]
        mask = draw_objects(shapes[position], mask_ids, height, width)
        return upright(mask, turns[position])

    ignored = {"objects without outline, their boxes are ignored": boxes} if boxes else {}
    return replace(
        split,
        mask_paths=(str(path),) * len(split),
        read_mask=read_mask,
        dropped={**split.dropped, **ignored},
    )


def draw_objects(
    objects: Sequence[Annotation], mask_ids: Mapping[Id, int], height: int, width: int
) -> np.ndarray:
    """Mask of an image; of two objects the smaller one is in front.

    Crowds, and the boxes of objects without an outline, are 255 (ignore).

    Args:
        objects: annotations that :func:`~keras_wsss.data.coco_file.check_outline` has let pass.
        mask_ids: category id -> id in the mask.

    Returns:
        uint8 [height, width].

    Example:

    >>> square = Annotation(image_id=1, category_id=18, segmentation=[[1, 1, 3, 1, 3, 3]])
    >>> int(draw_objects([square], {18: 1}, 4, 4).max())
    1
    """
    mask = np.zeros((height, width), np.uint8)
    insides = [_inside(item, height, width) for item in objects]

    def nearness(place: int) -> tuple[bool, float]:
        # Some tools write 0.
        return not _is_ignored(objects[place]), -(objects[place].area or insides[place].sum())

    for place in sorted(range(len(objects)), key=nearness):
        item = objects[place]
        mask[insides[place]] = IGNORE_ID if _is_ignored(item) else mask_ids[item.category_id]
    return mask


def _is_ignored(item: Annotation) -> bool:
    return bool(item.iscrowd) or not has_outline(item)


def _inside(item: Annotation, height: int, width: int) -> np.ndarray:
    """bool [height, width]: the pixels of an object."""
    outline = item.segmentation
    if isinstance(outline, Mapping):
        return decode_run_lengths(outline["counts"], height, width)
    if not has_outline(item):
        x, y, across, down = item.bbox
        outline = [[x, y, x + across, y, x + across, y + down, x, y + down]]
    polygons = [np.reshape(points, (-1, 2)) for points in outline]
    inside: np.ndarray = np.any([fill_polygon(p, height, width) for p in polygons], axis=0)
    return inside


def fill_polygon(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels whose centre lies in a polygon (even-odd rule); pixel (0, 0) has the centre (½, ½).

    Args:
        points: float [P, 2], x and y of the corners.

    Returns:
        bool [height, width].
    """
    start = np.asarray(points, np.float64)
    stop = np.roll(start, -1, axis=0)
    row = np.arange(height)[:, None] + 0.5
    rows, edges = np.nonzero((start[:, 1] <= row) != (stop[:, 1] <= row))
    (x0, y0), (x1, y1) = start[edges].T, stop[edges].T
    crossing = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)
    changes = np.zeros((height, width + 1), np.int32)
    np.add.at(changes, (rows, columns), 1)
    return np.asarray(np.cumsum(changes[:, :width], axis=1) % 2 == 1)


def decode_run_lengths(counts: str | Sequence[int], height: int, width: int) -> np.ndarray:
    """COCO's run lengths: outside and inside in turn, column after column.

    Args:
        counts: lengths, or COCO's compressed text.

    Returns:
        bool [height, width].
    """
    lengths = decompressed(counts) if isinstance(counts, str) else list(counts)
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return inside.reshape(width, height).T


def _check_listed(path: Path, item: Annotation, key: str, listed: Mapping[Id, object]) -> None:
    value = getattr(item, key)
    if value not in listed:
        raise DataError(
            f"{path}: annotation {item.id} has the {key} {value!r}, which is in no list of the "
            "file; add it there, or remove the annotation"
        )
