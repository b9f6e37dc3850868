"""Labels for annotation tools, read back by the tools' own readers."""

import csv
import json
import os
import xml.etree.ElementTree as ElementTree
import zipfile
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
import supervision
import yaml
from label_studio_sdk.converter.brush import decode_rle
from label_studio_sdk.label_interface import LabelInterface
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import keras_wsss
from keras_wsss.config.data import VOC
from keras_wsss.data import load_split
from keras_wsss.errors import ConfigError, DataError
from keras_wsss.inference.label_formats import LabelFormat, LabelledPhoto, write_labels
from keras_wsss.inference.label_formats.base import hex_colour, place
from keras_wsss.inference.label_formats.coco import compressed_rle
from keras_wsss.inference.label_formats.label_studio import brush_rle
from keras_wsss.inference.label_formats.outlines import outlines
from keras_wsss.palette import voc_palette
from keras_wsss.registry import LABEL_FORMATS

CLASSES = ("cat", "große Kuh", "zebra & co")
TURNED = "gedreht"  # id of the photograph that stands on its side in the file


def shapes():
    """Labels with all that formats get wrong: id -> label."""
    rng = np.random.default_rng(3)
    holes = np.zeros((24, 31), np.uint8)
    holes[2:20, 3:28] = 1
    holes[5:8, 6:9] = 0  # two holes side by side, one with an island, one with another class
    holes[5:14, 12:24] = 0
    holes[8:11, 15:19] = 1
    holes[16:18, 5:9] = 3
    dots = np.zeros((9, 7), np.uint8)
    dots[4, 3] = dots[5, 4] = 2  # single pixels that touch at a corner
    dots[0, 0] = dots[8, 6] = 1
    border = np.full((12, 10), 3, np.uint8)
    border[3:9, 2:8] = 0
    border[11, 9] = 1
    unknown = rng.integers(0, 4, (16, 21)).astype(np.uint8)
    unknown[unknown == 0] = 255
    unknown[:4] = 0
    turned = np.zeros((30, 18), np.uint8)  # as displayed, upright
    turned[1:6, 2:5] = 2
    return {
        "holes": holes,
        "ein Bild/Kühe.1": dots,
        "border": border,
        "empty": np.zeros((5, 8), np.uint8),
        "unknown": unknown,
        TURNED: turned,
    }


def save_photo(path, label, orientation=1):
    """A photograph whose pixels show the label's classes, stored so that it is displayed so."""
    shown = Image.fromarray(voc_palette()[label])
    if orientation == 6:  # displayed after a quarter turn clockwise
        shown = shown.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown.save(path, quality=95, exif=exif)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    made = []
    for number, (name, label) in enumerate(shapes().items()):
        path = folder / f"photo {number}.JPG"
        save_photo(path, label, 6 if name == TURNED else 1)
        made.append(LabelledPhoto(name, path, label, number / 10))
    return made


@pytest.fixture
def written(photos, tmp_path):
    """Function of a format to the folder with all labels in it."""

    def write(label_format, these=photos):
        write_labels(these, CLASSES, label_format, tmp_path / label_format)
        return tmp_path / label_format

    return write


def order(folder):
    with (folder / "order.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def by_file(folder, these):
    """Name of the photograph's file without suffix -> its label."""
    labels = {photo.id: photo.label for photo in these}
    return {row["file"].rpartition(".")[0]: labels[row["id"]] for row in order(folder)}


def without_unknown(label):
    return np.where(label == 255, 0, label)


def painted(found, label, ids):
    """The masks of supervision's detections as one label; none may lie on another."""
    read = np.zeros_like(label)
    if len(found):
        for mask, number in zip(found.mask, found.class_id, strict=True):
            assert not read[np.asarray(mask, bool)].any()
            read[np.asarray(mask, bool)] = ids[number]
    return read


# ---- what all formats share ------------------------------------------------------------------


@pytest.mark.parametrize("label_format", LABEL_FORMATS)
def test_the_most_uncertain_comes_first_and_every_file_is_named_once(written, photos, label_format):
    folder = written(label_format)
    rows = order(folder)
    assert [row["id"] for row in rows] == [photo.id for photo in reversed(photos)]
    assert [row["rank"] for row in rows] == [str(n) for n in range(1, 7)]
    assert rows[0]["uncertainty"] == "0.5000"
    files = [row["file"] for row in rows]
    assert files[4] == "ein_Bild_Kühe.1.jpg" and len(set(files)) == 6
    manifest = json.loads((folder / "label_manifest.json").read_text("utf-8"))
    assert manifest["images"] == 6 and manifest["format"] == label_format
    assert manifest["images_with"] == {
        "cat": 4,
        "große Kuh": 3,
        "zebra & co": 3,
        "unknown": 1,
    }
    assert not list(folder.parent.glob(".partial*"))
    assert "{folder}" in LABEL_FORMATS[label_format].next_step


@pytest.mark.parametrize("label_format", sorted(set(LABEL_FORMATS) - {"png"}))
def test_photographs_lie_beside_their_labels_and_take_no_space(written, photos, label_format):
    folder = written(label_format)
    images = folder / ("JPEGImages" if label_format == "voc" else "images")
    paths = {photo.id: photo.path for photo in photos}
    for row in order(folder):
        assert os.path.samefile(images / row["file"], paths[row["id"]])


def test_names_that_differ_in_case_or_signs_only_stay_apart(photos, tmp_path):
    label = photos[0].label
    ids = ("a b", "a/b", "A?B", "../..", "a_b_2")
    same = [LabelledPhoto(name, photos[0].path, label) for name in ids]
    write_labels(same, CLASSES, "png", tmp_path / "out")
    files = [row["file"].removesuffix(".jpg") for row in order(tmp_path / "out")]
    assert files == ["a_b", "a_b_2", "A_B_3", "_..", "a_b_2_2"]
    assert {file.stem for file in (tmp_path / "out" / "masks").iterdir()} == set(files)


def test_limit_keeps_the_most_uncertain(photos, tmp_path):
    written = write_labels(photos, CLASSES, "png", tmp_path / "out", limit=1)
    assert [row["id"] for row in order(tmp_path / "out")] == [TURNED]
    assert len(list((tmp_path / "out" / "masks").iterdir())) == written["images"] == 1
    assert written["images_with"] == {"cat": 0, "große Kuh": 1, "zebra & co": 0}


def test_a_folder_is_replaced_only_when_asked_for_and_only_if_it_is_ours(photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()  # an empty folder is no obstacle
    write_labels(photos[:1], CLASSES, "png", out)
    with pytest.raises(ConfigError, match="--overwrite"):
        write_labels(photos, CLASSES, "voc", out)
    assert not (out / "JPEGImages").exists()
    write_labels(photos, CLASSES, "voc", out, overwrite=True)
    assert (out / "JPEGImages").is_dir() and not (out / "masks").exists()
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="not written by this command"):
        write_labels(photos, CLASSES, "voc", other, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "mine"}


def test_a_failure_leaves_what_was_there(photos, tmp_path):
    out = tmp_path / "out"
    write_labels(photos[:1], CLASSES, "png", out)
    before = sorted(out.rglob("*"))

    def failing():
        yield photos[0]
        yield LabelledPhoto("gone", tmp_path / "gone.jpg", photos[0].label)

    with pytest.raises(DataError, match="gone.jpg"):
        write_labels(failing(), CLASSES, "coco", out, overwrite=True)
    assert sorted(out.rglob("*")) == before and list(tmp_path.iterdir()) == [out]


def test_what_has_come_there_in_the_meantime_stays(photos, tmp_path):
    def meanwhile():
        yield photos[0]
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.txt").write_text("years of work")

    with pytest.raises(ConfigError, match="not written by this command"):
        write_labels(meanwhile(), CLASSES, "coco", tmp_path / "out", overwrite=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_a_label_in_another_orientation_than_tools_show_is_refused(photos, tmp_path):
    turned = photos[5]
    lying = LabelledPhoto("lying", turned.path, turned.label.T.copy())
    with pytest.raises(DataError, match="tools show it as 18x30 pixels, its label is 30x18"):
        write_labels([lying], CLASSES, "coco", tmp_path / "out")


@pytest.mark.parametrize(
    ("label_format", "name"), [("cvat", "cat: big"), ("cvat", "#cat"), ("voc", "cat; big")]
)
def test_names_that_a_file_cannot_hold_are_refused_before_any_work(label_format, name, tmp_path):
    def laborious():
        raise AssertionError("asked for")
        yield

    with pytest.raises(DataError, match=f"'{name}'.*another format"):
        write_labels(laborious(), (name, "b", "c"), label_format, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_format_of_ones_own(photos, tmp_path):
    def write(photos, class_names, folder):
        (folder / "areas.txt").write_text("".join(f"{p.label.sum()}\n" for p in photos))

    try:
        keras_wsss.register_label_format("areas", LabelFormat(write, "Read {folder}/areas.txt"))
        write_labels(photos[:2], CLASSES, "areas", tmp_path / "out")
        sums = [int(photo.label.sum()) for photo in photos[1::-1]]
        assert (tmp_path / "out" / "areas.txt").read_text() == f"{sums[0]}\n{sums[1]}\n"
    finally:
        LABEL_FORMATS.unregister("areas")


# ---- png, voc --------------------------------------------------------------------------------


def test_png_keeps_every_id(written, photos):
    folder = written("png")
    for name, label in by_file(folder, photos).items():
        with Image.open(folder / "masks" / f"{name}.png") as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.array(image), label)
            np.testing.assert_array_equal(np.array(image.convert("RGB")), voc_palette()[label])
    assert (folder / "classes.txt").read_text("utf-8").splitlines() == list(CLASSES)


def test_voc_is_read_by_our_own_reader(written, photos):
    tagged = [photo for photo in photos if photo.id != "empty"]  # which has no tag to train on
    folder = written("voc", tagged)
    data = VOC.section(kind="voc", root=folder, train_list="train", val_list="train")
    split = load_split(data, "train", require_masks=True)
    assert split.class_names == CLASSES
    names = by_file(folder, tagged)
    assert split.ids == tuple(names)
    for position, (name, label) in enumerate(names.items()):
        np.testing.assert_array_equal(split.mask(position), label, name)
        present = set(np.unique(label)) - {0, 255}
        assert set(np.flatnonzero(split.labels[position]) + 1) == present
    shown = split.batches()
    for position, batch in enumerate(shown):
        assert batch["image"].shape[1:3] == split.mask(position).shape


# ---- COCO ------------------------------------------------------------------------------------


@pytest.mark.parametrize("label_format", ["coco", "coco-polygons"])
def test_coco_is_read_by_pycocotools(written, photos, label_format):
    folder = written(label_format)
    coco = COCO(folder / "annotations" / "instances_default.json")
    assert sorted(coco.imgs) == [1, 2, 3, 4, 5, 6]
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))
    names = {category["id"]: category["name"] for category in coco.cats.values()}
    assert names == {1: "cat", 2: "große Kuh", 3: "zebra & co", 255: "unknown"}
    for image_id, (name, label) in enumerate(by_file(folder, photos).items(), start=1):
        image = coco.imgs[image_id]
        assert image["file_name"] == f"{name}.jpg"
        with Image.open(folder / "images" / image["file_name"]) as photo:
            assert ImageOps.exif_transpose(photo).size == (image["width"], image["height"])
        read = np.zeros_like(label)
        annotations = coco.imgToAnns[image_id]
        for annotation in annotations:
            mask = coco.annToMask(annotation).astype(bool)
            assert not read[mask].any()
            read[mask] = annotation["category_id"]
            assert annotation["area"] == mask.sum()
            rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            assert annotation["bbox"] == coco_mask.toBbox(rle).tolist()
            assert annotation["iscrowd"] == (label_format == "coco")
        np.testing.assert_array_equal(read, label, name)
        if label_format == "coco":
            assert len(annotations) == len(set(np.unique(label)) - {0})


def test_coco_is_read_by_supervision(written, photos):
    # Which does not turn photographs.
    upright = [photo for photo in photos if photo.id != TURNED]
    folder = written("coco", upright)
    data = supervision.DetectionDataset.from_coco(
        str(folder / "images"), str(folder / "annotations" / "instances_default.json")
    )
    assert data.classes == [*CLASSES, "unknown"] and len(data) == len(upright)
    names = by_file(folder, upright)
    for path, _, found in data:
        label = names[os.path.basename(path).removesuffix(".jpg")]
        np.testing.assert_array_equal(painted(found, label, (1, 2, 3, 255)), label, path)


def test_compressed_rle_is_that_of_pycocotools():
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(1, 40, 2)
        region = rng.random((height, width)) < rng.random()
        theirs = coco_mask.encode(np.asfortranarray(region.astype(np.uint8)))["counts"]
        assert compressed_rle(region) == theirs.decode()
    large = np.zeros((700, 900), bool)
    large[300:, 400:] = True
    theirs = coco_mask.encode(np.asfortranarray(large.astype(np.uint8)))["counts"]
    assert compressed_rle(large) == theirs.decode()


# ---- Label Studio ----------------------------------------------------------------------------


def test_label_studio_accepts_configuration_and_predictions(written, photos):
    folder = written("label-studio")
    interface = LabelInterface((folder / "label-config.xml").read_text("utf-8"))
    interface.validate()
    tasks = json.loads((folder / "tasks.json").read_text("utf-8"))
    assert [task["data"]["id"] for task in tasks] == [photo.id for photo in reversed(photos)]
    numbers = {**{name: n for n, name in enumerate(CLASSES, 1)}, "unknown": 255}
    for task, (name, label) in zip(tasks, by_file(folder, photos).items(), strict=True):
        assert interface.validate_task({"data": task["data"]})
        prefix, _, relative = task["data"]["image"].partition("?d=")
        assert prefix == "/data/local-files/" and (folder / unquote(relative)).is_file()
        assert relative.isascii()
        (prediction,) = task["predictions"]
        assert interface.validate_prediction(prediction, return_errors=True) == []
        assert prediction["score"] == pytest.approx(1 - task["data"]["uncertainty"])
        read = np.zeros_like(label)
        for region in prediction["result"]:
            assert region["from_name"] == "label" and region["to_name"] == "image"
            size = region["original_height"], region["original_width"]
            assert size == label.shape and region["image_rotation"] == 0
            (class_name,) = region["value"]["brushlabels"]
            pixels = decode_rle(region["value"]["rle"]).reshape(*size, 4)
            assert set(np.unique(pixels)) <= {0, 255}
            read[pixels[..., 3] == 255] = numbers[class_name]
        np.testing.assert_array_equal(read, label, name)


def test_label_studio_shows_the_colours_of_the_masks(written, photos):
    config = (written("label-studio", photos[:1]) / "label-config.xml").read_text("utf-8")
    labels = {
        item.get("value"): item.get("background") for item in ElementTree.fromstring(config)[1]
    }
    assert labels == {name: hex_colour(n) for n, name in enumerate(CLASSES, 1)}
    assert labels["cat"] == "#800000"


def test_brush_rle_holds_runs_of_every_length():
    rng = np.random.default_rng(0)
    large = np.zeros((300, 400), bool)  # 4 * 300 * 400 values: runs above 2 ** 16
    large[200:210, 100:300] = True
    small = [rng.random(rng.integers(1, 30, 2)) < rng.random() for _ in range(30)]
    for region in (large, ~large, *small):
        read = decode_rle(brush_rle(region)).reshape(*region.shape, 4)
        np.testing.assert_array_equal(read, np.repeat(region[..., None] * np.uint8(255), 4, 2))


# ---- CVAT ------------------------------------------------------------------------------------


def test_cvat_archive_is_a_voc_folder_in_colours(written, photos):
    """As CVAT's documentation describes it: colours of labelmap.txt, VOC's for the objects."""
    folder = written("cvat")
    with zipfile.ZipFile(folder / "annotations.zip") as archive:
        assert archive.testzip() is None
        listed = archive.read("ImageSets/Segmentation/default.txt").decode().splitlines()
        names = by_file(folder, photos)
        assert listed == list(names)
        labelmap = {}
        for line in archive.read("labelmap.txt").decode().splitlines()[1:]:
            name, colour, parts, actions = line.split(":")
            assert parts == actions == ""
            labelmap[tuple(map(int, colour.split(",")))] = name
        assert list(labelmap.values()) == ["background", *CLASSES, "unknown"]
        ids = {"background": 0, **{name: n for n, name in enumerate(CLASSES, 1)}, "unknown": 255}
        instances = {tuple(colour): n for n, colour in enumerate(voc_palette().tolist())}
        for name, label in names.items():
            classes, objects = (
                np.array(Image.open(archive.open(f"Segmentation{part}/{name}.png")))
                for part in ("Class", "Object")
            )
            assert classes.shape == objects.shape == (*label.shape, 3)
            pixels = list(map(tuple, classes.reshape(-1, 3).tolist()))
            assert [ids[labelmap[pixel]] for pixel in pixels] == label.ravel().tolist()
            numbers = [instances[tuple(p)] for p in objects.reshape(-1, 3).tolist()]
            pairs = set(zip(numbers, label.ravel().tolist(), strict=True))
            assert (0, 0) in pairs or 0 not in label
            assert all((number == 0) == (value == 0) for number, value in pairs)
            assert len(pairs) == len({number for number, _ in pairs}) == len(np.unique(label))
    labels = json.loads((folder / "cvat-labels.json").read_text("utf-8"))
    assert [entry["name"] for entry in labels] == [*CLASSES, "unknown"]


def test_cvat_objects_count_from_1_where_no_pixel_is_background(photos, tmp_path):
    full = LabelledPhoto("full", photos[2].path, np.full_like(photos[2].label, 2))
    write_labels([full], CLASSES, "cvat", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out" / "annotations.zip") as archive:
        objects = np.array(Image.open(archive.open("SegmentationObject/full.png")))
    assert (objects == voc_palette()[1]).all()


# ---- YOLO ------------------------------------------------------------------------------------


def test_yolo_polygons_are_read_by_supervision(written, photos):
    upright = [photo for photo in photos if photo.id != TURNED]
    folder = written("yolo-seg", upright)
    data = supervision.DetectionDataset.from_yolo(
        str(folder / "images"), str(folder / "labels"), str(folder / "data.yaml"), force_masks=True
    )
    assert data.classes == list(CLASSES)
    names = by_file(folder, upright)
    assert len(data) == len(names)
    for path, _, found in data:
        label = names[os.path.basename(path).removesuffix(".jpg")]
        read = painted(found, label, (1, 2, 3))
        np.testing.assert_array_equal(read, without_unknown(label), path)


def test_yolo_polygons_are_exact_where_coordinates_are_cut_off(written, photos):
    """As Ultralytics reads them: float32, times the size, whole numbers, filled by OpenCV."""
    folder = written("yolo-seg")
    for name, label in by_file(folder, photos).items():
        read = np.zeros_like(label)
        for line in (folder / "labels" / f"{name}.txt").read_text().splitlines():
            number, *values = line.split()
            polygon = np.array(values, np.float32).reshape(-1, 2)
            assert len(polygon) >= 3 and 0 <= polygon.min() and polygon.max() < 1
            points = (polygon * np.array(label.shape[::-1], np.float32)).astype(np.int32)
            cv2.fillPoly(read, [points], int(number) + 1)
        np.testing.assert_array_equal(read, without_unknown(label), name)


def test_yolo_semantic_masks_keep_what_is_unknown(written, photos):
    folder = written("yolo-seg")
    semantic, polygons = (
        yaml.safe_load((folder / name).read_text("utf-8"))
        for name in ("semantic.yaml", "data.yaml")
    )
    assert list(semantic["names"].values()) == ["background", *CLASSES]
    assert list(polygons["names"].values()) == list(CLASSES) and "masks_dir" not in polygons
    assert semantic["train"] == "images" and not (folder / "masks").exists()
    for name, label in by_file(folder, photos).items():
        with Image.open(folder / semantic["masks_dir"] / f"{name}.png") as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.array(image), label)


# ---- outlines --------------------------------------------------------------------------------


def test_outlines_are_exact_for_both_ways_to_fill_a_polygon():
    rng = np.random.default_rng(1)
    for _ in range(300):
        height, width = rng.integers(1, 14, 2)
        region = rng.random((height, width)) < rng.random()
        found = outlines(region)
        parts = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)[0] - 1
        assert len(found) == parts
        exact, filled = np.zeros((height, width), bool), np.zeros((height, width), np.uint8)
        for corners, inward in found:
            rle = coco_mask.frPyObjects([corners.ravel().tolist()], int(height), int(width))
            exact |= coco_mask.decode(rle)[..., 0].astype(bool)
            cv2.fillPoly(filled, [np.floor(corners + inward / 2).astype(np.int32)], 1)
        np.testing.assert_array_equal(exact, region)
        np.testing.assert_array_equal(filled, region)


def test_what_is_placed_leads_somewhere(tmp_path):
    """Photographs may be links, whose targets are relative to where they lie."""
    for name in ("store", "photos"):
        (tmp_path / name).mkdir()
    (tmp_path / "store" / "1.jpg").write_bytes(b"content")
    (tmp_path / "photos" / "one.jpg").symlink_to("../store/1.jpg")
    placed = place(tmp_path / "photos" / "one.jpg", tmp_path / "out" / "deep" / "images")
    assert placed.name == "one.jpg" and placed.read_bytes() == b"content"
    assert not placed.is_symlink()
