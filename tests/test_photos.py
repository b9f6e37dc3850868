"""People's photographs: what is recognised, what is read, and what is said about bad input."""

import json
import os
import shutil
import sys
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from data_folder import photograph
from PIL import Image

from keras_wsss.config.data import PhotosDataConfig
from keras_wsss.data import load, load_split
from keras_wsss.data.photos.division import for_validation
from keras_wsss.data.photos.duplicates import fingerprint, groups_alike
from keras_wsss.data.photos.labels import label
from keras_wsss.data.photos.recognise import find_source
from keras_wsss.data.photos.scan import unique_ids
from keras_wsss.errors import DataError


def write_photos(folder, *names):
    """Photographs that do not look alike, one for each name; their pixels follow from the name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(zlib.crc32(name.encode()))).save(path)
    return folder


@pytest.fixture
def flat(tmp_path):
    return write_photos(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.png")


def tags_of(source):
    """Path below the source's folder -> tags."""
    top = source.path if source.path.is_dir() else source.path.parent
    return {os.path.relpath(photo.path, top): photo.tags for photo in source.photographs}


def read(folder, text, name="tags.csv", **options):
    """Tags of a table that is written into the folder."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return find_source(path, **options)


# ---- folders ---------------------------------------------------------------------------------


def test_folders_are_classes(tmp_path):
    write_photos(tmp_path, "cat/1.jpg", "cat/old/7.jpg", "dog/1.jpg", "cat/both.jpg", "top.jpg")
    shutil.copy(tmp_path / "cat/both.jpg", tmp_path / "dog/both.jpg")
    (tmp_path / "horse").mkdir()
    for rubbish in (".DS_Store", "cat/Thumbs.db", "__MACOSX/cat/._1.jpg", ".cache/cat/1.jpg"):
        (tmp_path / rubbish).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / rubbish).write_bytes(b"rubbish")
    source = find_source(tmp_path)
    assert source.kind == "folders" and source.class_names == ("cat", "dog")
    assert tags_of(source) == {
        "cat/1.jpg": ("cat",),
        "dog/1.jpg": ("dog",),  # of the same name, but another photograph
        "cat/old/7.jpg": ("cat",),
        "cat/both.jpg": ("cat", "dog"),
        "top.jpg": None,
    }
    assert [photo.id for photo in source.photographs] == ["7", "both", "cat_1", "dog_1", "top"]
    assert any("horse" in text and "no photograph" in text for text in source.warnings)
    assert any("old" in text and "'cat'" in text for text in source.warnings)


def test_folders_of_a_division_and_around_all_are_no_classes(tmp_path):
    write_photos(tmp_path, "set/train/cat/1.jpg", "set/val/cat/2.jpg", "set/val/train/3.jpg")
    source = find_source(tmp_path)
    assert source.class_names == ("cat", "train") and len(source.warnings) == 2
    write_photos(tmp_path / "plain", "images/cat/1.jpg", "images/dog/2.jpg")
    assert find_source(tmp_path / "plain").class_names == ("cat", "dog")
    # A class may have such a name.
    write_photos(tmp_path / "other", "train/1.jpg", "test/2.jpg")
    assert find_source(tmp_path / "other").class_names == ("test", "train")


def test_folders_that_differ_in_case_are_one_class(tmp_path):
    source = find_source(write_photos(tmp_path, "Cat/1.jpg", "cat /2.jpg", "dog/3.jpg"))
    assert source.class_names == ("Cat", "dog")
    assert any("'Cat' and 'cat' are one class" in text for text in source.warnings)


# ---- tables ----------------------------------------------------------------------------------

WANTED = {"1.jpg": ("cat",), "2.jpg": ("cat", "dog"), "3.jpg": (), "4.png": None}
TABLES = {
    "ids": "id,tags\n1,cat\n2,cat;dog\n3,\n",
    "files": "File Name,Labels\n1.jpg,cat\n2.JPG,cat|dog\n3.jpg,\n",
    "semicolons": 'Image;Class\n1;cat\n2;"cat, dog"\n3;\n',
    "semicolons, comma unquoted": "image;class\n1;cat\n2; Cat,dog \n3;\n",
    "tabs": "filename\ttags\n1\tcat\n2\tcat,dog\n3\t\n",
    "hint of Excel": "sep=;\nid;tags\n1;cat\n2;cat,dog\n3;\n",
    "marks": "id,tags\n1,cat\n2,cat;dog\n3,\n".encode("utf-8-sig"),
    "utf-16": "id,tags\r\n1,cat\r\n2,cat;dog\r\n3,\r\n".encode("utf-16"),
    "folders of Windows": "path,tags\nC:\\my pictures\\1.jpg,cat\n.\\2.jpg,cat;dog\n3.jpg,\n",
    "a row for each tag": "image,label\n1,cat\n2,cat\n2,dog\n3,\n1,cat\n",
    "empty lines and cells": "id,tags,,\n1,cat,,\n,,,\n\n2,cat;dog,,\n3,,,\n",
    "column for each class": "id,cat,dog,camera\n1,1,0,a\n2,1,1,b\n3,0,0,a\n",
    "words for each class": "id,cat,dog\n1,TRUE,FALSE\n2,yes,x\n3,no,\n",
    "lists of Python": "id,tags\n1,['cat']\n2,\"['cat', 'dog']\"\n3,[]\n",
    "numbered columns": "photo,Tag 1,Tag 2\n1,cat,\n2,cat,dog\n3,,\n",
    "another language": "Bild,tags\n1.jpg,cat\n2.jpg,cat;dog\n3.jpg,\n",
    "numbers beside files": "id,file,tags\n3,1.jpg,cat\n1,2.jpg,cat;dog\n2,3.jpg,\n",
}


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
def test_tables(flat, text):
    source = read(flat, text)
    assert tags_of(source) == WANTED
    assert source.class_names == ("cat", "dog") and not source.dropped


def test_table_of_json_lines(flat):
    lines = [
        {"file_name": "1.jpg", "tags": ["cat"], "size": 3},
        {"file_name": "2.jpg", "tags": ["cat", "dog"]},
        {"file_name": "3.jpg", "tags": []},
    ]
    text = "\n".join(map(json.dumps, lines))
    assert tags_of(read(flat, text, "metadata.jsonl")) == WANTED
    assert tags_of(read(flat, json.dumps(lines), "list.json")) == WANTED
    (flat / "metadata.jsonl").unlink()
    (flat / "other.json").write_text('[{"width": 3}]')
    assert tags_of(find_source(flat)) == WANTED
    assert tags_of(read(flat, "id\ttags\n1\tcat\n2\tcat|dog\n3\t\n", "tags.txt")) == WANTED


def excel(path, rows, *others):
    openpyxl = pytest.importorskip("openpyxl", reason="needs the extra photos")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for other in others:
        sheet = book.create_sheet()
        for row in other:
            sheet.append(row)
    book.save(path)
    return path


def test_table_of_excel(flat):
    """Numbers for ids and tags, and Excel's own truth values."""
    path = excel(flat / "a.xlsx", [["Id", "Cat", "Dog"], [1, True, False], [2, True, True], [3]])
    source = find_source(path)
    assert list(tags_of(source).values()) == [("Cat",), ("Cat", "Dog"), (), None]
    path = excel(flat / "b.xlsx", [[], ["file", "tags"], ["1.jpg", 5], ["2.jpg", "5;6"], [3.0, 7]])
    assert list(tags_of(find_source(path)).values()) == [("5",), ("5", "6"), ("7",), None]
    path = excel(flat / "c.xlsx", [["id", "tags"], [1, "cat"]], [["id", "tags"], [2, "dog"]])
    with pytest.raises(DataError, match=r"c\.xlsx: has several sheets"):
        find_source(path)
    (flat / "d.xlsx").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"d\.xlsx: not readable as Excel file"):
        find_source(flat / "d.xlsx")


def test_excel_without_its_package(flat, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match=r"a\.xlsx: Excel files need.*keras_wsss\[photos\]"):
        read(flat, "", "a.xlsx")


def test_ids_of_any_folder_and_composition(tmp_path):
    """File names from a Mac are decomposed; what Excel writes is not."""
    decomposed = unicodedata.normalize("NFD", "Müller.jpg")
    write_photos(tmp_path, f"a/{decomposed}", "a/1.jpg", "b/1.jpg", "b/2.v1.jpg", "b/0001.jpg")
    text = "id,tags\nMÜLLER,x\na/1,x\nphotos/b/1.jpg,y\n2.v1,y\n0001,x\n"
    assert set(tags_of(read(tmp_path, text)).values()) == {("x",), ("y",)}
    source = read(tmp_path, text)
    assert {photo.id: photo.tags for photo in source.photographs} == {
        "Müller": ("x",),
        "a_1": ("x",),
        "b_1": ("y",),
        "2.v1": ("y",),
        "0001": ("x",),
    }


def test_files_that_differ_in_case(tmp_path):
    write_photos(tmp_path, "a.jpg", "A.jpg")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("the file system ignores case")
    source = read(tmp_path, "id,tags\nA,cat\na,dog\n")
    assert tags_of(source) == {"A.jpg": ("cat",), "a.jpg": ("dog",)}
    assert len({photo.id.casefold() for photo in source.photographs}) == 2


def test_what_a_table_leaves_out(flat):
    source = read(flat, "id,tags\n1,cat\n7,dog\n8.jpg,dog\n")
    assert [each.name for each in source.dropped] == ["7", "8.jpg"]
    assert "no such photograph" in source.dropped[0].reason and "line 3" in source.dropped[0].reason


def test_one_character_separates_tags(flat):
    source = read(flat, 'id,tags\n1,"red, ripe;apple"\n2,apple\n')
    assert tags_of(source)["1.jpg"] == ("red, ripe", "apple")
    assert any("',' is taken as a part of names" in text for text in source.warnings)


def test_column_is_chosen(flat):
    text = "id,label,category\n1,cat,animal\n2,dog,animal\n"
    with pytest.raises(DataError, match=r"columns label and category may hold.*--tags-column"):
        read(flat, text)
    assert tags_of(read(flat, text, tags_column="category"))["1.jpg"] == ("animal",)
    with pytest.raises(DataError, match="no column 'tag'; it has id, label, category"):
        read(flat, text, tags_column="tag")


def test_list_of_classes_beside_a_table(flat):
    (flat / "classes.txt").write_text("_background_\ndog\ncat\n")
    assert read(flat, "id,tags\n1,cat\n2,Dog\n").class_names == ("dog", "cat")
    source = read(flat, "id,tags\n1,cat\n2,dgo\n3,owl\n")
    assert list(source.unknown) == ["dgo", "owl"] and source.class_names == ("dog", "cat")
    with pytest.raises(DataError, match=r"tags\.csv, line 3: the tag 'dgo'.*Did you mean 'dog'"):
        label(source)


BAD_TABLES = {
    "more cells": (b"id,tags\n1,cat\n2,cat,dog\n", r"tags\.csv, line 3: has 3 cells.*quote them"),
    "fewer cells": (b"id,tags\n1\n", r"tags\.csv, line 2: has 1 cells.*complete"),
    "no photograph": (
        b"id,tags\na,cat\nb,dog\nc,cat\nd,cat\n",
        r"none of the names in column 'id' \('a', 'b', 'c' and 1 more\).*1\.jpg.*--images",
    ),
    "no header": (b"1.jpg,cat\n2.jpg,dog\n", r"no column of tags|columns"),
    "no tags": (b"id,camera\n1,a\n2,b\n", r"no column of tags.*has id, camera.*--tags-column"),
    "no ids": (b"who,what\nme,cat\n", r"no column names photographs.*who, what"),
    "column twice": (b"id,tags,tags\n1,cat,dog\n", r"two columns are called 'tags'"),
    "empty": (b"", r"the table is empty"),
    "header alone": (b"id,tags\n", r"the table is empty"),
    "open quotation": (b'id,tags\n1,"cat\n2,dog\n', r"not readable as CSV"),
}


@pytest.mark.parametrize("text, message", BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_tables(flat, text, message):
    with pytest.raises(DataError, match=message):
        read(flat, text)


def test_zeros_that_excel_has_dropped(tmp_path):
    write_photos(tmp_path, "0001.jpg", "0002.jpg")
    with pytest.raises(DataError, match=r"\('1', '2'\).*Excel drops leading zeros"):
        read(tmp_path, "id,tags\n1,cat\n2,dog\n")


def test_names_that_mean_two_photographs(tmp_path):
    write_photos(tmp_path, "a/1.jpg", "b/1.jpg")
    with pytest.raises(
        DataError, match=r"line 2: '1' may be a/1\.jpg or b/1\.jpg; write its folder"
    ):
        read(tmp_path, "id,tags\n1,cat\n")
    # Two names that can only mean one.
    write_photos(tmp_path, "3.jpg")
    with pytest.raises(DataError, match=r"line 3: 'y/3' and 'x/3' .*two photographs.*only 3\.jpg"):
        read(tmp_path, "id,tags\nx/3,cat\ny/3,dog\n")


def test_another_folder_of_the_same_name_is_no_match(tmp_path):
    """val/1.jpg is not train/1.jpg, even if only one of them is there."""
    write_photos(tmp_path, "val/1.jpg", "val/2.jpg")
    source = read(tmp_path, "file,tags\ntrain/1.jpg,cat\nval/1.jpg,dog\nval/2.jpg,cat\n")
    assert tags_of(source) == {"val/1.jpg": ("dog",), "val/2.jpg": ("cat",)}
    assert [each.name for each in source.dropped] == ["train/1.jpg"]


# ---- annotation tools ------------------------------------------------------------------------


def coco(**changes):
    """As the format's page has it, with licences and infos that nobody reads."""
    content = {
        "info": {"year": 2024, "version": "1", "description": "", "date_created": "2024"},
        "licenses": [{"id": 1, "name": "", "url": ""}],
        "images": [
            {"id": 11, "file_name": "images/1.jpg", "width": 56, "height": 40, "license": 1},
            {"id": 12, "file_name": "2.jpg", "width": 56, "height": 40, "date_captured": "2024"},
            {"id": 13, "file_name": "3.jpg", "width": 56, "height": 40},
        ],
        "categories": [
            {"id": 7, "name": "dog", "supercategory": "animal"},
            {"id": 2, "name": "cat", "supercategory": "animal"},
            {"id": 9, "name": "cow", "supercategory": "animal"},
        ],
        "annotations": [
            {"id": 1, "image_id": 11, "category_id": 2, "bbox": [1, 1, 3, 3], "area": 9,
             "segmentation": [[1, 1, 4, 1, 4, 4]], "iscrowd": 0},
            {"id": 2, "image_id": 12, "category_id": 7},  # of the whole image
            {"id": 3, "image_id": 12, "category_id": 2, "bbox": [0, 0, 9, 9], "area": 81,
             "segmentation": {"size": [40, 56], "counts": [0, 9, 2231]}, "iscrowd": 1},
        ],
    }  # fmt: skip
    return content | changes


def test_coco(flat):
    (flat / "annotations").mkdir()
    path = flat / "annotations" / "any name.json"
    path.write_text(json.dumps(coco()))
    for where in (flat, path):
        source = find_source(where)
        assert source.kind == "COCO" and source.class_names == ("cat", "dog", "cow")
        assert [photo.tags for photo in source.photographs] == list(WANTED.values())[:1] + [
            ("dog", "cat"), (), None]  # fmt: skip
    assert label(source, untagged="negative").class_names == (
        "cat",
        "dog",
    )  # no photograph of a cow


def test_coco_in_two_files(tmp_path):
    """As other tools divide it: a file beside the photographs of each part."""
    write_photos(tmp_path, "train/1.jpg", "valid/2.jpg", "valid/3.jpg")
    parts = {"train": coco()["images"][:1], "valid": coco()["images"][1:]}
    for part, images in parts.items():
        images = [image | {"file_name": image["file_name"][-5:]} for image in images]
        known = {image["id"] for image in images}
        own = [each for each in coco()["annotations"] if each["image_id"] in known]
        content = coco(images=images, annotations=own)
        (tmp_path / part / "_annotations.coco.json").write_text(json.dumps(content))
    assert list(tags_of(find_source(tmp_path)).values()) == [("cat",), ("dog", "cat"), ()]


BAD_COCO = {
    "unknown category": (
        {"annotations": [{"id": 5, "image_id": 11, "category_id": 8}]},
        r"annotation 5 has the category_id 8",
    ),
    "unknown image": (
        {"annotations": [{"id": 5, "image_id": 1, "category_id": 7}]},
        r"annotation 5 has the image_id 1",
    ),
    "id twice": ({"images": coco()["images"][:1] * 2}, r"two images have the id 11"),
    "no file name": ({"images": [{"id": 11}]}, r"not in COCO's format.*file_name"),
}


@pytest.mark.parametrize("changes, message", BAD_COCO.values(), ids=BAD_COCO)
def test_bad_coco(flat, changes, message):
    (flat / "coco.json").write_text(json.dumps(coco(**changes)))
    with pytest.raises(DataError, match=message):
        find_source(flat)


def test_voc(tmp_path):
    write_photos(tmp_path, "JPEGImages/1.jpg", "JPEGImages/2.jpg", "JPEGImages/3.jpg", "4.jpg")
    objects = "<object><name>{}</name><part><name>head</name></part></object>"
    for name, tags in {"1": ("cat", "cat"), "2": ("dog", "cat"), "old name": ()}.items():
        inside = "".join(objects.format(tag) for tag in tags)
        text = f"<annotation><filename>3.jpg</filename>{inside}</annotation>"
        path = tmp_path / "Annotations" / f"{name}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    source = find_source(tmp_path)
    assert [photo.tags for photo in source.photographs] == [("cat",), ("dog", "cat"), (), None]
    (tmp_path / "Annotations/2.xml").write_text("<annotation>")
    with pytest.raises(DataError, match=r"2\.xml: not readable as XML"):
        find_source(tmp_path)


@pytest.mark.parametrize("layout", ["labels", "beside"])
def test_yolo(tmp_path, layout):
    write_photos(tmp_path, "images/train/1.jpg", "images/val/1.jpg", "images/val/2.jpg")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    lines = {"train/1": "0 .5 .5 .1 .1\n", "val/1": "1 .1 .1 .2 .1 .2 .2\n0 .5 .5 .1 .1 0.9\n"}
    for name, text in lines.items():
        folder = "labels" if layout == "labels" else "images"
        path = tmp_path / folder / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    source = find_source(tmp_path)
    assert tags_of(source) == {
        "images/val/2.jpg": (),
        "images/train/1.jpg": ("cat",),
        "images/val/1.jpg": ("dog", "cat"),
    }
    path.write_text("0 .5 .5 .1 .1\n2 .1 .1 .2 .1\n")
    with pytest.raises(DataError, match=r"1\.txt, line 2: has the class 2, but .*classes 0 to 1"):
        find_source(tmp_path)
    path.write_text("cat .5 .5 .1 .1\n")
    with pytest.raises(DataError, match=r"1\.txt, line 1: 'cat .*is no box"):
        find_source(tmp_path)
    (tmp_path / "data.yaml").write_text("names: {0: cat, 2: dog}\n")
    with pytest.raises(DataError, match=r"data\.yaml: names has the numbers \[0, 2\]"):
        find_source(tmp_path)
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(DataError, match="boxes have no names; add data.yaml or classes.txt"):
        find_source(tmp_path)


def choice(*names, control="choice"):
    return {"from_name": control, "to_name": "image", "type": "choices", "id": "a1",
            "value": {"choices": list(names)}}  # fmt: skip


def region(kind, name):
    value = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "rotation": 0, kind: [name]}
    return {"from_name": "label", "to_name": "image", "type": kind, "id": "b1", "value": value,
            "original_width": 56, "original_height": 40, "image_rotation": 0}  # fmt: skip


def task(number, image, *annotations):
    """A task of the JSON export, with the keys that it has there."""
    made = []
    for each in annotations:
        result, options = each if isinstance(each, tuple) else (each, {})
        annotation = {"id": 100 + number, "completed_by": 1, "result": result, "lead_time": 2.5}
        annotation |= {"was_cancelled": False, "ground_truth": False, "task": number}
        made.append(annotation | options)
    rest = {"drafts": [], "predictions": [], "meta": {}, "inner_id": number, "project": 1}
    return {"id": number, "annotations": made, "data": {"image": image}} | rest


def test_label_studio(tmp_path):
    write_photos(tmp_path, "my_photo_1.jpg", "sub dir/2.jpg", "3.jpg", "4.jpg", "5.jpg", "6.jpg")
    tasks = [
        task(
            1,
            "/data/upload/7/0a1b2c3d-my_photo_1.jpg",
            [choice("cat"), region("brushlabels", "dog")],
        ),
        task(2, "/data/local-files/?d=sub%20dir/2.jpg", [region("rectanglelabels", "cow")]),
        task(3, "s3://bucket/some/3.jpg", [], ([choice("cat")], {"was_cancelled": True})),
        task(4, "https://host/4.jpg?x=1", ([choice("cat")], {"was_cancelled": True})),
        task(5, "5.jpg", [choice("cat")], [choice("cat", "dog")], [choice("cow")]),
        task(6, "6.jpg", [choice("cat")], ([choice("dog")], {"ground_truth": True})),
    ]
    path = tmp_path / "project-1-at-2024.json"
    path.write_text(json.dumps(tasks))
    source = find_source(tmp_path)
    assert source.kind == "Label Studio"
    assert tags_of(source) == {
        "my_photo_1.jpg": ("cat", "dog"),
        "sub dir/2.jpg": ("cow",),
        "3.jpg": (),
        "4.jpg": None,  # skipped
        "5.jpg": ("cat",),  # two of three
        "6.jpg": ("dog",),
    }
    assert any("annotators disagree about 1 images (5.jpg)" in text for text in source.warnings)
    assert any("choice and label are taken together" in text for text in source.warnings)
    assert tags_of(find_source(tmp_path, tags_column="label"))["my_photo_1.jpg"] == ("dog",)
    with pytest.raises(DataError, match="no control 'labels'; it has choice, label"):
        find_source(tmp_path, tags_column="labels")


def test_label_studio_folders(tmp_path):
    """The same file name in two folders, as its local storage serves them."""
    write_photos(tmp_path, "a b/1.jpg", "ä/1.jpg")
    tasks = [task(1, "/data/local-files/?d=set/a%20b/1.jpg", [choice("cat")]),
             task(2, "/data/local-files/?d=set/%C3%A4/1.jpg", [choice("dog")])]  # fmt: skip
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    assert tags_of(find_source(tmp_path, images=tmp_path)) == {
        "a b/1.jpg": ("cat",),
        "ä/1.jpg": ("dog",),
    }


def test_label_studio_uploads_of_one_name(tmp_path):
    """Two uploaded files of one name must not become one photograph with the tags of both."""
    write_photos(tmp_path, "1.jpg", "2.jpg")
    tasks = [task(1, "/data/upload/7/00000001-1.jpg", [choice("cat")]),
             task(2, "/data/upload/7/00000002-1.jpg", [choice("dog")])]  # fmt: skip
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    with pytest.raises(DataError, match=r"task 2: .*00000002-1.*are two images.*only one.*1\.jpg"):
        find_source(tmp_path)
    write_photos(tmp_path, "00000001-1.jpg", "00000002-1.jpg")
    tags = tags_of(find_source(tmp_path))
    assert tags["00000001-1.jpg"] == ("cat",) and tags["00000002-1.jpg"] == ("dog",)


RECORDS = [
    {"image": "/data/upload/1/0a1b2c3d-1.jpg", "id": 1, "choice": "cat", "annotator": 1,
     "annotation_id": 1, "created_at": "2024", "updated_at": "2024", "lead_time": 1.5},
    {"image": "/data/upload/1/1a1b2c3d-2.jpg", "id": 2, "choice": {"choices": ["cat", "dog"]},
     "annotator": 1, "annotation_id": 2, "created_at": "2024", "updated_at": "", "lead_time": 2.0},
    {"image": "/data/upload/1/2a1b2c3d-3.jpg", "id": 3, "annotator": 1, "annotation_id": 3,
     "created_at": "2024", "updated_at": "2024", "lead_time": 1.1},
]  # fmt: skip


def test_label_studio_min(flat):
    (flat / "min.json").write_text(json.dumps(RECORDS))
    assert tags_of(find_source(flat)) == WANTED
    # One control without a name that is known, and boxes.
    boxes = [{"x": 1, "y": 2, "width": 3, "height": 4, "rotation": 0, "rectanglelabels": ["cat"],
              "original_width": 56, "original_height": 40}]  # fmt: skip
    records = [RECORDS[0] | {"choice": None, "animals": boxes}, *RECORDS[1:]]
    (flat / "min.json").write_text(json.dumps(records))
    assert tags_of(find_source(flat)) == WANTED


def test_label_studio_csv(flat):
    rows = ["annotation_id,annotator,choice,created_at,id,image,lead_time,updated_at"]
    rows += ["1,1,cat,2024,1,/data/upload/1/0a1b2c3d-1.jpg,1.5,2024"]
    cell = '"{""choices"":[""cat"",""dog""]}"'
    rows += [f"2,1,{cell},2024,2,/data/upload/1/1a1b2c3d-2.jpg,2.0,2024"]
    rows += ["3,1,,2024,3,/data/upload/1/2a1b2c3d-3.jpg,2.0,2024"]
    (flat / "project.csv").write_text("\n".join(rows))
    source = find_source(flat)
    assert source.kind == "Label Studio" and tags_of(source) == WANTED


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><name>my task</name><size>4</size><mode>annotation</mode>
    <labels><label><name>cat</name><type>any</type></label><label><name>dog</name></label></labels>
  </task></meta>
  <image id="0" name="1.jpg" width="56" height="40"><tag label="cat" source="manual"></tag></image>
  <image id="1" name="sub/2.jpg" width="56" height="40">
    <box label="cat" source="manual" occluded="0" xtl="1" ytl="1" xbr="9" ybr="9" z_order="0"></box>
    <polygon label="cat" occluded="0" points="1,1;9,1;9,9" z_order="0"></polygon>
    <mask label="dog" occluded="0" rle="3, 2, 4" left="1" top="1" width="3" height="3" z_order="0">
      <attribute name="age">old</attribute></mask>
  </image>
  <image id="2" name="3.jpg" subset="default" task_id="1" width="56" height="40"></image>
</annotations>"""


def test_cvat(tmp_path):
    write_photos(tmp_path, "images/1.jpg", "images/sub/2.jpg", "images/3.jpg", "images/4.jpg")
    (tmp_path / "annotations.xml").write_text(CVAT)
    source = find_source(tmp_path)
    assert source.kind == "CVAT" and source.class_names == ("cat", "dog")
    assert [photo.tags for photo in source.photographs] == list(WANTED.values())
    (tmp_path / "annotations.xml").write_text(
        "<annotations><track id='0' label='cat'/></annotations>"
    )
    with pytest.raises(DataError, match="is 'CVAT for video'"):
        find_source(tmp_path)


LABELMAP = (
    "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,83::\ndog:51,221,255::\n"
)


def write_cvat_masks(folder, photos="1.jpg 2.jpg 3.jpg 4.jpg", mode="RGB"):
    """Cat in the left half of 1, dog and cat in 2, nothing in 3, no mask of 4."""
    write_photos(folder, *(f"JPEGImages/{name}" for name in photos.split()))
    (folder / "labelmap.txt").write_text(LABELMAP)
    (folder / "SegmentationClass").mkdir()
    masks = np.zeros((3, 40, 56), np.uint8)
    masks[0, :, :28], masks[1, :9], masks[1, 9:12], masks[0, 0] = 1, 2, 1, 255
    colours = np.zeros((256, 3), np.uint8)
    colours[1], colours[2], colours[255] = (250, 50, 83), (51, 221, 255), (224, 224, 192)
    for number, mask in enumerate(masks, start=1):
        image = Image.fromarray(colours[mask] if mode == "RGB" else mask)
        if mode == "P":
            image.putpalette(colours.ravel().tolist())
        image.save(folder / "SegmentationClass" / f"{number}.png")
    return masks


@pytest.mark.parametrize("mode", ["RGB", "P", "L"])
def test_cvat_masks(tmp_path, mode):
    masks = write_cvat_masks(tmp_path, mode=mode)
    source = find_source(tmp_path)
    assert source.kind == "CVAT masks" and source.class_names == ("cat", "dog")
    assert [photo.tags for photo in source.photographs] == list(WANTED.values())
    data = PhotosDataConfig(kind="photos", root=tmp_path, untagged="negative", val_fraction=0)
    split = load_split(data, "train", require_masks=True)
    np.testing.assert_array_equal([split.mask(number) for number in range(3)], masks)
    dogs = load_split(data.model_copy(update={"classes": ("dog",)}), "train", require_masks=True)
    assert set(np.unique(dogs.mask(1))) == {0, 1} and set(np.unique(dogs.mask(0))) == {0, 255}
    assert load_split(data, "train").mask_paths is None


def test_bad_cvat_masks(tmp_path):
    write_cvat_masks(tmp_path)
    Image.new("RGB", (56, 40), (1, 2, 3)).save(tmp_path / "SegmentationClass/3.png")
    with pytest.raises(DataError, match=r"3\.png: holds the colour \(1, 2, 3\)"):
        find_source(tmp_path)
    (tmp_path / "labelmap.txt").write_text("cat 250 50 83\n")
    with pytest.raises(DataError, match=r"labelmap\.txt: 'cat 250 50 83' is not NAME:RED"):
        find_source(tmp_path)


# ---- which it is -----------------------------------------------------------------------------


def test_a_file_wins_over_folders(tmp_path, caplog):
    write_photos(tmp_path, "cat/1.jpg", "dog/2.jpg")
    (tmp_path / "tags.csv").write_text("id,tags\n1,horse\n2,horse\n")
    with caplog.at_level("INFO"):
        assert find_source(tmp_path).class_names == ("horse",)
    assert "tags are taken from" in caplog.text and "not from the folders" in caplog.text
    assert find_source(tmp_path, format="folders").class_names == ("cat", "dog")
    (tmp_path / "coco.json").write_text(json.dumps(coco()))
    with pytest.raises(
        DataError, match=r"several things.*tags\.csv \(table\).*coco\.json.*--format"
    ):
        find_source(tmp_path)
    assert find_source(tmp_path, format="coco").kind == "COCO"
    with pytest.raises(DataError, match=r"holds no yolo; found: .*table"):
        find_source(tmp_path, format="yolo")


def test_nothing_to_recognise(flat, tmp_path):
    with pytest.raises(
        DataError, match="holds no tags; looked for: folders of classes.*COCO.*YOLO"
    ):
        find_source(flat)
    with pytest.raises(DataError, match="no such file or folder"):
        find_source(tmp_path / "nowhere")
    (flat / "a.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="is an archive; unpack it"):
        find_source(flat / "a.zip")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/IMG.CR2").write_bytes(b"raw")
    with pytest.raises(DataError, match=r"holds no tags|holds no photograph"):
        find_source(tmp_path / "empty")


# ---- classes, negatives, division ------------------------------------------------------------


def test_untagged_photographs(flat):
    source = read(flat, "id,tags\n1,cat\n2,cat;dog\n3,\n4,background\n")
    with pytest.raises(
        DataError, match=r"1 photographs have no tag \(3\.jpg\).*--untagged negative"
    ):
        label(source)
    found = label(source, untagged="negative")
    np.testing.assert_array_equal(found.labels, [[1, 0], [1, 1], [0, 0], [0, 0]])
    found = label(source, untagged="drop")
    np.testing.assert_array_equal(found.labels, [[1, 0], [1, 1], [0, 0]])  # background says so
    assert [each.reason for each in found.dropped] == ["no tag"] and found.dropped[0].asked


def test_tags_that_mean_nothing(flat):
    source = read(flat, "id,tags\n1,scratch\n2,OK\n3,ok\n4,ok;scratch\n")
    found = label(source, negative=("ok",))
    assert found.class_names == ("scratch",) and found.labels.ravel().tolist() == [1, 0, 0, 1]
    with pytest.raises(DataError, match="no photograph has the tag 'fine'; tags are scratch, OK"):
        label(source, negative=("fine",))


def test_a_class_on_every_photograph_is_warned_of(flat):
    found = label(read(flat, "id,tags\n1,cat\n2,cat\n"))
    assert any("every photograph has the tag 'cat'" in text for text in found.warnings)
    found = label(read(flat, "id,tags\n1,cat\n2,\n"), untagged="negative")
    assert not any("every photograph" in text for text in found.warnings)


def test_chosen_classes(flat):
    source = read(flat, "id,tags\n1,cat\n2,cat;dog\n3,dog\n4,cow\n")
    found = label(source, classes=["Dog"])
    assert found.class_names == ("dog",) and found.labels.ravel().tolist() == [1, 1]
    assert [each.name for each in found.dropped] == ["1.jpg", "4.png"] and found.other_tags == 3
    assert len(label(source, classes=["dog"], untagged="negative").labels) == 4
    with pytest.raises(DataError, match="data.classes: 'dig'.*Did you mean 'dog'"):
        label(source, classes=["dig"])


def test_photographs_that_look_alike():
    image = Image.fromarray(photograph(1, 300, 400))
    dark = image.point(lambda value: int(value * 0.8)).resize((200, 150))
    other = Image.fromarray(photograph(2, 300, 400))
    prints = [fingerprint(each) for each in (image, other, dark, other.convert("L"))]
    assert groups_alike(prints).tolist() == [0, 1, 0, 1]
    # a is like b and b like c, so all three stay together, in whatever order they come.
    chain = [0, (1 << 12) - 1, (1 << 6) - 1]
    assert groups_alike(chain).tolist() == [0, 0, 0]
    assert groups_alike([]).tolist() == []


def test_division_keeps_shares_of_tags():
    generator = np.random.default_rng(0)
    labels = (generator.random((400, 5)) < [0.5, 0.2, 0.1, 0.05, 0.02]).astype(np.float32)
    chosen = for_validation(labels, np.arange(400), 0.2)
    shares = labels[chosen].sum(0) / labels.sum(0)
    assert abs(chosen.mean() - 0.2) < 0.02 and np.all(abs(shares - 0.2) < 0.1)
    assert np.array_equal(chosen, for_validation(labels, np.arange(400), 0.2))
    assert not np.array_equal(chosen, for_validation(labels, np.arange(400), 0.2, seed=1))
    assert not for_validation(labels, np.arange(400), 0).any()


@pytest.mark.parametrize("images", [4, 10, 11])
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_division_of_few(images, classes):
    """Two or more for validation, every class in training."""
    labels = np.eye(classes + 1, dtype=np.float32)[np.arange(images) % (classes + 1)][:, :classes]
    for seed in range(5):
        chosen = for_validation(labels, np.arange(images), 0.15, seed)
        assert labels[~chosen].any(0).all()
        assert 2 <= chosen.sum() <= 3 or images == 4


def test_division_leaves_no_class_without_training():
    """Also where most images are for validation and a class has one."""
    labels = np.array([[1, 0], *[[0, 0]] * 5, [0, 1]], np.float32)
    for seed in range(5):
        chosen = for_validation(labels, np.arange(7), 0.6, seed)
        assert labels[~chosen].any(0).all() and chosen.sum() >= 2


def test_division_keeps_groups_together():
    generator = np.random.default_rng(1)
    groups = np.sort(generator.integers(0, 30, 100))
    labels = np.eye(3, dtype=np.float32)[groups % 3]
    chosen = for_validation(labels, groups, 0.2)
    assert all(len(set(chosen[groups == group])) == 1 for group in set(groups))
    assert 0.1 < chosen.mean() < 0.3
    # A class that is one group stays in the training.
    labels, groups = (
        np.eye(2, dtype=np.float32)[[0] * 10 + [1] * 3],
        np.array([*range(10), *[10] * 3]),
    )
    assert not for_validation(labels, groups, 0.3)[10:].any()


def test_ids():
    assert unique_ids(["a/1.jpg", "b/1.jpg", "b/1.png", "x y/Zoë (2).jpg", ";.jpg"]) == [
        "a_1", "b_1_jpg", "b_1_png", "Zoë_2", "photo"]  # fmt: skip
    assert unique_ids(["a b.jpg", "a;b.jpg", "A_B.jpg"]) == ["a_b_jpg", "a_b_jpg_2", "A_B_jpg_3"]
    paths = [f"{folder}/{name}.jpg" for folder in "abc" for name in ("1", "a_1", "b_1")]
    assert len({each.casefold() for each in unique_ids(paths)}) == len(paths)


# ---- the reader ------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    names = [f"{kind}/{number}.jpg" for kind in ("cat", "dog", "ok") for number in range(8)]
    return write_photos(tmp_path / "photos", *names)


def test_reader_divides_in_memory(folders):
    train, val = load(folders, "photos", negative=["ok"], crop_size=32)
    assert train.class_names == val.class_names == ("cat", "dog")
    assert len(train) + len(val) == 24 and not set(train.ids) & set(val.ids) and len(val) >= 3
    labels = {**dict(zip(train.ids, train.labels, strict=True)),
              **dict(zip(val.ids, val.labels, strict=True))}  # fmt: skip
    expected = {"cat": [1, 0], "dog": [0, 1], "ok": [0, 0]}
    assert all(row.tolist() == expected[name.split("_")[0]] for name, row in labels.items())
    assert train.labels.dtype == np.float32 and Path(train.image_paths[0]).is_file()
    again, _ = load(folders, "photos", negative=["ok"], crop_size=32)
    assert again.ids == train.ids
    other, _ = load(folders, "photos", negative=["ok"], split_seed=3, crop_size=32)
    assert other.ids != train.ids


def test_reader_makes_batches(folders):
    train, _ = load(folders, "photos", negative=["ok"])
    batch = next(iter(train.batches(crop=32, batch_size=4)))
    assert batch["image"].shape == (4, 32, 32, 3) and batch["labels"].shape == (4, 2)


def test_reader_keeps_what_looks_alike_in_one_list(folders):
    for number in range(3):
        image = Image.open(folders / f"cat/{number}.jpg")
        image.resize((112, 80)).save(folders / f"cat/{number} again.jpg", quality=60)
    for seed in range(5):
        train, val = load(folders, "photos", val_fraction=0.4, split_seed=seed)
        for number in range(3):
            pair = {f"cat_{number}", f"{number}_again"}
            assert pair <= set(train.ids) or pair <= set(val.ids)


def test_copies_with_other_tags_are_warned_of(folders, caplog):
    shutil.copy(folders / "cat/1.jpg", folders / "dog/a copy.jpg")
    load(folders, "photos")
    assert "look alike have different tags: cat_1 and a_copy" in caplog.text


def test_reader_of_photographs_that_all_look_alike(tmp_path, caplog):
    for number in range(12):
        path = tmp_path / ("good", "bad")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = photograph(1).copy()
        pixels[0, number] = 255
        Image.fromarray(pixels).save(path)
    train, val = load(tmp_path, "photos")
    assert len(val) == 2 and len(train) == 10
    assert "12 of 12 photographs look alike; they are divided one by one" in caplog.text


def test_reader_names_files_that_cannot_be_used(folders):
    path = folders / "cat/3.jpg"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(DataError, match=r"3\.jpg: cannot be decoded"):
        load(folders, "photos")
    path.write_bytes(good)
    Image.open(path).save(folders / "cat/9.tif")
    with pytest.raises(DataError, match=r"\(9\.tif\).*keras-wsss import"):
        load(folders, "photos")
    (folders / "cat/9.tif").unlink()
    with pytest.raises(DataError, match=r"none of \d+ photographs has a mask .*which this method"):
        load(folders, "photos", masks=True, val_fraction=0.3)
    with pytest.raises(DataError, match=r"mine\.txt: no such file"):
        load(folders, "photos", train_list="mine")
    with pytest.raises(DataError, match="of 24 photographs none is left for the list val"):
        load(folders, "photos", val_fraction=0)


def test_reader_of_own_lists(folders):
    (folders / "mine.txt").write_text("cat_1\n\ndog_2\ncat_1\n")
    (folders / "other.txt").write_text("dog_3\n")
    train, _ = load(folders, "photos", train_list="mine+other")
    assert train.ids == ("cat_1", "dog_2", "dog_3")
    (folders / "mine.txt").write_text("cat_1\ncat_77\n")
    with pytest.raises(DataError, match=r"mine\.txt: cat_77: no such photograph"):
        load(folders, "photos", train_list="mine")


def test_sources_need_no_tensorflow():
    import subprocess

    code = (
        "import sys, keras_wsss.data.photos.importing as i; sys.exit('tensorflow' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
    )
