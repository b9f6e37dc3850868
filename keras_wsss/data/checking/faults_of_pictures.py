"""What pictures are like: their size, tone and kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from keras_wsss.data.checking.contents import Contents, Item, Picture
from keras_wsss.data.checking.finding import Finding, found

SMALL, LARGE = 0.25, 5  # sides, as a part of that of the crop
LONG = 4  # times as long as wide
PLAIN_MODES = {"RGB", "L", "P", "1"}


def small_images(contents: Contents) -> list[Finding]:
    """Images much smaller than the crop."""
    items = _those(contents, lambda p: max(p.size) < SMALL * contents.crop)
    return found(
        "small-image",
        "warning",
        f"images smaller than a quarter of the crop ({contents.crop} pixels)",
        items,
        "replace them by larger ones, or make data.crop_size smaller",
    )


def large_images(contents: Contents) -> list[Finding]:
    """Images of which a crop shows next to nothing."""
    items = _those(contents, lambda p: max(p.size) > LARGE * contents.crop)
    what = f"images more than {LARGE} times as large as the crop of {contents.crop} pixels"
    if contents.working_size is not None:
        fix = f"they are shrunk to data.working_size={contents.working_size}"
        return found("large-image", "info", what, items, fix)
    fix = f"a crop shows little of them: say data.working_size={2 * contents.crop}"
    return found("large-image", "warning", what, items, fix)


def long_images(contents: Contents) -> list[Finding]:
    """Images of an extreme shape."""
    items = _those(contents, lambda p: max(p.size) >= LONG * min(p.size))
    what = f"images more than {LONG} times as long as wide"
    return found("aspect-ratio", "warning", what, items, "cut them into parts, or leave them out")


def plain_images(contents: Contents) -> list[Finding]:
    """Images on which nothing is to be seen."""
    findings = []
    for kind, tone, what in (
        ("black-image", "black", "nearly black images"),
        ("white-image", "white", "nearly white images"),
        ("one-colour", "one colour", "images of one colour"),
    ):
        items = _those(contents, lambda p, tone=tone: p.tone == tone)  # type: ignore[misc]
        findings += found(
            kind, "warning", what, items, "look at them; leave out what shows nothing"
        )
    return findings


def grey_images(contents: Contents) -> list[Finding]:
    """Images without colours among others with colours."""
    items = _those(contents, lambda p: p.grey)
    if len(items) == len(_those(contents, lambda p: p.tone is None)):
        return []
    return found("grey-image", "info", "grey images among coloured ones", items, "used as they are")


def turned_images(contents: Contents) -> list[Finding]:
    """Images that a camera has stored turned."""
    items = _those(contents, lambda p: p.turned)
    what = "images that are turned upright as their EXIF data says"
    return found("turned-image", "info", what, items, "masks may fit either way")


def converted_modes(contents: Contents) -> list[Finding]:
    """Images that a training brings to three channels of 8 bits."""
    items = _those(contents, lambda p: p.mode not in PLAIN_MODES)
    modes = Counter(p.mode for _, p in contents.pictures if p.mode not in PLAIN_MODES)
    named = ", ".join(f"{'16 bit' if m.startswith('I;16') else m} {n}" for m, n in modes.items())
    what = f"images that become RGB with 8 bits a channel ({named})"
    return found("converted-mode", "info", what, items, "transparent parts show what is below")


def animated_images(contents: Contents) -> list[Finding]:
    """Animations, of which the first frame counts."""
    items = _those(contents, lambda p: p.animated)
    return found("animated-image", "info", "animations", items, "only the first frame is used")


def _those(contents: Contents, chosen: Callable[[Picture], bool]) -> list[Item]:
    return [item for item, picture in contents.pictures if chosen(picture)]
