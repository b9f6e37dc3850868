"""Photographs with tags as a data set: of any source, or as an import has written it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_wsss.class_names import plain
from keras_wsss.data.classes import mask_lookup
from keras_wsss.data.files import THREADS, check_image_file, find_saliency, turn_of, upright
from keras_wsss.data.photos.convert import examined
from keras_wsss.data.photos.cvat import read_colours
from keras_wsss.data.photos.division import for_validation
from keras_wsss.data.photos.duplicates import groups_alike
from keras_wsss.data.photos.labels import Labelled, label, reasons
from keras_wsss.data.photos.recognise import source_of
from keras_wsss.data.photos.scan import examples
from keras_wsss.data.photos.source import Photograph, Source
from keras_wsss.data.split import ReadArray, Split, by_lists
from keras_wsss.data.text import read_lines
from keras_wsss.errors import DataError
from keras_wsss.palette import IGNORE_ID

if TYPE_CHECKING:
    from keras_wsss.config.data import PhotosDataConfig

logger = logging.getLogger(__name__)

TRAIN, VAL = "train", "val"


def load_photos(
    data: PhotosDataConfig, name: str, *, masks: bool | None = None, saliency: bool | None = False
) -> Split:
    """Reads one part of people's photographs.

    Args:
        data: configuration; ``root`` is a file or folder that
            :func:`~keras_wsss.data.photos.recognise.find_source` recognises.
        name: ``train`` or ``val``: as the import has divided, or as it would; another name: the
            list of ids ``NAME.txt`` in the folder.
        masks: True: photographs without one are left out, and said; None: masks are used when all
            are there; False: not even looked for.
        saliency: likewise for saliency maps.

    Returns:
        :class:`~keras_wsss.data.Split`.

    Raises:
        DataError: tags, lists, photographs or masks cannot be used.

    Example:

    >>> load_photos(wsss.load_config("photos", ["data.root=my_set"]).data, "train").class_names
    ('cat', 'dog')
    """
    root = Path(data.root or ".")
    source = source_of(data)
    imported = source.kind == "imported"
    labelled = label(
        source,
        classes=data.classes,
        untagged="negative" if imported else data.untagged,
        negative=data.negative,
        all_classes=imported,
    )
    folder = root if root.is_dir() else root.parent
    chosen, notes = _part(data, name, folder / f"{name}.txt", source, labelled)
    if name in data.lists("train"):  # once is enough
        if not imported:  # what its import has understood was said then
            logger.info("%s: %s %s", source.path, source.kind, source.taken)
        for warning in (*labelled.warnings, *notes):
            logger.warning("%s: %s", source.path, warning)
    if not chosen:
        raise DataError(
            f"{source.path}: of {len(labelled.photographs)} photographs none is left for the list "
            f"{name}; add some, or change the list or data.val_fraction"
        )
    without = [n for n in chosen if masks and labelled.photographs[n].mask is None]
    if without:
        _say_missing(source, [labelled.photographs[n].path.name for n in without], len(chosen))
        chosen = [n for n in chosen if labelled.photographs[n].mask is not None]
    photos = [labelled.photographs[number] for number in chosen]
    for photo in photos:
        check_image_file(str(photo.path))
    ids = tuple(photo.id for photo in photos)
    wanted = masks is not False and _has_masks(source, photos)
    dropped = reasons(labelled.dropped)
    if without:
        dropped["no mask"] = len(without)
    if labelled.other_tags:
        dropped["tags outside data.classes, left out"] = labelled.other_tags
    return Split(
        name=name,
        ids=ids,
        class_names=labelled.class_names,
        labels=labelled.labels[chosen],
        image_paths=tuple(str(photo.path) for photo in photos),
        mask_paths=tuple(str(photo.mask) for photo in photos) if wanted else None,
        saliency_paths=find_saliency(
            data.saliency or folder / "Saliency", ids, saliency, data.follow_links
        ),
        mask_map=mask_lookup(source.class_names, labelled.class_names, IGNORE_ID),
        dropped=dropped,
        read_mask=_mask_reader(source, photos) if wanted and source.mask_colours else None,
    )


read_photos = by_lists(load_photos)


def _part(
    data: PhotosDataConfig, name: str, file: Path, source: Source, labelled: Labelled
) -> tuple[list[int], list[str]]:
    """Positions of the photographs of a part, listed in a file or not; and what to say of them."""
    if name not in (TRAIN, VAL) or (source.kind == "imported" and file.is_file()):
        return _listed(file, source, labelled), []
    _check_readable(labelled.photographs)
    for_val, notes = divided(labelled, data.val_fraction, data.split_seed)
    return np.flatnonzero(for_val if name == VAL else ~for_val).tolist(), notes


def divided(labelled: Labelled, fraction: float, seed: int) -> tuple[np.ndarray, list[str]]:
    """Divides photographs into training and validation; those that look alike stay together.

    Args:
        labelled: the photographs.
        fraction: that is for validation.
        seed: of the division.

    Returns:
        bool [N], those for validation, and what the user should know.

    Raises:
        DataError: a photograph cannot be decoded.
    """
    groups, notes = _groups(labelled)
    return for_validation(labelled.labels, groups, fraction, seed), notes


def _check_readable(photographs: Sequence[Photograph]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda photo: examined(photo.path), photographs))
    strange = [p for p, each in zip(photographs, found, strict=True) if each.suffix is None]
    if strange:
        raise DataError(
            f"{len(strange)} photographs ({examples(photo.path.name for photo in strange)}) are of "
            "a kind that a training cannot read; `keras-wsss import` converts them"
        )


def _groups(labelled: Labelled) -> tuple[np.ndarray, list[str]]:
    """Groups of photographs that look alike, unless nearly all do; and what to say about them."""
    groups = groups_alike([examined(photo.path).fingerprint for photo in labelled.photographs])
    sizes = np.bincount(groups, minlength=1)
    alike = int(sizes[sizes > 1].sum())
    if 2 * sizes.max() > len(groups) > 1:
        # A camera that never moves: together they would all be for training.
        return np.arange(len(groups)), [
            f"{sizes.max()} of {len(groups)} photographs look alike; they are divided one by one, "
            "so validation is easier than new photographs will be"
        ]
    notes = []
    if alike:
        notes.append(f"{alike} photographs look like another one; they stay in one list with it")
    ids = [photo.id for photo in labelled.photographs]
    other_tags = [
        f"{ids[number]} and {ids[first]}"
        for number, first in enumerate(groups)
        if (labelled.labels[number] != labelled.labels[first]).any()
    ]
    if other_tags:
        notes.append(f"photographs that look alike have different tags: {examples(other_tags)}")
    return groups, notes


def _listed(file: Path, source: Source, labelled: Labelled) -> list[int]:
    """Positions of the photographs of a list: ids, one a line."""
    position = {plain(photo.id): number for number, photo in enumerate(labelled.photographs)}
    known = {plain(photo.id) for photo in source.photographs}
    lines = read_lines(file)
    if missing := [line for line in lines if plain(line) not in known]:
        raise DataError(
            f"{file}: {examples(missing)}: no such photograph; take it out of the list, or add it "
            f"(ids are {examples(sorted(known))})"
        )
    return list(dict.fromkeys(position[plain(line)] for line in lines if plain(line) in position))


def _say_missing(source: Source, missing: Sequence[str], of: int) -> None:
    """Warns of photographs without a mask, where masks are needed."""
    if len(missing) == of:
        raise DataError(
            f"{source.path}: none of {of} photographs has a mask ({examples(missing)}), which this "
            "method needs"
        )
    logger.warning(
        "%s: %d of %d photographs have no mask (%s) and are left out",
        source.path,
        len(missing),
        of,
        examples(missing),
    )


def _has_masks(source: Source, photos: Sequence[Photograph]) -> bool:
    missing = sum(photo.mask is None for photo in photos)
    if 0 < missing < len(photos):
        logger.warning("%s: masks are not used, %d are missing", source.path, missing)
    return not missing


def _mask_reader(source: Source, photos: Sequence[Photograph]) -> ReadArray:
    colours = source.mask_colours or {}

    def read_mask(position: int) -> np.ndarray:
        photo = photos[position]
        values = read_colours(Path(str(photo.mask)), colours)
        height, width = values.shape
        return upright(values, turn_of(str(photo.mask), (width, height), str(photo.path)))

    return read_mask
