"""Faults of tags: missing, misspelled, too few, or such as no method can learn from."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

from keras_wsss.data.checking.contents import Contents, Item
from keras_wsss.data.checking.finding import Finding, found
from keras_wsss.data.photos.labels import FEW
from keras_wsss.data.photos.scan import examples
from keras_wsss.registry import closest, did_you_mean

MOST_TIMES = 20  # images of the largest class for one of the smallest
LONG_WORD = 6  # letters; two words of that length that differ in one are hardly two classes


def missing_tags(contents: Contents) -> list[Finding]:
    """Images without a tag that are no negatives."""
    fix = "add their tags"
    if contents.kind == "photos":
        fix += ", or say that nothing is on them (--untagged negative, data.untagged)"
    items = [item for item in contents.present if item.tags is None]
    return found("missing-tag", "error", "images without a tag", items, fix)


def unknown_tags(contents: Contents) -> list[Finding]:
    """Tags that are in no class list."""
    findings = []
    for tag, where in contents.unknown.items():
        items = [item for item in contents.present if tag in (item.tags or ())]
        hint = did_you_mean(closest(tag, contents.classes))
        findings += found(
            "unknown-tag",
            "error",
            f"images with the tag {tag!r} ({where}), which is in no class list{hint}",
            items,
            "correct the tag, or add the class to the list",
        )
    return findings


def several_spellings(contents: Contents) -> list[Finding]:
    """Classes written in several ways: other case and blanks, which are taken for one, or a slip
    of one letter, which are not."""
    findings = []
    for name, spellings in contents.spellings.items():
        written = " and ".join(map(repr, spellings))
        message = f"{written} are taken for one class, {name!r}; write it in one way"
        findings.append(Finding("several-spellings", "warning", message))
    counts = _counts(contents)
    for rare, name in misspelled(contents).items():
        findings += found(
            "several-spellings",
            "warning",
            f"images with the tag {rare!r}, which is probably {name!r} ({counts[name]} images)",
            contents.holders(contents.present)[rare],
            "write one class in one way",
        )
    return findings


def misspelled(contents: Contents) -> dict[str, str]:
    """Classes that are probably another one -> that one."""
    counts = _counts(contents)
    used = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])
    wrong: dict[str, str] = {}
    for number, name in enumerate(used):
        for other in used[:number]:
            sure = counts[name] < FEW or min(len(name), len(other)) >= LONG_WORD
            plain = _letters(name), _letters(other)
            plural = plain[0] in (f"{plain[1]}s", plain[1]) or plain[1] == f"{plain[0]}s"
            if other not in wrong and (plural or sure and _one_slip(*plain)):
                wrong[name] = other
                break
    return wrong


def rare_classes(contents: Contents) -> list[Finding]:
    """Classes with few images to learn from."""
    holders = contents.holders(contents.trained)
    rare = [name for name in _judged(contents) if 0 < len(holders[name]) < FEW]
    named = ", ".join(f"{name} {len(holders[name])}" for name in rare)
    images = {item.id: item for name in rare for item in holders[name]}
    what = f"images of classes with fewer than {FEW} to train on, {named}"
    return found("rare-class", "warning", what, images.values(), "add some, or drop the class")


def classes_not_trained(contents: Contents) -> list[Finding]:
    """Classes of the validation that no training image has."""
    trained = contents.holders(contents.trained)
    findings = []
    for name, items in contents.holders(contents.validated).items():
        if not trained[name]:
            findings += found(
                "class-not-trained",
                "error",
                f"validation images with the tag {name!r}, which no training image has",
                items,
                "add training images of it, or drop the class",
                left_out=(),
            )
    return findings


def classes_not_validated(contents: Contents) -> list[Finding]:
    """Classes of the training that no validation image has."""
    if not contents.validated:
        return []
    trained, scored = (contents.holders(i) for i in (contents.trained, contents.validated))
    names = [n for n in _judged(contents) if len(trained[n]) >= FEW and not scored[n]]
    if not names:
        return []
    message = f"classes without a validation image, which get no score: {', '.join(names)}"
    return [Finding("class-not-validated", "warning", f"{message}; add some to the list")]


def unused_classes(contents: Contents) -> list[Finding]:
    """Classes of the list that no image has."""
    counts = _counts(contents)
    names = [name for name in contents.classes if not counts[name]]
    if not names or not contents.present or contents.faults:
        return []
    message = f"classes that no image has: {examples(names)}"
    fix = "add images, or take them out of the class list (data.classes)"
    return [Finding("unused-class", "warning", f"{message}; {fix}")]


def tags_always_together(contents: Contents) -> list[Finding]:
    """Classes of the same images, which no method can tell apart."""
    of_images: dict[frozenset[str], list[str]] = defaultdict(list)
    holders = contents.holders(contents.trained)
    for name, items in holders.items():
        if 1 < len(items) < len(contents.trained):
            of_images[frozenset(item.id for item in items)].append(name)
    findings = []
    for names in of_images.values():
        if len(names) > 1:
            findings += found(
                "always-together",
                "warning",
                f"images with the tags {' and '.join(names)}, which never occur one without the "
                "other, so that no method can separate them",
                holders[names[0]],
                "add images with one of them alone, or make them one class",
            )
    return findings


def tags_on_every_image(contents: Contents) -> list[Finding]:
    """Classes that there is nothing to compare with."""
    every = len(contents.trained)
    names = [n for n, items in contents.holders(contents.trained).items() if len(items) == every]
    if not names or not every:
        return []
    if len(contents.classes) == 1:
        message = f"{names[0]!r} is the only class and on all {every} training images"
        kind, fix = "no-negatives", "add photographs without it, as negatives (--untagged negative)"
    else:
        message = f"all {every} training images have the tag {' and '.join(map(repr, names))}"
        kind, fix = "tag-on-every-image", "add some that lack it, or drop the class"
    reason = "no method learns a class without images that lack it"
    return [Finding(kind, "warning", f"{message}: {reason}; {fix}")]


def imbalance(contents: Contents) -> list[Finding]:
    """Classes with far fewer images than others."""
    holders = contents.holders(contents.trained)
    counts = {n: len(holders[n]) for n in _judged(contents) if len(holders[n]) >= FEW}
    if not counts or max(counts.values()) <= MOST_TIMES * min(counts.values()):
        return []
    largest = max(counts, key=lambda name: counts[name])
    small = [n for n, count in counts.items() if counts[largest] > MOST_TIMES * count]
    named = ", ".join(f"{name} ({counts[name]})" for name in small)
    message = (
        f"more than {MOST_TIMES} times as many training images of {largest} ({counts[largest]}) "
        f"as of {named}; add images of the small classes, or leave out some of the large one"
    )
    return [Finding("imbalance", "warning", message)]


def _counts(contents: Contents) -> Counter[str]:
    tagged: dict[str, list[Item]] = contents.holders(contents.present)
    return Counter({name: len(items) for name, items in tagged.items()})


def _judged(contents: Contents) -> list[str]:
    """Classes whose numbers mean something: those that are probably no slip."""
    slips = misspelled(contents)
    return [name for name in contents.classes if name not in slips]


def _letters(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold())


def _one_slip(one: str, other: str) -> bool:
    """Whether a letter was added, left out or replaced, or two were exchanged."""
    if re.findall(r"\d+", one) != re.findall(r"\d+", other):
        return False  # class1 and class2 are two
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return max(len(one), len(other)) <= 1 or (len(one) == 2 and one == other[::-1])
