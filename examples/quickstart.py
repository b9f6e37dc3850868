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
# # Quickstart: from tags to masks, in Keras
#
# A segmentation network learns from image **tags** alone ("star", "moon"), nobody draws a mask.
# Everything here is generated, so there is nothing to download but the encoder's weights, which
# come with `pip`; on 2 CPU cores it takes under four minutes. With your own photographs only the
# second cell changes.

# %%
# %config InlineBackend.figure_formats = ["jpeg"]
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's remarks on missing GPUs

import keras
import matplotlib.pyplot as plt
import numpy as np

import keras_wsss as wsss
from keras_wsss.palette import overlay_labels

keras.utils.set_random_seed(1)

# %% [markdown]
# ## Data
#
# Any reader gives two splits, training and validation images. The generated animals differ in their
# heads alone; tags say which are in an image. `wsss.data.load("photos", train_list="train",
# val_list="val")` reads [a folder of yours](../docs/data.md).

# %%
train, val = wsss.data.load(
    kind="shapes", shapes={"train_images": 240, "val_images": 16, "image_size": 128, "classes": 4}
)
print(len(train), "training images of", ", ".join(train.class_names))

batch = next(iter(train.batches(crop=128, batch_size=4)))
fig, axes = plt.subplots(1, 4, figsize=(12, 3.4))
for axis, image, tags in zip(axes, batch["image"], batch["labels"].numpy(), strict=True):
    axis.imshow(image.numpy().astype("uint8"))
    axis.set_title(", ".join(np.array(train.class_names)[tags > 0]))
    axis.axis("off")

# %% [markdown]
# ## Model
#
# A method is a Keras model. BMP has an image classifier, whose class activation maps (CAM) become
# pseudo labels, and a decoder that learns from them. What you do not say is taken from the
# published recipe; a section given here is merged into it.

# %%
model = wsss.BMP(
    classes=train.class_names,
    backbone="efficientnet_lite0",
    cam={"scales": [1.0, 1.5]},  # the animals are small
    pseudo_label={"high": 0.55, "low": 0.40, "iterations": 20},
)
model.compile(steps=150, classifier_steps=60, learning_rate=2e-4)

# %% [markdown]
# `compile(steps=...)` brings the paper's optimiser and schedule to the length of your training: the
# classifier learns alone at first, then the other terms begin. Any Keras optimiser and any
# callbacks work as well.

# %%
history = model.fit(
    train.batches(crop=128, batch_size=8),
    epochs=5,
    validation_data=val.batches(),
    callbacks=[keras.callbacks.TerminateOnNaN()],
    verbose=2,
)

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3))
for name in ("classification", "c2s", "s2c", "affinity"):
    values = history.history[name]
    left.plot(range(6 - len(values), 6), values, marker=".", label=name)  # some begin later
left.set_title("loss terms by epoch")
left.legend()
right.plot(range(1, 6), 100 * np.array(history.history["val_miou"]), marker=".")
right.set_title("validation mIoU of the decoder, %");

# %% [markdown]
# The masks of the validation images are used to score, never to train. No tag is used for the score
# either: the decoder sees the image alone. Five epochs of 240 images are few: an animal may yet
# have two heads. The demo of the README reaches 71.8 on six classes.

# %%
print(model.evaluate(val.batches(), verbose=0, return_dict=True))

# %% [markdown]
# ## Segment
#
# `segment` takes arrays, paths, lists or a folder, and gives label maps of the same size: 0 is
# background.

# %%
images = np.stack([val.read_image(i) for i in range(4)])
masks = model.segment(images)
fig, axes = plt.subplots(3, 4, figsize=(12, 9.4))
for column in range(4):
    rows = (images[column], overlay_labels(images[column], masks[column]))
    rows += (overlay_labels(images[column], val.mask(column)),)
    titles = ("image", "prediction", "truth")
    for axis, picture, title in zip(axes[:, column], rows, titles, strict=True):
        axis.imshow(picture)
        axis.set_title(title)
        axis.axis("off")

# %% [markdown]
# ## Save and load
#
# `save` keeps all, the optimiser too; a preset folder keeps settings and weights, with checksums
# and without any path of this machine.

# %%
model.save("animals.keras")
again = keras.saving.load_model("animals.keras")
model.save_to_preset("animals")
preset = wsss.load("animals")
for copy in (again, preset):
    assert np.array_equal(copy.segment(images), masks)
print(preset.class_names)

# %% [markdown]
# ## Export
#
# Keras' own `export` writes a SavedModel of the network. From a run folder `keras-wsss export`
# makes bundles for TF Serving, ONNX and LiteRT files, each compared with this model; see
# [export](../docs/export.md).

# %%
import logging

logging.getLogger("tensorflow").setLevel(logging.ERROR)
model.export("animals_saved_model", verbose=False)

# %% [markdown]
# [Your own photographs](photographs.ipynb) · [Data](../docs/data.md) ·
# [Configuration](../docs/configuration.md) · [Results](../docs/results.md)
