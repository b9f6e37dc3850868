"""The page of a server and that of `export --format web`, used in a browser; masks are Python's."""

import io
import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import requests
import tensorflow as tf
from data_folder import photograph
from photo_page import REFUSED, SEGMENTED, choose, folder_server, saved_mask
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from serving_models import expected_mask, local_server, png, write_stand_in
from test_export_formats import METADATA
from test_label_photos import untrained_run

import keras_wsss
from keras_wsss.checksums import check_sums
from keras_wsss.data.decode import decode_image
from keras_wsss.data.sizes import shrunk
from keras_wsss.errors import ConfigError
from keras_wsss.export import export_run
from keras_wsss.export.guards import statuses
from keras_wsss.export.metadata import Limits, Metadata
from keras_wsss.export.network import network_of
from keras_wsss.export.web_file import RUNTIME_FILES, find_runtime
from keras_wsss.palette import voc_palette
from keras_wsss.registry import FORMATS, usual_formats

ODD_NAME = "<b>\"&' dog"
LIMITS = Limits(working_size=96, max_pixels=300_000, max_bytes=600_000)
JPEG_EQUAL = 0.999  # of the pixels: browsers may decode a level or two otherwise than TensorFlow


@dataclass(frozen=True)
class Page:
    """Where a page is, and what Python says of the bytes of a photograph."""

    url: str
    mask: Callable


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    write_stand_in(folder, 1)
    shutil.copytree(folder / "cats", folder / ODD_NAME)
    untaught(folder / ODD_NAME / "1")
    with local_server(folder, max_body=2**20) as endpoints:
        yield Page(f"{endpoints.rest}/", lambda data: expected_mask(decode_image(data).numpy()))


def untaught(version):
    """Says of a served model that no loss term has taught its classifier."""
    metadata = METADATA.model_copy(update={"scores_trained": False})
    (version / "assets.extra").mkdir(exist_ok=True)
    (version / "assets.extra/metadata.json").write_text(metadata.model_dump_json())


@pytest.fixture(scope="module")
def web_folder(tmp_path_factory):
    """What `export --format web` writes, and the network of its run."""
    try:
        find_runtime()
    except ConfigError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("web")
    lite = "backbone.name=efficientnet_lite0"
    run = untrained_run(folder / "run", lite, config="shapes_supervised")
    names = (run / "classes.txt").read_text().splitlines()
    (run / "classes.txt").write_text("\n".join([ODD_NAME, *names[1:]]))
    report = export_run(run, folder / "out", ["web"], name="zoo", images=1, limits=LIMITS)
    assert report["models"]["web"]["equal_pixels"] > 99.99
    return folder / "out" / "web" / "zoo", network_of(keras_wsss.load(run))


@pytest.fixture(scope="module")
def web(web_folder):
    folder, network = web_folder

    def mask(data):
        image = decode_image(data)
        ids = network(shrunk(image[None], LIMITS.working_size))["class_map"]
        return tf.image.resize(ids[..., None], image.shape[:2], method="nearest")[0, ..., 0].numpy()

    with folder_server(folder) as address:
        yield Page(address, mask)


@pytest.fixture(params=["served", "web"])
def page(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def photo(tmp_path):
    """Writes a photograph, or other bytes, to a file."""

    def written(data=None, name="photo.png"):
        path = tmp_path / name
        path.write_bytes(encoded(photograph(1, 150, 211)) if data is None else data)
        return path

    return written


def encoded(image, kind="PNG", **options):
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def text(browser, selector):
    return browser.run(f"document.querySelector({json.dumps(selector)}).innerText")


# ---- both pages ------------------------------------------------------------------------------


def test_a_photograph_gets_pythons_mask_and_a_browser_finds_no_fault(page, photo, browser):
    path = photo()
    expected = page.mask(path.read_bytes())
    assert len(np.unique(expected)) > 1

    def use():
        assert choose(browser, path).startswith("Segmented in ")
        assert browser.errors == []
        assert all(address.startswith(page.url) for address in browser.requests)
        np.testing.assert_array_equal(saved_mask(browser), expected)

    assert browser.faults(page.url, use) == []


def test_the_picture_is_the_photograph_under_the_colours_of_the_mask(page, photo, browser):
    path = photo()
    browser.open(page.url)
    choose(browser, path)
    image, ids = decode_image(path.read_bytes()).numpy(), page.mask(path.read_bytes())

    def picture(opacity):
        return browser.run(f"""(() => {{
          const slider = document.querySelector("#opacity");
          const canvas = document.querySelector("#picture");
          slider.value = {opacity};
          slider.dispatchEvent(new Event("input"));
          const {{width, height}} = canvas;
          return [...canvas.getContext("2d").getImageData(0, 0, width, height).data];
        }})()""")

    def pixels(opacity):
        return np.reshape(picture(opacity), (*ids.shape, 4))[..., :3]

    np.testing.assert_array_equal(pixels(0), image)
    np.testing.assert_array_equal(pixels(100), np.where(ids[..., None], voc_palette()[ids], image))
    name, data = browser.download("#save-picture")
    assert name == "photo_overlay.jpg" and Image.open(io.BytesIO(data)).size == ids.shape[::-1]


def test_the_legend_says_which_colour_is_which_class(page, photo, browser):
    path = photo()
    browser.open(page.url)
    choose(browser, path)
    rows = browser.run("""[...document.querySelectorAll("#legend li")].map(row =>
      [getComputedStyle(row.children[0]).backgroundColor, row.innerText])""")
    ids, counts = np.unique(page.mask(path.read_bytes()), return_counts=True)
    order = [number for _, number in sorted(zip(-counts, ids, strict=True)) if number]
    assert [row[0] for row in rows] == [
        f"rgb({', '.join(map(str, voc_palette()[n]))})" for n in order
    ]
    said = browser.run("document.querySelector('#picture').ariaLabel")
    for _, row in rows:
        assert "%" in row and row.replace("\n", " ") in said


def test_a_photograph_can_be_dropped_anywhere(page, browser):
    image, data = png(5)
    browser.open(page.url)
    stays = browser.run(f"""(() => {{
      const bytes = new Uint8Array({list(data)}), dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([bytes], "dropped.png"));
      const drop = new DragEvent("drop", {{dataTransfer, bubbles: true, cancelable: true}});
      document.body.dispatchEvent(drop);
      return drop.defaultPrevented;
    }})()""")
    assert stays
    browser.until(SEGMENTED)
    assert text(browser, "#caption") == "dropped.png"
    np.testing.assert_array_equal(saved_mask(browser), page.mask(data))


def test_the_keyboard_reaches_everything(page, photo, browser):
    browser.open(page.url)
    choose(browser, photo())
    reached = []
    for _ in range(6):
        browser.press("Tab")
        reached.append(browser.run("document.activeElement.id || document.activeElement.tagName"))
    for wanted in ("file", "opacity", "save-mask", "save-picture"):
        assert wanted in reached
    browser.run("document.querySelector('#save-mask').focus()")
    browser.press("Enter")
    browser.wait_for("Browser.downloadWillBegin")


def test_names_are_text(page, photo, browser):
    browser.open(page.url)
    choose(browser, photo(name="<i>photo&.png"))
    assert text(browser, "#caption") == "<i>photo&.png"
    assert ODD_NAME in browser.run("document.documentElement.textContent")
    assert choose(browser, photo(b"", "<i>empty.png")).startswith("<i>empty.png: no bytes")
    assert browser.run("document.querySelectorAll('main b, main i').length") == 0


def test_nothing_is_sent_anywhere_else(page, browser):
    browser.open(page.url)
    refused = browser.run("""new Promise(resolve => {
      document.addEventListener("securitypolicyviolation", event => resolve(event.blockedURI));
      fetch("http://127.0.0.2:9/").catch(() => {});
    })""")
    assert refused == "http://127.0.0.2:9/"


# ---- a server --------------------------------------------------------------------------------


def test_one_of_several_models_is_asked(served, photo, browser):
    browser.open(served.url)
    names = browser.run("[...document.querySelector('#model').options].map(each => each.value)")
    assert names == [ODD_NAME, "cats"]
    choose(browser, photo())
    shown = "document.querySelector('#class-scores').checkVisibility()"
    assert not browser.run(shown)  # nobody has taught that classifier
    browser.run("""(() => {
      const model = document.querySelector("#model");
      model.value = "cats";
      model.dispatchEvent(new Event("change"));
    })()""")
    browser.until(SEGMENTED)
    assert browser.run(shown)
    asked = [unquote(each).split("/")[-1] for each in browser.requests[1:]]
    assert asked == [f"{ODD_NAME}:predict", "cats:predict"]


def test_a_single_model_is_not_asked_for(tmp_path, browser):
    write_stand_in(tmp_path, 1)
    with local_server(tmp_path) as endpoints:
        browser.open(f"{endpoints.rest}/")
        assert not browser.run("document.querySelector('#model').checkVisibility()")
        assert "Masks by the model cats." in text(browser, "main")
        answer = requests.get(f"{endpoints.rest}/")
    assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_a_server_refuses_is_a_sentence(served, photo, browser):
    browser.open(served.url)
    assert choose(browser, photo(b"")) == "photo.png: no bytes."
    large = photo(bytes(2**20), "large.png")
    shrink = "large.png: too large for this server. Shrink the photograph."
    assert choose(browser, large) == shrink and not browser.run(f"!{REFUSED}")
    assert "The server answers 400: " in choose(browser, photo(b"text", "text.png"))
    answers(browser, 429, {"error": "too many requests; try again in a moment"})
    busy = "The server is busy: too many requests; try again in a moment."
    assert choose(browser, photo()) == busy
    answers(browser, 200, {"predictions": [{"x": 1}]})
    assert "gives no masks" in choose(browser, photo())
    browser.run("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")
    assert choose(browser, photo()) == "The server does not answer. Is it still running?"
    browser.run("window.fetch = window.network")
    browser.run("document.querySelector('#again').click()")
    browser.until(SEGMENTED)
    assert not browser.run(REFUSED)


def answers(browser, status, document):
    """From now on the server seems to answer this."""
    browser.run(f"""(() => {{
      window.network ??= window.fetch;
      const body = {json.dumps(json.dumps(document))};
      window.fetch = async () => new Response(body, {{status: {status}}});
    }})()""")


def test_an_answer_that_comes_too_late_is_not_shown(served, photo, browser):
    browser.open(served.url)
    browser.run("""(() => {
      const network = window.fetch;
      window.fetch = async (...request) => {
        window.fetch = network;
        const answer = await network(...request);
        await new Promise(resolve => window.answer = resolve);
        return answer;
      };
    })()""")
    browser.choose("#file", photo(name="first.png"))
    browser.until("Boolean(window.answer)")
    choose(browser, photo(name="second.png"))
    browser.run("new Promise(resolve => (window.answer(), setTimeout(resolve, 300)))")
    assert text(browser, "#caption") == "second.png"


# ---- a network in the browser ----------------------------------------------------------------

WIDE = photograph(2, 90, 240)
GREY = Image.fromarray(WIDE).convert("L")
LINEAR = PngInfo()
LINEAR.add(b"gAMA", struct.pack(">I", 100_000))
CASES = {
    "as it is": encoded(photograph(3, 64, 96)),
    "shrunk": encoded(photograph(4, 300, 211)),
    "small": encoded(photograph(5, 7, 300)),
    "one pixel": encoded(photograph(6, 1, 1)),
    "many rows": encoded(photograph(7, 600, 40)),
    "grey": encoded(GREY),
    "16 bits": encoded(Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257 + 100)),
    "with a palette": encoded(Image.fromarray(WIDE).convert("P")),
    "with EXIF data": encoded(WIDE, exif=turned(6)),
    "of another gamma": encoded(WIDE, pnginfo=LINEAR),
}


def test_masks_of_png_files_are_pythons(web, photo, browser):
    browser.open(web.url)
    found = set()
    for name, data in CASES.items():
        assert choose(browser, photo(data)).startswith("Segmented in "), name
        mask = saved_mask(browser)
        np.testing.assert_array_equal(mask, web.mask(data), err_msg=name)
        found |= set(np.unique(mask))
    assert len(found) > 2


def test_masks_of_jpeg_files_are_pythons_but_for_a_pixel_or_two(web, photo, browser):
    browser.open(web.url)
    for options in [{"exif": turned(number)} for number in range(1, 9)] + [
        {"progressive": True, "quality": 50},
        {"subsampling": 0},
    ]:
        data = encoded(WIDE, "JPEG", **options)
        choose(browser, photo(data, "photo.jpg"))
        mask, expected = saved_mask(browser), web.mask(data)
        assert mask.shape == expected.shape and len(np.unique(expected)) > 1
        assert np.mean(mask == expected) >= JPEG_EQUAL, options


def test_transparency_is_told(web, photo, browser):
    browser.open(web.url)
    image = Image.fromarray(WIDE).convert("RGBA")
    assert choose(browser, photo(encoded(image))).endswith(" s.")
    image.putpixel((0, 0), (0, 0, 0, 0))
    assert choose(browser, photo(encoded(image))).endswith("transparent, Python may say otherwise.")


def test_what_the_page_refuses_is_what_a_served_model_says(web, photo, browser):
    said = dict(statuses(LIMITS))
    browser.open(web.url)
    noise = np.random.default_rng(0).integers(0, 256, (470, 500, 3), np.uint8)
    for status, data in {
        "empty": b"",
        "unsupported_format": encoded(WIDE, "GIF"),
        "too_many_bytes": encoded(noise),
        "too_many_pixels": encoded(photograph(1, 600, 501)),
    }.items():
        assert choose(browser, photo(data, "x.png")) == f"x.png: {said[status]}."
    damaged = choose(browser, photo(encoded(WIDE)[:200], "x.png"))
    assert damaged == "x.png: this browser cannot decode it; save it again as JPEG or PNG."
    assert browser.errors == []


def test_a_page_that_is_opened_as_a_file_says_what_to_do(web_folder, browser):
    browser.open((web_folder[0] / "index.html").as_uri())
    browser.until(REFUSED)
    assert "run “python -m http.server”" in text(browser, "#sentence")


def test_the_folder_is_whole(web_folder):
    folder, _ = web_folder
    check_sums(folder)
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    runtime = {f"onnxruntime-web/{Path(name).name}" for name in (*RUNTIME_FILES, "LICENSE")}
    assert names == {"index.html", "model.onnx", "metadata.json", "SHA256SUMS", *runtime}
    metadata = Metadata.model_validate_json((folder / "metadata.json").read_text())
    assert metadata.limits == LIMITS and metadata.classes[1] == ODD_NAME
    for path in (folder.parents[2], keras_wsss.__path__[0]):
        assert not [n for n in names if str(path).encode() in (folder / n).read_bytes()]
    licence = (folder / "onnxruntime-web" / "LICENSE").read_text()
    assert "Copyright (c) Microsoft Corporation" in licence and "$" not in licence


def test_without_onnxruntime_web_there_is_one_message_before_any_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NODE_PATH", str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigError, match="npm install --no-save onnxruntime-web"):
        export_run(tmp_path / "no run", tmp_path / "out", ["saved_model", "web"])
    (tmp_path / "elsewhere" / "onnxruntime-web").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"holds no dist/ort\S*; npm install onnxruntime-web@lat"):
        find_runtime()
    assert set(FORMATS) - set(usual_formats()) == {"web"}
