"""COCO folders: annotations/instances_LIST.json beside the folder LIST with the images.

Category ids are not consecutive in COCO; in ascending order they become the classes 1..80. Images
without any annotation are dropped (702 of 82,783 in train2014), as in the published lists.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_wsss.data.files import (
    check_image_file,
    check_map_size,
    displayed_size,
    find_saliency,
    upright,
)
from keras_wsss.data.labels import TagTable, chosen_classes, keep_tagged
from keras_wsss.data.split import Split, by_lists, identity_map
from keras_wsss.errors import DataError
from keras_wsss.palette import IGNORE_ID

if TYPE_CHECKING:
    from keras_wsss.config import DataConfig


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

    >>> load_coco(config.data, "val2014").class_names[:3]
    ('person', 'bicycle', 'car')
    """
    root = Path(data.root or ".")
    path = root / "annotations" / f"instances_{name}.json"
    images, categories, annotations = _read(path)
    known = tuple(categories[number] for number in sorted(categories))
    classes = chosen_classes(known, data.classes, str(path))

    tags: dict[str, set[str]] = {}
    objects: dict[str, list[dict[str, Any]]] = {}
    stems = {number: Path(image["file_name"]).stem for number, image in images.items()}
    for annotation in annotations:
        _check_listed(path, annotation, "category_id", categories)
        _check_listed(path, annotation, "image_id", images)
        stem = stems[annotation["image_id"]]
        tags.setdefault(stem, set()).add(categories[annotation["category_id"]])
        if masks is not False:
            objects.setdefault(stem, []).append(annotation)

    table = TagTable(path, known, {stem: tuple(sorted(found)) for stem, found in tags.items()})
    kept, labels, dropped = keep_tagged(table, [s for s in stems.values() if s in tags], classes)
    if len(tags) < len(images):
        dropped["images without any annotation"] = len(images) - len(tags)
    entries = {stems[number]: image for number, image in images.items()}
    files = tuple(str(root / name / entries[stem]["file_name"]) for stem in kept)
    for file in files:
        check_image_file(file)
    mask_ids = {
        number: classes.index(title) + 1 if title in classes else 0
        for number, title in categories.items()
    }

    def read_mask(position: int) -> np.ndarray:
        stem, file = kept[position], files[position]
        height, width = entries[stem]["height"], entries[stem]["width"]
        check_map_size(f"{path}, image {stem}", (width, height), file)
        mask = draw_objects(objects[stem], mask_ids, height, width)
        shown, orientation = displayed_size(file)
        return mask if (width, height) == shown else upright(mask, orientation)

    return Split(
        name=name,
        ids=tuple(kept),
        class_names=classes,
        labels=labels,
        image_paths=files,
        mask_paths=None if masks is False else (str(path),) * len(kept),
        saliency_paths=find_saliency(data.saliency or root / "Saliency", kept, saliency),
        mask_map=identity_map(len(classes)),
        dropped=dropped,
        read_mask=None if masks is False else read_mask,
    )


read_coco = by_lists(load_coco)


def draw_objects(
    objects: Sequence[Mapping[str, Any]], mask_ids: Mapping[int, int], height: int, width: int
) -> np.ndarray:
    """Mask of an image: crowds are 255 (ignore); of two objects the smaller one is in front.

    Args:
        objects: annotations with ``segmentation``, ``category_id``, ``area`` and ``iscrowd``.
        mask_ids: category id -> id in the mask.

    Returns:
        uint8 [height, width].

    Example:

    >>> square = {"category_id": 18, "area": 4, "iscrowd": 0, "segmentation": [[1, 1, 3, 1, 3, 3]]}
    >>> int(draw_objects([square], {18: 1}, 4, 4).max())
    1
    """
    mask = np.zeros((height, width), np.uint8)

    def nearness(item: Mapping[str, Any]) -> tuple[bool, float]:
        return not item.get("iscrowd"), -float(item.get("area", 0))

    for item in sorted(objects, key=nearness):
        outline = item["segmentation"]
        if isinstance(outline, Mapping):
            inside = decode_run_lengths(outline["counts"], height, width)
        else:
            polygons = [np.reshape(points, (-1, 2)) for points in outline]
            inside = np.any([fill_polygon(p, height, width) for p in polygons], axis=0)
        mask[inside] = IGNORE_ID if item.get("iscrowd") else mask_ids[item["category_id"]]
    return mask


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
        counts: lengths, or COCO's compressed text: 5 bits a character, lowest first, bit 6 says
            that more follow, and from the third on a length is given relative to the one before
            the last.

    Returns:
        bool [height, width].
    """
    lengths = _decompress(counts) if isinstance(counts, str) else list(counts)
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return inside.reshape(width, height).T


def _decompress(text: str) -> list[int]:
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths


def _read(path: Path) -> tuple[dict[int, Any], dict[int, str], list[dict[str, Any]]]:
    try:
        content = json.loads(path.read_text())
        images = {image["id"]: image for image in content["images"]}
        categories = {category["id"]: category["name"] for category in content["categories"]}
        annotations = content["annotations"]
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); set data.root to the folder that holds "
            "'annotations', and data.train_list and data.val_list to lists such as train2014"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not a COCO instances file ({type(error).__name__}: {error}); it needs "
            "images, categories and annotations"
        ) from error
    if not images or not annotations:
        raise DataError(f"{path}: the list is empty: it has no images or no annotations")
    return images, categories, annotations


def _check_listed(
    path: Path, annotation: Mapping[str, Any], key: str, listed: Mapping[int, Any]
) -> None:
    if annotation[key] not in listed:
        raise DataError(
            f"{path}: annotation {annotation.get('id')} has the {key} {annotation[key]}, which is "
            "in no list of the file; add it there, or remove the annotation"
        )
