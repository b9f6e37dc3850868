"""Checks a data set: reads it, looks at every file, and asks for each kind of fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras_wsss.config.data import DataConfig
from keras_wsss.data.checking import (
    faults_of_files,
    faults_of_likeness,
    faults_of_lists,
    faults_of_masks,
    faults_of_pictures,
    faults_of_tags,
)
from keras_wsss.data.checking.contents import Contents, Fault
from keras_wsss.data.checking.finding import Finding
from keras_wsss.data.checking.looking import look_at_all
from keras_wsss.data.checking.reading import read_contents

CHECKS: tuple[Callable[[Contents], list[Finding]], ...] = (
    faults_of_lists.unreadable_lists,
    faults_of_lists.empty_lists,
    faults_of_lists.overlapping_lists,
    faults_of_lists.repeated_ids,
    faults_of_files.missing_images,
    faults_of_files.broken_files,
    faults_of_files.formats_to_convert,
    faults_of_files.wrong_suffixes,
    faults_of_files.unlisted_images,
    faults_of_files.notes_of_the_reader,
    faults_of_likeness.leakage,
    faults_of_likeness.contradicting_tags,
    faults_of_likeness.duplicates,
    faults_of_likeness.near_duplicates,
    faults_of_tags.missing_tags,
    faults_of_tags.unknown_tags,
    faults_of_tags.several_spellings,
    faults_of_tags.classes_not_trained,
    faults_of_tags.classes_not_validated,
    faults_of_tags.unused_classes,
    faults_of_tags.tags_always_together,
    faults_of_tags.tags_on_every_image,
    faults_of_tags.rare_classes,
    faults_of_tags.imbalance,
    faults_of_pictures.small_images,
    faults_of_pictures.large_images,
    faults_of_pictures.long_images,
    faults_of_pictures.plain_images,
    faults_of_pictures.grey_images,
    faults_of_pictures.turned_images,
    faults_of_pictures.converted_modes,
    faults_of_pictures.animated_images,
    faults_of_masks.missing_masks,
    faults_of_masks.unreadable_masks,
    faults_of_masks.mask_sizes,
    faults_of_masks.unknown_ids,
    faults_of_masks.empty_masks,
    faults_of_masks.ignored_masks,
    faults_of_masks.classes_in_no_mask,
    faults_of_masks.tags_not_in_masks,
    faults_of_masks.masks_not_in_tags,
)
ORDER = ("error", "warning", "info")


@dataclass(frozen=True)
class Report:
    """What a check has found.

    Attributes:
        contents: what was looked at.
        findings: errors first.
    """

    contents: Contents
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> int:
        """Number of findings that are errors or warnings."""
        return sum(each.severity != "info" for each in self.findings)

    @property
    def counts(self) -> dict[str, int]:
        """How many images there are, and what became of their files."""
        items = self.contents.items.values()
        broken = [item.picture.kind for item in items if isinstance(item.picture, Fault)]
        missing = sum(item.path is None for item in items)
        empty = broken.count("empty-file")
        return {
            "images": len(items),
            "found": len(items) - missing - len(broken),
            "missing": missing,
            "empty": empty,
            "corrupt": len(broken) - empty,
        }

    @property
    def line(self) -> str:
        """The counts for people: ``930 images: 926 found, 1 missing, 2 empty, 1 corrupt``."""
        images, *others = self.counts.items()
        return f"{images[1]} images: {', '.join(f'{count} {name}' for name, count in others)}"

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "source": str(self.contents.root),
            "counts": self.counts,
            "findings": [
                {
                    "kind": each.kind,
                    "severity": each.severity,
                    "message": each.message,
                    "images": [item.id for item in each.items],
                    "files": [str(item.path) for item in each.items if item.path],
                }
                for each in self.findings
            ],
        }


def check(data: DataConfig) -> Report:
    """Checks a data set without changing anything.

    Args:
        data: configuration of the kind ``voc``, ``coco`` or ``photos``.

    Returns:
        :class:`Report`.

    Raises:
        ConfigError: the data are of another kind.
        DataError: nothing can be read.

    Example:

    >>> data = wsss.config.DataConfig(kind="voc", root="VOC2012", train_list="train")
    >>> [finding.kind for finding in check(data).findings]
    ['overlapping-lists', 'rare-class', 'small-image']
    """
    contents = look_at_all(read_contents(data))
    findings = [finding for each in CHECKS for finding in each(contents)]
    findings.sort(key=lambda finding: ORDER.index(finding.severity))
    return Report(contents, tuple(findings))
