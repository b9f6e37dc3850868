"""Mutated image files through an exported SavedModel: always a status, never an exception or NaN.

    python -m benchmarks.fuzz_serving --images 5000

Once through ``tf.saved_model.load`` and once through a session with SignatureDefs, as TF Serving
loads it. The images are generated, the network is the smallest one with random weights.
"""

import argparse
import collections
import io
import json
import platform
import struct
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_wsss.config import digest, load_config
from keras_wsss.export.guards import statuses
from keras_wsss.export.metadata import Limits, Metadata, Provenance
from keras_wsss.export.network import network_of
from keras_wsss.export.saved_model import write_saved_model
from keras_wsss.methods import new_model
from keras_wsss.run_folder import RunDirectory

RESULT = Path("benchmarks/results/fuzz_serving.json")
# Small ones, so that a mutated header does not make a test of the decoder's speed.
LIMITS = Limits(max_bytes=200_000, max_pixels=500_000, working_size=96)
STATUSES = {name.encode() for name, _ in statuses(LIMITS)}
CLASSES = ("background", "circle", "square", "triangle")


def write_tiny_model(path, limits=LIMITS, classes=CLASSES):
    """A SavedModel of the smallest network with random weights; returns its network."""
    overrides = ["backbone.name=mit_tiny", "backbone.weights=none", "heads.embedding_dim=16"]
    config = load_config("shapes_supervised", overrides)
    model = new_model(config, classes[1:])
    model.build()
    provenance = Provenance(
        config=config.name,
        config_hash=digest(config),
        method=config.method,
        parity=False,
        seed=config.seed,
        supervision="nothing: random weights",
        checkpoint="last",
        step=0,
        weights_sha256="",
        validation_miou=None,
        keras_wsss="",
    )
    metadata = Metadata(
        name="tiny",
        classes=classes,
        palette=("#000000",) * len(classes),
        scale=(1, 1, 1),
        offset=(0, 0, 0),
        square=None,
        weights_licence="no pretrained weights",
        provenance=provenance,
    )
    network = network_of(model)
    write_saved_model(network, Path(path), metadata, limits)
    return network


# ---- images ----------------------------------------------------------------------------------


def originals(generator):
    """Files of every kind that a camera, browser or malicious user may send."""
    pixels = generator.integers(0, 256, (45, 60, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    kinds = [
        (image, "JPEG", {}),
        (image, "JPEG", {"progressive": True, "quality": 40}),
        (image, "JPEG", {"exif": _orientation(6)}),
        (image.convert("L"), "JPEG", {}),
        (image.convert("CMYK"), "JPEG", {}),
        (image, "PNG", {}),
        (image.convert("RGBA"), "PNG", {}),
        (image.convert("P"), "PNG", {}),
        (image.convert("1"), "PNG", {}),
        (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "PNG", {}),
        (image, "PNG", {"save_all": True, "append_images": [image]}),
        (image, "GIF", {"save_all": True, "append_images": [image]}),
        (image, "BMP", {}),
        (image, "WEBP", {}),
    ]
    return [_saved(*kind) for kind in kinds]


def _orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def _saved(image, kind, options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def flip_bytes(data, generator):
    """A few bytes changed, anywhere."""
    data = bytearray(data)
    for position in generator.integers(0, len(data), generator.integers(1, 8)):
        data[position] = generator.integers(256)
    return bytes(data)


def flip_header(data, generator):
    """A few of the first bytes changed, where sizes and kinds stand."""
    head = flip_bytes(data[:64], generator)
    return head + data[64:]


def cut(data, generator):
    """The end is missing."""
    return data[: generator.integers(0, len(data))]


def splice(data, generator):
    """A part is repeated, or left out."""
    first, second = sorted(generator.integers(0, len(data), 2))
    middle = data[first:second]
    return data[:first] + middle * generator.integers(0, 3) + data[second:]


def other_size(data, generator):
    """Another width and height in the header, with a checksum that fits."""
    import zlib

    width, height = (int(generator.choice([0, 1, 61, 4000, 65535, 2**31 - 1])) for _ in range(2))
    if data.startswith(b"\x89PNG"):
        header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
        return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    if frame < 0:
        return data
    size = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    return data[: frame + 5] + size + data[frame + 9 :]


def noise(data, generator):
    """Random bytes behind a right beginning."""
    return data[: generator.integers(0, 12)] + generator.bytes(generator.integers(0, 300))


MUTATIONS = (flip_bytes, flip_header, cut, splice, other_size, noise)


def mutants(count, seed=0):
    """``count`` files, the untouched ones first."""
    generator = np.random.default_rng(seed)
    files = originals(generator)
    yield from files[:count]
    for _ in range(count - len(files)):
        data = files[generator.integers(len(files))]
        yield MUTATIONS[generator.integers(len(MUTATIONS))](data, generator)


# ---- answers ---------------------------------------------------------------------------------


def check(answers):
    """Fails where an answer, a dict of arrays over images, contradicts itself."""
    for number, status in enumerate(answers["status"]):
        one = {name: values[number] for name, values in answers.items()}
        assert status in STATUSES, status
        for name in ("class_scores", "coverage", "confidence"):
            assert np.all(np.isfinite(one[name])), (name, status)
            assert np.all((one[name] >= 0) & (one[name] <= 1 + 1e-6)), (name, one[name])
        if status == b"ok":
            mask = Image.open(io.BytesIO(one["mask_png_bytes"]))
            assert mask.mode == "P" and np.asarray(mask).max() < len(one["coverage"])
            assert one["message"] == b""
            np.testing.assert_allclose(one["coverage"].sum(), 1, atol=1e-5)
        else:
            assert one["mask_png_bytes"] == b"" and one["message"] and not one["coverage"].any()


def by_function(path):
    """Calls ``serving_default`` through ``tf.saved_model.load``."""
    model = tf.saved_model.load(str(path))

    def call(files):
        answers = model.signatures["serving_default"](image_bytes=tf.constant(files, tf.string))
        return {name: value.numpy() for name, value in answers.items()}

    return call


def by_session(path):
    """Calls ``serving_default`` through a session, as TF Serving does."""
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(path))
    signature = loaded.signature_def["serving_default"]
    outputs = {name: tensor.name for name, tensor in signature.outputs.items()}

    def call(files):
        return session.run(outputs, {signature.inputs["image_bytes"].name: files})

    return call


PATHS = {"tf.saved_model.load": by_function, "session with SignatureDefs": by_session}


def fuzz(path, count, batch=50, seed=0):
    """Sends mutants through both ways of loading; both have to say the same.

    Returns:
        dict: how often each status came, and seconds by way of loading.
    """
    callers = {name: load(path) for name, load in PATHS.items()}
    seconds = dict.fromkeys(callers, 0.0)
    counts = collections.Counter()
    files = list(mutants(count, seed))
    for start in range(0, count, batch):
        part, results = files[start : start + batch], []
        for name, call in callers.items():
            started = time.perf_counter()
            results.append(call(part))
            seconds[name] += time.perf_counter() - started
            check(results[-1])
        np.testing.assert_array_equal(results[0]["status"], results[1]["status"])
        np.testing.assert_array_equal(results[0]["mask_png_bytes"], results[1]["mask_png_bytes"])
        counts.update(status.decode() for status in results[0]["status"])
    return {"statuses": dict(counts), "seconds": {k: round(v, 1) for k, v in seconds.items()}}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz_serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        write_tiny_model(Path(folder) / "1")
        result = fuzz(Path(folder) / "1", options.images, seed=options.seed)
    facts = {
        "command": f"python -m benchmarks.fuzz_serving --images {options.images}",
        "seed": options.seed,
        "images": options.images,
        "versions": {"tensorflow": tf.__version__, "python": platform.python_version()},
        "exceptions": 0,  # one would have ended the run
    }
    RunDirectory(options.output.parent).write_json(options.output, {**facts, **result})
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
