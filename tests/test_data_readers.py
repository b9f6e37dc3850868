"""Readers of lists, tags and masks, and what they say about bad input."""

import io
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from data_folder import CLASSES, photograph, write_labels, write_list, write_mask, write_voc
from PIL import Image, ImageOps

from keras_wsss import data as data_package
from keras_wsss.config import DataConfig, Reader, Section, digest, load_config
from keras_wsss.data import (
    Split,
    evaluation_dataset,
    explain_errors,
    find_broken,
    load_split,
    training_dataset,
)
from keras_wsss.errors import ConfigError, DataError
from keras_wsss.registry import READERS, register_reader


@pytest.fixture
def folder(tmp_path):
    return write_voc(tmp_path)


def config(root, train_list="train", **settings):
    return DataConfig(kind="voc", root=root, train_list=train_list, crop_size=32, **settings)


def set_labels(folder, **tags):
    entries = json.loads((folder / "labels.json").read_text())["images"]
    entries.update({name: {"labels_from_boxes": found} for name, found in tags.items()})
    write_labels(folder, entries)


def drain(split, folder):
    dataset = training_dataset(split, config(folder), seed=0, steps=3, batch_size=2)
    return list(dataset)


# --- tags and classes -------------------------------------------------------------------------


def test_all_classes(folder):
    split = load_split(config(folder), "train")
    assert split.class_names == CLASSES and len(split) == 6 and split.dropped == {}
    np.testing.assert_array_equal(split.labels, np.tile(np.eye(3, dtype=np.float32), (2, 1)))
    assert split.labels.dtype == np.float32
    assert split.mask_paths is None and split.saliency_paths is None
    assert load_split(config(folder), "val").mask_paths is not None


def test_subset_of_classes_remaps_drops_and_counts(folder):
    set_labels(folder, image_0=[1, 2], image_1=[2])
    split = load_split(config(folder, classes=("horse", "cat")), "val")
    assert split.ids == ("image_0", "image_2", "image_3", "image_5")
    assert split.class_names == ("horse", "cat")
    np.testing.assert_array_equal(split.labels, [[0, 1], [1, 0], [0, 1], [1, 0]])
    assert split.dropped == {
        "images without a tag of data.classes, left out": 2,
        "tags outside data.classes, left out": 1,
    }
    assert set(np.unique(split.mask(0))) == {0, 2, 255}  # cat is 2 now
    assert set(np.unique(split.mask(1))) == {0, 1, 255}  # horse is 1
    cats = load_split(config(folder, classes=("cat",)), "val")
    assert set(np.unique(cats.mask(0))) == {0, 1, 255}
    dogs = np.full((40, 56), 2, np.uint8)  # a class outside the subset is background
    write_mask(folder / "SegmentationClass" / "image_0.png", dogs)
    assert not load_split(config(folder, classes=("cat",)), "val").mask(0).any()


def test_labels_key(folder):
    entries = {f"image_{n}": {"labels": [1], "labels_from_boxes": [1, 3]} for n in range(6)}
    write_labels(folder, entries)
    assert load_split(config(folder), "train").labels[0].tolist() == [1, 0, 1]
    split = load_split(config(folder, labels_key="labels"), "train")
    assert split.labels[0].tolist() == [1, 0, 0]


def test_csv(folder):
    (folder / "labels.json").unlink()
    rows = [f"image_{n},{'cat;horse' if n else 'dog'}" for n in range(6)]
    (folder / "labels.csv").write_text("\n".join(["id,tags", *rows]))
    split = load_split(config(folder, classes=CLASSES), "train")
    np.testing.assert_array_equal(split.labels[:2], [[0, 1, 0], [1, 0, 1]])

    (folder / "labels.csv").rename(folder / "other.csv")
    (folder / "classes.txt").write_text("background\nhorse\ncat\ndog\n")
    split = load_split(config(folder, labels=folder / "other.csv"), "val")
    assert split.class_names == ("horse", "cat", "dog")
    assert split.mask_map[1] == 1  # mask ids are the order of classes.txt


def test_xml(folder):
    (folder / "labels.json").unlink()
    (folder / "Annotations").mkdir()
    for n in range(6):
        names = ["cat", "cat", "person"] if n else ["sheep"]
        objects = "".join(f"<object><name>{name}</name></object>" for name in names)
        text = f"<annotation>{objects}</annotation>"
        (folder / "Annotations" / f"image_{n}.xml").write_text(text)
    split = load_split(config(folder), "train")
    assert len(split.class_names) == 20
    assert [split.class_names[c] for c in np.flatnonzero(split.labels[1])] == ["cat", "person"]
    subset = load_split(config(folder, classes=("cat",)), "train")
    assert len(subset) == 5


def test_photographs(shared):
    classes = ("cat", "cow", "dog", "horse", "sheep")
    data = DataConfig(kind="voc", root=shared / "data", train_list="train_animals5",
                      val_list="val_animals5", classes=classes)  # fmt: skip
    train, val = load_split(data, "train"), load_split(data, "val")
    assert len(train) == 930 and len(val) == 125
    np.testing.assert_array_equal(val.labels.sum(0), [26, 25, 27, 25, 25])
    everything = data.model_copy(update={"classes": None, "train_list": "train"})
    assert len(load_split(everything, "train", require_saliency=True)) == 1660


# --- bad input: one message with the file and the fix -----------------------------------------


def bad_mask(folder, mask):
    write_mask(folder / "SegmentationClass" / "image_1.png", mask)


BAD = {
    "empty list": (lambda f: write_list(f, "val", []), r"val\.txt: the list is empty; write one"),
    "no such list": (
        lambda f: (f / "ImageSets/Segmentation/val.txt").unlink(),
        r"val\.txt: cannot be read .*there are: train\. Set data\.train_list",
    ),
    "id without image": (
        lambda f: (f / "JPEGImages/image_1.jpg").unlink(),
        r"image_1\.\*: is not there; add the file",
    ),
    "zero bytes": (
        lambda f: (f / "JPEGImages/image_1.jpg").write_bytes(b""),
        r"image_1\.jpg: the file is empty \(0 bytes\); replace",
    ),
    "truncated": (
        lambda f: truncate(f / "JPEGImages/image_1.jpg"),
        r"image_1\.jpg: cannot be decoded \(.*\); replace",
    ),
    "no image": (
        lambda f: (f / "JPEGImages/image_1.jpg").write_text("<html>"),
        r"image_1\.jpg: not a JPEG, PNG.*; replace",
    ),
    "mask of another size": (
        lambda f: bad_mask(f, np.zeros((40, 40), np.uint8)),
        r"image_1\.png: is 40x40 pixels, its image .*image_1\.jpg is 55x41; make both",
    ),
    "mask id out of range": (
        lambda f: bad_mask(f, np.full((41, 55), 37, np.uint8)),
        r"image_1\.png: holds the id 37, which is in no class list \(its ids end at 3\); correct",
    ),
    "mask in colours": (
        lambda f: Image.new("RGB", (55, 41)).save(f / "SegmentationClass/image_1.png"),
        r"image_1\.png: is a RGB image; a mask needs one channel",
    ),
    "mask missing": (
        lambda f: (f / "SegmentationClass/image_1.png").unlink(),
        r"image_1\.png: is not there; add the file",
    ),
    "mask broken": (
        lambda f: truncate(f / "SegmentationClass/image_1.png"),
        r"image_1\.png: cannot be decoded",
    ),
    "no tag": (
        lambda f: set_labels(f, image_1=[]),
        r"labels\.json: image image_1 has no tag; add its tags",
    ),
    "not in the table": (
        lambda f: write_labels(f, {}),
        r"labels\.json: image image_0 is not in the table; add",
    ),
    "unknown tag": (
        lambda f: set_labels(f, image_1=[9]),
        r"labels\.json: image image_1 has the tag 9, which is in no class list",
    ),
    "no such key": (
        lambda f: write_labels(f, {"image_0": {"labels": [1]}}),
        r"image_0 has no 'labels_from_boxes' \(it has labels\); set data\.labels_key",
    ),
    "broken table": (
        lambda f: (f / "labels.json").write_text("{"),
        r"labels\.json: not readable as JSON",
    ),
    "no tags at all": (
        lambda f: (f / "labels.json").unlink(),
        r"no image tags; add labels\.json",
    ),
}


def truncate(path):
    path.write_bytes(path.read_bytes()[:-300])


@pytest.mark.parametrize("name", BAD)
def test_bad_input(folder, name):
    damage, message = BAD[name]
    damage(folder)
    with pytest.raises(DataError, match=message) as error:
        load_split(config(folder), "val")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("id,tags\nimage_0,kat\n", r"labels\.csv, line 2, image image_0: the tag 'kat' is in no"),
        ("id,tags\nimage_0,kat\n", r"Did you mean 'cat'\? Correct the tag"),
        ("image_0,cat\n", r"labels\.csv: the first line must name the columns id,tags"),
    ],
)
def test_bad_csv(folder, table, message):
    (folder / "labels.json").unlink()
    (folder / "labels.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        load_split(config(folder), "train")


def test_unknown_class_is_named(folder):
    with pytest.raises(DataError, match=r"'hrose' is no class of .*labels\.json.*mean 'horse'\?"):
        load_split(config(folder, classes=("hrose",)), "train")
    with pytest.raises(DataError, match="no such file; data.labels names"):
        load_split(config(folder, labels=folder / "none.csv"), "train")


def test_damage_behind_the_header_is_explained(folder):
    (folder / "JPEGImages" / "image_1.jpg").unlink()
    path = folder / "JPEGImages" / "image_1.png"
    Image.fromarray(photograph(0)).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255  # looks complete from outside
    path.write_bytes(data)
    split = load_split(config(folder), "train")
    assert [message.split(":")[0] for message in find_broken(split).values()] == [str(path)]
    with (
        pytest.raises(DataError, match=rf"{re.escape(str(path))}: cannot be decoded"),
        explain_errors(split),
    ):
        drain(split, folder)


def test_other_errors_pass_unexplained(folder):
    with (
        pytest.raises(tf.errors.AbortedError),
        explain_errors(load_split(config(folder), "train")),
    ):
        raise tf.errors.AbortedError(None, None, "not about the data")


def test_bytes_behind_the_end_marker_are_no_damage(folder):
    path = folder / "JPEGImages" / "image_1.jpg"
    path.write_bytes(path.read_bytes() + bytes(500))
    split = load_split(config(folder), "train")
    assert find_broken(split) == {}
    drain(split, folder)


def test_all_kinds_of_images_train(folder):
    image = Image.fromarray(photograph(0))
    kinds = {
        "image_0": (image.convert("L"), "jpg"),
        "image_1": (image.convert("CMYK"), "jpg"),
        "image_2": (image.convert("RGBA"), "png"),
        "image_3": (image.quantize(8), "png"),
        "image_4": (Image.fromarray(np.full((30, 30), 40000, np.uint16)), "png"),
        "image_5": (image.resize((1, 1)), "jpg"),
    }
    shutil.rmtree(folder / "JPEGImages")
    shutil.rmtree(folder / "SegmentationClass")
    (folder / "JPEGImages").mkdir()
    for name, (kind, suffix) in kinds.items():
        kind.save(folder / "JPEGImages" / f"{name}.{suffix}")
    split = load_split(config(folder), "train")
    batches = drain(split, folder)
    assert all(np.isfinite(batch["image"]).all() for batch in batches)
    assert load_split(config(folder), "val").mask_paths is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_of_rotated_photographs(folder, orientation):
    stored = Image.fromarray(photograph(0, 40, 56))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    stored.save(buffer, "JPEG", exif=exif)
    (folder / "JPEGImages" / "image_0.jpg").write_bytes(buffer.getvalue())
    mask = np.zeros((40, 56), np.uint8)
    mask[:10, :20] = 1
    marked = Image.fromarray(mask)
    marked.getexif()[0x0112] = orientation
    displayed = np.asarray(ImageOps.exif_transpose(marked))
    assert displayed.shape == ((56, 40) if orientation > 4 else (40, 56))

    path = folder / "SegmentationClass" / "image_0.png"
    write_mask(path, displayed)  # drawn on what an image viewer shows
    split = load_split(config(folder), "val")
    batch = next(iter(evaluation_dataset(split)))
    assert batch["image"].shape[1:3] == batch["mask"].shape[1:3] == displayed.shape
    np.testing.assert_array_equal(batch["mask"][0], displayed)
    if orientation > 4:  # drawn on the pixels as stored: recognised by its size
        write_mask(path, mask)
        np.testing.assert_array_equal(load_split(config(folder), "val").mask(0), displayed)


def test_joined_lists_count_an_image_once(folder):
    images = [f"image_{number}" for number in range(6)]
    write_list(folder, "first", images[:3])
    write_list(folder, "second", images[2:5])
    (folder / "Saliency").mkdir()
    for image in images:
        shutil.copy(folder / "SegmentationClass" / f"{image}.png", folder / "Saliency")
    data = config(folder, train_list="first+second", classes=("dog", "cat"))
    split = load_split(data, "train", require_masks=True, require_saliency=True)
    assert split.name == "first+second"
    # Horses are left out: image_2, of both lists.
    assert split.ids == ("image_0", "image_1", "image_3", "image_4")
    np.testing.assert_array_equal(split.labels, [[0, 1], [1, 0], [0, 1], [1, 0]])
    assert split.dropped == {"images without a tag of data.classes, left out": 2}
    for position, image in enumerate(split.ids):
        for paths in (split.image_paths, split.mask_paths, split.saliency_paths):
            assert f"/{image}." in paths[position]
        tag = int(np.argmax(split.labels[position])) + 1
        assert set(np.unique(split.mask(position))) == {0, tag, 255}
    assert len(load_split(config(folder, train_list="first+first"), "train")) == 3
    with pytest.raises(DataError, match=r"third\.txt"):
        load_split(config(folder, train_list="first+third"), "train")


def test_file_ids_undo_the_mask_map(folder):
    write_labels(folder, {f"image_{n}": {"labels_from_boxes": [n % 3 + 1]} for n in range(6)})
    split = load_split(config(folder, classes=("horse", "cat")), "val")
    ids = split.file_ids()
    assert list(ids[[0, 1, 2, 255]]) == [0, 3, 1, 255]
    np.testing.assert_array_equal(split.mask_map[ids[[0, 1, 2, 255]]], [0, 1, 2, 255])


# --- readers of one's own ---------------------------------------------------------------------


class StripesConfig(Section):
    """The section ``data.stripes``."""

    width: int = 8
    images: int = 4


class StripesDataConfig(DataConfig):
    """The section ``data`` of the reader below."""

    stripes: StripesConfig = StripesConfig()


def read_stripes(data, part, masks=None, saliency=False):
    """Images without files: upright stripes are the class ``stripe``, of the width that is set."""
    settings = data.stripes
    mask = np.zeros((80, 96), np.uint8)
    mask[:, np.arange(96) // settings.width % 2 == 1] = 1

    def read_image(position):
        return np.clip(photograph(int(position), 80, 96) // 2 + 100 * mask[..., None], 0, 255)

    ids = tuple(f"{part}_{number}" for number in range(settings.images))
    files = tuple(f"stripes:{name}" for name in ids)
    return Split(
        name=f"stripes {part}",
        ids=ids,
        class_names=("stripe",),
        labels=np.ones((len(ids), 1), np.float32),
        image_paths=files,
        mask_paths=files if masks is not False else None,
        read_image=read_image,
        read_mask=lambda position: mask,
    )


@pytest.fixture
def stripes():
    """Registers the reader until the end of the test."""
    register_reader("stripes", Reader(read_stripes, StripesDataConfig, needs_root=False))
    yield
    READERS.unregister("stripes")


@pytest.fixture
def stripes_file(stripes, tmp_path):
    path = tmp_path / "stripes.yaml"
    path.write_text("extends: [tscd, shapes]\ndata: {kind: stripes, stripes: {width: 16}}\n")
    return path


def test_a_reader_of_ones_own_has_keys_of_its_own(stripes_file):
    config = load_config(stripes_file, ["data.stripes.images=6"])
    assert isinstance(config.data, StripesDataConfig)
    assert (config.data.stripes.width, config.data.stripes.images) == (16, 6)
    assert config.data.crop_size == 192 and not hasattr(config.data, "shapes")
    train, val = (load_split(config.data, part) for part in ("train", "val"))
    assert train.class_names == ("stripe",) and len(train) == len(val) == 6
    assert train.mask_paths is None and val.mask(0).sum() == 80 * 48
    # What decides about the data decides about the run.
    others = load_config(stripes_file, ["data.stripes.width=4", "data.stripes.images=6"])
    assert digest(config) != digest(others)
    with pytest.raises(ConfigError, match="did you mean data.stripes.width"):
        load_config(stripes_file, ["data.stripes.widht=3"])
    with pytest.raises(ConfigError, match=r"data\.stripes.* belongs to data\.kind stripes"):
        load_config("shapes_tscd", ["data.stripes.width=3"])
    with pytest.raises(ConfigError, match=r"data\.shapes.* belongs to data\.kind shapes"):
        load_config(stripes_file, ["data.shapes.image_size=64"])


def test_a_reader_of_ones_own_trains(stripes_file):
    from keras_wsss.training import dry_run

    config = tiny_config(config=stripes_file)
    assert config.backbone.name == "mit_tiny" and config.data.kind == "stripes"
    report = dry_run(config)
    assert report["parameters"] > 1000 and report["seconds_per_step"] > 0


def test_a_reader_of_ones_own_in_a_notebook(stripes):
    train, val = data_package.load(kind="stripes", masks=True, stripes={"width": 32})
    batch = next(iter(train.batches(crop=32, batch_size=2, masks=True)))
    assert batch["image"].shape == (2, 32, 32, 3) and set(np.unique(batch["mask"])) <= {0, 1, 255}
    assert next(iter(val.batches()))["mask"].shape == (1, 80, 96)
    with pytest.raises(ConfigError, match="stripes.widht"):
        data_package.load(kind="stripes", stripes={"widht": 32})


def test_a_reader_that_needs_a_folder_says_so(stripes_file):
    register_reader("stripes", Reader(read_stripes, StripesDataConfig))
    with pytest.raises(ConfigError, match=r"data\.root: .*the folder of the data set"):
        load_config(stripes_file)
    with pytest.raises(ConfigError, match="data reader voc: is one of the library's"):
        register_reader("voc", Reader(read_stripes))


def test_a_reader_that_is_not_registered_is_not_known(tmp_path):
    (tmp_path / "stripes.yaml").write_text("extends: tscd\ndata: {kind: stripes}\n")
    with pytest.raises(ConfigError, match=r"data\.kind: value 'stripes'; allowed: 'voc', 'coco'"):
        load_config(tmp_path / "stripes.yaml")
