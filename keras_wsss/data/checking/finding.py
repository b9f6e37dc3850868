"""What a check has found in a data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from keras_wsss.data.checking.contents import Item
from keras_wsss.data.photos.scan import examples

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or that the user should know.

    Attributes:
        kind: of fault, e.g. ``truncated``.
        severity: an ``error`` stops a training or makes its result false, a ``warning`` makes it
            worse, an ``info`` is no fault.
        message: for people, with the fix.
        items: images that it is about.
        left_out: those without which it is mended; None: all of an error's.
    """

    kind: str
    severity: Severity
    message: str
    items: tuple[Item, ...] = ()
    left_out: tuple[Item, ...] | None = None

    @property
    def to_leave_out(self) -> tuple[Item, ...]:
        """Images that cleaned lists lack."""
        if self.left_out is not None:
            return self.left_out
        return self.items if self.severity == "error" else ()


def found(
    kind: str,
    severity: Severity,
    what: str,
    items: Iterable[Item],
    fix: str,
    left_out: tuple[Item, ...] | None = None,
) -> list[Finding]:
    """A finding about images, or none where there are none.

    Example:

    >>> from keras_wsss.data.checking.contents import Item
    >>> items = [Item(name, Path(f"photos/{name}.jpg"), ("cat",)) for name in ("a", "b")]
    >>> found("empty-file", "error", "empty files", items, "replace them")[0].message
    'empty files (2): photos/a.jpg, photos/b.jpg; replace them'
    """
    images = tuple(items)
    if not images:
        return []
    message = f"{what} ({len(images)}): {examples(map(name_of, images))}; {fix}"
    return [Finding(kind, severity, message, images, left_out)]


def name_of(item: Item) -> str:
    """An image for messages: its file with the folder, or what names it where there is none."""
    if item.path is None:
        return f"{item.id} ({item.where})" if item.where else item.id
    return f"{item.path.parent.name}/{item.path.name}"
