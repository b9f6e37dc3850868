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
# # From a trained network to a phone
#
# A network is trained for half a minute, written as **ONNX** and as **LiteRT** in two precisions,
# and each file is run by its own small runtime, without Keras: 16 MB become 5, and the mask stays.
#
# Only generated images are used, so nothing is downloaded. Half a minute is too short to learn from
# image tags: this network learns from masks. What follows is the same for every run of every
# method.

# %%
# %config InlineBackend.figure_formats = ["jpeg"]
import os
import tempfile
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # TensorFlow talks less

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from keras_wsss import load, load_config, load_split
from keras_wsss.palette import overlay_labels
from keras_wsss.training import train

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Train
#
# Toy animals of two classes. Bodies are alike; the head alone tells star from heart.

# %%
config = load_config(
    "shapes_supervised",
    [
        "data.shapes.classes=2",
        "data.shapes.train_images=240",
        "data.shapes.val_images=24",
        "data.shapes.image_size=128",
        "data.crop_size=128",
        "optimizer.learning_rate=1e-3",
        "optimizer.warmup_steps=5",
        "training.steps=60",
        "training.validate_every=60",
        "training.pictures=0",
    ],
)
summary = train(config, folder / "run", verbose=False)
print("mIoU on new images:", summary["decoder"]["miou"])

# %% [markdown]
# ## Export
#
# `network_of` is the function that every format computes: an image of any size, RGB 0..255, to a
# class map of that size, with the logits beside it. Normalisation and resizing are inside, so a
# device cannot get them wrong.

# %%
from keras_wsss.export.litert_file import write_litert
from keras_wsss.export.network import network_of
from keras_wsss.export.onnx_file import write_onnx
from keras_wsss.export.run_export import describe

model = load(folder / "run")
network = network_of(model)
metadata = describe("animals", model, folder / "run", config, "last")
train_split = load_split(config.data, "train")

write_onnx(network, folder / "animals.onnx", metadata)
write_litert(network, folder / "float32.tflite", "float32", metadata)
# Full int8 has to know how large activations get: it is shown some training images.
calibration = [train_split.read_image(position) for position in range(32)]
write_litert(network, folder / "int8.tflite", "int8", metadata, calibration=calibration)

# %% [markdown]
# ## Run
#
# `open_model` picks the runtime: onnxruntime, or the LiteRT interpreter. The files describe
# themselves.

# %%
from keras_wsss.export import open_model

files = ["animals.onnx", "float32.tflite", "int8.tflite"]
exported = {name: open_model(folder / name) for name in files}
metadata = exported["int8.tflite"].metadata
print(metadata.classes, "learned from", metadata.provenance.supervision)

# %%
val = load_split(config.data, "val")
images = np.stack([val.read_image(position) for position in range(len(val))])
truth = np.stack([val.mask(position) for position in range(len(val))])
reference = network(tf.cast(images, tf.float32))
answers = {name: run(images) for name, run in exported.items()}

# %%
print(f"{'':16}    MB   logits differ by   equal pixels   right pixels")
for name, answer in answers.items():
    megabytes = (folder / name).stat().st_size / 1e6
    difference = np.abs(answer["logits"] - reference["logits"]).max()
    equal = np.mean(answer["class_map"] == reference["class_map"])
    right = np.mean(answer["class_map"] == truth)
    print(f"{name:16} {megabytes:5.1f} {difference:18.6f} {equal:14.2%} {right:14.2%}")

# %% [markdown]
# The float32 files are the Keras network. Full int8 rounds every activation to 256 steps: the
# logits move, and a few pixels on outlines change sides.
#
# ## Look
#
# The last two columns: what the smallest file says, and where it differs from Keras.

# %%
answer = answers["int8.tflite"]["class_map"]
figure, axes = plt.subplots(3, 4, figsize=(9, 7))
for row, position in zip(axes, (0, 5, 10), strict=True):
    image, keras_map = images[position], reference["class_map"].numpy()[position]
    pictures = {
        "image": image,
        "Keras": overlay_labels(image, keras_map),
        "LiteRT int8": overlay_labels(image, answer[position]),
        "differs": answer[position] != keras_map,
    }
    for axis, (title, picture) in zip(row, pictures.items(), strict=True):
        axis.imshow(picture, cmap="gray")
        axis.set_title(title)
        axis.axis("off")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## Any size
#
# These files take any batch, height and width. A device that always sees one size is served faster
# by a file made for it: `write_onnx(..., size=(320, 320))`.

# %%
wide = np.concatenate(images[:3], axis=1)[10:101]
mask = exported["animals.onnx"](wide[None])["class_map"][0]
print(wide.shape, "->", mask.shape)
plt.imshow(overlay_labels(wide, mask))
plt.axis("off")
plt.show()

# %% [markdown]
# Of your own run, all of this is one command, which also compares every file with the Keras model
# and keeps none that differs too much:
#
# ```
# keras-wsss export --run runs/photos --format onnx,litert --output exported
# ```
#
# [ONNX and LiteRT files](../docs/export-formats.md) · [Export](../docs/export.md) ·
# [Speed](../docs/performance.md)
