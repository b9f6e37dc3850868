"""What can be understood in two ways is refused, and what lies beside tags is not in the way."""

import json

import pytest
from test_photos import coco, excel, read, tags_of, write_photos

from keras_wsss.data.photos.importing import import_photos
from keras_wsss.data.photos.labels import label
from keras_wsss.data.photos.recognise import find_source
from keras_wsss.errors import DataError


@pytest.fixture
def four(tmp_path):
    return write_photos(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg")


# ---- which column, which photograph ----------------------------------------------------------


def test_whole_file_names_say_more_than_the_name_of_a_column(four):
    source = read(four, "id,Datei,tags\n1,3.jpg,cat\n2,4.jpg,dog\n3,1.jpg,cat\n4,2.jpg,dog\n")
    assert source.taken.startswith("columns of images: Datei")
    assert tags_of(source)["1.jpg"] == tags_of(source)["3.jpg"] == ("cat",)
    source = read(four, "id,Datei,tags\n1,3.jpg,cat\n2,4.jpg,dog\n")
    assert tags_of(source) == {"1.jpg": None, "2.jpg": None, "3.jpg": ("cat",), "4.jpg": ("dog",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,image,tags\n1,3,cat\n2,4,dog\n", "'id' and 'image'.*line 2: '1' and '3'"),
        ("Bild,Datei,tags\n1.jpg,3.jpg,cat\n", "'Bild' and 'Datei'.*line 2: '1.jpg' and '3.jpg'"),
        ("nr,alter,tags\n1,3,cat\n2,4,dog\n", "'nr' and 'alter'"),
    ],
)
def test_two_columns_of_photographs_that_disagree(four, text, message):
    with pytest.raises(DataError, match=f"tags.csv: the columns {message}.*take one .*out"):
        read(four, text)


def test_two_columns_of_photographs_that_agree(four):
    source = read(four, "image,path,tags\n1,set/1.jpg,cat\n2,set/2.jpg,dog\n")
    assert tags_of(source)["2.jpg"] == ("dog",)


def test_columns_of_classes_name_no_photographs(tmp_path):
    write_photos(tmp_path, "0.jpg", "1.jpg", "2.jpg")
    assert tags_of(read(tmp_path, "cat,nummer,dog\n1,2,0\n0,1,1\n1,0,1\n")) == {
        "0.jpg": ("cat", "dog"),
        "1.jpg": ("dog",),
        "2.jpg": ("cat",),
    }


def test_two_files_of_a_table_are_not_one_photograph(four):
    """Of what was converted since only one file is there."""
    assert tags_of(read(four, "file,tags\n1.png,cat\n2.jpg,dog\n"))["1.jpg"] == ("cat",)
    with pytest.raises(DataError, match=r"line 3: '1\.png' and '1\.jpg' .*only 1\.jpg"):
        read(four, "file,tags\n1.jpg,cat\n1.png,dog\n2.jpg,dog\n")


def test_an_imported_set_is_read_as_it_was_written(tmp_path):
    """The id img.jpg is that of the file img.jpg.webp, not of img.jpg."""
    write_photos(tmp_path / "photos", "cat/img.jpg", "cat/2.jpg", "dog/img.jpg.webp", "dog/4.jpg")
    import_photos(tmp_path / "photos", tmp_path / "set")
    tags = tags_of(find_source(tmp_path / "set"))
    assert tags["photos/img.jpg"] == ("cat",) and tags["photos/img.jpg.webp"] == ("dog",)
    (tmp_path / "set/photos/img.jpg.webp").unlink()
    source = find_source(tmp_path / "set")
    assert tags_of(source)["photos/img.jpg"] == ("cat",)
    assert [each.name for each in source.dropped] == ["img.jpg"]


# ---- tags ------------------------------------------------------------------------------------


@pytest.mark.parametrize("joined", ["cat/dog", "cat dog", "Cat + dog", "dog & cat"])
def test_tags_that_are_joined_otherwise(four, joined):
    text = f"file,tags\n1.jpg,cat\n2.jpg,dog\n3.jpg,{joined}\n"
    with pytest.raises(DataError, match=r"line 4: '.*' are several tags.*';'.*classes\.txt"):
        read(four, text)
    (four / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(DataError, match=r"line 4: '.*' are several tags.*';'"):
        label(read(four, text))
    (four / "classes.txt").write_text(f"cat\ndog\n{joined}\n")  # somebody has meant it
    assert tags_of(read(four, text))["3.jpg"] == (joined,)


def test_names_of_several_words_are_tags(four):
    source = read(four, "file,tags\n1.jpg,red car\n2.jpg,car\n3.jpg,red car;dog\n")
    assert source.class_names == ("red car", "car", "dog")


def test_a_column_of_counts_is_not_passed_over(four):
    text = "file,cat,dog,camera\n1,1,0,a\n2,0,2,b\n3,1,0,a\n4,0,1,a\n"
    with pytest.raises(DataError, match=r"tags\.csv: the column 'dog' holds numbers above 1"):
        read(four, text)
    source = read(four, text.replace("2,0,2", "2,0,1"))
    assert source.class_names == ("cat", "dog") and "not camera" in source.taken
    source = read(four, "file,cat,year,row\n1,1,2020,0\n2,0,2021,1\n3,1,2020,2\n")
    assert source.class_names == ("cat",) and "not year, row" in source.taken


def test_a_table_without_a_line_of_names(four):
    (four / "tags.csv").write_text("1.jpg,cat\n2.jpg,dog\n3.jpg,cat\n")
    for column in (None, "cat"):
        with pytest.raises(DataError, match=r"tags\.csv: the first line seems to be data"):
            find_source(four / "tags.csv", tags_column=column)


def test_labels_of_ignored_pixels_are_no_classes(four):
    image = '<image id="{0}" name="{0}.jpg"><polygon label="{1}"/><box label="ignore"/></image>'
    labels = "".join(f"<label><name>{n}</name></label>" for n in ("cat", "ignore", "background"))
    images = image.format(1, "cat") + image.format(2, "background") + image.format(3, "ignore")
    (four / "annotations.xml").write_text(
        f"<annotations><meta><task><labels>{labels}</labels></task></meta>{images}</annotations>"
    )
    found = label(find_source(four), untagged="negative")
    assert found.class_names == ("cat",) and found.labels.ravel().tolist() == [1, 0, 0]


# ---- what lies beside the tags ---------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    return write_photos(tmp_path, *(f"{kind}/{n}.jpg" for kind in ("cat", "dog") for n in range(3)))


def captions(folder):
    for path in folder.rglob("*.jpg"):
        path.with_suffix(".txt").write_text("a photo of it")


def budget(folder):
    excel(folder / "budget.xlsx", [["x", "y"], [1, 2]], [["class", "of"], [2, 3]])


STRAY = {
    "captions": captions,
    "captions and a list": lambda f: (captions(f), (f / "classes.txt").write_text("cat\ndog\n")),
    "table of something": lambda f: (f / "exif.csv").write_text("name,iso\nCanon,100\nIXUS,50\n"),
    "counts of classes": lambda f: (f / "stats.csv").write_text("class,number\ncat,3\ndog,3\n"),
    "list of something": lambda f: (f / "exif.json").write_text('[{"name": "Canon", "iso": 100}]'),
    "ragged table": lambda f: (f / "exif.csv").write_text("name,iso\nCanon,100,200\n"),
    "sheets": budget,
    "broken JSON": lambda f: (f / "cat/x.json").write_text("{"),
    "broken XML": lambda f: (f / "cat/x.xml").write_text("<a><b></a>"),
}
SAID = ("sheets", "ragged table", "broken JSON", "broken XML")


@pytest.mark.parametrize("stray", STRAY)
@pytest.mark.parametrize("format", [None, "folders"])
def test_stray_files_do_not_block_folders(folders, stray, format):
    STRAY[stray](folders)
    source = find_source(folders, format=format)
    assert source.kind == "folders" and source.class_names == ("cat", "dog")
    said = [text for text in source.warnings if "was not looked at: " in text]
    assert bool(said) == (stray in SAID and format is None)


def test_a_table_that_is_meant_has_to_be_readable(folders):
    """Folders are not taken in its place."""
    (folders / "tags.csv").write_text("id,tags\ncat/1,cat\ncat/2,cat,dog\n")
    with pytest.raises(DataError, match=r"tags\.csv, line 3: has 3 cells"):
        find_source(folders)
    assert find_source(folders, format="folders").kind == "folders"


def test_what_alone_may_be_meant_has_to_be_readable(four):
    (four / "coco.json").write_text("{")
    with pytest.raises(DataError, match=r"coco\.json: not readable as JSON"):
        find_source(four)


@pytest.mark.parametrize("format", [None, "folders"])
def test_folders_above_the_source_do_not_count(tmp_path, format):
    source = write_photos(tmp_path / "labels/mine", "cat/1.jpg", "dog/2.jpg")
    (source / "notes.txt").write_text("hello")
    assert find_source(source, format=format).class_names == ("cat", "dog")


# ---- where the photographs are ---------------------------------------------------------------


def test_a_folder_of_annotations_beside_the_photographs(tmp_path):
    write_photos(tmp_path / "coco/images", "1.jpg", "2.jpg", "3.jpg")
    (tmp_path / "coco/annotations").mkdir()
    (tmp_path / "coco/annotations/instances.json").write_text(json.dumps(coco()))
    found = find_source(tmp_path / "coco/annotations")
    assert [photo.tags for photo in found.photographs] == [("cat",), ("dog", "cat"), ()]
    write_photos(tmp_path / "voc/JPEGImages", "1.jpg", "2.jpg")
    (tmp_path / "voc/Annotations").mkdir()
    for name, tag in {"1": "cat", "2": "dog"}.items():
        text = f"<annotation><object><name>{tag}</name></object></annotation>"
        (tmp_path / f"voc/Annotations/{name}.xml").write_text(text)
    found = find_source(tmp_path / "voc/Annotations")
    assert [photo.tags for photo in found.photographs] == [("cat",), ("dog",)]
    write_photos(tmp_path / "yolo/images", "1.jpg", "2.jpg")
    (tmp_path / "yolo/labels").mkdir()
    (tmp_path / "yolo/labels/classes.txt").write_text("cat\ndog\n")
    (tmp_path / "yolo/labels/1.txt").write_text("1 .5 .5 .1 .1\n")
    found = find_source(tmp_path / "yolo/labels")
    assert [photo.tags for photo in found.photographs] == [("dog",), ()]


# ---- folders that are no classes -------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "odd"),
    [
        ("images/1.jpg images/2.jpg masks/1.jpg masks/2.jpg", "masks"),
        ("images/1.jpg images/2.jpg gt/1.png gt/2.png", "gt and images"),
        ("cat/1.jpg dog/2.jpg Annotations/3.png", "Annotations"),
        ("train/cat/1.jpg train/dog/2.jpg val/cat/3.jpg misc/x/4.jpg", "train and val"),
        ("train/1.jpg test/2.jpg misc/4.jpg", "test and train"),
    ],
)
def test_folders_of_another_layout_are_no_classes(tmp_path, names, odd):
    write_photos(tmp_path, *names.split())
    with pytest.raises(DataError, match=f"the folders {odd} \\(of .* seem to be no classes"):
        find_source(tmp_path)


@pytest.mark.parametrize("names", ["car/1.jpg bus/1.jpg train/1.jpg", "a/1.jpg a/2.jpg b/1.png"])
def test_folders_that_may_be_classes(tmp_path, names):
    write_photos(tmp_path, *names.split())
    assert len(find_source(tmp_path).class_names) > 1
