"""Decoding: the same pixels as Pillow, whatever the file."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from data_folder import photograph
from PIL import Image, ImageOps

from keras_wsss.data.decode import decode_image
from keras_wsss.data.headers import exif_orientation

decode = tf.function(decode_image, input_signature=[tf.TensorSpec([], tf.string)])


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def exif(orientation, order="<", filler=0):
    """An EXIF segment; ``filler`` entries stand before the orientation."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = [struct.pack(order + "HHIHH", 0x0100 + n, 3, 1, 6, 0) for n in range(filler)]
    entries.append(struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0))
    tiff = mark + struct.pack(order + "IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    return b"Exif\0\0" + tiff


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}])
@pytest.mark.parametrize("size", [(37, 53), (8, 8), (1, 1)])
def test_jpeg_is_bit_equal_to_pillow(size, options):
    data = encoded(Image.fromarray(photograph(1, *size)), "JPEG", quality=85, **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(decode(data), expected)


def test_photographs_are_bit_equal_to_pillow(shared):
    for path in sorted((shared / "data" / "JPEGImages").glob("*.jpg"))[::200]:
        np.testing.assert_array_equal(decode(path.read_bytes()), np.asarray(Image.open(path)))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, order):
    image = Image.fromarray(photograph(2, 24, 40))
    data = encoded(image, "JPEG", exif=exif(orientation, order, filler=3))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert expected.shape[:2] == ((40, 24) if orientation >= 5 else (24, 40))
    np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_impossible_orientation_counts_as_upright(orientation):
    data = encoded(Image.fromarray(photograph(2)), "JPEG", exif=exif(orientation))
    assert exif_orientation(data) == 1


def test_exif_behind_other_segments():
    plain = encoded(Image.fromarray(photograph(2)), "JPEG")  # starts with an APP0 segment
    comment = b"\xff\xfe" + struct.pack(">H", 7) + b"hello"
    segment = exif(6)
    segment = b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
    end = 4 + struct.unpack(">H", plain[4:6])[0] - 2 + 2
    assert exif_orientation(plain[:end] + comment + segment + plain[end:]) == 6
    assert exif_orientation(plain) == 1


def test_nonsense_in_exif_is_never_an_error():
    rng = np.random.default_rng(0)
    data = encoded(Image.fromarray(photograph(2, 8, 8)), "JPEG", exif=exif(6))
    read = tf.function(exif_orientation, input_signature=[tf.TensorSpec([], tf.string)])
    for _ in range(200):
        mutated = bytearray(data[: rng.integers(3, len(data))])
        for position in rng.integers(2, min(len(mutated), 60), 4):
            mutated[position] = rng.integers(256)
        assert 1 <= int(read(bytes(mutated))) <= 8


def test_modes():
    colour = Image.fromarray(photograph(3))
    exact = {
        "grey JPEG": (encoded(colour.convert("L"), "JPEG"), None),
        "grey PNG": (encoded(colour.convert("L"), "PNG"), None),
        "RGBA": (encoded(Image.merge("RGBA", [*colour.split(), colour.split()[0]]), "PNG"), None),
        "grey with alpha": (encoded(colour.convert("LA"), "PNG"), None),
        "palette": (encoded(colour.quantize(16), "PNG"), None),
        "1 bit": (encoded(colour.convert("1"), "PNG"), None),
        "GIF": (encoded(colour.quantize(16), "GIF"), None),
        "BMP": (encoded(colour, "BMP"), None),
    }
    for name, (data, _) in exact.items():
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        np.testing.assert_array_equal(decode(data), expected, err_msg=name)


def test_cmyk():
    data = encoded(Image.fromarray(photograph(3)).convert("CMYK"), "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int)
    assert np.abs(decode(data).numpy() - expected).max() <= 2


def test_sixteen_bits_keep_the_upper_eight():
    values = np.random.default_rng(0).integers(0, 65536, (9, 7), np.uint16)
    image = decode(encoded(Image.fromarray(values), "PNG"))
    np.testing.assert_array_equal(image, np.repeat(values[..., None] >> 8, 3, -1))


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"no image at all"])
def test_no_image_is_an_error(data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(data)


def test_truncated_jpeg_is_an_error():
    data = encoded(Image.fromarray(photograph(3, 200, 200)), "JPEG")
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(data[: len(data) // 2])


def test_survives_a_saved_model(tmp_path):
    module = tf.Module()
    module.decode = decode
    tf.saved_model.save(module, str(tmp_path))
    data = encoded(Image.fromarray(photograph(2)), "JPEG", exif=exif(6))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.decode(data), decode_image(data))
