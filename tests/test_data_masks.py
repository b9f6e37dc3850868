"""Masks that belong to their images and hold the classes of their tags."""

import io
import logging
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from data_folder import CLASSES, photograph, write_mask, write_voc
from PIL import Image

from keras_wsss.config import DataConfig
from keras_wsss.data import evaluation_dataset, explain_errors, find_broken, load_split
from keras_wsss.errors import DataError


@pytest.fixture
def folder(tmp_path):
    return write_voc(tmp_path, images=3)


def load(folder, part="val", require_masks=False, **settings):
    data = DataConfig(kind="voc", root=folder, train_list="train", crop_size=32, **settings)
    return load_split(data, part, require_masks)


def paint(folder, values):
    """Gives the masks other ids, old -> new."""
    lookup = np.arange(256, dtype=np.uint8)
    lookup[list(values)] = list(values.values())
    for path in (folder / "SegmentationClass").glob("*.png"):
        write_mask(path, lookup[np.asarray(Image.open(path))])


# --- classes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [255, 0])
def test_masks_without_a_pixel_of_any_class(folder, value):
    paint(folder, {1: value, 2: value, 3: value})
    wanted = (
        r"SegmentationClass: no mask of the list (val|train) holds a pixel of any class .*255 is"
    )
    with pytest.raises(DataError, match=wanted):
        load(folder)
    with pytest.raises(DataError, match=wanted):
        load(folder, "train", require_masks=True)
    with pytest.raises(DataError, match=r"write the ids .* \(3 horse\)"):
        load(folder, classes=("horse",))
    load(folder, "train")  # opens none


def test_a_class_without_a_pixel_is_said(folder, caplog):
    paint(folder, {2: 255})
    with caplog.at_level(logging.WARNING):
        load(folder)
    assert [record.getMessage().partition("list ")[2] for record in caplog.records] == [
        "val are tagged dog, but no mask holds a pixel of it",
        "val hold no pixel of any class, first image_1",
    ]
    caplog.clear()
    paint(folder, {255: 2})
    with caplog.at_level(logging.WARNING):
        load(folder)
    assert "no mask" not in caplog.text and "no pixel" not in caplog.text


@pytest.mark.parametrize(
    ("ids", "shown"),
    [({1: 2, 2: 1}, "cat hold no 1, but 2 .dog."), ({1: 2, 2: 3, 3: 1}, "cat hold no 1, but 2")],
)
def test_ids_in_another_order_than_the_classes(folder, ids, shown):
    paint(folder, ids)
    wanted = rf"SegmentationClass: most masks of images .* {shown}.*; bring the class list into"
    with pytest.raises(DataError, match=wanted):
        load(folder)
    with pytest.raises(DataError, match=wanted):
        load(folder, "train", require_masks=True)
    load(folder, "train")  # opens none


def test_masks_of_another_stage_need_not_show_the_tags(folder):
    (folder / "SegmentationClass").rename(folder / "labels")
    for path in (folder / "labels").glob("*.png"):
        write_mask(path, np.full_like(np.asarray(Image.open(path)), 2))
    load(folder, "train", require_masks=True, masks=str(folder / "labels"))


def test_one_class_that_masks_show_as_another_is_said(folder, caplog):
    paint(folder, {3: 2})
    with caplog.at_level(logging.WARNING):
        load(folder)
    assert [record.getMessage().partition("Class: ")[2] for record in caplog.records] == [
        "images of the list val are tagged horse, but no mask holds a pixel of it",
        "most masks of images of the list val that are tagged horse hold no 3, but 2 (dog)",
    ]
    caplog.clear()
    for path in (folder / "SegmentationClass").glob("*.png"):
        mask = np.asarray(Image.open(path))
        write_mask(path, np.where(mask == 0, 3, mask))
    with caplog.at_level(logging.WARNING):
        load(folder)
    wanted = "masks of the list val show 3 (horse), which is no tag of their images"
    assert wanted in caplog.text


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", "_mask.png"])
def test_masks_that_are_not_found_are_said(folder, suffix, caplog):
    for path in (folder / "SegmentationClass").glob("*.png"):
        path.rename(path.with_name(path.stem + suffix))
    with caplog.at_level(logging.WARNING):
        assert load(folder).mask_paths is None
    assert f"holds image_0{suffix}, but no ID.png of the list val, which is" in caplog.text


def test_a_mask_in_jpeg_is_refused(folder):
    path = folder / "SegmentationClass/image_1.png"
    Image.fromarray(np.asarray(Image.open(path)) == 1).convert("L").save(path, "JPEG")
    with pytest.raises(DataError, match=r"image_1\.png: is a JPEG file.*; save it anew as PNG"):
        load(folder)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_saliency_maps_of_zeros_and_ones(folder, mode):
    (folder / "Saliency").mkdir()
    for path in (folder / "SegmentationClass").glob("*.png"):
        salient = np.asarray(Image.open(path)) == 1
        map_ = Image.fromarray(salient if mode == "1" else salient.astype(np.uint8))
        map_.save(folder / "Saliency" / path.name)
    data = DataConfig(kind="voc", root=folder, train_list="train")
    with pytest.raises(DataError, match=r"Saliency: the saliency maps of the list train hold 0 an"):
        load_split(data, "train", require_saliency=True)


# --- VOC's numbering where nothing says so ----------------------------------------------------


def without_a_list(folder, *names):
    """Tags image_0: the first name, image_1: the second ...; masks 1, 2, 3."""
    (folder / "labels.json").unlink()
    rows = "".join(f"image_{n},{name}\n" for n, name in enumerate(names))
    (folder / "labels.csv").write_text(f"id,tags\n{rows}")


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (("cat", "dog", "horse"), ("cat", "dog", "horse")),
        (("cat", "dog", "horse"), None),
        (("cat", "dog", "horse"), ("dog",)),
        (("bicycle", "aeroplane", "bird"), ("bicycle", "aeroplane", "bird")),
        (("aeroplane", "bicycle", "dog"), ("aeroplane", "bicycle", "dog")),
    ],
)
def test_ids_that_are_not_those_of_voc(folder, names, classes):
    without_a_list(folder, *names)
    wanted = r"SegmentationClass: in VOC's numbering, masks of images tagged .*; if the ids are .*"
    with pytest.raises(DataError, match=f"{wanted}classes.txt"):
        load(folder, classes=classes)
    (folder / "classes.txt").write_text("\n".join(names))
    assert load(folder, classes=classes).mask(0).max() == 255


def test_ids_of_voc(folder):
    without_a_list(folder, "cat", "dog;person", "horse")
    paint(folder, {1: 8, 2: 12, 3: 13})
    mask = np.asarray(Image.open(folder / "SegmentationClass/image_1.png")).copy()
    mask[-5:] = 15  # a person, which is a tag but not asked for
    write_mask(folder / "SegmentationClass/image_1.png", mask)
    split = load(folder, classes=CLASSES)
    assert [set(np.unique(split.mask(n))) for n in range(3)] == [{0, n, 255} for n in (1, 2, 3)]
    write_mask(folder / "SegmentationClass/image_0.png", np.full((40, 56), 255, np.uint8))
    load(folder, classes=CLASSES)  # a cat that nobody outlined says nothing about numbers


def test_other_names_are_numbered_in_their_order(folder):
    without_a_list(folder, "kat", "hond", "paard")
    split = load(folder, classes=("kat", "hond", "paard"))
    assert [set(np.unique(split.mask(n))) for n in range(3)] == [{0, n, 255} for n in (1, 2, 3)]


# --- size and orientation ---------------------------------------------------------------------


def segment(content):
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def orientation(number, kind=3, order=">"):
    value = struct.pack(order + ("HH" if kind == 3 else "I"), *[number, 0][: 5 - kind])
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(
        order + "IHHHI", 8, 1, 274, kind, 1
    )
    return segment(b"Exif\0\0" + head + value + bytes(4))


XMP = segment(b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation="6"/>')
ORIENTATIONS = {
    "none": b"",
    "short": orientation(6),
    "long": orientation(6, 4),
    "long, lowest byte first": orientation(6, 4, "<"),
    "XMP alone": XMP,
    "EXIF behind XMP": XMP + orientation(8),
}


@pytest.mark.parametrize("at", ["start", "frame"])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_image_and_mask_lie_on_each_other(folder, name, at):
    photo = np.full((40, 56, 3), 100, np.uint8)
    photo[5:25, 5:20] = 240
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()
    at = 2 if at == "start" else data.index(b"\xff\xc0")
    (folder / "JPEGImages/image_0.jpg").write_bytes(data[:at] + ORIENTATIONS[name] + data[at:])
    mask = np.where(photo[..., 0] > 200, 1, 0).astype(np.uint8)
    write_mask(folder / "SegmentationClass/image_0.png", mask)  # drawn on the pixels as stored
    batch = next(iter(evaluation_dataset(load(folder))))
    bright = batch["image"][0, ..., 0].numpy() > 200
    assert (bright == (batch["mask"][0].numpy() == 1)).mean() > 0.98


@pytest.mark.parametrize(
    ("turned", "masks", "doubt"),
    [
        ((3, 1, 1), "displayed", "first image_0"),  # no size says anything
        ((3, 6, 1), "displayed", None),
        ((3, 6, 1), "stored", "though that of image_1 is not, first image_0"),
        ((1, 6, 1), "stored", None),
    ],
)
def test_doubt_about_turned_masks_is_said(folder, turned, masks, doubt, caplog):
    for number, each in enumerate(turned):
        path = folder / f"JPEGImages/image_{number}.jpg"
        exif = Image.Exif()
        exif[0x0112] = each
        Image.open(path).save(path, exif=exif)
        path = folder / f"SegmentationClass/image_{number}.png"
        if each == 6 and masks == "displayed":
            write_mask(path, np.rot90(np.asarray(Image.open(path)), -1))
    with caplog.at_level(logging.WARNING):
        load(folder)
    said = "SegmentationClass: 1 photographs of the list val are mirrored or turned by EXIF"
    assert (said in caplog.text) == bool(doubt) and (doubt or "") in caplog.text


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_an_orientation_that_is_not_read_is_said(folder, suffix, caplog):
    path = folder / "JPEGImages/image_1.jpg"
    image = Image.open(path)
    exif = Image.Exif()
    exif[0x0112] = 3
    path.unlink()
    image.save(path.with_suffix(f".{suffix}"), exif=exif)
    with caplog.at_level(logging.WARNING):
        load(folder)
    assert "1 photographs of the list val say how they are to be turned, which is" in caplog.text
    assert f"first image_1.{suffix}" in caplog.text
    image.save(path.with_suffix(f".{suffix}"), exif=b"Exif\0\0nonsense")
    load(folder)


def test_a_decoder_that_sees_another_size(folder):
    """Readers of headers and decoders need not agree on broken files: nor do these two."""
    split = load(folder)
    spoilt = replace(split, read_mask=lambda _: np.zeros((41, 55), np.uint8))
    with pytest.raises(tf.errors.InvalidArgumentError, match="image and mask differ in size"):
        list(evaluation_dataset(spoilt))
    wanted = r"image_0\.png: is 55x41 pixels, its image .*image_0\.jpg is decoded to 56x40; save"
    with pytest.raises(DataError, match=wanted), explain_errors(spoilt):
        list(evaluation_dataset(spoilt))
    assert len(find_broken(spoilt)) == 2  # image_1 has that size


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"\xff\xd8" + bytes(range(100, 200)) + b"\xff\xd9", b"\x89PNG\r\n\x1a\nIEND", b"GIF89a"],
)
def test_a_photograph_that_pillow_cannot_open(folder, data):
    (folder / "JPEGImages/image_1.jpg").write_bytes(data)
    with pytest.raises(DataError, match=r"image_1\.jpg: cannot be decoded .*; replace the file"):
        load(folder)


def test_a_mask_too_large_to_open(folder):
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    path = folder / "SegmentationClass/image_1.png"
    data = path.read_bytes()
    check = struct.pack(">I", zlib.crc32(header))
    path.write_bytes(data[:12] + header + check + data[33:])
    with pytest.raises(DataError, match=r"image_1\.png: cannot be decoded .*pixels.*; replace"):
        load(folder)


@pytest.mark.parametrize("suffix", ["gif", "webp", "bmp"])
def test_cut_off_files_of_rarer_kinds(folder, suffix):
    (folder / "JPEGImages/image_1.jpg").unlink()
    path = folder / f"JPEGImages/image_1.{suffix}"
    Image.fromarray(photograph(1, 41, 55)).save(path)
    assert len(load(folder, "train")) == 3
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=rf"image_1\.{suffix}: (cannot be decoded|a BMP file)"):
        load(folder, "train")


def test_bmp_with_a_palette_is_refused_before_the_training(folder):
    (folder / "JPEGImages/image_1.jpg").unlink()
    image = Image.fromarray(photograph(1, 41, 55))
    image.quantize(50).save(folder / "JPEGImages/image_1.bmp")
    with pytest.raises(DataError, match=r"image_1\.bmp: a BMP file with a palette.*save it as PNG"):
        load(folder, "train")
    image.save(folder / "JPEGImages/image_1.bmp")
    batch = list(evaluation_dataset(load(folder)))[1]
    np.testing.assert_array_equal(batch["image"][0], np.asarray(image))
