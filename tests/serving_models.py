"""Small SavedModels to serve, and a local server in a thread."""

import asyncio
import io
import os
import queue
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_wsss.export.palette_png import encode_mask
from keras_wsss.export.serving.server import Options, serve

CLASSES = ("background", "cat", "dog")


class StandIn(tf.Module):
    """Signatures of an exported model without a network: a pixel's class is its red + version."""

    def __init__(self, version):
        super().__init__()
        self.version = tf.Variable(version, dtype=tf.uint8)

    def class_map(self, images):
        return (images[..., 0] // 64 + self.version) % 3

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def segment_files(self, image_bytes):
        def one(contents):
            empty = tf.strings.length(contents) == 0
            image = tf.cond(
                empty,
                lambda: tf.zeros([1, 1, 3], tf.uint8),
                lambda: tf.io.decode_png(contents, channels=3),
            )
            mask = self.class_map(image)
            coverage = tf.reduce_mean(tf.one_hot(mask, 3), axis=[0, 1])
            encoded = encode_mask(mask)
            return {
                "mask_png_bytes": tf.where(empty, b"", encoded),
                "coverage": tf.where(empty, 0.0, coverage),
                "confidence": coverage[0],
                "status": tf.where(empty, "empty", "ok"),
                "message": tf.where(empty, "no bytes", ""),
            }

        types = {
            "mask_png_bytes": tf.string,
            "coverage": tf.float32,
            "confidence": tf.float32,
            "status": tf.string,
            "message": tf.string,
        }
        answer = tf.map_fn(one, image_bytes, fn_output_signature=types)
        number = tf.shape(image_bytes)[0]
        return {
            **answer,
            "class_ids": tf.tile([[2, 1]], [number, 1]),
            "class_names": tf.tile([["dog", "cat"]], [number, 1]),
            "class_scores": tf.tile([[0.75, 0.25]], [number, 1]),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "images")])
    def predict_tensor(self, images):
        return {"class_map": self.class_map(images)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, "a"),
            tf.TensorSpec([None], tf.int32, "b"),
        ]
    )
    def arithmetic(self, a, b):
        b = tf.cast(b, tf.float32)
        return {"sum": a + b, "quotient": a / b}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def letters(self, text):
        return {"text": tf.strings.upper(text), "number": tf.size(text), "raw_bytes": text}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "seconds")])
    def slow(self, seconds):
        end = tf.timestamp() + tf.cast(tf.reduce_max(seconds), tf.float64)
        tf.while_loop(lambda now: now < end, lambda now: [tf.timestamp()], [tf.timestamp()])
        return {"seconds": seconds}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "file")])
    def until(self, file):
        """Answers once `file` exists, however long a test takes; or after a minute."""
        end = tf.timestamp() + 60

        def waits(now):
            return now < end and tf.size(tf.io.matching_files(file)) == 0

        tf.while_loop(waits, lambda now: [tf.timestamp()], [tf.timestamp()])
        return {"file": file}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def positive(self, x):
        with tf.control_dependencies([tf.debugging.assert_positive(x)]):
            return {"x": tf.identity(x)}


def write_stand_in(models: Path, version: int, name="cats"):
    """Writes models/name/version as an exporter does: under another name first."""
    module = StandIn(version)
    partial = models / name / f"{version}.partial"
    signatures = {
        "serving_default": module.segment_files,
        "predict_tensor": module.predict_tensor,
        "arithmetic": module.arithmetic,
        "letters": module.letters,
        "slow": module.slow,
        "until": module.until,
        "positive": module.positive,
    }
    tf.saved_model.save(module, str(partial), signatures=signatures)
    os.rename(partial, models / name / str(version))
    return models / name / str(version)


def png(seed=0, size=(20, 30)):
    """A random image and the bytes of its file."""
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return image, buffer.getvalue()


def read_mask(contents):
    """Class ids uint8 `[H,W]` of a palette PNG."""
    return np.asarray(Image.open(io.BytesIO(contents)))


def expected_mask(image, version=1):
    return (image[..., 0] // 64 + version) % 3


@contextmanager
def local_server(folder, **options):
    """Serves a folder on free ports; yields its :class:`Doors`."""
    doors = queue.Queue()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    given = Options(Path(folder), rest_port=0, grpc_port=0, poll_seconds=0.05, **options)

    def run():
        try:
            loop.run_until_complete(serve(given, doors.put, stop))
        except BaseException as error:
            doors.put(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    first = doors.get(timeout=60)
    if isinstance(first, BaseException):
        raise first
    try:
        yield first
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=60)
        loop.close()
    assert not thread.is_alive()
