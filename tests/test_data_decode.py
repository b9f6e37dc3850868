"""Decoding: the same pixels as Pillow, whatever the file."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from data_folder import photograph
from PIL import Image, ImageOps

from keras_wsss.data.decodable import HEAD, check_decodable
from keras_wsss.data.decode import decode_image, read_image
from keras_wsss.data.headers import exif_orientation
from keras_wsss.data.orientation import file_orientation
from keras_wsss.errors import DataError

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


def segment(content):
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def test_exif_behind_tables_and_other_segments():
    plain = encoded(Image.fromarray(photograph(2, 24, 40)), "JPEG")
    frame = plain.index(b"\xff\xc0")
    for inserted in (segment(exif(6)), b"\xff\xff" + segment(b"http://xmp\0") + segment(exif(6))):
        data = plain[:frame] + inserted + plain[frame:]
        expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
        assert expected.shape[:2] == (40, 24)
        np.testing.assert_array_equal(decode(data), expected)


def test_masks_are_turned_as_images_are_whatever_the_file_says(tmp_path):
    """The orientation is read twice: by the graph that decodes, and where masks are read."""
    rng = np.random.default_rng(0)
    plain = encoded(Image.fromarray(photograph(2, 8, 8)), "JPEG")
    frame = plain.index(b"\xff\xc0")
    xmp = segment(b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>')
    exifs = [exif(number, order, 2) for number in range(10) for order in "<>"]
    exifs.append(exif(6, ">").replace(struct.pack(">HHI", 0x0112, 3, 1), b"\x01\x12\0\4\0\0\0\1"))
    files = [
        plain[:at] + before + segment(content) + plain[at:]
        for content in exifs
        for at in (2, frame)
        for before in (b"", b"\xff\xff", xmp, segment(content))
    ]
    read = tf.function(exif_orientation, input_signature=[tf.TensorSpec([], tf.string)])
    path, seen = tmp_path / "a.jpg", set()
    for number in range(600):
        data = bytearray(files[number % len(files)])
        if number >= len(files):
            for position in rng.integers(2, min(len(data), (60, 700)[number % 2]), 4):
                data[position] = rng.integers(256)
            data = data[: rng.integers(3, 2 * len(data))]
        path.write_bytes(data)
        seen.add(file_orientation(str(path)))
        assert int(read(bytes(data))) == file_orientation(str(path)), bytes(data)
    assert seen == set(range(1, 9))


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


def packed_in_runs(width, height):
    """A BMP file of 8 bits a pixel, packed: each line is one run of its number."""
    lines = b"".join(bytes([width, line, 0, 0]) for line in range(height)) + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(lines), 0, 0, 256, 0)
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in range(256))
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(lines), 0, 0, start) + header + palette + lines


def with_bit_fields(red=0xFF0000):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 4), np.uint8).tobytes()
    header = struct.pack("<IiiHHIIiiII", 40, 6, 4, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    header += struct.pack("<III", red, 0xFF00, 0xFF00FF - red)
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + pixels


def bitmaps():
    """Name -> file, and whether TensorFlow sees its colours."""
    colour = Image.fromarray(photograph(3, 9, 14))
    top_down = bytearray(encoded(colour, "BMP"))
    top_down[22:26] = struct.pack("<i", -9)
    return {
        "24 bits": (encoded(colour, "BMP"), True),
        "24 bits, first line first": (bytes(top_down), True),
        "32 bits": (encoded(colour.convert("RGBA"), "BMP"), True),
        "32 bits in fields": (with_bit_fields(), True),
        "grey": (encoded(colour.convert("L"), "BMP"), True),
        "palette": (encoded(colour.quantize(200), "BMP"), False),
        "palette of 16": (encoded(colour.quantize(16), "BMP"), False),
        "palette of 2": (encoded(colour.quantize(2), "BMP"), False),
        "1 bit": (encoded(colour.convert("1"), "BMP"), False),
        "packed": (packed_in_runs(14, 9), False),
        "other fields": (with_bit_fields(red=0xFF), False),
        "header alone": (b"BM", False),
        "two bytes behind the pixels": (encoded(colour, "BMP") + b"\0\0", False),
        "cut off": (encoded(colour, "BMP")[:-2], False),
        "OS/2": (b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 2, 2, 1, 24) + bytes(60), False),
    }


@pytest.mark.parametrize("name", bitmaps())
def test_bmp_is_decoded_right_or_refused(name, tmp_path):
    data, decodes = bitmaps()[name]
    path = tmp_path / "a.bmp"
    path.write_bytes(data)
    if decodes:
        check_decodable("a.bmp", data[:HEAD], len(data))
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        np.testing.assert_array_equal(read_image(str(path)), expected)
    else:
        with pytest.raises(DataError, match=r"a\.bmp: a BMP file .*; save it as PNG"):
            read_image(str(path))


def test_animated_webp_is_refused(tmp_path):
    frames = [Image.fromarray(photograph(seed)) for seed in (3, 4)]
    path = tmp_path / "a.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"a\.webp: an animated WebP file, .*; save a frame as PNG"):
        read_image(str(path))
    frames[0].save(path, exif=Image.Exif().tobytes())  # of the same extended kind
    assert read_image(str(path)).shape == (40, 56, 3)


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
