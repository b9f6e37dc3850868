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
# # Methods side by side
#
# Two methods that learn from tags alone, TSCD and BMP, and the same network trained with masks,
# which is the upper bound of both. The pictures are generated, so their masks are known and
# everything can be scored.
#
# This shows **how** methods are compared, in about eight minutes on 2 CPU cores. It does not show
# which is better: 120 steps with one seed are far too few for that. The
# [results](../docs/results.md) have full lengths and several seeds.

# %%
# %config InlineBackend.figure_formats = ["jpeg"]
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's remarks on missing GPUs

import matplotlib.pyplot as plt

import keras_wsss as wsss
from keras_wsss.palette import overlay_labels
from keras_wsss.training import train

# %% [markdown]
# ## One protocol
#
# A comparison is fair if all methods have the same data, network, length and rates. The
# configurations `shapes_METHOD` differ in labels and losses alone, and these settings go to all of
# them. They are recipes for 460 steps; `recipe_steps` says so, and everything that begins at some
# step (the labels, the decoder's losses) is brought to the shorter training.

# %%
METHODS = {"TSCD": "shapes_tscd", "BMP": "shapes_bmp", "with masks": "shapes_supervised"}
SETTINGS = [
    "data.crop_size=128",
    "data.shapes.image_size=128",
    "data.shapes.train_images=240",
    "data.shapes.val_images=24",
    "data.shapes.classes=4",
    "training.steps=120",
    "training.recipe_steps=460",
]

# %% [markdown]
# ## Train
#
# A training leaves a folder with configuration, weights, scores and pictures.

# %%
summaries = {}
for name, config in METHODS.items():
    run = Path("runs") / config
    summaries[name] = train(wsss.load_config(config, SETTINGS), run, verbose=False)

# %% [markdown]
# ## Scores
#
# The decoder is scored without tags, the pseudo label is made with them. The pace is that of the
# last steps, in which all losses count.


# %%
def seconds_per_step(config):
    """Of the last steps that the run has logged."""
    lines = (Path("runs") / config / "metrics.jsonl").read_text().splitlines()
    logged = [entry for entry in map(json.loads, lines) if "images_per_second" in entry]
    return wsss.load_config(config).data.batch_size / logged[-1]["images_per_second"]


print(f"{'':12} learns from   mIoU   pseudo label   seconds per step")
for name, summary in summaries.items():
    labels = summary["pseudo_label"]["miou"] if summary["supervision"] == "tags" else "-"
    print(
        f"{name:12} {summary['supervision']:11} {summary['decoder']['miou']:6} {labels:>14}"
        f" {seconds_per_step(METHODS[name]):18.2f}"
    )

# %% [markdown]
# What can be said of so short a training: masks teach a network sooner than tags do, and a step
# without class activation maps and refinement is cheaper. Which of TSCD and BMP is ahead may be
# the other way round with another seed. In full length, with six classes and larger pictures, TSCD
# reaches 70.8 and the bound 88.3.
#
# ## Look
#
# The same validation pictures, segmented by each of them.

# %%
data = wsss.load_config("shapes_tscd", SETTINGS).data
val = wsss.load_split(data, "val")
models = {name: wsss.load(Path("runs") / config) for name, config in METHODS.items()}

figure, axes = plt.subplots(4, 5, figsize=(9, 7.4))
for row, position in zip(axes, (0, 1, 2, 3), strict=True):
    image = val.read_image(position)
    masks = {name: model.segment(image) for name, model in models.items()}
    pictures = {"image": image}
    for name, mask in (masks | {"truth": val.mask(position)}).items():
        pictures[name] = overlay_labels(image, mask)
    for axis, (title, picture) in zip(row, pictures.items(), strict=True):
        axis.imshow(picture)
        axis.set_title(title if position == 0 else "", fontsize=10)
        axis.axis("off")
figure.tight_layout()

# %% [markdown]
# ## One page about all of them
#
# `report` with several runs writes a page with a table of all scores, the keys in which the
# configurations differ, all curves in one chart, and the pictures.

# %% language="sh"
# keras-wsss report --quiet runs/shapes_* -o comparison.html

# %% [markdown]
# ## To rank methods
#
# Give each its full length and several seeds, on data like yours, and look at the pictures before
# the numbers. `python -m benchmarks.methods` does that, and goes on where it was interrupted.
#
# [Results](../docs/results.md) · [TSCD](../docs/methods/tscd.md) · [BMP](../docs/methods/bmp.md) ·
# [Reports](../docs/report.md) · [Add a method](../docs/add-a-method.md)
