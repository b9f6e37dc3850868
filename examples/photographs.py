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
# # Your own photographs, from tags to masks
#
# Photographs sorted into folders, and nobody has drawn a mask: that is enough to train a network
# that segments new photographs. These are all the steps, typed as in a terminal.
#
# In place of photographs there are generated pictures, small and few, and the training is short:
# all of it takes about five minutes on 2 CPU cores. For photographs of your own the commands are
# the same.

# %%
import io
from pathlib import Path

from IPython.display import Image as Picture
from PIL import Image


def show(path, width=720, rows=None):
    """Shows a picture file as wide as the page, or its first rows of pixels."""
    picture = Image.open(path).convert("RGB")
    picture = picture.crop((0, 0, picture.width, rows or picture.height))
    picture.thumbnail((width, picture.height))
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=75)
    return Picture(file.getvalue())


# %% [markdown]
# ## A folder for each class
#
# This writes 90 pictures of toy animals into `pictures/folders/star`, `pictures/folders/heart` and
# so on; the animals differ in their heads alone. A picture that shows two of them lies in both
# folders.

# %% language="sh"
# python make_photos.py pictures --images 90 --size 128
# ls pictures/folders

# %% [markdown]
# ## Import
#
# `import` finds out how the tags are kept (in folders, in a table, as an annotation tool writes
# them), copies the photographs and sets some aside for validation.

# %% language="sh"
# keras-wsss import pictures/folders -o my_set

# %% [markdown]
# It also draws a sheet of photographs with their tags, on which you see at a glance whether the
# tags fit. These are its first rows.

# %%
show("my_set/sheet.jpg", rows=820)

# %% [markdown]
# ## Check
#
# `check` looks for what would spoil a training: files that cannot be read, duplicates, tags that
# are spelled in two ways or always occur together.

# %% language="sh"
# keras-wsss check my_set

# %% [markdown]
# ## Train
#
# The configuration `photos` trains BMP, the method that does best on photographs here. Four
# settings are fitted to such little pictures: smaller crops and batches, class activation maps at
# sizes at which a head can still be seen, and a higher learning rate. With photographs of your own
# you leave them out.

# %% language="sh"
# keras-wsss train --quiet --config photos --set data.root=my_set \
#     --set data.crop_size=128 --set data.batch_size=8 \
#     --set "cam.scales=[1.0,1.5]" --set optimizer.learning_rate=2e-4

# %% [markdown]
# There are no masks, so nothing can say how good the masks of the network are. Two things can be
# measured all the same:
#
# * **Average precision (AP) of the classifier**: how well the tags of the validation photographs
#   are found. A class with a low AP has not been learned, and its masks will be wrong too.
# * **Agreement**: how far the masks of the network are the pseudo labels that it was trained on.
#   A low number says that something is wrong; a high one does not say that the masks are right,
#   because both can be wrong in the same way.
#
# That is why you look at the pictures. Each row of the contact sheet is a validation photograph:
# where the classifier looks, the pseudo label made of that and of the tags, and what the network
# says without tags.

# %%
show("runs/photos/contact_sheet.png", rows=892)

# %% [markdown]
# The report is the same and more as one page: curves, classes, the photographs on which network and
# pseudo labels agree least, and those whose tags may be wrong. Open it in a browser.

# %% language="sh"
# keras-wsss report --quiet runs/photos

# %% [markdown]
# ## Predict
#
# New photographs have no tags, and none are asked for.

# %% language="sh"
# keras-wsss predict --quiet --run runs/photos pictures/new -o masks
# ls masks

# %% [markdown]
# `masks/masks` holds a mask for each photograph, as a PNG with the ids of the classes,
# `masks/overlays` shows them over the photographs, `masks/index.html` is all of them on one page,
# and `masks/predictions.csv` says how much of each photograph every class covers.

# %%
overlays = [Image.open(path) for path in sorted(Path("masks/overlays").glob("*.jpg"))]
row = Image.new("RGB", (136 * len(overlays), max(each.height for each in overlays)), "white")
for number, overlay in enumerate(overlays):
    row.paste(overlay, (136 * number, 0))
row.save("predicted.png")
show("predicted.png", width=row.width)

# %% [markdown]
# ## What to do next
#
# * The masks stop short of the tail, or spill over? More photographs help most, then a longer
#   training (`--set training.epochs=32`).
# * A class is mixed up with another? Look for photographs that show only one of them; what always
#   occurs together, no method can tell apart.
# * Let people correct the labels of which the network is least certain, in the tool they know:
#   [correct_labels](correct_labels.ipynb).
# * Use the network elsewhere: `keras-wsss export --run runs/photos -o exported`, as in
#   [serve](serve.ipynb) and [edge](edge.ipynb).
#
# [Tutorial](../docs/tutorial.md) · [Data](../docs/data.md) · [Reports](../docs/report.md) ·
# [Configuration](../docs/configuration.md)
