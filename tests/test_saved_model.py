"""The served graph: encoded images in, masks and a status out, equal to the Keras model."""

import io
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks.fuzz_serving import (
    CLASSES,
    LIMITS,
    by_function,
    by_session,
    fuzz,
    originals,
    write_tiny_model,
)
from keras_wsss.data.decode import decode_image
from keras_wsss.data.headers import jpeg_header, png_header
from keras_wsss.data.sizes import shrunk
from keras_wsss.export.palette_png import encode_mask
from keras_wsss.palette import voc_palette


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Version folder of a tiny model, and the network that is in it."""
    path = tmp_path_factory.mktemp("served") / "tiny" / "1"
    return path, write_tiny_model(path)


@pytest.fixture(scope="module")
def serve(saved):
    return by_function(saved[0])


def photograph(height, width, seed=0):
    """Coarse noise, in which the network finds several classes."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 12 + 2, width // 12 + 2, 3))
    return Image.fromarray(noise.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def mask_of(answers, number=0):
    return np.asarray(Image.open(io.BytesIO(answers["mask_png_bytes"][number])))


# ---- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (96, 70), (67, 95), (33, 90), (150, 211), (7, 300)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_masks_are_those_of_the_keras_model(saved, serve, size, kind):
    _, network = saved
    data = encoded(photograph(*size), kind)
    answers = serve([data])
    image = decode_image(data)[None]
    outputs = network(shrunk(image, LIMITS.working_size))
    expected = tf.image.resize(outputs["class_map"][..., None], size, method="nearest")[0, ..., 0]
    assert answers["status"] == [b"ok"]
    np.testing.assert_array_equal(mask_of(answers), expected)

    scores = tf.sigmoid(outputs["image_logits"][0]).numpy()
    order = np.argsort(-scores)
    np.testing.assert_array_equal(answers["class_ids"][0], order + 1)
    np.testing.assert_allclose(answers["class_scores"][0], scores[order], atol=1e-6)
    names = [CLASSES[number + 1].encode() for number in order]
    np.testing.assert_array_equal(answers["class_names"][0], names)
    shares = np.bincount(outputs["class_map"].numpy().ravel(), minlength=len(CLASSES))
    np.testing.assert_allclose(answers["coverage"][0], shares / shares.sum(), atol=1e-6)
    probabilities = tf.nn.softmax(outputs["logits"]).numpy()
    np.testing.assert_allclose(answers["confidence"], probabilities.max(-1).mean(), atol=1e-5)


def test_the_images_show_several_classes(saved):
    """Else the tests above would compare constants."""
    found = saved[1](np.asarray(photograph(96, 70), np.float32)[None])["class_map"]
    assert len(np.unique(found)) > 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_lie_on_the_displayed_image(serve, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photograph(40, 80), "JPEG", exif=exif)
    shown = decode_image(data).numpy()
    assert shown.shape[:2] == ((80, 40) if orientation >= 5 else (40, 80))
    # PNG knows no orientation: the same pixels, upright.
    upright = encoded(Image.fromarray(shown))
    np.testing.assert_array_equal(mask_of(serve([data])), mask_of(serve([upright])))


def test_tensors_and_files_get_the_same_masks(saved, serve):
    model = tf.saved_model.load(str(saved[0]))
    for size in [(96, 70), (150, 211)]:
        image = photograph(*size)
        pixels = tf.constant(np.asarray(image)[None])
        class_map = model.signatures["predict_tensor"](images=pixels)["class_map"]
        assert class_map.dtype == tf.uint8
        np.testing.assert_array_equal(class_map[0], mask_of(serve([encoded(image)])))
        scores = model.signatures["predict_scores"](images=pixels)
        np.testing.assert_allclose(tf.reduce_sum(scores["probabilities"], -1), 1, atol=1e-5)
        best = tf.argmax(scores["logits"], -1)
        np.testing.assert_array_equal(best, scores["class_map"])
        assert max(scores["class_map"].shape[1:]) <= LIMITS.working_size


def test_large_images_are_shrunk_without_aliasing():
    """One-pixel stripes become grey, not stripes of another width."""
    stripes = np.zeros((1, 400, 400, 3), np.uint8)
    stripes[:, :, ::2] = 255
    small = shrunk(stripes, 100).numpy()
    assert small.shape == (1, 100, 100, 3)
    assert np.abs(small[:, 5:-5, 5:-5] - 127.5).max() < 2
    np.testing.assert_array_equal(shrunk(stripes, 400), stripes)


# ---- bad files -------------------------------------------------------------------------------


def many_scans():
    return encoded(photograph(30, 30), "JPEG")[:-2] + b"\xff\xda" * 101 + b"\xff\xd9"


def many_segments():
    """Empty comments, which a loop over segments would follow for minutes."""
    data = encoded(photograph(30, 30), "JPEG")
    return data[:2] + b"\xff\xfe\x00\x02" * 40_000 + data[2:]


def animation():
    image = photograph(30, 30)
    return encoded(image, "PNG", save_all=True, append_images=[photograph(30, 30, seed=1)])


BAD = {
    "empty": ("empty", lambda: b""),
    "many bytes": ("too_many_bytes", lambda: b"\xff\xd8\xff" + bytes(LIMITS.max_bytes)),
    "text": ("unsupported_format", lambda: b"<html>not found</html>"),
    "GIF": ("unsupported_format", lambda: encoded(photograph(30, 30), "GIF")),
    "BMP": ("unsupported_format", lambda: encoded(photograph(30, 30), "BMP")),
    "signature alone": ("bad_header", lambda: b"\x89PNG\r\n\x1a\n"),
    "no frame": ("bad_header", lambda: b"\xff\xd8\xff\xda" + bytes(100)),
    "many segments": ("bad_header", many_segments),
    "PNG bomb": ("too_many_pixels", lambda: encoded(Image.new("1", (20_000, 20_000)))),
    "JPEG bomb": ("too_many_pixels", lambda: encoded(Image.new("L", (3000, 3000)), "JPEG")),
    "animated PNG": ("too_many_frames", animation),
    "many scans": ("too_many_frames", many_scans),
    "cut JPEG": ("not_decodable", lambda: encoded(photograph(60, 60), "JPEG")[:-200]),
    "cut PNG": ("not_decodable", lambda: encoded(photograph(60, 60))[:-200]),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_gets_its_status_and_fails_no_other(serve, kind):
    status, make = BAD[kind]
    good = encoded(photograph(64, 80))
    answers = serve([good, make(), good])
    assert list(answers["status"]) == [b"ok", status.encode(), b"ok"]
    assert answers["message"][1] and not answers["message"][0]
    assert answers["mask_png_bytes"][1] == b""
    alone = serve([good])
    for name, values in alone.items():
        np.testing.assert_array_equal(answers[name][2], values[0], err_msg=name)


def padded(size):
    """A PNG file of so many bytes: decoders do not look behind its end."""
    data = encoded(photograph(30, 30))
    return data + bytes(size - len(data))


def without_width():
    data = bytearray(encoded(photograph(30, 30)))
    data[16:20] = bytes(4)
    return bytes(data)


def test_limits_are_the_last_that_is_admitted(serve):
    width, height = 1000, LIMITS.max_pixels // 1000
    for kind in ("PNG", "JPEG"):
        sizes = (width, height), (width, height + 1)
        files = [encoded(Image.new("L", size), kind) for size in sizes]
        assert list(serve(files)["status"]) == [b"ok", b"too_many_pixels"]
    files = [padded(LIMITS.max_bytes), padded(LIMITS.max_bytes + 1), without_width()]
    assert list(serve(files)["status"]) == [b"ok", b"too_many_bytes", b"bad_header"]


def test_no_images(serve):
    answers = serve([])
    assert answers["status"].shape == (0,) and answers["coverage"].shape == (0, len(CLASSES))


def test_mutated_files_never_raise(saved):
    """Through both ways of loading; 5,000 of them in benchmarks/fuzz_serving.py."""
    counts = fuzz(saved[0], 250, seed=1)["statuses"]
    assert sum(counts.values()) == 250
    assert min(counts.get(name, 0) for name in ("ok", "not_decodable", "bad_header")) > 10


def test_headers_say_what_is_decoded():
    for data in originals(np.random.default_rng(0)):
        if data[:2] == b"\xff\xd8":
            assert [int(n) for n in jpeg_header(data)[:2]] == [45, 60]
        elif data[1:4] == b"PNG":
            assert [int(n) for n in png_header(data)[:2]] == [45, 60]
    progressive = encoded(photograph(30, 30), "JPEG", progressive=True)
    assert jpeg_header(progressive)[2] > 1 == jpeg_header(encoded(photograph(30, 30), "JPEG"))[2]
    assert int(png_header(animation())[2]) == 2
    assert int(png_header(encoded(photograph(30, 30)))[2]) == 1


def test_no_frame_is_found_behind_what_a_decoder_may_read_otherwise():
    """Standing alone, these markers have no length; a decoder goes on behind them."""
    data = encoded(photograph(30, 30), "JPEG")
    for marker in (0x01, 0xD0, 0xD8, 0xD9):
        assert int(jpeg_header(data[:2] + bytes([0xFF, marker]) + data[2:])[0]) == 0
    # Fill bytes before a marker mean nothing.
    assert int(jpeg_header(data[:2] + b"\xff\xff\xff" + data[2:])[0]) == 30


# ---- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (120, 200), (70_000, 2)])
def test_palette_png(size):
    mask = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    image = Image.open(io.BytesIO(encode_mask(mask).numpy()))
    image.verify()  # checksums
    image = Image.open(io.BytesIO(encode_mask(mask).numpy()))
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), mask)
    assert image.getpalette() == voc_palette().ravel().tolist()


def test_loads_where_neither_keras_nor_this_library_is(saved):
    program = f"""
import sys
sys.modules["keras"] = sys.modules["keras_wsss"] = None
import tensorflow as tf
model = tf.saved_model.load({str(saved[0])!r})
answer = model.signatures["serving_default"](image_bytes=tf.constant([b""]))
print(answer["status"].numpy()[0].decode())
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.split()[-1:] == ["empty"], result.stderr[-2000:]


def test_saved_model_cli_runs_it(saved, tmp_path):
    np.save(tmp_path / "images.npy", np.asarray(photograph(64, 80))[None])
    command = ["run", "--dir", str(saved[0]), "--tag_set", "serve"]
    command += ["--signature_def", "predict_tensor"]
    command += ["--inputs", f"images={tmp_path}/images.npy", "--outdir", str(tmp_path)]
    module = "tensorflow.python.tools.saved_model_cli"
    result = subprocess.run(
        [sys.executable, "-c", f"from {module} import main; main()", *command],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert np.load(tmp_path / "class_map.npy").shape == (1, 64, 80)


def test_the_session_path_says_the_same(saved, serve):
    files = [encoded(photograph(64, 80)), b"", encoded(photograph(96, 50), "JPEG")]
    ours, theirs = serve(files), by_session(saved[0])(files)
    for name, values in ours.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(theirs[name], values, atol=1e-5)
        else:
            np.testing.assert_array_equal(theirs[name], values, err_msg=name)
