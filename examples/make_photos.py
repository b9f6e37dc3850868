"""Writes generated pictures as four people might have their photographs, for docs/tutorial.md.

    python examples/make_photos.py FOLDER [--images 90] [--size 256]

FOLDER then holds ``folders/`` (one sub-folder a class), ``table/`` (a flat folder and a table as a
spreadsheet exports it), ``coco/`` and ``label-studio/``, and ``new/`` with pictures without tags.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from keras_wsss.data import load


def main():
    """Parses the command line and writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=90)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    shapes = {
        "train_images": options.images,
        "val_images": 6,
        "image_size": options.size,
        "classes": 4,
    }
    train, new = load(kind="shapes", shapes=shapes)
    tagged = [
        (f"IMG_{position:04}.jpg", train.read_image(position), tags_of(train, position))
        for position in range(len(train))
    ]
    write_folders(options.folder / "folders", tagged)
    write_table(options.folder / "table", tagged)
    write_coco(options.folder / "coco", tagged, train.class_names)
    write_label_studio(options.folder / "label-studio", tagged)
    for position in range(len(new)):
        save(options.folder / "new" / f"NEW_{position:04}.jpg", new.read_image(position))


def tags_of(split, position):
    """Names of the classes that an image shows."""
    names = np.array(split.class_names)
    return names[split.labels[position] > 0].tolist()


def save(path, image):
    """Writes an image as a JPEG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(image)).save(path, quality=92)


def write_folders(folder, tagged):
    """A photograph that shows two classes lies in both folders."""
    for name, image, tags in tagged:
        for tag in tags:
            save(folder / tag / name, image)


def write_table(folder, tagged):
    """As a German spreadsheet exports it: semicolons, and Windows' encoding."""
    for name, image, _ in tagged:
        save(folder / "photos" / name, image)
    with (folder / "tags.csv").open("w", newline="", encoding="cp1252") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Filename", "Tags"])
        writer.writerows((name, ", ".join(tags)) for name, _, tags in tagged)


def write_coco(folder, tagged, class_names):
    """COCO's JSON with categories of whole images."""
    for name, image, _ in tagged:
        save(folder / "images" / name, image)
    numbers = {name: number for number, name in enumerate(class_names, start=1)}
    pairs = [(n, tag) for n, (_, _, tags) in enumerate(tagged, start=1) for tag in tags]
    content = {
        "images": [
            {"id": n, "file_name": name, "height": image.shape[0], "width": image.shape[1]}
            for n, (name, image, _) in enumerate(tagged, start=1)
        ],
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
        "annotations": [
            {"id": number, "image_id": image, "category_id": numbers[tag]}
            for number, (image, tag) in enumerate(pairs, start=1)
        ],
    }
    (folder / "coco.json").write_text(json.dumps(content))


def write_label_studio(folder, tagged):
    """An export of Label Studio (JSON) of a project with choices."""
    tasks = []
    for number, (name, image, tags) in enumerate(tagged, start=1):
        save(folder / "images" / name, image)
        choices = {
            "from_name": "tags",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": tags},
        }
        tasks.append(
            {
                "id": number,
                "data": {"image": f"/data/local-files/?d=images/{name}"},
                "annotations": [{"id": number, "result": [choices], "was_cancelled": False}],
            }
        )
    (folder / "label-studio.json").write_text(json.dumps(tasks))


if __name__ == "__main__":
    main()
