"""Files of tags and class lists as people have them: what is read, and what is refused."""

import json
import logging
import re

import numpy as np
import pytest
from data_folder import write_list, write_voc

from keras_wsss.class_names import foreground
from keras_wsss.config import DataConfig, load_config
from keras_wsss.data import load_split
from keras_wsss.data.classes import VOC_CLASSES, chosen_classes
from keras_wsss.data.text import read_text
from keras_wsss.errors import ConfigError, DataError
from keras_wsss.photographs import find_photographs

GOOD = "id,tags\nimage_0,cat\nimage_1,dog\nimage_2,cat;horse\n"
TAGS = [{"cat"}, {"dog"}, {"cat", "horse"}]


@pytest.fixture
def folder(tmp_path):
    """Three photographs; tags and class list are written by the test."""
    write_voc(tmp_path, images=3, masks=False)
    (tmp_path / "labels.json").unlink()
    (tmp_path / "classes.txt").write_text("cat\ndog\nhorse\n")
    return tmp_path


def load(folder, part="train", **settings):
    return load_split(DataConfig(kind="voc", root=folder, train_list="train", **settings), part)


def tags_of(folder, **settings):
    split = load(folder, **settings)
    return [{split.class_names[c] for c in np.flatnonzero(row)} for row in split.labels]


# --- tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [
        GOOD,
        "id,tags\nimage_0,cat\nimage_1,dog\nimage_2,cat\nimage_2,horse\n",  # a line for each tag
        "id,tags\n\nimage_0,Cat\nimage_1, dog \n,\nimage_2,CAT; Horse;cat\n",
        'tags,id,width\n"cat",image_0,5\ndog,"image_1"\ncat;horse,image_2,7,,\n',
        GOOD.replace("\n", "\r"),
        GOOD.replace("id,tags", " ID,Tags"),
    ],
)
def test_a_table_is_taken_whole(folder, table):
    (folder / "labels.csv").write_text(table, newline="")
    assert tags_of(folder) == TAGS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("image_2,cat,horse", "line 4: has 3 fields, the first line 2; separate tags"),
        ("image_2", "line 4: the line is cut off"),
        (",cat", "line 4: has no id"),
        ('"image_2,cat', r"line 4: no line of a table \(unexpected end"),
        ('image_2,"cat;horse', r"line 4: no line of a table \(unexpected end"),
        *(
            (f"image_2,{tags}", "line 4, image image_2: .* are several tags; separate them by ';'")
            for tags in (
                "cat|horse",
                '"cat,horse"',
                "cat / Horse",
                "cat horse",
                "\"['cat', 'dog']\"",
            )
        ),
        ("image_2,cat|goat", r"line 4, image image_2: the tag 'cat\|goat' is in no class list"),
        (f"image_2,{'x' * 200_000}", r"line 4: no line of a table \(field larger"),
    ],
)
def test_a_line_that_cannot_be_taken_whole(folder, line, message):
    (folder / "labels.csv").write_text(f"id,tags\nimage_0,cat\nimage_1,dog\n{line}\n")
    with pytest.raises(DataError, match=rf"labels\.csv, {message}"):
        load(folder)


def test_a_tag_behind_the_named_columns_is_no_comment(folder):
    rows = "image_0,cat,\nimage_1,dog,\nimage_2,cat,horse\n"
    (folder / "labels.csv").write_text(f"id,tags,\n{rows}")  # as Excel saves it
    with pytest.raises(DataError, match=r"labels\.csv, line 4: has 3 fields, the first line 2"):
        load(folder)
    (folder / "labels.csv").write_text(f"id,tags,note\n{rows}")
    assert tags_of(folder) == [{"cat"}, {"dog"}, {"cat"}]


@pytest.mark.parametrize(
    "header",
    [*("", "id;tags", "id\ttags", "id,tags,tags", "image_0,cat"), "id,tags,tags2", "id,tags,tag 2"],
)
def test_a_table_needs_its_two_columns(folder, header):
    (folder / "labels.csv").write_text(f"{header}\nimage_0,cat\n")
    with pytest.raises(DataError, match=r"labels\.csv: the first line must name the columns"):
        load(folder)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("image_0.jpg", "'image_0.jpg'"),
        ("JPEGImages\\image_0.JPG", r"'JPEGImages\\image_0.JPG'"),
        ("IMAGE_0", "'IMAGE_0'"),
        ("\u200bimage_0", r"'\u200bimage_0'"),
    ],
)
def test_ids_that_are_written_otherwise(folder, written, shown, caplog):
    (folder / "labels.csv").write_text(GOOD.replace("image_0", written))
    wanted = f"image image_0 is not in the table (but {shown} is; ids are file names without"
    with pytest.raises(DataError, match=re.escape(wanted)):
        load(folder)
    (folder / "labels.csv").write_text(f"{GOOD}{written},horse\n")
    with caplog.at_level(logging.WARNING):
        load(folder)
    assert "labels.csv: are 'image_0' and" in caplog.text
    (folder / "labels.csv").write_text(GOOD)
    write_list(folder, "train", [written])
    with pytest.raises(DataError, match=r"is not in the table \(but 'image_0' is; ids are"):
        load(folder)


def test_ids_and_files_in_two_forms_of_unicode(folder):
    (folder / "labels.csv").write_text(GOOD.replace("image_0", "b\xe4r"))
    write_list(folder, "train", ["b\xe4r", "image_1"])
    (folder / "JPEGImages/image_0.jpg").rename(folder / "JPEGImages/ba\u0308r.jpg")
    with pytest.raises(DataError, match=r"is not there \(but 'ba\\u0308r' is; ids are"):
        load(folder)


def test_leading_zeros_that_a_spreadsheet_lost(folder):
    (folder / "labels.csv").write_text("id,tags\n7,cat\n")
    write_list(folder, "train", ["0007"])
    with pytest.raises(DataError, match=r"image 0007 is not in the table \(but '7' is; ids are"):
        load(folder)


def test_an_image_twice_in_a_list_counts_once(folder, caplog):
    (folder / "labels.csv").write_text(GOOD)
    write_list(folder, "train", ["image_1", "image_0", "image_1", " image_1"])
    with caplog.at_level(logging.WARNING):
        assert load(folder).ids == ("image_1", "image_0")
    assert "train.txt: repeats 2 ids; each counts once" in caplog.text


# --- encodings --------------------------------------------------------------------------------

NAMES = ["cat", "kätzchen", "horse"]
UMLAUTS = {
    "classes.txt": "cat\r\nkätzchen\r\nhorse\r\n",
    "labels.csv": GOOD.replace("dog", "kätzchen").replace("\n", "\r\n"),
    "labels.json": json.dumps(
        {
            "classes": ["background", *NAMES],
            "images": {f"image_{n}": {"labels_from_boxes": [n + 1]} for n in range(3)},
        },
        ensure_ascii=False,
    ),
}


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252"]
)
@pytest.mark.parametrize("name", UMLAUTS)
def test_text_made_on_windows(folder, name, encoding, caplog):
    for file in ("classes.txt", "labels.csv" if name == "classes.txt" else name):
        (folder / file).write_text(UMLAUTS[file], encoding="utf-8", newline="")
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (folder / name).write_bytes((mark + UMLAUTS[name]).encode(encoding))
    with caplog.at_level(logging.WARNING):
        assert load(folder).class_names == tuple(NAMES)
    guessed = f"{name}: is not UTF-8, read as Windows-1252" in caplog.text
    assert guessed == (encoding == "cp1252") and ("kätzchen" in caplog.text) == guessed


def test_lists_made_by_powershell(folder):
    (folder / "labels.csv").write_text(GOOD)
    path = folder / "ImageSets/Segmentation/train.txt"
    path.write_bytes("image_2\r\nimage_0\r\n".encode("utf-16"))
    assert load(folder).ids == ("image_2", "image_0")
    path.write_bytes(path.read_bytes() + "image_1\r\n".encode("utf-16"))  # two files joined
    assert load(folder).ids == ("image_2", "image_0", "image_1")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_lists_of_photographs_that_a_command_is_given(folder, encoding):
    (folder / "JPEGImages/image_0.jpg").rename(folder / "JPEGImages/B\xe4r.jpg")
    path = folder / "list.txt"
    path.write_bytes("JPEGImages/B\xe4r.jpg\r\n\r\nJPEGImages/image_1.jpg\r\n".encode(encoding))
    if encoding == "cp1252":
        with pytest.raises(DataError, match=r"list\.txt: no readable text .*; save it as UTF-8"):
            find_photographs([path])
    else:
        assert [each.name for each in find_photographs([path])] == ["B\xe4r", "image_1"]


def test_a_configuration_made_on_windows(folder):
    path = folder / "mine.yaml"
    path.write_bytes("extends: photos\ndata: {root: B\xe4r}\n".encode("utf-16"))
    assert load_config(path).data.root.name == "B\xe4r"
    path.write_bytes("extends: photos\ndata: {root: B\xe4r}\n".encode("cp1252"))
    with pytest.raises(ConfigError, match=r"mine\.yaml: .*; allowed: YAML in UTF-8"):
        load_config(path)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"PK\x03\x04\x14",  # a workbook of Excel
        "cat\n".encode("utf-16-le"),  # without a mark
        b"\xff\xfec",
        b"caf\x81",
    ],
)
def test_what_is_no_text_is_one_message(folder, data):
    (folder / "labels.csv").write_text(GOOD)
    for name in ("labels.csv", "classes.txt", "ImageSets/Segmentation/train.txt"):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(data)
        with pytest.raises(DataError, match=rf"{name}: no .*text.*; save it as UTF-8") as error:
            load(folder)
        assert "\n" not in str(error.value)
        (folder / name).write_bytes(kept)


def test_a_path_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "none.txt", tmp_path / "a\0b", tmp_path / ("x" * 5000)):
        with pytest.raises(DataError, match=r"cannot be read \(|no such file; put it there"):
            read_text(path)


def annotation(name, encoding):
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    return f"{head}<annotation><object><name>{name}</name></object></annotation>"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "kätzchen"),
        ("ISO-8859-1", "kätzchen"),
        ("utf-16", "kätzchen"),
        ("gb2312", "小猫"),
        ("gbk", "小貓"),
        ("shift_jis", "子猫"),
        ("euc-kr", "고양이"),
    ],
)
def test_annotations_in_the_encoding_that_they_name(folder, encoding, name):
    (folder / "Annotations").mkdir()
    (folder / "classes.txt").write_text(f"{name}\ndog\n", encoding="utf-8")
    for n in range(3):
        text = annotation(name, encoding)
        (folder / f"Annotations/image_{n}.xml").write_bytes(text.encode(encoding))
    assert tags_of(folder) == [{name}] * 3


@pytest.mark.parametrize("encoding", ["utf8mb4", "hex", "nonsense", "\xe4"])
def test_annotations_in_an_unknown_encoding(folder, encoding):
    (folder / "Annotations").mkdir()
    for n in range(3):
        text = annotation("cat", encoding).encode("latin-1")
        (folder / f"Annotations/image_{n}.xml").write_bytes(text)
    with pytest.raises(DataError, match=r"image_0\.xml: no readable text .*; save it as UTF-8"):
        load(folder)


# --- labels.json ------------------------------------------------------------------------------

CLASSES = ["background", "cat", "dog"]


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": {"image_0": [1]}}, r"images > image_0: .*dictionary\); it needs"),
        ({"images": {"image_0": None}}, r"images > image_0: .*dictionary\); it needs"),
        ({"images": {"image_0": "labels_from_boxes"}}, r"images > image_0: .*; it needs"),
        ({"images": [{"id": "image_0", "labels": [1]}]}, r"images: .*dictionary\); it needs"),
        ({"images": [["image_0", {}]]}, r"images: .*dictionary\); it needs"),
        ({"images": {"image_0": {}}}, r"image image_0 has no 'labels_from_boxes' \(it has noth"),
        ({"tags": None}, "image image_0: 'labels_from_boxes' is no list"),
        ({"tags": 1}, "image image_0: 'labels_from_boxes' is no list"),
        ({"tags": {"1": 1}}, "image image_0: 'labels_from_boxes' is no list"),
        ({"tags": "cat"}, "image image_0: 'labels_from_boxes' is no list"),
        ({"tags": ["cat"]}, "image image_0 has the tag 'cat', which is in no class list"),
        ({"tags": [[1]]}, "image image_0 has the tag list, which is in no class list"),
        ({"tags": [True]}, "image image_0 has the tag True, which is in no class list"),
        ({"tags": [1.0]}, "image image_0 has the tag 1.0, which is in no class list"),
        ({"tags": [0]}, "image image_0 has the tag 0, which is in no class list"),
        ({"tags": [-1]}, "image image_0 has the tag -1, which is in no class list"),
        ({"ignore_id": None}, "ignore_id: Input should be"),
        ({"ignore_id": 300}, "ignore_id: Input should be"),
        ({"ignore_id": -1}, "ignore_id: Input should be"),
        ({"ignore_id": 2}, "ignore_id 2 is the id of 'dog'; choose one from 3 to 255"),
        ({"ignore_id": 0}, "ignore_id 0 is the id of 'background'"),
        ({"classes": "background"}, "classes: Input should be a valid list"),
        ({"classes": ["background", 1]}, "classes > 1: Input should be a valid string"),
        ({"classes": ["cat", "dog"]}, r"classes\[0\] is not 'background'"),
        ({"classes": ["cat", "background"]}, r"classes\[0\] is not 'background'"),
        ({"classes": ["background"]}, "classes: names no class"),
        ({"classes": []}, r"classes\[0\] is not 'background'"),
        ({"classes": ["background", "cat", " Cat"]}, "names the class 'Cat' twice"),
        ({"classes": ["background", "a\nb"]}, r"'a\\nb' is no name of a class"),
        ({"classes": ["background", "\ud800"]}, "not readable as JSON"),
        ({"classes": ["background", *map(str, range(300))]}, "names 300 classes"),
    ],
)
def test_a_labels_json_of_another_shape(folder, change, message):
    tags = change.pop("tags", [1])
    content = {"classes": CLASSES, "images": {"image_0": {"labels_from_boxes": tags}}, **change}
    (folder / "labels.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"labels\.json: .*{message}") as error:
        load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        "null",
        "{",
        "",
        nested(100_000),
        f'{{"classes": ["background", "cat"], "images": {{"image_0": {nested(900)}}}}}',
        f'{{"classes": ["background", "cat"], "images": {{"image_0": {"9" * 5000}}}}}',
        '{"classes": ["background", "cat"], "images": {"image_0": {"labels_from_boxes": [NaN]}}}',
        '{"classes": ["background", "cat"], "images": {"a": {}, "a": {}}}',
    ],
)
def test_json_of_any_kind_is_one_message(folder, text):
    (folder / "labels.json").write_text(text)
    with pytest.raises(DataError, match=r"labels\.json: ") as error:
        load(folder)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


# --- class lists ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        ["background"],
        ["_background_"],
        ["Background"],
        ["  BACKGROUND "],
        ["back-ground"],
        ["bg"],
        ["bkg"],
        ["__ignore__"],
        ["__ignore__", "_background_"],
    ],
)
def test_the_background_is_no_class_however_it_is_written(folder, head):
    assert foreground([*head, "cat", "dog"], "list") == ("cat", "dog")
    assert chosen_classes(("cat", "dog"), (*head, "Dog"), "list") == ("dog",)
    (folder / "labels.csv").write_text(GOOD)
    (folder / "classes.txt").write_text("\n".join([*head, "cat", "dog", "horse"]))
    assert load(folder).class_names == ("cat", "dog", "horse")
    (folder / "classes.txt").unlink()
    (folder / "labels.csv").write_text(GOOD.replace("dog", "hond"))
    split = load(folder, classes=(*head, "cat", "hond", "horse"))
    assert split.class_names == ("cat", "hond", "horse") and split.mask_map[1] == 1


@pytest.mark.parametrize(
    "names",
    [
        ["cat", "background"],
        ["_background_", "__ignore__", "cat"],
        ["cat", "BG"],
        ["cat", "Ignore"],
    ],
)
def test_a_background_elsewhere_is_an_error(folder, names):
    (folder / "labels.csv").write_text(GOOD)
    (folder / "classes.txt").write_text("\n".join(names))
    with pytest.raises(DataError, match=r"classes\.txt: '.*' is no class, and can only stand at"):
        load(folder)


def test_a_tag_that_names_the_background_says_nothing(folder):
    (folder / "labels.csv").write_text(GOOD.replace("dog", "Background;dog;_background_"))
    assert tags_of(folder) == TAGS
    (folder / "labels.csv").write_text(GOOD.replace("dog", "background"))
    with pytest.raises(DataError, match=r"labels\.csv: image image_1 has no tag; add its tags"):
        load(folder)


def test_names_that_only_look_like_the_background():
    assert foreground(["backgrounds", "bgs", "★"], "list") == ("backgrounds", "bgs", "★")


def test_the_class_list_spells_the_names(folder):
    (folder / "classes.txt").write_text("Cat\nDOG\n Horse \n")
    (folder / "labels.csv").write_text(GOOD)
    assert load(folder).class_names == ("Cat", "DOG", "Horse")
    assert load(folder, classes=("horse", "cat")).class_names == ("Horse", "Cat")
    decomposed = ["katze\u0301", "dog"]
    assert chosen_classes(decomposed, ["KATZ\u00c9"], "list") == ("katze\u0301",)
    with pytest.raises(DataError, match=r"data\.classes: names the class 'DOG' twice"):
        chosen_classes(decomposed, ["dog", "DOG"], "list")


def test_names_of_voc_count_where_no_list_is_given(folder):
    (folder / "classes.txt").unlink()
    (folder / "labels.csv").write_text(GOOD)
    assert load(folder).class_names == VOC_CLASSES
    for classes in (("dog", "cat"), ("Dog", "CAT")):
        assert load(folder, classes=classes).mask_map[[8, 12]].tolist() == [2, 1]


def test_more_classes_than_masks_can_tell_apart(folder):
    names = [*CLASSES[1:], *(f"class {number}" for number in range(253)), "last"]
    (folder / "classes.txt").write_text("\n".join(names))
    (folder / "labels.csv").write_text(GOOD.replace("horse", "class 251"))
    with pytest.raises(DataError, match="classes; masks, which have 8 bits, can tell 254 apart"):
        load(folder)
    split = load(folder, classes=("cat", "dog", "class 251"))
    assert split.labels[2].tolist() == [1, 0, 1]
    assert split.mask_map[[1, 2, 254, 255]].tolist() == [1, 2, 3, 255]
    with pytest.raises(DataError, match="last is class 256, and ids in masks.* end at 254; move"):
        load(folder, classes=("cat", "last"))
