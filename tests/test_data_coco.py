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


@pytest.fixture
def folder(tmp_path):
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
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2014.json").write_text(json.dumps(content))
    (tmp_path / "val2014").mkdir()
    for number in (42, 7, 9):
        image = Image.fromarray(photograph(number, HEIGHT, WIDTH))
        image.save(tmp_path / "val2014" / f"COCO_{number}.jpg")
    return tmp_path


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
    with pytest.raises(DataError, match=r"COCO_9\.jpg: cannot be read"):
        load_split(config(folder), "val")
    (folder / "annotations" / "instances_val2014.json").unlink()
    with pytest.raises(DataError, match="set data.root to the folder that holds"):
        load_split(config(folder), "val")


def test_mask_of_another_size(folder):
    Image.new("RGB", (5, 5)).save(folder / "val2014" / "COCO_9.jpg")
    split = load_split(config(folder), "val")
    with pytest.raises(DataError, match="image COCO_9: is 30x20 pixels, its image .* is 5x5"):
        split.mask(1)


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
