"""``keras-wsss import``: people's photographs with tags become a data set."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections import Counter
from pathlib import Path
from typing import Any, get_args

from keras_wsss._command import bounded, show
from keras_wsss.config.data import PhotosFormat, Untagged

HELP = "make a data set of tagged photographs (folders, table, COCO, Label Studio, CVAT, VOC, YOLO)"
EXAMPLES = """\
  keras-wsss import photos/ -o my_set                 # photos/cat/1.jpg: one folder a class
  keras-wsss import tags.csv -o my_set                # columns id,tags; or one column a class
  keras-wsss import tags.xlsx --images photos/ -o my_set --untagged negative
  keras-wsss import coco.json -o my_set
  keras-wsss import label-studio.json --images photos/ -o my_set
  keras-wsss import cvat_task/ -o my_set              # annotations.xml, or masks with labelmap.txt
"""
MOST_SHOWN = 5


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("source", type=Path, help="file with the tags, or folder")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    add_tag_arguments(parser)
    parser.add_argument(
        "--val-fraction",
        type=bounded(0, 0.9, float),
        default=0.15,
        help="photographs that are for validation (default: 0.15)",
    )
    parser.add_argument("--seed", type=bounded(0), default=0, help="of the division (default: 0)")
    parser.add_argument("--link", action="store_true", help="hard links in place of copies")
    parser.add_argument("--overwrite", action="store_true", help="replace an unedited output")


def add_tag_arguments(parser: ArgumentParser) -> None:
    """Adds what says how the tags of a source are to be understood."""
    parser.add_argument("--images", type=Path, help="folder of the photographs, if elsewhere")
    parser.add_argument("--format", choices=get_args(PhotosFormat), help="kind of the source")
    parser.add_argument(
        "--tags-column", help="column (control of Label Studio) that holds the tags"
    )
    parser.add_argument(
        "--follow-links", action="store_true", help="take files that are links to others elsewhere"
    )
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="classes wanted (default: all)"
    )
    parser.add_argument(
        "--untagged",
        choices=get_args(Untagged),
        default="error",
        help="what photographs without a tag are (default: error)",
    )
    parser.add_argument(
        "--negative", nargs="+", metavar="TAG", default=(), help="tags that mean 'nothing', as ok"
    )


def run(options: Namespace) -> int:
    """Imports, and says what was imported; returns the exit status."""
    from keras_wsss.data.photos.importing import import_photos

    summary = import_photos(
        options.source,
        options.output,
        images=options.images,
        format=options.format,
        tags_column=options.tags_column,
        classes=options.classes,
        untagged=options.untagged,
        negative=options.negative,
        val_fraction=options.val_fraction,
        seed=options.seed,
        link=options.link,
        follow_links=options.follow_links,
        overwrite=options.overwrite,
    )
    show(options, summary, [described(summary)])
    return int(any(not each["asked"] for each in summary["dropped"]))


def described(summary: dict[str, Any]) -> str:
    """The summary of an import, for people."""
    classes = summary["classes"]
    width = max(map(len, (*classes, "photographs")))
    rows = {"photographs": summary} | classes
    if summary["negatives"]["images"]:
        rows["(negatives)"] = summary["negatives"]
    lines = [f"{summary['source']}: {summary['kind']}"]
    if summary["taken"]:
        lines.append(summary["taken"])
    lines.append("")
    lines.append(f"{'':{width}}  {'all':>6} {'train':>6} {'val':>6}")
    for name, row in rows.items():
        lines.append(f"{name:{width}}  {row['images']:6} {row['train']:6} {row['val']:6}")
    for key, meaning in (("converted", "converted to JPEG or PNG"), ("masks", "with a mask")):
        if summary[key]:
            lines.append(f"{summary[key]} photographs {meaning}")
    if summary["dropped"]:
        lines += ["", f"left out: {len(summary['dropped'])}"]
        reasons = Counter(each["reason"].partition(" (")[0] for each in summary["dropped"])
        for reason, count in reasons.most_common():
            names = [e["name"] for e in summary["dropped"] if e["reason"].startswith(reason)]
            more = " ..." if len(names) > MOST_SHOWN else ""
            lines.append(f"  {count} {reason}: {', '.join(names[:MOST_SHOWN])}{more}")
    if summary["warnings"]:
        lines += ["", *(f"warning: {text}" for text in summary["warnings"])]
    output = summary["output"]
    masks = "masks, " if summary["masks"] else ""
    # Masks of all photographs are what somebody has drawn to train on.
    config = "photos_supervised" if summary["masks"] == summary["images"] else "photos"
    unwatched = "" if summary["val"] else " --set data.val_list=null"
    lines += [
        "",
        f"written: {output}/ (photos, {masks}tags.csv, classes.txt, train.txt, val.txt, "
        "import.json)",
        f"look at: {output}/sheet.jpg",
        f"next:    keras-wsss train --config {config} --set data.root={output}{unwatched}",
    ]
    return "\n".join(lines)
