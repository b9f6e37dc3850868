"""Are the masks of the page in a browser those of the SavedModel, pixel by pixel?

    python -m benchmarks.web_page --bundle EXPORTED --photos val.txt

``EXPORTED`` is a folder of ``keras-wsss export --format saved_model,web``, ``val.txt`` a list of
JPEG files. Each is given to a headless Chromium as it is, as a PNG file of the same pixels, and
enlarged to the size of a camera's.
"""

import argparse
import io
import json
import os
import platform
import re
import statistics
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_wsss.export.files import version_folders
from keras_wsss.export.metadata import Metadata
from keras_wsss.photographs import find_photographs
from keras_wsss.run_folder import RunDirectory
from tests.browser import Browser, find_program
from tests.photo_page import choose, folder_server, saved_mask

RESULT = Path("benchmarks/results/web_page.json")
CAMERA = 4000  # longer side


def files(path):
    """Bytes of a photograph by kind of file."""
    image = Image.open(path).convert("RGB")
    factor = CAMERA / max(image.size)
    large = image.resize([round(factor * side) for side in image.size], Image.Resampling.BICUBIC)
    yield "jpeg", path.read_bytes()
    yield "png", _saved(image, "PNG")
    yield "camera", _saved(large, "JPEG", quality=90)


def _saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def measure(bundle, photographs):
    """What the page says of each photograph, beside the SavedModel, by kind of file."""
    (page,) = (bundle / "web").iterdir()
    versions = version_folders(bundle / "saved_model" / page.name)
    model = tf.saved_model.load(str(versions[max(versions)]))
    found = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        folder_server(page) as address,
        Browser(find_program()) as browser,
    ):
        browser.open(address)
        for photograph in photographs:
            for kind, data in files(photograph.path):
                file = Path(folder) / "photo"
                file.write_bytes(data)
                said = choose(browser, file)
                answer = model.signatures["serving_default"](image_bytes=tf.constant([data]))
                expected = np.asarray(Image.open(io.BytesIO(answer["mask_png_bytes"].numpy()[0])))
                facts = found.setdefault(kind, {"equal": [], "classes": [], "seconds": []})
                facts["equal"].append(100 * np.mean(saved_mask(browser) == expected))
                facts["classes"].append(len(np.unique(expected)))
                facts["seconds"].append(float(re.search(r"[\d.]+(?= s)", said)[0]))
        agent = browser.run("navigator.userAgent")
    runtime = json.loads((page / "onnxruntime-web" / "package.json").read_text())
    metadata = Metadata.model_validate_json((page / "metadata.json").read_text())
    return {
        "browser": re.search(r"\S*Chrome/\S+", agent)[0],
        "onnxruntime-web": runtime["version"],
        "model": metadata.provenance.model_dump(),
        "working_size": metadata.limits.working_size,
        "photographs": len(photographs),
        "kinds": {
            kind: {
                "equal_pixels": round(statistics.mean(facts["equal"]), 4),
                "equal_pixels_of_the_worst": round(min(facts["equal"]), 4),
                "masks_of_several_classes": sum(count > 1 for count in facts["classes"]),
                "median_seconds": statistics.median(facts["seconds"]),
            }
            for kind, facts in found.items()
        },
    }


def main(arguments=None):
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.web_page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--photos", required=True, help="folder, pattern or list of JPEG files")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    result = {
        "command": "python -m benchmarks.web_page --bundle EXPORTED --photos LIST",
        "hardware": f"{len(os.sched_getaffinity(0))} CPU cores, {platform.machine()}",
        **measure(options.bundle, find_photographs([options.photos])),
    }
    RunDirectory(options.output.parent).write_json(options.output, result)
    print(json.dumps(result["kinds"], indent=2))


if __name__ == "__main__":
    main()
