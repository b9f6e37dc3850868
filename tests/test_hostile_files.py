"""Files of strangers end with one message or are read, whatever they hold, and in no time."""

import json
import os
import zlib

import numpy as np
import pytest
from data_folder import photograph, write_list, write_voc
from PIL import Image

from benchmarks import hostile, hostile_files
from benchmarks.hostile import GOOD, outcome
from benchmarks.hostile_files import READERS, coco_content, coco_set, png, written
from keras_wsss import config
from keras_wsss.data.checking.check import check
from keras_wsss.data.cut_files import is_cut
from keras_wsss.data.loading import load_split
from keras_wsss.data.photos.importing import import_photos
from keras_wsss.data.places import check_inside
from keras_wsss.errors import DataError
from keras_wsss.photographs import find_photographs

FEW = 8


@pytest.mark.parametrize("reader", READERS)
def test_spoiled_files_end_with_one_message_or_well(reader, tmp_path):
    """`python -m benchmarks.hostile` tries thousands."""
    for number in range(FEW):
        verdict, told = outcome(reader, number, tmp_path / "one")
        assert verdict in GOOD, f"{reader} {number}: {verdict}: {told}"


@pytest.mark.parametrize("reader", READERS)
def test_what_is_spoiled_was_good(reader, tmp_path, monkeypatch):
    monkeypatch.setattr(hostile_files, "spoil", lambda *_: None)
    verdicts = [outcome(reader, number, tmp_path / "one") for number in range(3)]
    assert "accepted" in [verdict for verdict, _ in verdicts], verdicts


def test_what_goes_wrong_is_noticed(tmp_path, monkeypatch):
    def endless(draw, folder):
        while True:
            pass

    monkeypatch.setattr(hostile, "HANGS", 1)
    wrong = {
        "hang": endless,
        "traceback": lambda draw, folder: folder["a"],
        "memory": lambda draw, folder: np.ones(10**12),
    }
    for verdict, read in wrong.items():
        monkeypatch.setitem(hostile.READERS, "wrong", read)
        assert outcome("wrong", 0, tmp_path / "one")[0] == verdict


# ---- files and their places --------------------------------------------------------------------


def voc(root, **keys):
    return config.DataConfig(kind="voc", root=root, train_list="train", crop_size=64, **keys)


def refused(data, match):
    """Both a training and a check say so."""
    for read in (lambda data: load_split(data, "val"), check):
        with pytest.raises(DataError, match=match):
            read(data)


@pytest.mark.parametrize(
    "name",
    ["JPEGImages/image_0.jpg", "SegmentationClass/image_0.png", "labels.json"]
    + ["ImageSets/Segmentation/val.txt"],
)
def test_links_that_leave_the_folder_are_followed_only_when_asked(name, tmp_path):
    root = write_voc(tmp_path / "set", images=3)
    (root / name).rename(tmp_path / "elsewhere")
    (root / name).symlink_to(tmp_path / "elsewhere")
    refused(voc(root), r"lies outside .*; copy it there, or say data.follow_links=true")
    assert len(load_split(voc(root, follow_links=True), "val")) == 3
    check(voc(root, follow_links=True))


def test_links_within_the_folder_and_to_it_are_good(tmp_path):
    root = write_voc(tmp_path / "set", images=3)
    first, other = root / "JPEGImages/image_0.jpg", root / "photograph.jpg"
    first.rename(other)
    first.symlink_to(other)
    (tmp_path / "link").symlink_to(root)
    assert len(load_split(voc(tmp_path / "link"), "val")) == 3


def test_lists_that_lead_out_of_the_folder_are_refused(tmp_path):
    root = write_voc(tmp_path / "set", images=2)
    (root / "labels.json").unlink()
    (root / "classes.txt").write_text("cat\n")
    xml = "<annotation><object><name>cat</name></object></annotation>"
    for name in ("set/Annotations/image_0.xml", "evil.xml"):
        written(tmp_path / name, xml)
    for image in ("../../evil", str(tmp_path / "evil")):
        write_list(root, "val", ["image_0", image])
        refused(voc(root), "evil.xml: lies outside")


@pytest.mark.parametrize("name", ["../../evil.jpg", "/etc/passwd"])
def test_coco_files_that_lead_out_of_the_folder_are_refused(name, tmp_path):
    coco_set(tmp_path / "set")
    Image.fromarray(photograph(0)).save(tmp_path / "evil.jpg")
    content = coco_content()
    content["images"][0]["file_name"] = name
    written(tmp_path / "set/annotations/instances_val.json", content)
    data = config.DataConfig(kind="coco", root=tmp_path / "set", train_list="train")
    with pytest.raises(DataError, match="lies outside"):
        load_split(data, "val")


def test_photographs_that_are_links_are_imported_only_when_asked(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(4):
        path = tmp_path / f"{number}.jpg"
        Image.fromarray(photograph(number)).save(path)
        folder = tmp_path / "photos" / ("cat", "dog")[number % 2]
        folder.mkdir(exist_ok=True)
        (folder / path.name).symlink_to(path)
    with pytest.raises(DataError, match="lies outside"):
        import_photos(tmp_path / "photos", tmp_path / "set")
    summary = import_photos(tmp_path / "photos", tmp_path / "set", follow_links=True)
    assert summary["images"] == 4


def test_places_that_cannot_be_are_one_message(tmp_path):
    for name in ("a\0b", "a\0"):
        with pytest.raises(DataError):
            check_inside([f"{tmp_path}/{name}/.."], tmp_path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_file_is_never_opened(kind, tmp_path):
    root = write_voc(tmp_path, images=2)
    path = root / "labels.csv"
    (root / "labels.json").unlink()
    (root / "classes.txt").write_text("cat\n")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(DataError):
        load_split(voc(root, labels=path, follow_links=True), "val")


def test_a_list_of_photographs_may_name_itself(tmp_path):
    Image.fromarray(photograph(0)).save(tmp_path / "1.jpg")
    (tmp_path / "list.txt").write_text("1.jpg\nother.txt\n")
    (tmp_path / "other.txt").write_text("list.txt\n")
    assert [each.name for each in find_photographs([tmp_path / "list.txt"])] == ["1"]


# ---- images ------------------------------------------------------------------------------------


def test_images_of_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    root = write_voc(tmp_path, images=2)
    with pytest.raises(DataError, match=r"image_0.jpg: has 56x40 pixels; data.max_pixels allows"):
        load_split(voc(root, max_pixels=2000), "val")
    assert "unreadable" in [each.kind for each in check(voc(root, max_pixels=2000)).findings]
    (root / "SegmentationClass/image_0.png").write_bytes(png(20_000, 20_000, b""))
    with pytest.raises(DataError, match="image_0.png"):
        load_split(voc(root), "val")


@pytest.mark.parametrize(
    "options",
    [{}, {"quality": 20}, {"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}],
    ids=str,
)
def test_cut_jpeg_files_with_an_end_marker_are_found(options, tmp_path):
    path = tmp_path / "photo.jpg"
    Image.fromarray(photograph(0, 300, 400)).save(path, **options)
    data = path.read_bytes()
    assert not is_cut(data) and not is_cut(data + b"behind the end")
    begin = data.rfind(b"\xff\xda" if "progressive" not in options else b"\xff\xc2")
    for part in (0.3, 0.6, 0.9):
        assert is_cut(data[: begin + int(part * (len(data) - begin))] + b"\xff\xd9")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA"])
def test_png_files_that_lack_rows_are_found(mode, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(photograph(0)).convert(mode).save(path)
    assert not is_cut(path.read_bytes())
    for rows, cut in ((10, True), (39, True), (40, False), (41, False)):
        assert is_cut(png(56, 40, zlib.compress(bytes(169) * rows))) == cut


def test_check_and_import_name_cut_files(tmp_path):
    root = write_voc(tmp_path / "set", images=3)
    path = root / "JPEGImages/image_1.jpg"
    path.write_bytes(path.read_bytes()[:-200] + b"\xff\xd9")
    cut = [each for each in check(voc(root)).findings if each.kind == "truncated"]
    assert [item.id for each in cut for item in each.items] == ["image_1"]
    folder = tmp_path / "photos/cat"
    folder.mkdir(parents=True)
    for file in (root / "JPEGImages").iterdir():
        file.rename(folder / file.name)
    summary = import_photos(tmp_path / "photos", tmp_path / "imported")
    assert [each["name"] for each in summary["dropped"]] == ["image_1.jpg"]


def test_a_gif_that_is_smaller_than_its_canvas_is_refused(tmp_path):
    root = write_voc(tmp_path, images=2)
    (root / "JPEGImages/image_0.jpg").unlink()
    path = root / "JPEGImages/image_0.gif"
    Image.fromarray(photograph(0)).save(path)
    load_split(voc(root), "val")
    data = bytearray(path.read_bytes())
    at = data.index(b",", 13 + 768)
    data[at + 5 : at + 9] = b"\x14\0\x14\0"
    path.write_bytes(data)
    with pytest.raises(DataError, match="first frame is smaller than its canvas"):
        load_split(voc(root), "val")


# ---- what people write -------------------------------------------------------------------------


def test_messages_are_of_one_short_line(tmp_path):
    root = write_voc(tmp_path, images=2)
    write_list(root, "val", ["x" * 5000])
    with pytest.raises(DataError) as caught:
        load_split(voc(root), "val")
    assert len(str(caught.value)) < 1100
    assert str(DataError("a\nb \x1b[31m \ud800")) == r"a\nb \x1b[31m \ud800"


def test_labels_json_may_have_ignore_before_the_background(tmp_path):
    root = write_voc(tmp_path, images=2)
    content = json.loads((root / "labels.json").read_text())
    content["classes"].insert(0, "__ignore__")
    written(root / "labels.json", content)
    assert load_split(voc(root), "val").class_names == ("cat", "dog", "horse")
    assert not [each for each in check(voc(root)).findings if each.kind == "unreadable-tags"]
    written(root / "labels.json", content | {"classes": ["__ignore__", "cat"]})
    with pytest.raises(DataError, match=r"classes\[0\] is not 'background'"):
        load_split(voc(root), "val")


def test_outlines_that_leave_their_images_are_said(tmp_path, caplog):
    coco_set(tmp_path)
    content = coco_content()
    content["annotations"][0]["segmentation"] = [[5, 5, 5, 50, 30, 50]]
    written(tmp_path / "annotations/instances_val.json", content)
    data = config.DataConfig(kind="coco", root=tmp_path, train_list="train")
    load_split(data, "train")
    assert "leave their images" not in caplog.text
    load_split(data, "val")
    assert "1 outlines leave their images" in caplog.text
    assert "first annotation 0 of image_0.jpg; are x and y" in caplog.text
