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
# # Correct labels, where it is worth it
#
# A network has learned from tags, and its labels are good on most photographs. People draw where
# they are not: the labels of the **most uncertain** photographs go to an annotation tool, here
# [Label Studio](https://labelstud.io), come back corrected, and a network is trained on the masks.
#
# Everything is generated, so nobody has to draw: the generator's true masks **stand in for the
# person**, who would be no better. It takes about seven minutes on 2 CPU cores.

# %%
# %config InlineBackend.figure_formats = ["jpeg"]
import json
import os
import shutil
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's remarks on missing GPUs

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import keras_wsss as wsss
from keras_wsss.data.photos.importing import import_photos
from keras_wsss.inference.label_formats import LabelledPhoto, write_labels
from keras_wsss.inference.label_photos import export_labels
from keras_wsss.palette import overlay_labels
from keras_wsss.pictures import save_mask
from keras_wsss.training import train

# %% [markdown]
# ## Photographs with tags
#
# Pictures of toy animals in a folder for each class, imported as in
# [photographs](photographs.ipynb).

# %% language="sh"
# python make_photos.py pictures --images 90 --size 128

# %% [markdown]
# The import divides them into training and validation.

# %%
imported = import_photos(Path("pictures/folders"), Path("my_set"))
names = list(imported["classes"])
print(imported["train"], "photographs for training,", imported["val"], "for validation:", *names)

# %% [markdown]
# The truth, which plays the person below. The few validation photographs get their masks at once:
# whoever wants to know what corrections bring has to draw some to score with. Training does not
# open them. Masks hold the numbers of the lines of `my_set/classes.txt`, which the generator counts
# in another order.

# %%
shapes = {"train_images": 90, "val_images": 6, "image_size": 128, "classes": 4}
drawn, _ = wsss.data.load(kind="shapes", shapes=shapes)
ids = np.array([0, *(1 + names.index(name) for name in drawn.class_names)], np.uint8)
truth = {f"IMG_{number:04}": ids[drawn.mask(number)] for number in range(len(drawn))}

for name in Path("my_set/val.txt").read_text().split():
    save_mask(truth[name], Path("my_set/masks") / f"{name}.png")

# %% [markdown]
# ## Train on tags
#
# The settings are those of little pictures and of a short training.

# %%
SETTINGS = [
    "data.root=my_set",
    "data.crop_size=128",
    "data.batch_size=8",
    "cam.scales=[1.0,1.5]",
    "optimizer.learning_rate=2e-4",
]
from_tags = train(wsss.load_config("photos", SETTINGS), "runs/photos", verbose=False)
print("mIoU from tags alone:", from_tags["decoder"]["miou"])

# %% [markdown]
# ## The most uncertain first
#
# A photograph is uncertain where class activation map and network contradict each other. These are
# written for Label Studio; in a terminal it is
# `keras-wsss labels --run runs/photos --format label-studio --limit 24 -o to_correct`.

# %%
export_labels("runs/photos", "label-studio", "to_correct", limit=24)
print(*sorted(path.name for path in Path("to_correct").iterdir()))
print("".join(Path("to_correct/order.csv").read_text().splitlines(keepends=True)[:4]))

# %% [markdown]
# `label-config.xml` is pasted into the settings of a new project, `tasks.json` imported. A task
# holds a photograph and its label as a prediction, one brush mask for each class. This is the
# first task with the first of its masks.

# %%
tasks = json.loads(Path("to_correct/tasks.json").read_text())
shown = json.loads(json.dumps(tasks[0]))
(prediction,) = shown["predictions"]
prediction["result"] = prediction["result"][:1]
brush = prediction["result"][0]["value"]
brush["rle"] = f"{brush['rle'][:12]} and {len(brush['rle']) - 12} more"
print(json.dumps(shown, indent=2))

# %% [markdown]
# ## The person
#
# In Label Studio somebody goes through the tasks, corrects the brush masks and exports the project
# as JSON. The export has what was drawn as annotations, in the same form. Here the truth is
# written in that form.

# %%
photos = [
    LabelledPhoto(task["data"]["id"], path, truth[task["data"]["id"]])
    for task in tasks
    for path in Path("my_set/photos").glob(f"{task['data']['id']}.*")
]
write_labels(photos, names, "label-studio", Path("annotated"))
export = json.loads(Path("annotated/tasks.json").read_text())
for task in export:
    task["annotations"] = task.pop("predictions")
Path("export.json").write_text(json.dumps(export));
# %% [markdown]
# ## Back again
#
# `keras-wsss import export.json --images to_correct/images -o came_back` in a terminal: the brush
# masks become files. They take the places of the network's labels in a copy of these, written for
# all photographs.

# %%
came_back = import_photos(
    Path("export.json"), Path("came_back"), images=Path("to_correct/images"), classes=names
)
print(came_back["masks"], "masks came back")

export_labels("runs/photos", "png", "labels")
shutil.copytree("labels", "corrected")
for mask in Path("came_back/masks").iterdir():
    shutil.copy(mask, "corrected/masks")

# %% [markdown]
# The four most uncertain photographs: what the network had made of them, and the correction.


# %%
def read_mask(folder, name):
    return np.array(Image.open(f"{folder}/masks/{name}.png"))


figure, axes = plt.subplots(3, 4, figsize=(8, 6.4))
for column, photo in zip(axes.T, photos, strict=False):
    image = np.array(Image.open(photo.path))
    pictures = {
        photo.id: image,
        "label": overlay_labels(image, read_mask("labels", photo.id)),
        "corrected": overlay_labels(image, read_mask("corrected", photo.id)),
    }
    for axis, (title, picture) in zip(column, pictures.items(), strict=True):
        axis.imshow(picture)
        axis.set_title(title, fontsize=10)
        axis.axis("off")
figure.tight_layout()

# %% [markdown]
# ## Train again
#
# `photos_supervised` trains on masks, and `data.masks` says where those of the training
# photographs are. Trained once on the labels as they were and once on the corrected ones, the two
# differ by what the person has done.

# %%
miou = {"tags alone": from_tags["decoder"]["miou"]}
for folder in ("labels", "corrected"):
    settings = [*SETTINGS, f"data.masks={folder}/masks"]
    config = wsss.load_config("photos_supervised", settings)
    summary = train(config, f"runs/{folder}", verbose=False)
    miou[f"masks in {folder}/"] = summary["decoder"]["miou"]

for name, score in miou.items():
    print(f"{name:20} {score:5.1f} mIoU")

# %% [markdown]
# To train again on labels of all pixels helps by itself, so only what is beyond that comes from the
# corrections: nothing in the run shown here, whose labels were good already. The validation
# photographs are few, and a point or two mean nothing either way; look at the pictures as well.

# %%
paths = [Path(f"my_set/photos/{n}.jpg") for n in Path("my_set/val.txt").read_text().split()[:4]]
runs = {"tags alone": "photos", "labels": "labels", "corrected": "corrected"}
models = {title: wsss.load(f"runs/{run}") for title, run in runs.items()}

figure, axes = plt.subplots(4, 5, figsize=(9, 7.4))
for row, path in zip(axes, paths, strict=True):
    image = np.array(Image.open(path))
    pictures = {"photograph": image}
    for title, model in models.items():
        pictures[title] = overlay_labels(image, model.segment(image))
    pictures["truth"] = overlay_labels(image, truth[path.stem])
    for axis, (title, picture) in zip(row, pictures.items(), strict=True):
        axis.imshow(picture)
        axis.set_title(title if path == paths[0] else "", fontsize=10)
        axis.axis("off")
figure.tight_layout()

# %% [markdown]
# ## With photographs of your own
#
# * Begin with twenty photographs (`--limit 20`), train again, and look whether it was worth it;
#   then take the next ones.
# * CVAT, COCO, YOLO and VOC tools are served in the same way (`--format cvat`). `keras-wsss import`
#   takes over what CVAT exports as "Segmentation Mask 1.1" with its masks, too.
# * A folder of masks from any other source is as good: `data.masks=FOLDER` with `FOLDER/ID.png`.
#
# [Labels for an annotation tool](../docs/labels.md) · [Data](../docs/data.md) ·
# [Configuration](../docs/configuration.md) · [Tutorial](../docs/tutorial.md)
