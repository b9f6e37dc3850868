# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,kernelspec,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Serve a trained model
#
# From a trained run to masks over REST and gRPC. Everything here is generated and small: the
# network is trained for less than a minute, with masks, so that there is something to see so soon.
#
# `pip install 'keras_wsss[serving,export]'`

# %%
import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from IPython.display import display
from PIL import Image

from keras_wsss.data.shapes import draw_scene
from keras_wsss.palette import overlay_labels

work = Path(tempfile.mkdtemp())


def command(module, *arguments):
    result = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


# %% [markdown]
# ## Train
#
# Your own run, trained from tags, is exported in the same way.

# %%
settings = {
    "data.crop_size": 96,
    "data.shapes.image_size": 96,
    "data.shapes.train_images": 120,
    "data.shapes.val_images": 8,
    "data.shapes.classes": 3,
    "optimizer.learning_rate": 5e-4,
    "optimizer.warmup_steps": 5,
    "training.steps": 60,
    "training.validate_every": 60,
}
overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
_ = command(
    "keras_wsss.train", "--config", "shapes_supervised", "--run-dir", work / "run", *overrides
)

# %% [markdown]
# ## Export
#
# The SavedModel is compared with the Keras model; a difference beyond the bounds is an error.

# %%
print(
    command(
        *("keras_wsss.export", "--run", work / "run", "--output", work / "exported"),
        *("--format", "saved_model", "--name", "shapes", "--images", 4, "--no-speed"),
    ).replace(str(work), "WORK")
)

# %% [markdown]
# ## Serve
#
# Production is TF Serving, with the same folder. For development there is a local server.

# %%
server = subprocess.Popen(
    [sys.executable, "-m", "keras_wsss", "serve", work / "exported" / "saved_model"]
    + ["--rest-port", "0", "--grpc-port", "0"],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
)
told = "".join(iter(server.stdout.readline, "ready\n"))
url = re.search(r"REST +(http://[^/]+)", told)[1]
target = re.search(r"gRPC +(\S+)", told)[1]
print(told.replace(str(work), "WORK"))

# %% [markdown]
# ## Ask
#
# A bad image has a status of its own; the others are answered all the same.

# %%
from keras_wsss.export import GrpcClient, RestClient

image, _ = draw_scene(seed=7, part="val", index=3, size=160, names=("star", "heart", "moon"))
file = io.BytesIO()
Image.fromarray(image).save(file, "png")

good, bad = RestClient(url, "shapes").segment([file.getvalue(), b"no image"])
print(good.status, good.legend, "found:", good.found(), "scores:", good.scores)
print(bad.status, "-", bad.message)

# %%
(again,) = GrpcClient(target, "shapes").segment([file.getvalue()])
assert (again.mask == good.mask).all()
display(Image.fromarray(overlay_labels(image, good.mask)))

# %% [markdown]
# The same from the command line:

# %%
(work / "photo.png").write_bytes(file.getvalue())
print(
    command(
        *("keras_wsss", "ask", "--url", url, "--model", "shapes", work / "photo.png"),
        *("-o", work / "answers"),
    ).replace(str(work), "WORK")
)

# %% [markdown]
# ## Stop
#
# Requests in flight are answered first.

# %%
server.terminate()
assert server.wait(timeout=60) == 0

# %% [markdown]
# [Serving](../docs/serving.md) · [Export](../docs/export.md) · [Tutorial](../docs/tutorial.md)
