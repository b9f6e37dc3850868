"""Label Studio's brush masks come back as the masks of an imported folder."""

import json

import numpy as np
import pytest
from data_folder import photograph
from PIL import Image

from keras_wsss.config import load_config
from keras_wsss.data.loading import load_splits
from keras_wsss.data.photos.brushes import Brush, brushed
from keras_wsss.data.photos.importing import import_photos
from keras_wsss.errors import DataError
from keras_wsss.inference.label_formats import LabelledPhoto, write_labels
from keras_wsss.inference.label_formats.label_studio import brush_rle

NAMES = ["cat", "dog"]
SIZE = 48, 64


def masks():
    """Two classes and ignored pixels, one class, nothing."""
    both, one, none = np.zeros((3, *SIZE), np.uint8)
    both[5:20, 5:30], both[15:40, 25:60], both[0] = 1, 2, 255
    one[10:30, 10:50] = 2
    return {"both": both, "one": one, "none": none}


@pytest.fixture
def export(tmp_path):
    """Path and content of an export of Label Studio in which every mask was drawn."""
    photos = []
    for seed, (name, mask) in enumerate(masks().items()):
        Image.fromarray(photograph(seed, *SIZE)).save(tmp_path / f"{name}.png")
        photos.append(LabelledPhoto(name, tmp_path / f"{name}.png", mask))
    write_labels(photos, NAMES, "label-studio", tmp_path / "to_correct")
    tasks = json.loads((tmp_path / "to_correct" / "tasks.json").read_text())
    for task in tasks:
        task["annotations"] = task.pop("predictions")
    return tmp_path / "to_correct" / "export.json", tasks


def imported(export, output):
    path, tasks = export
    path.write_text(json.dumps(tasks))
    summary = import_photos(path, output, images=path.parent / "images", untagged="negative")
    found = {p.stem: np.array(Image.open(p)) for p in sorted((output / "masks").glob("*.png"))}
    return summary, found


def test_masks_come_back_as_they_were_drawn(export, tmp_path):
    summary, found = imported(export, tmp_path / "set")
    assert summary["masks"] == 3 and list(summary["classes"]) == NAMES
    assert (tmp_path / "set" / "tags.csv").read_text().split() == [
        "id,tags", "both,cat;dog", "none,", "one,dog"
    ]  # fmt: skip
    for name, mask in masks().items():
        np.testing.assert_array_equal(found[name], mask)


def test_classes_keep_their_ids_where_few_were_corrected(export, tmp_path):
    """The only class that is drawn is the second of the run."""
    tasks, images = export[1][1:2], tmp_path / "to_correct" / "images"
    path = tmp_path / "export.json"  # downloaded to another folder
    path.write_text(json.dumps(tasks))
    summary = import_photos(path, tmp_path / "set", images=images)
    assert list(summary["classes"]) == NAMES
    mask = np.array(Image.open(tmp_path / "set" / "masks" / "one.png"))
    np.testing.assert_array_equal(mask, masks()["one"])
    path.write_text(json.dumps(tasks).replace('"dog"', '"owl"'))
    summary = import_photos(path, tmp_path / "owl", images=images)
    assert list(summary["classes"]) == [*NAMES, "owl"]


def test_tasks_that_were_not_corrected_are_no_export(export, tmp_path):
    path = tmp_path / "to_correct" / "tasks.json"
    with pytest.raises(DataError, match="holds predictions and no annotation; correct them"):
        import_photos(path, tmp_path / "set", images=path.parent / "images")


def test_of_several_annotators_the_first_counts_or_the_truth(export, tmp_path):
    task = export[1][1]
    (drawn,) = task["annotations"]
    other = json.loads(json.dumps(drawn))
    smaller = np.zeros(SIZE, bool)
    smaller[:2] = True
    other["result"][0]["value"]["rle"] = brush_rle(smaller)
    task["annotations"] = [drawn, other]
    summary, found = imported(export, tmp_path / "first")
    np.testing.assert_array_equal(found["one"], masks()["one"])
    assert any(
        "several annotators drew on 1 images (images/one.png)" in w for w in summary["warnings"]
    )
    other["ground_truth"] = True
    summary, found = imported(export, tmp_path / "truth")
    np.testing.assert_array_equal(found["one"], 2 * smaller)
    assert not any("several annotators" in warning for warning in summary["warnings"])


def test_regions_of_the_background_are_no_class(export, tmp_path):
    path, tasks = export
    tasks = json.loads(json.dumps(tasks).replace('"cat"', '"Background"'))
    summary, found = imported((path, tasks), tmp_path / "set")
    both = masks()["both"]
    np.testing.assert_array_equal(found["both"], np.where(both == 1, 0, both))
    assert "Background" not in summary["classes"]


@pytest.mark.parametrize("used", [True, False], ids=["of other images", "of none"])
def test_regions_of_tags_that_were_outvoted_are_dropped(export, tmp_path, used):
    both, one, _ = (task["annotations"] for task in export[1])
    cat, dog = both[0]["result"][:2]
    if not used:  # else no other image has the class
        both[0]["result"] = [dog]
    one[0]["result"].append(cat)
    one += 2 * [{"result": [dog]}]
    _, found = imported(export, tmp_path / "set")
    np.testing.assert_array_equal(found["one"], masks()["one"])


def test_the_first_who_has_drawn_all_that_was_agreed_counts(export, tmp_path):
    both, one, _ = (task["annotations"] for task in export[1])
    cat, dog = both[0]["result"][:2]
    one[:] = [{"result": [cat]}, *one, {"result": [dog]}]
    summary, found = imported(export, tmp_path / "set")
    np.testing.assert_array_equal(found["one"], masks()["one"])
    assert "one,dog" in (tmp_path / "set" / "tags.csv").read_text().split()


def test_a_tag_without_region_makes_no_mask(export, tmp_path):
    """The rest of the photograph would pass for background."""
    chosen = {"from_name": "what", "type": "choices", "value": {"choices": ["cat"]}}
    export[1][1]["annotations"][0]["result"].append(chosen)
    summary, found = imported(export, tmp_path / "set")
    assert set(found) == {"both", "none"}
    assert any(
        "a tag has no brush mask on 1 images (images/one.png)" in w for w in summary["warnings"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"original_width": 65}, "65x48 pixels, and one.png has 64x48"),
        ({"image_rotation": 90}, "turned in Label Studio"),
        ({"original_height": None}, "not as Label Studio exports it"),
    ],
)
def test_what_does_not_fit_is_said(export, tmp_path, change, message):
    export[1][1]["annotations"][0]["result"][0].update(change)
    with pytest.raises(DataError, match=message):
        imported(export, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_damaged_streams_are_refused():
    good = brush_rle(masks()["one"] > 0)
    assert brushed(Brush("cat", SIZE[::-1], good, "task 1")).sum() == 20 * 40
    rng = np.random.default_rng(0)
    damaged = [good[:8], good[:-4], [], [*good[:3], good[3] ^ 1, *good[4:]], ["a"], [256]]
    damaged += [rng.integers(0, 256, len(good)).tolist() for _ in range(50)]
    for stream in damaged:
        with pytest.raises(DataError, match="task 1: a brush mask cannot be decoded"):
            brushed(Brush("cat", SIZE[::-1], stream, "task 1"))


def test_values_one_by_one_are_read():
    """Runs that begin with 0, which Label Studio writes where neighbours differ."""
    bits = f"{8:032b}{7:05b}" + "0010" * 4  # 8 values of 8 bits, runs of at most 8
    bits += "0" + "00" + "111" + "".join(f"{value:08b}" for value in (9, 9, 9, 0, 1, 1, 1, 200))
    stream = [int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8)]
    assert brushed(Brush("cat", (2, 1), stream, "task 1")).tolist() == [[False, True]]


def test_training_on_masks_leaves_photographs_without_one_out(export, tmp_path, caplog):
    imported(export, tmp_path / "set")
    for name in ("train", "val"):
        (tmp_path / "set" / f"{name}.txt").write_text("both\none\n")
    (tmp_path / "set" / "masks" / "one.png").unlink()
    config = load_config("photos_supervised", [f"data.root={tmp_path / 'set'}"])
    train, val = load_splits(config)
    assert train.ids == ("both",) and train.dropped == {"no mask": 1}
    np.testing.assert_array_equal(train.mask(0), masks()["both"])
    assert "1 of 2 photographs have no mask (one.png) and are left out" in caplog.text
    assert val.ids == ("both", "one") and val.mask_paths is None  # for its tags, all of them
