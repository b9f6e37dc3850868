"""Label Studio: its JSON, JSON-MIN and CSV exports."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from keras_wsss.class_names import ignored_among, plain
from keras_wsss.data.photos.brushes import Brush
from keras_wsss.data.photos.columns import TAG_COLUMNS
from keras_wsss.data.photos.scan import PHOTO_SUFFIXES, PhotoFiles, examples
from keras_wsss.data.photos.source import Entry, Source, assemble
from keras_wsss.data.text import parse_json, read_xml
from keras_wsss.errors import DataError

# Keys that JSON-MIN and CSV add to the data and the results of a task.
BOOKKEEPING = frozenset(
    "id annotator annotation_id created_at updated_at lead_time agreement sentiment_id".split()
)
CONFIG = "label-config.xml"
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")


@dataclass(frozen=True)
class Annotation:
    """What one annotator says about one image.

    Attributes:
        image: values of the task that may name the image.
        tags: control (``from_name``) -> labels; None: no annotation that counts.
        where: for messages.
        ground_truth: whether it is marked as the truth, before which others do not count.
        brushes: control -> regions that were drawn with its brush.
    """

    image: tuple[str, ...]
    tags: Mapping[str, tuple[str, ...]] | None
    where: str
    ground_truth: bool = False
    brushes: Mapping[str, tuple[Brush, ...]] = field(default_factory=dict)

    def labels(self, controls: Iterable[str]) -> tuple[str, ...]:
        """The tags of some controls."""
        return tuple(tag for name in controls for tag in (self.tags or {}).get(name, ()))

    def mask(self, controls: Sequence[str], tags: Iterable[str]) -> tuple[Brush, ...] | None:
        """The regions of some controls, without those of other tags; None: a tag has none."""
        known = {None, *tags}
        drawn = (each for name in controls for each in self.brushes.get(name, ()))
        regions = tuple(each for each in drawn if each.label in known)
        return regions if known <= {None, *(each.label for each in regions)} else None


def is_label_studio(content: Any) -> bool:
    """Whether a JSON file's content, or the header of a table, is an export of Label Studio."""
    if isinstance(content, list) and content and isinstance(content[0], Mapping):
        keys = content[0].keys()
        if isinstance(content[0].get("data"), Mapping):
            return bool({"annotations", "completions", "predictions"} & keys)
        return "annotation_id" in keys
    return False


def read_label_studio(
    path: Path, content: Sequence[Any], images: Path | None = None, tags_column: str | None = None
) -> Source:
    """Reads choices, and the labels of rectangles, brushes, polygons and the like.

    Skipped annotations do not count. Of several annotators of an image, a tag counts that at least
    half of them gave; an annotation marked as ground truth counts alone. What was drawn with a
    brush is the mask of its photograph (in the JSON export), if every tag has a region; of several
    annotators, that of the first who has drawn them all. Regions of other tags do not count.

    Args:
        path: the export.
        content: its tasks, or its records: rows of a table.
        images: folder of the photographs; None: that of the file.
        tags_column: the control (``name`` in the labelling interface) whose labels are the tags;
            None: all of them.

    Returns:
        :class:`~keras_wsss.data.photos.source.Source`; an annotated image without labels has no
        tag, and where others have masks an empty one; one that nobody annotated is one about which
        nothing is said.

    Raises:
        DataError: the file cannot be read, or names no photograph.

    Example:

    >>> from keras_wsss.data.text import read_json
    >>> path = Path("label-studio/label-studio.json")
    >>> [each.tags for each in read_label_studio(path, read_json(path)).photographs]
    [('cat',), ('cat', 'dog')]
    """
    files = PhotoFiles(images or path.parent)
    annotations = _annotations(path, content)
    chosen = _chosen_controls(path, annotations, tags_column)
    warnings = []
    if len(chosen) > 1:
        warnings.append(
            f"the labels of {' and '.join(chosen)} are taken together; data.tags_column "
            "(--tags-column) chooses one"
        )
    entries: list[Entry] = []
    disputed, redrawn, unmasked = [], [], []
    with_masks = any(each.brushes for each in annotations)
    for name, given in _by_photograph(annotations, files).items():
        counting = _counting(given)
        sets = [each.labels(chosen) for each in counting]
        agreed = _agreed(sets)
        masks = [each.mask(chosen, agreed or ()) for each in counting if with_masks]
        brushes = next((mask for mask in masks if mask is not None), None)
        entries.append(Entry(name, agreed, given[0].where, brushes))
        if any(set(each) != set(sets[0]) for each in sets):
            disputed.append(name)
        if brushes is not None and len(counting) > 1:
            redrawn.append(name)
        if with_masks and counting and brushes is None:
            unmasked.append(name)
    for names, remark in (
        (disputed, "annotators disagree about {}: a tag counts that at least half of them gave"),
        (redrawn, "several annotators drew on {}: the first counts, or the one marked as truth"),
        (unmasked, "a tag has no brush mask on {}: they have no mask"),
    ):
        if names:
            warnings.append(remark.format(f"{len(names)} images ({examples(names)})"))
    return assemble(
        "Label Studio",
        path,
        files,
        entries,
        _numbered(path, images, [tag for entry in entries for tag in entry.tags or ()]),
        called="its images",
        warnings=warnings,
    )


def _numbered(path: Path, images: Path | None, tags: Iterable[str]) -> list[str]:
    """Classes in the order of the interface that ``keras-wsss labels`` has written, then new ones.

    So corrections of a few photographs have the ids of the run whose labels they correct. Without
    that file: in the order of their first mention.
    """
    folders = (path.parent, *((images, images.parent) if images else ()))
    config = next((each / CONFIG for each in folders if (each / CONFIG).is_file()), None)
    listed = [each.get("value", "") for each in read_xml(config).iter("Label")] if config else []
    ignored = ignored_among(listed)
    known = {plain(name): name for name in listed if name and name not in ignored}
    return list({**known, **{plain(tag): known.get(plain(tag), tag) for tag in tags}}.values())


def _annotations(path: Path, content: Sequence[Any]) -> list[Annotation]:
    full = isinstance(content[0].get("data"), Mapping)
    try:
        found = list(_of_tasks(path, content) if full else _of_records(path, content))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not as Label Studio exports it ({type(error).__name__}: {error}); export the "
            "project as JSON"
        ) from error
    if all(each.tags is None for each in found) and any(
        task.get("predictions") for task in content
    ):
        raise DataError(
            f"{path}: holds predictions and no annotation; correct them in Label Studio, and "
            "export the project as JSON"
        )
    drawn = {region.label for each in found for own in each.brushes.values() for region in own}
    ignored = ignored_among(name for name in drawn if name)
    return [_without(each, ignored) for each in found] if ignored else found


def _without(annotation: Annotation, ignored: set[str]) -> Annotation:
    """An annotation whose regions of pixels to be ignored are of no class."""
    return replace(
        annotation,
        tags=annotation.tags
        and {
            name: tuple(tag for tag in own if name not in annotation.brushes or tag not in ignored)
            for name, own in annotation.tags.items()
        },
        brushes={
            name: tuple(
                replace(each, label=None) if each.label in ignored else each for each in own
            )
            for name, own in annotation.brushes.items()
        },
    )


def _chosen_controls(
    path: Path, annotations: Iterable[Annotation], tags_column: str | None
) -> list[str]:
    """The controls whose labels are the tags."""
    controls = list(dict.fromkeys(name for each in annotations for name in each.tags or ()))
    if tags_column and tags_column not in controls:
        raise DataError(
            f"{path}: has no control {tags_column!r}; it has {', '.join(controls)}; change "
            "data.tags_column (--tags-column)"
        )
    return [tags_column] if tags_column else controls


def _by_photograph(
    annotations: Iterable[Annotation], files: PhotoFiles
) -> dict[str, list[Annotation]]:
    find = _finder(files)
    found: dict[str, list[Annotation]] = defaultdict(list)
    written: dict[str, str] = {}
    for annotation in annotations:
        image, name = find(annotation.image)
        if written.setdefault(name, image) != image:
            raise DataError(
                f"{annotation.where}: {image!r} and {written[name]!r} are two images, but there is "
                f"only one photograph {name}; name the files as Label Studio does"
            )
        found[name].append(annotation)
    return found


def _counting(given: Sequence[Annotation]) -> list[Annotation]:
    """The annotations of an image that count."""
    done = [each for each in given if each.tags is not None]
    return [each for each in done if each.ground_truth] or done


def _agreed(sets: Sequence[tuple[str, ...]]) -> tuple[str, ...] | None:
    votes = Counter(tag for tags in sets for tag in dict.fromkeys(tags))
    return tuple(tag for tag, count in votes.items() if 2 * count >= len(sets)) if sets else None


def _of_tasks(path: Path, tasks: Sequence[Any]) -> Iterable[Annotation]:
    """Annotations of the JSON export; tasks of versions before 1.0 call them completions."""
    for task in tasks:
        where = f"{path}, task {task.get('id')}"
        image = tuple(value for value in task["data"].values() if isinstance(value, str))
        image += tuple(filter(None, [task.get("file_upload")]))
        given = task.get("annotations", task.get("completions")) or ()
        counting = [
            each for each in given if not each.get("was_cancelled") and not each.get("skipped")
        ]
        for annotation in counting:
            tags: dict[str, tuple[str, ...]] = {}
            brushes: dict[str, tuple[Brush, ...]] = {}
            for result in annotation["result"]:
                name = str(result.get("from_name", "labels"))
                found = _labels(result.get("value", {}))
                tags[name] = (*tags.get(name, ()), *found)
                if found and result["value"].get("format") == "rle":
                    brushes[name] = (*brushes.get(name, ()), _brush(result, found[0], where))
            named = {name: own for name, own in tags.items() if own}
            truth = bool(annotation.get("ground_truth"))
            yield Annotation(image, named, where, truth, brushes)
        if not counting:
            yield Annotation(image, None, where)


def _brush(result: Mapping[str, Any], label: str, where: str) -> Brush:
    if result.get("image_rotation"):
        raise DataError(
            f"{where}: was drawn on a photograph that was turned in Label Studio; turn it back "
            "there and export again"
        )
    size = int(result["original_width"]), int(result["original_height"])
    return Brush(label, size, tuple(result["value"]["rle"]), where)


def _labels(value: Any) -> tuple[str, ...]:
    """Labels of one result: ``choices``, ``rectanglelabels``, ``brushlabels``, ``taxonomy`` ..."""
    found: list[str] = []
    for key, content in value.items() if isinstance(value, Mapping) else ():
        if key == "choices" or key.endswith("labels"):
            found += [content] if isinstance(content, str) else map(str, content)
        elif key == "taxonomy":  # a list of paths through the tree
            found += [str(way[-1] if isinstance(way, list) else way) for way in content]
    return tuple(found)


def _of_records(path: Path, records: Sequence[Mapping[str, Any]]) -> Iterable[Annotation]:
    """Annotations of JSON-MIN and CSV, a record for each: data and results side by side."""
    parsed = [{name: _parsed(cell) for name, cell in record.items()} for record in records]
    columns = dict.fromkeys(name for record in parsed for name in record)
    controls = []
    for name in columns:
        values = [record[name] for record in parsed if record.get(name) not in (None, "")]
        structured = any(isinstance(value, list | Mapping) for value in values)
        if name not in BOOKKEEPING and (structured or name.casefold() in TAG_COLUMNS | {"choice"}):
            controls.append(name)
    if not controls:
        rest = [n for n in columns if n not in BOOKKEEPING and not _may_be_image(n, parsed)]
        if len(rest) != 1:
            raise DataError(
                f"{path}: cannot tell which of {', '.join(columns)} holds the tags; export the "
                "project as JSON"
            )
        controls = rest
    for record in parsed:
        data = {n: v for n, v in record.items() if n not in {*controls, *BOOKKEEPING}}
        image = tuple(value for value in data.values() if isinstance(value, str))
        tags = {}
        for name in controls:
            value = record.get(name)
            several = value if isinstance(value, list) else [value]
            found = [
                text
                for each in several
                for text in ([each] if isinstance(each, str) else _labels(each))
            ]
            if any(found):
                tags[name] = tuple(text for text in found if text)
        yield Annotation(image, tags, f"{path}, annotation {record.get('annotation_id')}")


def _parsed(cell: Any) -> Any:
    """CSV has results as JSON in a cell."""
    if isinstance(cell, str) and cell[:1] in ("[", "{"):
        try:
            return parse_json(cell, "cell")
        except DataError:
            return cell
    return cell


def _may_be_image(name: str, records: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        isinstance(r.get(name), str) and r[name].lower().endswith(PHOTO_SUFFIXES) for r in records
    )


def _finder(files: PhotoFiles) -> Callable[[tuple[str, ...]], tuple[str, str]]:
    """A function from the values of a task to the one that is its image, and the name meant by it.

    Uploaded files have eight digits before their name, and blanks in it have become ``_``.
    """
    uploaded = {
        re.sub(r"[^-\w.]", "", path.name.strip().replace(" ", "_")): files.relative(path)
        for path in files.paths
    }

    def forms(value: str) -> list[str]:
        address = urlsplit(value)
        name = value
        if local := parse_qs(address.query).get("d", []):
            name = local[0]
        elif address.scheme or value.startswith("/data/"):
            name = unquote(address.path)
        last = name.replace("\\", "/").split("/")[-1]
        short = UPLOAD_PREFIX.sub("", last)
        return [name, last, short, uploaded.get(short, short)]

    def find(values: tuple[str, ...]) -> tuple[str, str]:
        ranked = sorted(values, key=lambda v: not urlsplit(v).path.lower().endswith(PHOTO_SUFFIXES))
        for value in ranked:
            for name in forms(value):
                if name and files.called(name):
                    return value, name
        value = (ranked or ("a task without an image",))[0]
        return value, value

    return find
