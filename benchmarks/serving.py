"""Load test of a served model on loopback: the local server, asked over REST and gRPC at once.

Images are generated. One request in twenty has a bad file, some of them among good ones. Every mask
is compared with what the Keras model answers in this process, and twice during the load a new
version with other weights takes over. The network has random weights; its last layer is stretched
until the masks hold all classes.

    python -m benchmarks.serving --output benchmarks/results/serving.json
"""

import argparse
import io
import itertools
import json
import os
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import psutil
import requests
import tensorflow as tf
from PIL import Image

import keras_wsss
from benchmarks.methods import circumstances
from keras_wsss.checksums import write_sums
from keras_wsss.config import digest, load_config
from keras_wsss.data.decode import decode_image
from keras_wsss.data.shapes import CLASSES, draw_scene
from keras_wsss.data.sizes import shrunk
from keras_wsss.errors import ServingError
from keras_wsss.export.bundle import write_warmup
from keras_wsss.export.client import GrpcClient, RestClient
from keras_wsss.export.metadata import Limits, Metadata, Provenance
from keras_wsss.export.network import network_of
from keras_wsss.export.saved_model import enlarged, write_saved_model
from keras_wsss.methods import build_model
from keras_wsss.palette import voc_palette

NAME = "shapes"
FOREGROUND = CLASSES[:6]
LIMITS = Limits(working_size=256)
SIZES = ((64, 64), (97, 131), (128, 192), (225, 160), (37, 250), (256, 256), (320, 427))
BAD_EVERY = 20
DRAW = 1e-3  # difference of the two best logits up to which rounding may decide
REPOSITORY = Path(__file__).resolve().parents[1]


# ---- models and images -----------------------------------------------------------------------


def write_model(seed, backbone, path):
    """Writes a version folder; returns what the Keras model says of an image file.

    That is a function of the file to the mask, and to 1 where a pixel is a draw of two classes.
    """
    keras.utils.set_random_seed(seed)
    config = load_config(
        "shapes_supervised", [f"backbone.name={backbone}", "backbone.weights=none"]
    )
    model = build_model(config, FOREGROUND)
    network = network_of(model)
    scene = tf.constant(draw_scene(seed, "val", 0, 192)[0][None], tf.float32)
    logits = network(scene)["logits"].numpy().reshape(-1, len(FOREGROUND) + 1)
    kernel, bias = model.decoder.classify.kernel, model.decoder.classify.bias
    factor = 3 / logits.std(axis=0)
    kernel.assign(kernel * factor)
    bias.assign((bias - logits.mean(axis=0)) * factor)
    palette = voc_palette()[: len(FOREGROUND) + 1]
    metadata = Metadata(
        name=NAME,
        classes=("background", *FOREGROUND),
        palette=tuple(f"#{bytes(colour).hex()}" for colour in palette),
        scale=(1.0, 1.0, 1.0),
        offset=(0.0, 0.0, 0.0),
        square=None,
        weights_licence="Apache-2.0",
        provenance=Provenance(
            config=config.name,
            config_hash=digest(config),
            method=config.method,
            parity=config.parity,
            seed=seed,
            supervision="none, random weights",
            checkpoint="last",
            step=0,
            weights_sha256="",
            validation_miou=None,
            keras_wsss=keras_wsss.__version__,
        ),
    )
    write_saved_model(network, path, metadata, LIMITS)
    write_warmup(path, NAME, LIMITS)
    write_sums(path)

    network = tf.function(
        network,
        autograph=False,
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)],
    )

    def answer(contents):
        image = decode_image(contents)
        outputs = network(shrunk(image[None], LIMITS.working_size))
        best = tf.math.top_k(outputs["logits"], 2).values
        draw = tf.cast(best[..., 0] - best[..., 1] < DRAW, tf.uint8)
        maps = (outputs["class_map"], draw)
        return [enlarged(each, tf.shape(image)[:2])[0].numpy() for each in maps]

    return answer


def good_images(seed, count):
    """Files of scenes of several sizes, JPEG and PNG in turn."""
    files = []
    for number, (height, width) in zip(range(count), itertools.cycle(SIZES)):
        image, _ = draw_scene(seed, "val", number, max(height, width))
        kind = ("JPEG", "PNG")[number // len(SIZES) % 2]
        files.append(_file(Image.fromarray(image[:height, :width]), kind))
    return files


def bad_images(seed):
    """Kind -> file and the status that it is to get; None: refused before the model sees it."""
    scene = Image.fromarray(draw_scene(seed, "val", 0, 128)[0])
    jpeg = _file(scene, "JPEG")
    noise = np.random.default_rng(seed).bytes(5000)
    frames = [scene.rotate(angle) for angle in (90, 180)]
    gif = _file(scene, "GIF", save_all=True, append_images=frames)
    return {
        "truncated": (jpeg[: len(jpeg) // 2], "not_decodable"),
        "bomb": (_bomb(), "too_many_pixels"),
        "wrong_type": (b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", "unsupported_format"),
        "empty": (b"", "empty"),
        "random_bytes": (noise, "unsupported_format"),
        "animated_gif": (gif, "unsupported_format"),
        "50_mb": (jpeg + bytes(50 * 10**6), None),
    }


def _file(image, kind, **more):
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def _bomb(side=20000):
    """A PNG file of 49 kB that is complete and decodes to 1.2 GB."""
    rows = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    pixels = b"".join(rows.compress(row) for _ in range(side)) + rows.flush()

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


# ---- the server --------------------------------------------------------------------------------


class Server:
    """The local server as a process of its own, its memory watched."""

    def __init__(self, folder):
        command = [sys.executable, "-m", "keras_wsss", "serve", str(folder)]
        command += ["--rest-port", "0", "--grpc-port", "0", "--poll-seconds", "0.2"]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        # Read to its end, or a full pipe would stop the server.
        self.errors = []
        threading.Thread(target=self._read_errors, daemon=True).start()
        told = "".join(iter(self.process.stdout.readline, "ready\n"))
        self.rest = re.search(r"REST +(http://[^/]+)", told)[1]
        self.grpc = re.search(r"gRPC +(\S+)", told)[1]
        self.memory = [self._resident()]
        threading.Thread(target=self._watch, daemon=True).start()

    def version(self):
        """The version that serves."""
        answer = requests.get(f"{self.rest}/v1/models/{NAME}", timeout=60).json()
        states = answer["model_version_status"]
        return max(int(of["version"]) for of in states if of["state"] == "AVAILABLE")

    def stop(self):
        """Its exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def _resident(self):
        return psutil.Process(self.process.pid).memory_info().rss / 2**20

    def _watch(self):
        while self.process.poll() is None:
            try:
                self.memory.append(self._resident())
            except psutil.NoSuchProcess:
                return
            time.sleep(0.02)

    def _read_errors(self):
        self.errors += self.process.stderr


# ---- the load ----------------------------------------------------------------------------------


class Load:
    """Asks, compares and counts.

    Args:
        server: the :class:`Server`.
        images: good files.
        masks: version -> (mask, draws) of each good file.
        bad: as of :func:`bad_images`.
        requests: as of :func:`plan`.
    """

    def __init__(self, server, images, masks, bad, requests):
        self.server = server
        self.images = images
        self.masks = masks
        self.bad = bad
        self.requests = requests
        self.stopped = False
        self.versions = {1}  # that may answer at the moment
        self.seconds = {"rest": [], "grpc": []}
        self.counts = Counter()
        self.bad_counts = Counter()
        self.by_version = Counter()
        self.problems = []
        self._clients = threading.local()
        self._lock = threading.Lock()

    def run(self):
        """Asks until it is stopped."""
        while not self.stopped:
            with self._lock:
                request = next(self.requests)
            self.ask(*request)

    def wait(self, count):
        """Until so many requests more are answered."""
        count += self.counts["requests"]
        while self.counts["requests"] < count and self.server.process.poll() is None:
            time.sleep(0.02)

    def ask(self, endpoint, good, bad):
        """One request with some good images and perhaps a bad one after the first."""
        files = [self.images[number] for number in good]
        expected = ["ok"] * len(good)
        if bad:
            contents, status = self.bad[bad]
            files[1:1], expected[1:1] = [contents], [status]
        before = set(self.versions)
        started = time.perf_counter()
        try:
            answers = self._client(endpoint).segment(files)
        except ServingError as error:
            answers, refused = [], str(error)
        seconds = time.perf_counter() - started
        with self._lock:
            self.counts["requests"] += 1
            self.counts["images"] += len(files)
            self.bad_counts[bad] += 1
            if None in expected:
                told = "413" if endpoint == "rest" else "RESOURCE_EXHAUSTED"
                if answers or told not in refused:
                    self.problems.append(f"{endpoint}, {bad}: {answers or refused}")
                return
            self.seconds[endpoint].append(seconds)
            if not answers:
                self.counts["failed"] += 1
                self.problems.append(f"{endpoint}: {refused}")
                return
            for status, answer in zip(expected, answers, strict=True):
                if answer.status != status:
                    self.counts["wrong_status"] += 1
                    self.problems.append(f"{endpoint}, {bad}: {answer.status}, not {status}")
            masks = [answer.mask for answer in answers if answer.mask is not None]
            if len(masks) != len(good):
                self.counts["wrong_masks"] += 1
            elif masks:
                self._compare(endpoint, good, masks, sorted(before | self.versions))

    def _compare(self, endpoint, good, masks, versions):
        """All masks of an answer have to be those of one and the same version."""
        expected = {
            version: [self.masks[version][number] for number in good] for version in versions
        }
        wrong = {
            version: [wrong_pixels(mask, *right) for mask, right in zip(masks, of, strict=True)]
            for version, of in expected.items()
        }
        version = min(versions, key=lambda each: sum(wrong[each]))
        self.by_version[version] += 1
        self.counts["masks"] += len(masks)
        self.counts["pixels"] += sum(mask.size for mask in masks)
        self.counts["drawn_pixels"] += sum(
            int(np.sum(mask != right))
            for mask, (right, _) in zip(masks, expected[version], strict=True)
        )
        self.counts["wrong_masks"] += sum(pixels > 0 for pixels in wrong[version])
        if sum(wrong[version]):
            self.problems.append(f"{endpoint}: {wrong[version]} pixels are as in no version")

    def _client(self, endpoint):
        if not hasattr(self._clients, endpoint):
            everything = {"max_image": 10**9, "max_request": 10**9, "tries": 1}
            client = (
                RestClient(self.server.rest, NAME, **everything)
                if endpoint == "rest"
                else GrpcClient(self.server.grpc, NAME, **everything)
            )
            setattr(self._clients, endpoint, client)
        return getattr(self._clients, endpoint)


def wrong_pixels(mask, expected, draw):
    """Number of pixels that are wrong and no draw."""
    if mask.shape != expected.shape:
        return expected.size
    return int(np.sum((mask != expected) & (draw == 0)))


def plan(seed, images, kinds):
    """Requests without end: (endpoint, numbers of good images, kind of bad file or None)."""
    generator = np.random.default_rng(seed)
    kinds = itertools.cycle(kinds)
    for number in itertools.count(1):
        kind = next(kinds) if number % BAD_EVERY == 0 else None
        size = generator.choice([1, 2, 3], p=[0.8, 0.1, 0.1])
        good = generator.choice(images, size).tolist()
        alone = kind and generator.random() < 0.5
        yield ("rest", "grpc")[generator.integers(2)], [] if alone else good, kind


def install(load, folder, prepared, version):
    """Puts a version into place and waits until it serves."""
    load.versions |= {version}
    partial = folder / f"{version}.partial"
    shutil.copytree(prepared, partial)
    os.rename(partial, folder / str(version))
    while load.server.version() != version:
        time.sleep(0.1)
    load.versions = {version}


def measure(count, concurrent, images, backbone, seed):
    """Runs the load; returns what is reported."""
    with tempfile.TemporaryDirectory() as work:
        prepared, folder = Path(work, "prepared"), Path(work, "models", NAME)
        answers = [write_model(seed + n, backbone, prepared / str(n)) for n in range(2)]
        files, bad = good_images(seed, images), bad_images(seed)
        odd, even = ([answer(file) for file in files] for answer in answers)
        load_masks = {1: odd, 2: even, 3: odd}
        folder.mkdir(parents=True)
        shutil.copytree(prepared / "0", folder / "1")
        server = Server(folder.parent)
        load = Load(server, files, load_masks, bad, plan(seed, images, bad))
        started = time.perf_counter()
        with ThreadPoolExecutor(concurrent) as threads:
            workers = [threads.submit(load.run) for _ in range(concurrent)]
            try:
                # A third of the requests for each version; they go on while another is loaded.
                load.wait(count // 3)
                install(load, folder, prepared / "1", 2)
                load.wait(count // 3)
                install(load, folder, prepared / "0", 3)
                load.wait(max(count // 3, count - load.counts["requests"]))
            finally:
                load.stopped = True
            for worker in workers:
                worker.result()
        seconds = time.perf_counter() - started
        crashed = server.process.poll() is not None
        memory = list(server.memory)
        status = server.stop()
    everything = load.seconds["rest"] + load.seconds["grpc"]
    differ = statistics.mean(np.mean(a != b) for (a, _), (b, _) in zip(odd, even, strict=True))
    return {
        "requests": load.counts["requests"],
        "concurrent": concurrent,
        "images": load.counts["images"],
        "bad_requests": {kind: load.bad_counts[kind] for kind in bad},
        "masks_compared": load.counts["masks"],
        "wrong_masks": load.counts["wrong_masks"],
        "pixels_compared": load.counts["pixels"],
        "pixels_that_rounding_decided": load.counts["drawn_pixels"],
        "failed_requests": load.counts["failed"],
        "wrong_statuses": load.counts["wrong_status"],
        "problems": load.problems[:20],
        "server_crashed": crashed,
        "server_exit_status": status,
        "server_tracebacks": sum("Traceback" in line for line in server.errors),
        "answers_by_version": {str(of): load.by_version[of] for of in (1, 2, 3)},
        "pixels_that_differ_between_versions_percent": round(100 * float(differ), 1),
        "classes_in_masks": len(np.unique(np.concatenate([mask.ravel() for mask, _ in odd]))),
        "latency_ms": {
            "all": percentiles(everything),
            **{endpoint: percentiles(values) for endpoint, values in load.seconds.items()},
        },
        "requests_per_second": round(load.counts["requests"] / seconds, 1),
        "server_memory_mb": {
            "start": round(memory[0]),
            "peak": round(max(memory)),
            "end": round(memory[-1]),
        },
    }


def percentiles(seconds):
    """p50, p95 and p99 in milliseconds."""
    return {f"p{q}": round(1000 * float(np.percentile(seconds, q)), 1) for q in (50, 95, 99)}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrent", type=int, default=16)
    parser.add_argument("--images", type=int, default=28, help="different good ones")
    parser.add_argument("--backbone", default="mit_tiny")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    result = measure(
        options.requests, options.concurrent, options.images, options.backbone, options.seed
    )
    report = {
        "command": f"python -m benchmarks.serving --requests {options.requests}"
        f" --concurrent {options.concurrent} --images {options.images}"
        f" --backbone {options.backbone} --seed {options.seed}",
        "network": f"{options.backbone}, random weights, working size {LIMITS.working_size}",
        "image_sizes": [f"{height}x{width}" for height, width in SIZES],
        **circumstances(),
        "seed": options.seed,
        **result,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text + "\n")
    bad = ("wrong_masks", "failed_requests", "wrong_statuses", "problems", "server_crashed")
    if any(result[key] for key in bad) or result["server_exit_status"]:
        raise SystemExit("the load test failed: see the report")


if __name__ == "__main__":
    main()
