"""COCO annotations."""

import json

import numpy as np
import pytest
from data_folder import photograph
from PIL import Image, ImageDraw

from keras_wsss.config import DataConfig
from keras_wsss.data import evaluation_dataset, load_split
from keras_wsss.data.coco import decode_run_lengths, draw_objects, fill_polygon
from keras_wsss.errors import DataError

HEIGHT, WIDTH = 20, 30


def square(number, image, category, left, top, side, **extra):
    right, bottom = left + side, top + side
    outline = [left, top, right, top, right, bottom, left, bottom]
    return {"id": number, "image_id": image, "category_id": category, "area": side * side,
            "iscrowd": 0, "segmentation": [outline], **extra}  # fmt: skip


def write_coco(root):
    """Three images and a file of their outlines, `val2014`, in COCO's layout."""
    crowd = {"size": [HEIGHT, WIDTH], "counts": [0, 5 * HEIGHT, 25 * HEIGHT]}
    content = {
        "images": [
            {"id": number, "file_name": f"COCO_{number}.jpg", "height": HEIGHT, "width": WIDTH}
            for number in (42, 7, 9)
        ],
        "categories": [
            {"id": 18, "name": "dog"},
            {"id": 1, "name": "person"},
            {"id": 90, "name": "brush"},
        ],
        "annotations": [
            square(1, 7, 90, 8, 4, 4),
            square(2, 7, 18, 6, 2, 10),
            square(3, 7, 1, 0, 0, 1, iscrowd=1, segmentation=crowd),
            square(4, 9, 1, 1, 1, 3),
        ],
    }  # fmt: skip
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val2014.json").write_text(json.dumps(content))
    (root / "val2014").mkdir()
    for number in (42, 7, 9):
        image = Image.fromarray(photograph(number, HEIGHT, WIDTH))
        image.save(root / "val2014" / f"COCO_{number}.jpg")
    return root


@pytest.fixture
def folder(tmp_path):
    return write_coco(tmp_path)


def config(root, **settings):
    return DataConfig(kind="coco", root=root, train_list="val2014", val_list="val2014", **settings)


def test_tags_and_masks(folder):
    split = load_split(config(folder), "val")
    assert split.class_names == ("person", "dog", "brush")  # ascending ids 1, 18, 90
    assert split.ids == ("COCO_7", "COCO_9")
    assert split.dropped == {"images without any annotation": 1}
    np.testing.assert_array_equal(split.labels, [[1, 1, 1], [1, 0, 0]])
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[:, :5] = 255  # a crowd
    expected[2:12, 6:16] = 2
    expected[4:8, 8:12] = 3  # the smaller object is in front
    batch = next(iter(evaluation_dataset(split)))
    np.testing.assert_array_equal(batch["mask"][0], expected)


def test_subset_and_training_without_outlines(folder):
    split = load_split(config(folder, classes=("dog",)), "val")
    assert split.ids == ("COCO_7",)
    assert set(np.unique(split.mask(0))) == {0, 1, 255}
    train = load_split(config(folder), "train")
    assert train.mask_paths is None and train.read_mask is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(category_id=5), "annotation 1 has the category_id 5"),
        (lambda c: c["annotations"][0].update(image_id=5), "annotation 1 has the image_id 5"),
        (lambda c: c.pop("images"), r"instances_val2014\.json: not a COCO instances file"),
        (lambda c: c.update(annotations=[]), "the list is empty"),
    ],
)
def test_bad_annotations(folder, change, message):
    path = folder / "annotations" / "instances_val2014.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        load_split(config(folder), "val")


def test_missing_files(folder):
    (folder / "val2014" / "COCO_9.jpg").unlink()
    with pytest.raises(DataError, match=r"COCO_9\.jpg: cannot be read .*file_name is a path with"):
        load_split(config(folder), "val")
    (folder / "annotations" / "instances_val2014.json").unlink()
    with pytest.raises(DataError, match="set data.root to the folder that holds"):
        load_split(config(folder), "val")


def test_mask_of_another_size(folder):
    Image.new("RGB", (5, 5)).save(folder / "val2014" / "COCO_9.jpg")
    with pytest.raises(DataError, match="image COCO_9: is 30x20 pixels, its image .* is 5x5"):
        load_split(config(folder), "val")


def spoil(folder, change):
    path = folder / "annotations" / "instances_val2014.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def runs(counts, **size):
    return {"counts": counts, "size": [HEIGHT, WIDTH], **size}


OUTLINES = {
    "list not nested": ([1, 1, 5, 1, 5, 5], "neither polygons"),
    "nested too deeply": ([[[1, 1], [5, 1], [5, 5]]], "neither polygons"),
    "corners of one polygon": ([[1, 1], [5, 1], [5, 5], [1, 5]], "neither polygons"),
    "two corners nested too deeply": ([[[1, 1], [5, 5]]], "neither polygons"),
    "text": (["abc"], "neither polygons"),
    "texts": ([["1", "1", "5", "1", "5", "5"]], "neither polygons"),
    "a number": (7, "neither polygons"),
    "nothing inside": ([[1, 1, None, 1, 5, 5]], "neither polygons"),
    "not a number": ([[1, 1, float("nan"), 1, 5, 5]], "neither polygons"),
    "infinite": ([[1, 1, float("inf"), 1, 5, 5]], "neither polygons"),
    "beyond all measure": ([[1, 1, 10**30, 1, 5, 5]], "neither polygons"),
    "x without y": ([[1, 1, 5, 1, 5, 5, 2]], "a polygon with an x and no y"),
    "one x without y": ([[3]], "a polygon with an x and no y"),
    "right of the image": ([[31, 1, 40, 1, 40, 5]], "lies outside its image, which is 30x20"),
    "above the image": ([[1, -9, 5, -9, 5, -2]], "lies outside its image"),
    "runs too short": (runs([10, 20]), "run lengths of 30 pixels"),
    "runs too long": (runs([0, 10**12]), "run lengths of 1000000000000 pixels"),
    "runs below zero": (runs([-5, 605]), "run lengths that are no list of whole numbers"),
    "runs of parts": (runs([0.5, 599.5]), "run lengths that are no list of whole numbers"),
    "runs of text": (runs(["a"]), "run lengths that are no list of whole numbers"),
    "no runs": ({"size": [HEIGHT, WIDTH]}, "run lengths that are no list of whole numbers"),
    "runs of another size": (
        runs([0, 600], size=[30, 20]),
        r"whose size is not its image's, \[20, 30\]",
    ),
    "size is nonsense": (runs([0, 600], size="abc"), "whose size is not its image's"),
    "packed runs of another size": (runs(";32NO012004"), "run lengths of 35 pixels"),
    "packed nonsense": (runs("\0\uffffz~"), "compressed run lengths that cannot be read"),
    "packed without end": (runs("o" * 100_000), "compressed run lengths that cannot be read"),
    "packed and cut off": (runs("o"), "compressed run lengths that are cut off"),
    "nested deeply": (json.loads("[" * 150 + "]" * 150), "neither polygons"),
    "size nested deeply": (runs([0, 600], size=json.loads("[" * 150 + "]" * 150)), "whose size is"),
    "an empty mapping": ({}, "run lengths that are no list of whole numbers"),
    "none": (None, r"neither an outline nor a box \[x, y, width, height\]"),
    "no polygon": ([], "neither an outline nor a box"),
    "a polygon of nothing": ([[]], "neither an outline nor a box"),
    "a polygon of two corners": ([[1, 1, 5, 5]], "neither an outline nor a box"),
    "corners on one line": ([[1, 1, 5, 5, 9, 9]], "neither an outline nor a box"),
    "parts of the image": ([[0.1, 0.1, 0.5, 0.1, 0.5, 0.9]], "neither an outline nor a box"),
    "runs of nothing": (runs([600]), "neither an outline nor a box"),
    "packed runs of nothing": (runs("hb0"), "neither an outline nor a box"),
}


@pytest.mark.parametrize("name", OUTLINES)
def test_a_broken_outline_is_found_before_the_training(folder, name):
    outline, message = OUTLINES[name]
    spoil(folder, lambda content: content["annotations"][1].update(segmentation=outline))
    with pytest.raises(DataError, match=f"annotation 2, image COCO_7.jpg, .*{message}") as error:
        load_split(config(folder), "val")
    assert "; correct it, or remove the annotation" in str(error.value)
    load_split(config(folder), "train")  # reads no outline


@pytest.mark.parametrize(
    "outline", [[], [[7, 3, 7, 3, 7, 3]], [[7, 3, 9, 3, 11, 3]], [[0.2, 0.1, 0.5, 0.1, 0.5, 0.6]]]
)
def test_the_box_of_an_object_without_outline_is_ignored(folder, outline):
    def change(content):
        content["annotations"][1].update(segmentation=outline, bbox=[6, 2, 10, 10.0])

    spoil(folder, change)
    split = load_split(config(folder), "val")
    assert split.dropped["objects without outline, their boxes are ignored"] == 1
    np.testing.assert_array_equal(split.labels[0], [1, 1, 1])
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[:, :5] = 255
    expected[2:12, 6:16] = 255
    expected[4:8, 8:12] = 3
    np.testing.assert_array_equal(split.mask(0), expected)


@pytest.mark.parametrize("box", [None, [1, 2, 3], [1, 2, 3, -4], ["1", 2, 3, 4], 5])
def test_a_box_that_is_none(folder, box):
    spoil(folder, lambda content: content["annotations"][1].update(segmentation=[], bbox=box))
    with pytest.raises(DataError, match="annotation 2, .* neither an outline nor a box"):
        load_split(config(folder), "val")


def test_a_file_of_boxes_has_no_masks(folder):
    def change(content):
        for item in content["annotations"]:
            item.pop("segmentation")
            item["bbox"] = [1, 1, 5, 5]

    spoil(folder, change)
    assert load_split(config(folder), "val").mask_paths is None
    with pytest.raises(DataError, match="has boxes and no outlines, so there are no masks"):
        load_split(config(folder), "val", require_masks=True)


def test_outlines_in_parts_of_the_image(folder):
    def change(content):
        for item in content["annotations"]:
            item["segmentation"] = [[0.1, 0.1, 0.5, 0.1, 0.5, 0.9]]
            item["bbox"] = [1, 1, 5, 5]

    spoil(folder, change)
    with pytest.raises(DataError, match="no outline encloses anything; give x and y in pixels"):
        load_split(config(folder), "val")


def test_crowds_alone_are_no_masks(folder):
    spoil(folder, lambda content: [item.update(iscrowd=1) for item in content["annotations"]])
    with pytest.raises(DataError, match="no mask of the list val2014 holds a pixel of any class"):
        load_split(config(folder), "val")


def test_the_smaller_object_is_in_front_without_areas_too(folder):
    before = load_split(config(folder), "val").mask(0)
    for area in ({}, {"area": None}, {"area": 0}):

        def change(content, area=area):
            for item in content["annotations"]:
                item.pop("area", None)
                item.update(area)

        spoil(folder, change)
        np.testing.assert_array_equal(load_split(config(folder), "val").mask(0), before)


def test_a_background_category_is_no_class(folder):
    before = load_split(config(folder), "val")

    def change(content):
        content["categories"].append({"id": 0, "name": "_Background_"})
        content["annotations"].append(square(9, 42, 0, 2, 2, 8))
        content["annotations"].append(square(10, 9, 0, 0, 0, 20))

    spoil(folder, change)
    split = load_split(config(folder), "val")
    assert (split.class_names, split.ids) == (before.class_names, before.ids)
    np.testing.assert_array_equal(split.mask(1), before.mask(1))

    def last(content):  # numbers of classes come from the outlines, so that it may stand anywhere
        content["categories"][-1].update(id=95)
        for each in content["annotations"][4:]:
            each.update(category_id=95)

    spoil(folder, last)
    split = load_split(config(folder), "val")
    assert split.class_names == before.class_names
    np.testing.assert_array_equal(split.mask(1), before.mask(1))


ENTRIES = {
    "annotation without image": (
        lambda c: c["annotations"][0].pop("image_id"),
        "annotations, id 1, im",
    ),
    "annotation without category": (
        lambda c: c["annotations"][0].pop("category_id"),
        "id 1, categ",
    ),
    "area is text": (lambda c: c["annotations"][0].update(area="big"), "annotations, id 1, area: "),
    "area below zero": (lambda c: c["annotations"][0].update(area=-1), "annotations, id 1, area: "),
    "crowd is text": (lambda c: c["annotations"][0].update(iscrowd="x"), "id 1, iscrowd: "),
    "annotation is a number": (lambda c: c["annotations"].append(3), "annotations, 4: "),
    "annotations by name": (lambda c: c.update(annotations={"1": {}}), "annotations: "),
    "image without name": (lambda c: c["images"][0].pop("file_name"), "images, id 42, file_name: "),
    "image name is a number": (lambda c: c["images"][0].update(file_name=3), "id 42, file_name: "),
    "image name is empty": (lambda c: c["images"][0].update(file_name=""), "id 42, file_name: "),
    "image of no height": (lambda c: c["images"][1].update(height=0), "images, id 7, height: "),
    "image id is a list": (lambda c: c["images"][0].update(id=[1]), "images, 0, id: "),
    "image id nested deeply": (
        lambda c: c["images"][0].update(id=json.loads("[" * 150 + "]" * 150)),
        "images, 0, id: ",
    ),
    "category without name": (
        lambda c: c["categories"][0].pop("name"),
        "categories, id 18, name: ",
    ),
    "category name is a list": (lambda c: c["categories"][0].update(name=["x"]), "id 18, name: "),
    "no images": (lambda c: c.update(images=None), "images: "),
}


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("part", ["train", "val"])
def test_an_entry_of_another_shape(folder, name, part):
    change, message = ENTRIES[name]
    spoil(folder, change)
    wanted = rf"instances_val2014\.json: not a COCO instances file \(.*{message}.*\); it needs"
    with pytest.raises(DataError, match=wanted) as error:
        load_split(config(folder), part)
    assert "\n" not in str(error.value)


def test_ids_and_names_that_stand_for_two(folder, caplog):
    before = load_split(config(folder), "val")
    spoil(folder, lambda content: content["images"].append(content["images"][1]))
    split = load_split(config(folder), "val")
    assert split.ids == before.ids and "repeats 1 images; each counts once" in caplog.text
    np.testing.assert_array_equal(split.mask(0), before.mask(0))

    spoil(folder, lambda content: content["images"][3].update(file_name="COCO_7.png"))
    with pytest.raises(DataError, match="images: the id 7 stands for two"):
        load_split(config(folder), "val")
    spoil(folder, lambda content: content["images"][3].update(id=8))
    with pytest.raises(DataError, match=r"COCO_7.jpg and COCO_7.png would both be called COCO_7"):
        load_split(config(folder), "val")
    spoil(folder, lambda content: content["images"].pop())
    spoil(folder, lambda content: content["categories"].append({"id": 2, "name": " Dog"}))
    with pytest.raises(DataError, match="names the class 'dog' twice"):
        load_split(config(folder), "val")


@pytest.mark.parametrize("text", ["", "[1]", "[" * 100_000, '{"images": "\ud800"', "\0"])
def test_what_is_no_instances_file(folder, text):
    path = folder / "annotations" / "instances_val2014.json"
    path.write_text(text, errors="replace")
    with pytest.raises(DataError, match=r"instances_val2014\.json: ") as error:
        load_split(config(folder), "val")
    assert "\n" not in str(error.value) and "Instances" not in str(error.value)


def test_an_image_without_a_size_serves_for_training_alone(folder):
    spoil(folder, lambda content: content["images"][1].pop("width"))
    assert len(load_split(config(folder), "train")) == 2
    with pytest.raises(DataError, match=r"image COCO_7\.jpg has no width or height; add them"):
        load_split(config(folder), "val")


def test_polygon_against_a_drawing_32_times_larger():
    """Pixels whose centre is inside, also of polygons that cross themselves or the border."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        points = rng.uniform(-5, [WIDTH + 5, HEIGHT + 5], (7, 2))
        inside = fill_polygon(points, HEIGHT, WIDTH)
        parity = np.zeros((32 * HEIGHT, 32 * WIDTH), bool)
        for b, c in zip(points[1:-1], points[2:], strict=True):  # a fan of triangles
            canvas = Image.new("1", (32 * WIDTH, 32 * HEIGHT))
            corners = [tuple(32.0 * corner - 0.5) for corner in (points[0], b, c)]
            ImageDraw.Draw(canvas).polygon(corners, fill=1)
            parity ^= np.asarray(canvas)
        share = parity.reshape(HEIGHT, 32, WIDTH, 32).mean((1, 3))
        # Lines between neighbouring triangles are drawn twice: a few percent of a pixel.
        clear = (share < 0.1) | (share > 0.9)
        assert clear.mean() > 0.6
        np.testing.assert_array_equal(inside[clear], share[clear] > 0.5)


def test_run_lengths():
    expected = np.zeros((5, 7), bool)
    expected[1:4, 2:6] = True
    expected[2, 3] = False
    # the text was made with pycocotools.mask.encode
    for counts in (";32NO012004", [11, 3, 2, 1, 1, 1, 2, 3, 2, 3, 6]):
        np.testing.assert_array_equal(decode_run_lengths(counts, 5, 7), expected)


def test_nothing_drawn_is_background():
    assert not draw_objects([], {}, 3, 3).any()


def test_joined_lists_draw_each_image_from_its_own_file(folder):
    content = json.loads((folder / "annotations" / "instances_val2014.json").read_text())
    content["images"] = [image for image in content["images"] if image["id"] == 9]
    content["images"][0]["file_name"] = "COCO_10.jpg"
    content["annotations"] = [square(1, 9, 18, 2, 3, 5)]
    (folder / "annotations" / "instances_more.json").write_text(json.dumps(content))
    (folder / "more").mkdir()
    Image.fromarray(photograph(10, HEIGHT, WIDTH)).save(folder / "more" / "COCO_10.jpg")
    data = DataConfig(kind="coco", root=folder, val_list="val2014+more")
    split, alone = (
        load_split(data, "val"),
        load_split(data.model_copy(update={"val_list": "val2014"}), "val"),
    )
    assert split.ids == (*alone.ids, "COCO_10")
    for position in range(len(alone)):
        np.testing.assert_array_equal(split.mask(position), alone.mask(position))
    dog = split.class_names.index("dog") + 1
    assert set(np.unique(split.mask(len(alone)))) == {0, dog}
    assert next(iter(evaluation_dataset(split, positions=[2])))["index"][0] == 2
