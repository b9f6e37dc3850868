"""The import: what it writes, what it leaves out, and what it says."""

import csv
import json
import os
import sys

import numpy as np
import pytest
from data_folder import photograph
from PIL import Image, ImageOps
from test_photos import write_cvat_masks, write_photos

from keras_wsss.__main__ import main
from keras_wsss.data import load
from keras_wsss.data.checking.check import check
from keras_wsss.data.checking.source import data_of
from keras_wsss.data.photos import convert, importing
from keras_wsss.data.photos.importing import import_photos
from keras_wsss.errors import ConfigError, DataError


@pytest.fixture
def photos(tmp_path):
    names = [f"{kind}/{number}.jpg" for kind in ("cat", "dog") for number in range(10)]
    return write_photos(tmp_path / "photos", *names)


def imported(folder):
    """Names of the files of an imported folder, and the rows of its table."""
    with (folder / "tags.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return sorted(path.name for path in folder.iterdir()), rows


def test_what_is_written(photos, tmp_path):
    output = tmp_path / "deep" / "my set"
    summary = import_photos(photos, output)
    names, (header, *rows) = imported(output)
    assert names == ["classes.txt", "import.json", "photos", "sheet.jpg", "tags.csv", "train.txt",
                     "val.txt"]  # fmt: skip
    assert header == ["id", "tags"] and len(rows) == 20
    assert dict(rows)["cat_3"] == "cat" and dict(rows)["dog_9"] == "dog"
    assert (output / "photos/cat_3.jpg").read_bytes() == (photos / "cat/3.jpg").read_bytes()
    assert (output / "classes.txt").read_text() == "cat\ndog\n"
    train, val = ((output / f"{part}.txt").read_text().split() for part in ("train", "val"))
    assert sorted(train + val) == sorted(name for name, _ in rows) and len(val) >= 2
    assert summary == json.loads((output / "import.json").read_text())
    assert summary["images"] == 20 and summary["classes"]["dog"]["images"] == 10
    assert summary["classes"]["cat"]["train"] + summary["classes"]["cat"]["val"] == 10
    assert summary["dropped"] == [] and summary["kind"] == "folders"
    assert [path.name for path in output.parent.iterdir()] == ["my set"]  # nothing half
    sheet = np.asarray(Image.open(output / "sheet.jpg"))
    assert sheet.shape[2] == 3 and sheet.shape[0] > 500 and sheet.std() > 30


def test_what_is_written_is_read(photos, tmp_path):
    """The reader divides the source as the import does, and reads both alike."""
    (photos / "cat/0.jpg").rename(photos / "0.jpg")
    (photos / "tags.csv").write_text(
        "id,tags\n0,\n"
        + "".join(f"{kind}/{n},{kind}\n" for n in range(1, 10) for kind in ("cat", "dog"))
    )
    import_photos(photos, tmp_path / "set", untagged="negative")
    for direct, ready in zip(
        load(photos, "photos", untagged="negative"), load(tmp_path / "set", "photos"), strict=True
    ):
        assert direct.ids == ready.ids and direct.class_names == ready.class_names
        np.testing.assert_array_equal(direct.labels, ready.labels)
    again = import_photos(tmp_path / "set", tmp_path / "again")
    assert imported(tmp_path / "set") == imported(tmp_path / "again") and again["images"] == 19
    for part in ("train", "val"):
        lists = [(tmp_path / folder / f"{part}.txt").read_text() for folder in ("set", "again")]
        assert lists[0] == lists[1]
    # The lists decide from then on.
    (tmp_path / "set/val.txt").write_text("cat_1\n")
    assert load(tmp_path / "set", "photos")[1].ids == ("cat_1",)


def test_tags_with_commas_survive(tmp_path):
    write_photos(tmp_path / "photos", "red, ripe/1.jpg", "green/2.jpg", "a;b/3.jpg")
    with pytest.raises(DataError, match="the class 'a;b' has a ';'"):
        import_photos(tmp_path / "photos", tmp_path / "set")
    summary = import_photos(tmp_path / "photos", tmp_path / "set", classes=["red, ripe", "green"])
    assert list(summary["classes"]) == ["red, ripe", "green"]
    train, _ = load(tmp_path / "set", "photos", val_list="train")
    assert train.class_names == ("red, ripe", "green")


def test_links(photos, tmp_path, monkeypatch):
    import_photos(photos, tmp_path / "set", link=True)
    assert os.path.samefile(tmp_path / "set/photos/cat_3.jpg", photos / "cat/3.jpg")

    def other_device(*paths):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_device)
    with pytest.raises(DataError, match="cannot be linked .*cross-device.*leave --link out"):
        import_photos(photos, tmp_path / "other", link=True)
    assert not (tmp_path / "other").exists()


def test_unreadable_photographs_are_left_out(photos, tmp_path):
    (photos / "cat/3.jpg").write_bytes((photos / "cat/3.jpg").read_bytes()[:700])
    (photos / "cat/4.jpg").write_bytes(b"")
    (photos / "dog/5.jpg").write_text("<html>404</html>")
    summary = import_photos(photos, tmp_path / "set")
    assert summary["images"] == 17
    reasons = {each["name"]: each["reason"] for each in summary["dropped"]}
    assert set(reasons) == {"3.jpg", "4.jpg", "5.jpg"}
    assert "truncated" in reasons["3.jpg"] and "0 bytes" in reasons["4.jpg"]
    for path in photos.rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no photograph can be read; 0.jpg: the file is empty"):
        import_photos(photos, tmp_path / "none")


@pytest.mark.parametrize("suffix", [".tif", ".avif", ".bmp", ".webp", ".heic"])
def test_conversion(tmp_path, suffix):
    """Upright, of the same colours, and readable for a training."""
    if suffix == ".heic":
        heif = pytest.importorskip("pillow_heif", reason="needs the extra photos")
        heif.register_heif_opener()
    pixels = photograph(5, 60, 90)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    write_photos(tmp_path / "photos", "cat/1.jpg", "dog/2.jpg")
    path = tmp_path / f"photos/cat/3{suffix}"
    if suffix == ".bmp":
        image = image.convert("P", palette=Image.Palette.ADAPTIVE)
        image.save(path)
        expected = np.asarray(image.convert("RGB"))
    elif suffix == ".webp":
        image.save(path, save_all=True, append_images=[image.rotate(180)], quality=95)
        expected = pixels
    else:
        image.save(path, exif=exif, quality=95)
        # HEIC files are turned by a box of their own, never by EXIF; Pillow's plug-in writes none.
        expected = pixels if suffix == ".heic" else np.rot90(pixels, -1)
    summary = import_photos(tmp_path / "photos", tmp_path / "set", val_fraction=0)
    assert summary["converted"] == 1
    written = Image.open(tmp_path / "set/photos/3.jpg")
    assert written.format == "JPEG" and written.getexif().get(0x0112, 1) == 1
    assert written.size == expected.shape[1::-1]
    assert abs(np.asarray(written, float) - expected).mean() < 8


def test_transparent_and_deep_photographs(tmp_path):
    write_photos(tmp_path / "photos", "cat/1.jpg", "dog/2.jpg")
    clear = Image.fromarray(photograph(3)).convert("RGBA")
    clear.putalpha(100)
    clear.save(tmp_path / "photos/cat/clear.tif")
    deep = np.linspace(0, 65535, 40 * 56).reshape(40, 56).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "photos/cat/deep.tif")
    Image.fromarray(np.zeros((40, 56), np.float32)).save(tmp_path / "photos/dog/float.tif")
    summary = import_photos(tmp_path / "photos", tmp_path / "set")
    assert Image.open(tmp_path / "set/photos/clear.png").getextrema()[3] == (100, 100)
    found = np.asarray(Image.open(tmp_path / "set/photos/deep.jpg").convert("L"), float)
    assert abs(found - deep / 257).mean() < 2  # not clipped to white
    assert [each["name"] for each in summary["dropped"]] == ["float.tif"]
    assert "32 bits" in summary["dropped"][0]["reason"]


def test_content_decides_and_not_the_suffix(photos, tmp_path):
    Image.fromarray(photograph(77)).save(photos / "cat/7.jpg", "WEBP")
    exif = Image.Exif()
    exif[0x0112] = 3
    image = Image.fromarray(photograph(78))
    image.save(photos / "cat/8.jpg", "PNG", exif=exif)  # whose orientation a training does not read
    import_photos(photos, tmp_path / "set")
    assert Image.open(tmp_path / "set/photos/cat_7.webp").format == "WEBP"
    turned = np.asarray(ImageOps.mirror(ImageOps.flip(image)), float)
    assert abs(np.asarray(Image.open(tmp_path / "set/photos/cat_8.jpg"), float) - turned).mean() < 4


def test_heic_without_its_package(photos, tmp_path, monkeypatch):
    (photos / "cat/3.jpg").rename(photos / "cat/3.HEIC")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    convert._heif.cache_clear()
    with pytest.raises(DataError, match=r"1 photographs are HEIC .*3\.HEIC.*keras_wsss\[photos\]"):
        import_photos(photos, tmp_path / "set")
    convert._heif.cache_clear()


def test_a_broken_heic_file_needs_no_package(photos, tmp_path, monkeypatch):
    (photos / "cat/3.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    monkeypatch.setattr(convert, "_heif", lambda: True)  # it is there
    summary = import_photos(photos, tmp_path / "set")
    assert [each["reason"] for each in summary["dropped"]] == ["is no photograph"]


def test_photographs_of_two_lenses(photos, tmp_path):
    image = Image.fromarray(photograph(3))
    image.save(photos / "cat/two.MPO", save_all=True, append_images=[image.resize((28, 20))])
    import_photos(photos, tmp_path / "set")
    assert Image.open(tmp_path / "set/photos/two.jpg").size == image.size


def test_masks_are_taken_over(tmp_path):
    masks = write_cvat_masks(tmp_path / "task")
    summary = import_photos(tmp_path / "task", tmp_path / "set", untagged="negative")
    assert summary["masks"] == 3 and summary["classes"]["dog"]["images"] == 1
    train, _ = load(tmp_path / "set", "photos", masks=True, train_list="train+val")
    for number, name in enumerate(train.ids):
        np.testing.assert_array_equal(train.mask(number), masks[int(name) - 1])
    again = import_photos(tmp_path / "set", tmp_path / "dogs", classes=["dog"])
    assert again["masks"] == 3
    mask = np.asarray(Image.open(tmp_path / "dogs/masks/2.png"))
    np.testing.assert_array_equal(mask, masks[1] == 2)  # dog is 1 now, cat is background


def test_nothing_half_is_left(photos, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    import_photos(photos, tmp_path / "set")
    before = imported(tmp_path / "set")
    monkeypatch.setattr(importing, "sheet_of", interrupted)
    for name, options in {"new": {}, "set": {"overwrite": True}}.items():
        with pytest.raises(KeyboardInterrupt):
            import_photos(photos, tmp_path / name, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "set"]
    assert imported(tmp_path / "set") == before


def test_output_is_not_overwritten_unasked(photos, tmp_path):
    import_photos(photos, tmp_path / "set")
    with pytest.raises(ConfigError, match="set: is there already.*--overwrite"):
        import_photos(photos, tmp_path / "set")
    for path in (photos / "cat").iterdir():
        path.rename(photos / f"dog/cat{path.name}")
    assert list(import_photos(photos, tmp_path / "set", overwrite=True)["classes"]) == ["dog"]
    assert not (tmp_path / "set/photos/cat_1.jpg").exists()
    for bad in (photos, tmp_path):
        with pytest.raises(DataError, match="holds the source, which must stay"):
            import_photos(photos, bad, overwrite=True)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/dear.txt").touch()
    with pytest.raises(ConfigError, match="letters: is there already and was not written by this"):
        import_photos(photos, tmp_path / "letters", overwrite=True)
    assert len(list(photos.rglob("*.jpg"))) == 20


@pytest.mark.parametrize("name", ["tags.csv", "val.txt", "masks/cat_1.png", "photos/new.jpg"])
def test_work_by_hand_is_not_overwritten(photos, tmp_path, name):
    folder = tmp_path / "set"
    import_photos(photos, folder)
    edited = folder / name
    edited.parent.mkdir(exist_ok=True)
    edited.write_text("mine")
    later = (folder / "import.json").stat().st_mtime_ns + 10**9
    os.utime(edited, ns=(later, later))
    with pytest.raises(ConfigError, match=f"{name}: was written after the import.*delete"):
        import_photos(photos, folder, overwrite=True)
    assert edited.read_text() == "mine"
    edited.unlink()
    import_photos(photos, folder, overwrite=True)


def test_photographs_edited_at_their_source_may_be_overwritten(photos, tmp_path):
    import_photos(photos, tmp_path / "set", link=True)
    later = (tmp_path / "set/import.json").stat().st_mtime_ns + 10**9
    os.utime(photos / "cat/1.jpg", ns=(later, later))
    import_photos(photos, tmp_path / "set", overwrite=True)


def test_photographs_beside_folders_of_classes(photos, tmp_path):
    """They are left out, unless the user says that nothing is on them."""
    (photos / "cat/1.jpg").rename(photos / "loose.jpg")
    (photos / "broken.jpg").write_bytes(b"")
    summary = import_photos(photos, tmp_path / "plain")
    assert summary["images"] == 19 and summary["negatives"]["images"] == 0
    summary = import_photos(photos, tmp_path / "set", untagged="negative")
    assert summary["images"] == 20 and summary["negatives"]["images"] == 1
    assert [each["name"] for each in summary["dropped"]] == ["broken.jpg"]
    (photos / "broken.jpg").unlink()
    assert not check(data_of(photos, untagged="negative")).contents.unlisted
    train, val = load(photos, "photos", untagged="negative")
    assert "loose" in {*train.ids, *val.ids}


def test_output_within_the_source_does_not_count(photos):
    first = import_photos(photos, photos / "set")
    again = import_photos(photos, photos / "set", overwrite=True)
    assert first == again and again["images"] == 20


# ---- the command -----------------------------------------------------------------------------


def run(*arguments):
    """Exit code of the command."""
    try:
        main(["import", *map(str, arguments)])
    except SystemExit as end:
        return end.code
    return 0


def test_command(photos, tmp_path, capsys):
    output = tmp_path / "set"
    assert run(photos, "-o", output) == 0
    text = capsys.readouterr().out
    assert "photographs      20" in text and "cat" in text
    assert f"keras-wsss train --config photos --set data.root={output}" in text
    (photos / "cat/3.jpg").write_bytes(b"")
    assert run(photos, "-o", output, "--overwrite") == 1
    assert "1 the file is empty: 3.jpg" in capsys.readouterr().out
    (photos / "cat/3.jpg").unlink()
    rows = ["id,tags"]
    for path in sorted(photos.rglob("*.jpg")):
        rows.append(f"{path.parent.name}/{path.name},{path.parent.name if path.stem > '4' else ''}")
    (photos / "tags.csv").write_text("\n".join(rows))
    assert run(photos, "-o", output, "--overwrite", "--untagged", "drop", "--json") == 0
    summary = json.loads(capsys.readouterr().out)  # nothing but JSON
    assert summary["images"] == 10 and len(summary["dropped"]) == 9
    assert run(photos, "-o", output, "--overwrite", "--untagged", "negative") == 0
    assert "(negatives)" in capsys.readouterr().out


def test_help(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert "--untagged" in text and "examples:" in text
