"""Draws the picture at the top of the README: pictures with their tags, and the masks of a run.

    make demo
    python examples/opening_picture.py runs/demo docs/opening.jpg

The network has not seen these pictures, and is not told their tags.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

import keras_wsss as wsss
from keras_wsss.palette import overlay_labels

COLUMNS = 6


def main():
    """Parses the command line and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    config = wsss.config.load_run_config(options.run)
    split, model = wsss.load_split(config.data, "val"), wsss.load(options.run)
    figure, axes = plt.subplots(2, COLUMNS, figsize=(2 * COLUMNS, 4.4), layout="constrained")
    for position, (above, below) in enumerate(axes.T):
        image = split.read_image(position)
        above.imshow(image)
        above.set_title(", ".join(np.array(split.class_names)[split.labels[position] > 0]))
        below.imshow(overlay_labels(image, model.segment(image)))
    for place in axes.flat:
        place.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("tags")
    axes[1, 0].set_ylabel("masks")
    figure.savefig(options.picture, dpi=75)


if __name__ == "__main__":
    main()
