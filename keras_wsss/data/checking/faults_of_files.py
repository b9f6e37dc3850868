"""Faults of files: missing, broken, called otherwise than they are."""

from __future__ import annotations

from PIL import Image

from keras_wsss.data.checking.contents import Contents, Fault
from keras_wsss.data.checking.finding import Finding, found
from keras_wsss.data.photos.scan import examples

BROKEN = {
    "empty-file": "empty files, of 0 bytes",
    "truncated": "files that are cut off",
    "not-an-image": "files that are no images",
    "unreadable": "files that cannot be decoded",
}
REPLACE = "replace the files, or take the images out of the lists"
ONE_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}


def missing_images(contents: Contents) -> list[Finding]:
    """Images that are listed or tagged, without a file."""
    items = [item for item in contents.items.values() if item.path is None]
    fix = "add the files, or take the images out of the lists"
    return found("missing-image", "error", "images that are not there", items, fix)


def broken_files(contents: Contents) -> list[Finding]:
    """Files that are empty, cut off, no images or not to be decoded."""
    findings = []
    for kind, what in BROKEN.items():
        items = [
            item
            for item in contents.items.values()
            if isinstance(item.picture, Fault) and item.picture.kind == kind
        ]
        reason = f" ({items[0].picture.reason})" if items and kind == "unreadable" else ""  # type: ignore[union-attr]
        findings += found(kind, "error", what + reason, items, REPLACE)
    return findings


def wrong_suffixes(contents: Contents) -> list[Finding]:
    """Files whose content is of another format than their names say."""
    formats = Image.registered_extensions()
    wrong: dict[str, list[int]] = {}
    for number, (item, picture) in enumerate(contents.pictures):
        content = ONE_FORMAT.get(picture.format, picture.format)
        suffix = str(item.path.suffix).lower() if item.path else ""
        named = "JPEG" if suffix == ".jfif" else formats.get(suffix)
        named = ONE_FORMAT.get(named or "", named)
        if named != content:
            wrong.setdefault(content, []).append(number)
    findings = []
    for content, numbers in wrong.items():
        items = [contents.pictures[number][0] for number in numbers]
        what = f"files whose names do not say what they are, {content}"
        findings += found("wrong-suffix", "warning", what, items, "rename them")
    return findings


def formats_to_convert(contents: Contents) -> list[Finding]:
    """Photographs that a training cannot read as they are."""
    items = [item for item, picture in contents.pictures if picture.suffix is None]
    formats = sorted({picture.format for _, picture in contents.pictures if not picture.suffix})
    what = f"photographs that a training cannot read as they are ({', '.join(formats)})"
    if contents.imports:
        return found("to-convert", "info", what, items, "`keras-wsss import` converts them")
    fix = "save them as JPEG or PNG, or let `keras-wsss import` convert them"
    return found("to-convert", "error", what, items, fix)


def unlisted_images(contents: Contents) -> list[Finding]:
    """Images that nothing names."""
    if not contents.unlisted:
        return []
    names = examples(path.name for path in contents.unlisted)
    message = f"images that nothing lists or tags ({len(contents.unlisted)}): {names}; not used"
    return [Finding("unlisted-image", "info", message)]


def notes_of_the_reader(contents: Contents) -> list[Finding]:
    """What the reader of the source says."""
    return [Finding("note", "info", text) for text in contents.notes]
