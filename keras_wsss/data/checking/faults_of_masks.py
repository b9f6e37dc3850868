"""Faults of masks: missing, of another size, empty, or at odds with the tags."""

from __future__ import annotations

from collections.abc import Iterator

from keras_wsss.data.checking.contents import Contents, Fault, Item, Picture
from keras_wsss.data.checking.finding import Finding, found
from keras_wsss.data.photos.scan import examples


def missing_masks(contents: Contents) -> list[Finding]:
    """Images without a mask where others of their list have one."""
    findings = []
    validation = contents.ids("val")
    parts = [
        ([i for i in contents.present if i.id in validation], "error", "validation images"),
        ([i for i in contents.present if i.id not in validation], "warning", "images"),
    ]
    for items, severity, what in parts:
        missing = [item for item in items if item.mask_path is None]
        if 0 < len(missing) < len(items):
            findings += found(
                "missing-mask",
                severity,  # type: ignore[arg-type]
                f"{what} without a mask, which others have",
                missing,
                "add the masks, or take the images out of the list",
            )
    return findings


def unreadable_masks(contents: Contents) -> list[Finding]:
    """Masks that cannot be decoded, and such as hold colours in place of ids."""
    findings = []
    for kind, what, fix in (
        ("mask-unreadable", "masks that cannot be read", "replace the files"),
        (
            "mask-colour",
            "masks with colours (RGB) in place of class ids",
            "save one channel of 8 bits, grey or palette, whose values are the ids; or import "
            "them with CVAT's labelmap.txt",
        ),
        ("mask-unknown-id", "masks with a colour that labelmap.txt does not name", "add it there"),
    ):
        items = [
            item
            for item in contents.items.values()
            if isinstance(item.mask, Fault) and item.mask.kind == kind
        ]
        findings += found(kind, "error", what, items, fix)
    return findings


def mask_sizes(contents: Contents) -> list[Finding]:
    """Masks that fit their image neither as displayed nor as stored."""
    items = [
        item
        for item, mask in contents.masks
        if isinstance(item.picture, Picture) and not _fits(mask.size, item.picture)
    ]
    fix = "bring each to the size of its image, with nearest neighbour"
    return found("mask-size", "error", "masks of another size than their images", items, fix)


def unknown_ids(contents: Contents) -> list[Finding]:
    """Masks with ids that no class list knows."""
    if contents.faults:  # the class list is not known
        return []
    known = _known(contents)
    items = [item for item, mask in contents.masks if not mask.ids <= known]
    ids = sorted({number for _, mask in contents.masks for number in mask.ids - known})
    names = examples(f"{n} {name}" for n, name in enumerate(contents.mask_classes, start=1))
    what = f"masks with ids that no class list knows ({examples(ids)}; known are {names})"
    return found("mask-unknown-id", "error", what, items, "correct them, or add the classes")


def empty_masks(contents: Contents) -> list[Finding]:
    """Masks of tagged images that show nothing but background."""
    items = [item for item, mask in contents.masks if mask.ids == {0} and item.tags]
    what = "masks that hold no object (0 everywhere), of tagged images"
    return found("mask-empty", "error", what, items, "draw the objects, or correct the tags")


def ignored_masks(contents: Contents) -> list[Finding]:
    """Masks that show nothing but what is ignored, and perhaps background."""
    ignored = {contents.ignore_id}
    items = [item for item, mask in contents.masks if ignored <= mask.ids <= {0, *ignored}]
    what = f"masks that hold {contents.ignore_id}, which is ignored, and no class"
    fix = "write the ids of the classes into the objects"
    return found("mask-ignored", "error", what, items, fix)


def classes_in_no_mask(contents: Contents) -> list[Finding]:
    """Tags that no mask shows, of the images that have them."""
    findings = []
    for name in _never_shown(contents):
        items = [item for item, shown in _compared(contents) if name in (item.tags or ())]
        number = contents.mask_classes.index(name) + 1
        what = f"images tagged {name!r}, of which no mask holds a pixel of it, id {number}"
        fix = "correct the ids, or the order of the class list"
        findings += found("class-in-no-mask", "error", what, items, fix, left_out=())
    return findings


def tags_not_in_masks(contents: Contents) -> list[Finding]:
    """Images of which the mask does not show what the tags name."""
    never = set(_never_shown(contents))
    items = [i for i, shown in _compared(contents) if _classes_of(contents, i) - {*shown, *never}]
    what = "images whose masks do not show all that their tags name"
    return found("tag-not-in-mask", "warning", what, items, "correct the tags, or the masks")


def masks_not_in_tags(contents: Contents) -> list[Finding]:
    """Images of which the mask shows what the tags do not name."""
    items = [i for i, shown in _compared(contents) if set(shown) - set(i.tags or ())]
    what = "images whose masks show a class that their tags do not name"
    return found("mask-not-in-tags", "warning", what, items, "correct the tags, or the masks")


def _fits(size: tuple[int, int], picture: Picture) -> bool:
    return size in (picture.size, picture.shown)


def _known(contents: Contents) -> set[int]:
    return {0, contents.ignore_id, *range(1, len(contents.mask_classes) + 1)}


def _compared(contents: Contents) -> Iterator[tuple[Item, tuple[str, ...]]]:
    """Images with the classes that their masks show, where both can be compared."""
    if contents.faults:
        return
    known = _known(contents)
    for item, mask in contents.masks:
        objects = mask.ids - {0, contents.ignore_id}
        # Of the others a mask of a negative is right without an object.
        comparable = item.tags is not None and contents.unknown.keys().isdisjoint(item.tags)
        if comparable and mask.ids <= known and (objects or not item.tags):
            names = [contents.mask_classes[number - 1] for number in sorted(objects)]
            yield item, tuple(name for name in names if name in contents.classes)


def _never_shown(contents: Contents) -> list[str]:
    compared = list(_compared(contents))
    shown = {name for _, names in compared for name in names}
    tagged = {tag for item, _ in compared for tag in _classes_of(contents, item)}
    return [name for name in contents.classes if name in tagged - shown]


def _classes_of(contents: Contents, item: Item) -> set[str]:
    return set(item.tags or ()) & set(contents.classes)
