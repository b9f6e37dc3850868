"""Faults of lists: not there, empty, overlapping."""

from __future__ import annotations

from collections import Counter

from keras_wsss.data.checking.contents import Contents
from keras_wsss.data.checking.finding import Finding, found


def unreadable_lists(contents: Contents) -> list[Finding]:
    """Lists that are not there or cannot be read, and tags likewise."""
    faults = [each.fault for each in contents.lists if each.fault]
    return [Finding(fault.kind, "error", fault.reason) for fault in (*faults, *contents.faults)]


def empty_lists(contents: Contents) -> list[Finding]:
    """Lists without a line."""
    return [
        Finding("empty-list", "error", f"{each.path}: the list is empty; write one id a line")
        for each in contents.lists
        if not each.ids and not each.fault
    ]


def repeated_ids(contents: Contents) -> list[Finding]:
    """Ids that a list names more than once."""
    findings = []
    for each in contents.lists:
        repeated = [name for name, count in Counter(each.ids).items() if count > 1]
        findings += found(
            "repeated-id",
            "warning",
            f"ids that {each.path} names more than once",
            [contents.items[name] for name in repeated],
            "write each once",
        )
    return findings


def overlapping_lists(contents: Contents) -> list[Finding]:
    """Images that are trained on and scored."""
    ids = contents.ids("train") & contents.ids("val")
    both = [name for name in contents.items if name in ids]
    return found(
        "overlapping-lists",
        "error",
        "images that stand in the training list and in the validation list",
        [contents.items[name] for name in both],
        "take them out of one of the two: a score on what was trained on says nothing",
        left_out=(),  # a cleaned training list lacks what the validation list has
    )
