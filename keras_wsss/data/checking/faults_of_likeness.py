"""Images that are there twice: the same file, or a picture that looks the same."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from keras_wsss.data.checking.contents import Contents, Item, Picture
from keras_wsss.data.checking.finding import Finding, found
from keras_wsss.data.photos.duplicates import groups_alike

ALIKE = 0.9
"""Least correlation of two small pictures that look the same; few bits alone say little of pictures
with plain backgrounds."""
MANY = 10  # from here on, more than half of all images look alike because the camera never moves


def contradicting_tags(contents: Contents) -> list[Finding]:
    """The same image with different tags."""
    findings = []
    for items in same_files(contents):
        tags = {frozenset(item.tags) for item in items if item.tags is not None}
        if len(tags) > 1:
            texts = [", ".join(sorted(each)) or "nothing" for each in tags]
            findings += found(
                "contradicting-tags",
                "error",
                f"copies of one image with different tags ({' / '.join(sorted(texts))})",
                items,
                "keep one, with all its tags",
            )
    return findings


def duplicates(contents: Contents) -> list[Finding]:
    """Copies of one file in one part of the data set."""
    findings = []
    for items in same_files(contents):
        if len({item.tags and frozenset(item.tags) for item in items}) > 1:
            continue
        if not _leaks(contents, items):
            findings += found(
                "duplicate", "warning", "copies of one image", items, "keep one of them"
            )
    return findings


def near_duplicates(contents: Contents) -> list[Finding]:
    """Images of one part that look the same and are different files."""
    findings = []
    for items in look_alikes(contents):
        if _most(contents, items):
            findings += found(
                "near-duplicate",
                "warning",
                "images, most of all, that look alike",
                items,
                "a validation on them is easier than new photographs will be",
            )
        elif not _leaks(contents, items):
            fix = "keep one of them, unless they are meant"
            findings += found("near-duplicate", "warning", "images that look alike", items, fix)
    return findings


def leakage(contents: Contents) -> list[Finding]:
    """Copies of an image, or others that look the same, in training and validation."""
    findings = []
    alike = [items for items in look_alikes(contents) if not _most(contents, items)]
    told = {item.id for items in alike for item in items}
    same = [items for items in same_files(contents) if items[0].id not in told]
    for what, groups in (("images that look alike", alike), ("copies of one image", same)):
        for items in groups:
            if _leaks(contents, items):
                validation = contents.ids("val")
                findings += found(
                    "leakage",
                    "error",
                    f"{what}, in training and validation",
                    items,
                    "keep them in one of the two: a score on what was trained on says nothing",
                    left_out=tuple(item for item in items if item.id not in validation),
                )
    return findings


def same_files(contents: Contents) -> list[list[Item]]:
    """Groups of images whose files are the same to the byte."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item, picture in contents.pictures:
        groups[picture.digest].append(item)
    return [items for items in groups.values() if len(items) > 1]


@functools.lru_cache(maxsize=1)
def look_alikes(contents: Contents) -> list[list[Item]]:
    """Groups of images of more than one file that look the same, copies included."""
    # Of one colour all look alike.
    pictures = {p.digest: p for _, p in contents.pictures if p.tone is None}
    kept = list(pictures.values())
    small = _normalised(kept)
    first = groups_alike(
        [picture.fingerprint for picture in kept],
        confirm=lambda one, other: bool(small[one] @ small[other] >= ALIKE),
    )
    group_of = {digest: int(group) for digest, group in zip(pictures, first, strict=True)}
    several = {group for group, count in enumerate(np.bincount(first)) if count > 1}
    groups: dict[int, list[Item]] = defaultdict(list)
    for item, picture in contents.pictures:
        group = group_of.get(picture.digest, -1)
        if group in several:
            groups[group].append(item)
    return list(groups.values())


def _normalised(pictures: Iterable[Picture]) -> np.ndarray:
    """float32 [N, 768]: neither brightness nor contrast count."""
    rows = np.array([picture.small.ravel() for picture in pictures], np.float32)
    if not len(rows):
        return rows
    rows -= rows.mean(1, keepdims=True)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6))


def _leaks(contents: Contents, items: list[Item]) -> bool:
    """Whether one is trained on and another one is scored."""
    train, val = contents.ids("train"), contents.ids("val")
    trained = {item.id for item in items if item.id in train}
    scored = {item.id for item in items if item.id in val}
    return bool(trained and scored and len(trained | scored) > 1)


def _most(contents: Contents, items: list[Item]) -> bool:
    return len(items) >= MANY and 2 * len(items) > len(contents.pictures)
