"""`check` finds each kind of fault, names the image, and finds nothing in a clean data set."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_folder import photograph, write_mask
from PIL import Image
from test_photos import write_cvat_masks

from keras_wsss.__main__ import main
from keras_wsss.config import section
from keras_wsss.config.data import DataConfig, PhotosDataConfig
from keras_wsss.data.checking.check import check
from keras_wsss.data.checking.cleaned import write_cleaned
from keras_wsss.data.checking.faults_of_tags import misspelled
from keras_wsss.data.checking.reading import read_contents
from keras_wsss.data.checking.source import data_of
from keras_wsss.data.photos.importing import import_photos
from keras_wsss.data.photos.reader import load_photos
from keras_wsss.data.voc import load_voc
from keras_wsss.errors import DataError
from keras_wsss.inference.label_formats import LabelledPhoto, write_labels

CLASSES = ("cat", "dog", "horse")


def rows(classes=CLASSES, train=6, val=2):
    """(id, part, tags) of images with one tag each."""
    parts = (("train", train), ("val", val))
    return [
        (f"{part}_{name}_{number}", part, (name,))
        for name in classes
        for part, count in parts
        for number in range(count)
    ]


def write_set(root, entries, classes=CLASSES):
    """A folder in VOC layout; the masks show the tags in columns, beside background."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for seed, (name, _, tags) in enumerate(entries):
        Image.fromarray(photograph(seed, 48, 64)).save(image(root, name), quality=90)
        write_mask_of(root, name, [classes.index(tag) + 1 for tag in tags])
    for part in ("train", "val"):
        write_list(root, part, [name for name, own, _ in entries if own == part])
    write_tags(root, {name: ";".join(tags) for name, _, tags in entries})
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    return root


def image(root, name):
    return root / "JPEGImages" / f"{name}.jpg"


def mask(root, name):
    return root / "SegmentationClass" / f"{name}.png"


def write_mask_of(root, name, ids, size=(48, 64)):
    values = np.zeros(size, np.uint8)
    for position, number in enumerate(ids):
        values[:, 8 * position : 8 * position + 8] = number
    write_mask(mask(root, name), values)


def write_list(root, name, ids):
    (root / "ImageSets/Segmentation" / f"{name}.txt").write_text("".join(f"{i}\n" for i in ids))


def write_tags(root, tags):
    lines = [f"{name},{text}\n" for name, text in tags.items()]
    (root / "labels.csv").write_text("id,tags\n" + "".join(lines))


def retag(root, name, tags):
    lines = (root / "labels.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(f"{name},")]
    (root / "labels.csv").write_text("\n".join([*kept, f"{name},{tags}", ""]))


def save(root, name, picture, suffix=".jpg", content=None, **options):
    """Replaces an image, and gives it a mask of its size."""
    image(root, name).unlink()
    picture.save(image(root, name).with_suffix(suffix), content, **options)
    number = CLASSES.index(name.split("_")[1]) + 1
    write_mask_of(root, name, [number], picture.size[::-1])


def large(width, height):
    return Image.fromarray(photograph(99, height, width))


def kinds(data):
    """Kind -> ids of the images of all findings of that kind."""
    found = {}
    for finding in check(data).findings:
        found.setdefault(finding.kind, set()).update(item.id for item in finding.items)
    return found


@pytest.fixture(scope="session")
def clean(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("clean") / "set", rows())


@pytest.fixture
def root(clean, tmp_path):
    return shutil.copytree(clean, tmp_path / "set")


def test_a_clean_folder_passes(clean, capsys):
    assert kinds(data_of(clean)) == {}
    main(["check", str(clean)])
    *_, first, last = capsys.readouterr().out.splitlines()
    assert first == f"{clean}: nothing found"
    assert last == "24 images: 24 found, 0 missing, 0 empty, 0 corrupt"


# ---- one fault each --------------------------------------------------------------------------

A, B, C, V = "train_cat_0", "train_cat_1", "train_dog_0", "val_cat_0"


def broken_png(root, name=A):
    file = io.BytesIO()
    Image.open(image(root, name)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    image(root, name).unlink()
    image(root, name).with_suffix(".png").write_bytes(data)


def brighter(root, source, target):
    picture = Image.open(image(root, source)).point(lambda value: min(255, value * 1.1 + 4))
    picture.save(image(root, target), quality=60)


def cut(root, name=A):
    data = image(root, name).read_bytes()
    image(root, name).write_bytes(data[: len(data) // 2])


def in_both_lists(root):
    ids = [name for name, part, _ in rows() if part == "val"]
    write_list(root, "val", [*ids, A])


def turned(root):
    exif = Image.Exif()
    exif[274] = 6
    picture = Image.open(image(root, A))
    picture.load()
    picture.save(image(root, A), exif=exif)


def animated(root):
    frames = [large(64, 48), large(64, 48).rotate(180)]
    save(root, A, frames[0], ".gif", save_all=True, append_images=frames[1:])


def sixteen_bits(root):
    grey = np.asarray(large(64, 48).convert("L"), np.uint16)
    save(root, A, Image.fromarray(grey * 256 + 17), ".png")


def paint(root, name, value):
    write_mask(mask(root, name), np.full((48, 64), value, np.uint8))


PLANTED = {
    "missing-image": (lambda r: image(r, A).unlink(), {A}),
    "empty-file": (lambda r: image(r, A).write_bytes(b""), {A}),
    "truncated": (cut, {A}),
    "truncated head": (lambda r: image(r, A).write_bytes(image(r, A).read_bytes()[:40]), {A}),
    "not-an-image": (lambda r: image(r, A).write_text("<html>404</html>"), {A}),
    "unreadable": (broken_png, {A}),
    "wrong-suffix": (lambda r: save(r, A, large(64, 48), ".jpg", "PNG"), {A}),
    "unlisted-image": (lambda r: large(64, 48).save(image(r, "new")), set()),
    "duplicate": (lambda r: shutil.copy(image(r, A), image(r, B)), {A, B}),
    "near-duplicate": (lambda r: brighter(r, A, B), {A, B}),
    "leakage": (lambda r: shutil.copy(image(r, A), image(r, V)), {A, V}),
    "leakage of what looks alike": (lambda r: brighter(r, A, V), {A, V}),
    "contradicting-tags": (lambda r: shutil.copy(image(r, A), image(r, C)), {A, C}),
    "repeated-id": (
        lambda r: write_list(r, "val", [*(n for n, part, _ in rows() if part == "val"), V]),
        {V},
    ),
    "overlapping-lists": (in_both_lists, {A}),
    "missing-tag": (lambda r: retag(r, A, ""), {A}),
    "missing-tag without a row": (
        lambda r: write_tags(r, {name: tags[0] for name, _, tags in rows() if name != A}),
        {A},
    ),
    "unknown-tag": (lambda r: retag(r, A, "cat;zebra"), {A}),
    "several-spellings": (lambda r: retag(r, A, " Cat"), set()),
    "unused-class": (lambda r: (r / "classes.txt").write_text("cat\ndog\nhorse\ncow\n"), set()),
    "small-image": (lambda r: save(r, A, large(40, 30)), {A}),
    "large-image": (lambda r: save(r, A, large(1200, 900)), {A}),
    "aspect-ratio": (lambda r: save(r, A, large(240, 60)), {A}),
    "one-colour": (lambda r: save(r, A, Image.new("RGB", (64, 48), "orange")), {A}),
    "black-image": (lambda r: save(r, A, Image.new("RGB", (64, 48), (9, 5, 0))), {A}),
    "white-image": (lambda r: save(r, A, Image.new("RGB", (64, 48), "white")), {A}),
    "grey-image": (lambda r: save(r, A, large(64, 48).convert("L")), {A}),
    "turned-image": (turned, {A}),
    "converted-mode": (lambda r: save(r, A, large(64, 48).convert("CMYK")), {A}),
    "converted-mode of transparency": (
        lambda r: save(r, A, large(64, 48).convert("RGBA"), ".png"),
        {A},
    ),
    "animated-image": (animated, {A}),
    "missing-mask": (lambda r: mask(r, A).unlink(), {A}),
    "missing-mask of validation": (lambda r: mask(r, V).unlink(), {V}),
    "mask-unreadable": (lambda r: mask(r, A).write_bytes(b"nothing"), {A}),
    "mask-colour": (lambda r: Image.new("RGB", (64, 48), "red").save(mask(r, A)), {A}),
    "mask-size": (lambda r: write_mask_of(r, A, [1], (48, 63)), {A}),
    "mask-empty": (lambda r: paint(r, A, 0), {A}),
    "mask-ignored": (lambda r: paint(r, A, 255), {A}),
    "mask-unknown-id": (lambda r: paint(r, A, 77), {A}),
    "mask-not-in-tags": (lambda r: write_mask_of(r, A, [1, 3]), {A}),
}


@pytest.mark.parametrize("case", PLANTED)
def test_a_planted_fault_is_found_and_nothing_else(case, root):
    plant, images = PLANTED[case]
    plant(root)
    assert kinds(data_of(root)) == {case.partition(" ")[0]: images}


def test_sixteen_bits_are_grey_and_converted(root):
    sixteen_bits(root)
    assert kinds(data_of(root)) == {"converted-mode": {A}, "grey-image": {A}}


def several(train, *names):
    return {name for name, _, _ in train if any(part in name for part in names)}


ALL = rows()
TOGETHER = [(n, p, ("dog", "horse") if "horse" in n else t) for n, p, t in ALL if "dog" not in n]
EVERYWHERE = [(n, p, (*t, "horse")) for n, p, t in rows(("cat", "dog"))]
HALF = [(n, p, ("cat", "horse") if "horse" in n else t) for n, p, t in ALL]
OF_CLASSES = {
    "rare-class": (
        [*rows(("cat", "dog")), *rows(("horse",), 4)],
        {f"train_horse_{n}" for n in range(4)},
    ),
    "class-not-trained": (
        [*rows(("cat", "dog")), *rows(("horse",), 0)],
        {"val_horse_0", "val_horse_1"},
    ),
    "class-not-validated": ([*rows(("cat", "dog")), *rows(("horse",), val=0)], set()),
    "always-together": (TOGETHER, {f"train_horse_{n}" for n in range(6)}),
    "tag-on-every-image": (EVERYWHERE, set()),
    "imbalance": ([*rows(("cat",), 105), *rows(("dog", "horse"), 5)], set()),
}


@pytest.mark.parametrize("case", OF_CLASSES)
def test_classes_that_cannot_be_learned(case, tmp_path):
    entries, images = OF_CLASSES[case]
    root = write_set(tmp_path / "set", entries)
    assert kinds(data_of(root)) == {case: images}
    if case == "always-together":
        assert "dog and horse" in check(data_of(root)).findings[0].message


def test_a_single_class_without_negatives(tmp_path):
    root = write_set(tmp_path / "set", rows(("cat",)), ("cat",))
    assert kinds(data_of(root)) == {"no-negatives": set()}


def test_masks_that_lack_a_class(tmp_path):
    root = write_set(tmp_path / "set", HALF)
    write_mask_of(root, "train_horse_0", [1])
    assert kinds(data_of(root)) == {"tag-not-in-mask": {"train_horse_0"}}
    horses = {name for name, _, _ in HALF if "horse" in name}
    for name in horses:
        write_mask_of(root, name, [1])
    assert kinds(data_of(root)) == {"class-in-no-mask": horses}


def test_lists_that_cannot_be_read(root):
    write_list(root, "val", [])
    assert set(kinds(data_of(root))) == {"empty-list", "unlisted-image"}
    values = {"kind": "voc", "root": root, "train_list": "train", "val_list": "nowhere"}
    data = section(DataConfig, "test", values)
    report = check(data)
    assert report.findings[0].kind == "missing-list"
    assert "nowhere.txt" in report.findings[0].message


def write_json(root, ids_of):
    (root / "labels.csv").unlink(missing_ok=True)
    entries = {
        name: {"labels_from_boxes": ids_of.get(name, [CLASSES.index(tags[0]) + 1])}
        for name, _, tags in rows()
    }
    content = {"classes": ["background", *CLASSES], "images": entries}
    (root / "labels.json").write_text(json.dumps(content))


def test_tags_of_other_files(root):
    write_json(root, {})
    assert kinds(data_of(root)) == {}
    write_json(root, {A: [1, 9]})
    assert kinds(data_of(root)) == {"unknown-tag": {A}}
    (root / "labels.json").unlink()
    (root / "Annotations").mkdir()
    for name, _, tags in rows():
        xml = f"<annotation><object><name>{tags[0]}</name></object></annotation>"
        (root / f"Annotations/{name}.xml").write_text(xml)
    assert kinds(data_of(root)) == {}
    for name, tag in ((A, "zebra"), (B, "zebra"), (C, "cow")):
        xml = f"<annotation><object><name>{tag}</name></object></annotation>"
        (root / f"Annotations/{name}.xml").write_text(xml)
    found = kinds(data_of(root))
    assert found.pop("unknown-tag") == {A, B, C}
    assert set(found) == {"rare-class"}  # of the cats only four are left


def test_tags_that_cannot_be_read_do_not_hide_the_rest(root):
    write_json(root, {})
    (root / "labels.json").write_text((root / "labels.json").read_text()[:-9])
    image(root, B).unlink()
    assert kinds(data_of(root)) == {"unreadable-tags": set(), "missing-image": {B}}


# ---- photographs -----------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    """One folder a class."""
    for seed, (name, part, (tag,)) in enumerate(rows()):
        path = tmp_path / "photos" / tag / f"{part}_{name[-1]}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(seed, 48, 64)).save(path)
    return tmp_path / "photos"


def test_folders_of_classes(folders):
    assert kinds(data_of(folders)) == {}
    large(64, 48).save(folders / "cat" / "page.tif")
    large(64, 48).rotate(180).save(folders / "top.jpg")
    (folders / "cow").mkdir()
    shutil.copy(folders / "cat/val_0.jpg", folders / "dog/same.jpg")
    found = kinds(data_of(folders))
    assert found == {
        "to-convert": {"page"},
        "unlisted-image": set(),
        "note": set(),
        "contradicting-tags": {"cat_val_0", "same"},
    }


def test_photographs_of_a_camera_are_shrunk(folders):
    large(1200, 900).save(folders / "cat" / "camera.jpg")
    (finding,) = check(data_of(folders)).findings
    assert (finding.kind, finding.severity) == ("large-image", "info")


def test_a_slip_of_the_pen_is_no_class(folders):
    (folders / "hrose").mkdir()
    large(64, 48).save(folders / "hrose/1.jpg")
    assert kinds(data_of(folders)) == {"several-spellings": {"1"}}
    (folders / "Horse").mkdir()
    large(64, 48).rotate(180).save(folders / "Horse/2.jpg")
    messages = [each.message for each in check(data_of(folders)).findings]
    assert any("'Horse' and 'horse'" in text for text in messages)


def test_classes_that_only_look_like_one_another(tmp_path):
    names = ("cat", "car", "class 1", "class 2")
    root = write_set(tmp_path / "set", rows(names), names)
    assert misspelled(read_contents(data_of(root))) == {}
    names = ("traffic light", "traffic_light")
    root = write_set(tmp_path / "other", rows(names), names)
    assert set(misspelled(read_contents(data_of(root)))) == {"traffic_light"}


def test_an_import_is_clean_and_its_faults_are_found(folders, tmp_path):
    root = tmp_path / "my_set"
    import_photos(folders, root)
    assert kinds(data_of(root)) == {}
    ids = (root / "train.txt").read_text().split()
    (root / "train.txt").write_text("\n".join([*ids, "ghost", ids[0]]))
    with (root / "tags.csv").open("a") as file:
        file.write("phantom,cat\n")
    lines = (root / "tags.csv").read_text().splitlines()
    changed = [f"{line}s" if line.startswith(f"{ids[1]},") else line for line in lines]
    (root / "tags.csv").write_text("\n".join(changed))
    found = kinds(data_of(root))
    assert found == {
        "missing-image": {"ghost", "phantom"},
        "repeated-id": {ids[0]},
        "unknown-tag": {ids[1]},
    }


def test_masks_in_colours(tmp_path):
    root = tmp_path / "task"
    write_cvat_masks(root)
    found = kinds(data_of(root, untagged="negative"))
    assert set(found) == {"rare-class", "unlisted-image"}  # two cats, one dog; one has no mask
    import_photos(root, tmp_path / "my_set", untagged="negative", val_fraction=0)
    (tmp_path / "my_set/val.txt").unlink()
    assert set(kinds(data_of(tmp_path / "my_set"))) == {"rare-class"}
    write_mask(tmp_path / "my_set/masks/1.png", np.full((40, 56), 3, np.uint8))
    assert kinds(data_of(tmp_path / "my_set"))["mask-unknown-id"] == {"1"}


def test_photographs_without_a_tag(folders, tmp_path):
    files = sorted(folders.rglob("*.jpg"))
    lines = [f"{path.relative_to(folders)},{path.parent.name}" for path in files]
    lines[0] = lines[0].partition(",")[0] + ","
    table = tmp_path / "tags.csv"
    table.write_text("\n".join(["file,tags", *lines]))
    assert kinds(data_of(table)) == {"missing-tag": {"cat_train_0"}}
    assert kinds(data_of(table, untagged="negative")) == {}
    assert kinds(data_of(table, untagged="drop")) == {}


def test_a_camera_that_never_moves_is_one_warning(tmp_path):
    root = write_set(tmp_path / "set", rows())
    for name, part, _ in rows():
        if part == "train" and name != A:
            brighter(root, A, name)
            with image(root, name).open("ab") as file:
                file.write(name.encode())
    findings = check(data_of(root)).findings
    assert [each.kind for each in findings] == ["near-duplicate"]
    assert len(findings[0].items) == 18


def test_coco(tmp_path):
    (tmp_path / "annotations").mkdir()
    for part, count in (("train", 12), ("val", 4)):
        (tmp_path / part).mkdir()
        images, annotations = [], []
        for number in range(count):
            images.append({"id": number, "file_name": f"{part}{number}.jpg"})
            annotations.append({"id": number, "image_id": number, "category_id": number % 2 + 3})
            picture = Image.fromarray(photograph(number + 100 * count, 48, 64))
            picture.save(tmp_path / part / f"{part}{number}.jpg")
        categories = [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / f"annotations/instances_{part}.json").write_text(json.dumps(content))
    values = {"kind": "coco", "root": tmp_path, "train_list": "train", "val_list": "val"}
    data = section(DataConfig, "test", values)
    assert kinds(data.model_copy(update={"crop_size": 64})) == {}
    (tmp_path / "train/train3.jpg").unlink()
    (tmp_path / "val/val1.jpg").write_bytes(b"")
    found = kinds(data.model_copy(update={"crop_size": 64}))
    assert found == {"missing-image": {"train3"}, "empty-file": {"val1"}}
    (tmp_path / "annotations/instances_val.json").write_text("{")
    assert kinds(data)["unreadable-list"] == set()


def test_every_kind_is_documented():
    text = (Path(__file__).parents[1] / "docs/data.md").read_text()
    for case in (*PLANTED, *OF_CLASSES):
        assert f"`{case.partition(' ')[0]}`" in text


# ---- the command -----------------------------------------------------------------------------


def exit_code(*arguments):
    try:
        main(["check", *map(str, arguments)])
    except SystemExit as end:
        return end.code
    return 0


def test_exit_codes_and_json(root, capsys):
    assert exit_code(root, "--json") == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []
    turned(root)
    assert exit_code(root) == 0  # it is said, and no fault
    assert "turned-image" in capsys.readouterr().out
    image(root, A).unlink()
    image(root, B).write_bytes(b"")
    cut(root, C)
    assert exit_code(root, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    wanted = {"images": 24, "found": 21, "missing": 1, "empty": 1, "corrupt": 1}
    assert report["counts"] == wanted
    first = report["findings"][0]
    assert (first["kind"], first["severity"], first["images"]) == ("missing-image", "error", [A])
    assert exit_code(root) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "24 images: 21 found, 1 missing, 1 empty, 1 corrupt"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere: no such file"),
        ([], "name either a file or folder, or --config"),
        (["x", "--config", "voc_tscd"], "name either"),
        (["--config", "shapes_tscd"], "data.kind"),
        ([".", "--set", "data.root=x"], "--set"),
    ],
)
def test_mistakes_of_the_user_are_one_message(arguments, says, capsys):
    assert exit_code(*arguments) == 2
    assert says in capsys.readouterr().err


def test_a_configuration_says_what_is_checked(root, capsys):
    pairs = (f"root={root}", "train_list=train", "val_list=val", "crop_size=96")
    options = [each for pair in pairs for each in ("--set", f"data.{pair}")]
    save(root, A, large(500, 400))
    assert exit_code("--config", "voc_tscd", *options) == 1
    assert "large-image" in capsys.readouterr().out
    options += ["--set", "data.working_size=192"]
    assert exit_code("--config", "voc_tscd", *options) == 0


def test_no_tensorflow(clean):
    code = (
        "import sys; from keras_wsss.__main__ import main; main(['check', sys.argv[1]]); "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(clean)], check=True, capture_output=True)


def test_the_page_is_whole_and_escaped(folders, tmp_path):
    odd = folders / "<b>cat"
    odd.mkdir()
    shutil.copy(folders / "cat/train_0.jpg", odd / "a&b<script>.jpg")
    page = tmp_path / "out" / "check.html"
    assert exit_code(folders, "--html", page) == 1
    text = page.read_text()
    assert "<script>" not in text and "a&amp;b&lt;script&gt;.jpg" in text
    assert "&lt;b&gt;cat" in text and "<b>" not in text
    assert text.count("data:image/jpeg;base64,") >= 2 and 'src="http' not in text


def state(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(path, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def test_fix_of_a_voc_folder_is_read_by_the_reader(root, tmp_path, capsys):
    image(root, A).unlink()
    cut(root, B)
    shutil.copy(image(root, C), image(root, "val_dog_0"))
    retag(root, "train_horse_0", "horse;zebra")
    mask(root, V).unlink()
    in_both_lists(root)
    write_list(root, "train", [name for name, part, _ in ALL if part == "train" and name != A] * 2)
    in_both = "train_horse_1"
    write_list(root, "val", [*(n for n, part, _ in ALL if part == "val"), in_both])
    before = state(root)
    cleaned = tmp_path / "cleaned"
    assert exit_code(root, "--fix", cleaned) == 1
    assert "see left_out.csv" in capsys.readouterr().out
    assert state(root) == before
    values = {"kind": "voc", "root": cleaned, "train_list": "train", "val_list": "val"}
    data = section(DataConfig, "test", values)
    train, val = load_voc(data, "train"), load_voc(data, "val", masks=True)
    lost = {A, B, C, "train_horse_0"}
    assert set(train.ids) == {n for n, p, _ in ALL if p == "train"} - lost - {in_both}
    assert set(val.ids) == {n for n, p, _ in ALL if p == "val"} - {V} | {in_both}
    assert train.class_names == CLASSES
    assert val.mask(val.ids.index("val_dog_1")).max() == 2
    note = (cleaned / "left_out.csv").read_text().splitlines()
    assert f"{B},{image(root, B)},truncated" in note and len(note) == 1 + 4
    assert not any(each.severity == "error" for each in check(data_of(cleaned)).findings)


def test_fix_of_photographs_is_read_by_the_reader(folders, tmp_path):
    root = tmp_path / "my_set"
    import_photos(folders, root)
    ids = (root / "train.txt").read_text().split()
    (root / f"photos/{ids[0]}.jpg").write_bytes(b"")
    text = (root / "tags.csv").read_text()
    (root / "tags.csv").write_text(text.replace(f"{ids[1]},", f"{ids[1]},zebra;"))
    write_cleaned(check(data_of(root)), tmp_path / "cleaned")
    values = {"kind": "photos", "root": tmp_path / "cleaned"}
    train = load_photos(section(PhotosDataConfig, "test", values), "train")
    assert train.ids == tuple(ids[2:]) and train.class_names == CLASSES
    # A source without lists is divided by its import.
    write_cleaned(check(data_of(folders)), tmp_path / "source")
    assert import_photos(tmp_path / "source", tmp_path / "again")["images"] == 24


def test_fix_keeps_masks_in_colours(tmp_path):
    masks = write_cvat_masks(tmp_path / "task")
    write_cleaned(check(data_of(tmp_path / "task", untagged="negative")), tmp_path / "cleaned")
    for number, expected in enumerate(masks, start=1):
        with Image.open(tmp_path / f"cleaned/masks/{number}.png") as found:
            np.testing.assert_array_equal(np.array(found), expected)
    summary = import_photos(tmp_path / "cleaned", tmp_path / "set")
    assert summary["masks"] == 3 and list(summary["classes"]) == ["cat", "dog"]


def test_fix_keeps_masks_that_were_drawn(tmp_path):
    photos, drawn = [], np.zeros((48, 64), np.uint8)
    drawn[9:20] = 2
    for name in ("a", "b"):
        large(64, 48).save(tmp_path / f"{name}.png")
        photos.append(LabelledPhoto(name, tmp_path / f"{name}.png", drawn))
    write_labels(photos, ["cat", "dog"], "label-studio", tmp_path / "project")
    export = tmp_path / "project/tasks.json"
    export.write_text(export.read_text().replace('"predictions"', '"annotations"'))
    write_cleaned(check(data_of(export, images=export.parent / "images")), tmp_path / "cleaned")
    with Image.open(tmp_path / "cleaned/masks/a.png") as found:
        np.testing.assert_array_equal(np.array(found), drawn)
    assert (tmp_path / "cleaned/classes.txt").read_text() == "cat\ndog\n"


def test_fix_that_fails_leaves_nothing(root, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    report = check(data_of(root))
    monkeypatch.setattr("keras_wsss.data.checking.cleaned._write_note", full)
    with pytest.raises(DataError, match="No space left on device"):
        write_cleaned(report, tmp_path / "new")
    assert not list(tmp_path.glob("*new*")) and not list(tmp_path.glob(".*"))


def test_fix_never_writes_into_what_is_there(root, tmp_path):
    report = check(data_of(root))
    for folder in (root / "cleaned", tmp_path):
        with pytest.raises(DataError, match="choose another folder"):
            write_cleaned(report, folder)
    write_list(root, "val", [])
    with pytest.raises(DataError, match="by hand"):
        write_cleaned(check(data_of(root)), tmp_path / "new")
