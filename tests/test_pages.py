"""The pages that commands write, as a browser shows them: desktop and phone, light and dark."""

import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from data_folder import photograph, write_voc
from PIL import Image
from test_label_photos import untrained_run

from keras_wsss.data.checking.check import check
from keras_wsss.data.checking.page import page_of
from keras_wsss.data.checking.source import data_of
from keras_wsss.inference.predict import predict_files
from keras_wsss.pages import address, figure, page, pictures
from keras_wsss.photographs import find_photographs

ODD_NAMES = ("<b>\"&'", "two words", "Kühe und Schafe", "a#b", "50%", "what?", "inner/" + 60 * "x")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "<i>photos"
    for seed, name in enumerate(ODD_NAMES):
        path = folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(seed, 72, 96)).save(path)
    return folder


@pytest.fixture(scope="module")
def predictions(photos, eager, tmp_path_factory):
    """The index page of ``predict``."""
    folder = tmp_path_factory.mktemp("predictions")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 nonsense")
    predict_files(untrained_run(folder / "run"), find_photographs([photos]), folder / "masks")
    (photos / "broken.jpg").unlink()
    return folder / "masks" / "index.html"


@pytest.fixture(scope="module")
def checked(photos, tmp_path_factory):
    """The page of ``check``, with errors, warnings, and masks over photographs."""
    root = write_voc(tmp_path_factory.mktemp("checked") / "voc")
    for number in (0, 1):
        shutil.copy(photos / "what?.jpg", root / "JPEGImages" / f"image_{number}.jpg")
    (root / "JPEGImages" / "image_2.jpg").write_bytes(b"")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("image_3\n<b>&'\n")
    report = check(data_of(root))
    assert {"error", "warning"} <= {each.severity for each in report.findings}
    file = root / "check.html"
    file.write_text(page_of(report), "utf-8")
    return file


@pytest.mark.parametrize("written", ["predictions", "checked"])
def test_a_browser_finds_no_fault(written, browser, request):
    url = request.getfixturevalue(written).as_uri()
    assert browser.faults(url) == []
    assert browser.run("document.images.length") >= 4
    assert all(each.startswith(("file:", "data:")) for each in browser.requests)


def test_every_mask_is_a_link_that_the_keyboard_reaches(predictions, browser):
    browser.open(predictions.as_uri())
    links = browser.run("[...document.links].map(link => link.href)")
    masks = {Path(unquote(urlsplit(link).path)) for link in links}
    assert masks == {predictions.parent / "masks" / f"{name}.png" for name in ODD_NAMES}
    assert all(mask.is_file() for mask in masks)
    browser.press("Tab")
    focused = browser.run(
        "[document.activeElement.href, getComputedStyle(document.activeElement).outlineWidth]"
    )
    assert focused == [links[0], "3px"]
    browser.press("Enter")
    browser.wait_for("Page.loadEventFired")
    assert browser.run("document.images.length") == 1 and browser.errors == []


def test_names_are_text(predictions, browser):
    browser.open(predictions.as_uri())
    assert "<b>\"&'" in browser.run("document.querySelector('main').innerText")
    assert browser.run("document.querySelectorAll('main b, main i').length") == 0


def test_the_tests_see_faults(tmp_path, browser):
    wide = '<p style="min-width: 2000px; color: #aaa; background: #bbb">pale</p>'
    lost = figure(address("what?.jpg"), "a cat")
    script = "<script>console.error('wrong')</script>"
    file = tmp_path / "page.html"
    file.write_text(page("Faults", wide + pictures([lost]) + script), "utf-8")
    found = "\n".join(browser.faults(file.as_uri()))
    wide = "2016 of 1280 pixels", "2016 of 390 pixels"
    for fault in ("wrong", *wide, "no alt", "not loaded", "contrast 1."):
        assert fault in found
