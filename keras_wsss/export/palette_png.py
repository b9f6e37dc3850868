"""Masks as PNG files with a palette, encoded inside the graph."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import tensorflow as tf

from keras_wsss.palette import voc_palette

SIZE_AT, HEADER_END = 16, 33  # in a PNG file: width and height, and the end of the first chunk
INDEXED = b"\x08\x03\0\0\0"  # 8 bits a pixel, which are an index; not interlaced


def encode_mask(mask: Any) -> Any:
    """A mask as PASCAL VOC stores it: a PNG file whose pixels are class ids with VOC's colours.

    TensorFlow only writes grey PNG files. A palette is another header and one more chunk, and the
    compressed pixels are the same.

    Args:
        mask: uint8 `[H,W]`.

    Returns:
        String scalar, the bytes of the file.

    Example:

    >>> import io
    >>> from PIL import Image
    >>> file = encode_mask(tf.constant([[0, 1, 255]], tf.uint8)).numpy()
    >>> np.asarray(Image.open(io.BytesIO(file)))
    array([[  0,   1, 255]], dtype=uint8)
    """
    grey = tf.io.encode_png(mask[..., None])
    size = tf.strings.substr(grey, SIZE_AT, 8)
    start = tf.strings.substr(grey, 0, SIZE_AT)
    pixels = tf.strings.substr(grey, HEADER_END, -1)
    return tf.strings.join([start, size, INDEXED, _header_checksum(size), _palette(), pixels])


def _palette() -> bytes:
    colours: bytes = b"PLTE" + voc_palette().tobytes()
    checksum = struct.pack(">I", zlib.crc32(colours))
    return struct.pack(">I", 3 * 256) + colours + checksum


def _header_checksum(size: Any) -> Any:
    """CRC-32 of the header chunk: a sum of bits modulo 2, so that each bit has its own share."""

    def checksum(bits: int) -> np.ndarray:
        value = zlib.crc32(b"IHDR" + struct.pack(">Q", bits) + INDEXED)
        return np.unpackbits(np.frombuffer(struct.pack(">I", value), np.uint8)).astype(np.int32)

    shares = np.stack([checksum(1 << bit) ^ checksum(0) for bit in reversed(range(64))])
    places = tf.constant([128, 64, 32, 16, 8, 4, 2, 1])
    digits = tf.cast(tf.io.decode_raw(size, tf.uint8), tf.int32)
    bits = tf.reshape(digits[:, None] // places % 2, (1, 64))
    total = (tf.matmul(bits, tf.constant(shares)) + checksum(0)) % 2
    octets = tf.reduce_sum(tf.reshape(total, (4, 8)) * places, axis=1)
    every = tf.constant([bytes([value]) for value in range(256)])
    return tf.strings.reduce_join(tf.gather(every, octets))
