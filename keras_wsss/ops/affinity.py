"""Affinity between tokens."""

import numpy as np
from keras import ops


def radius_mask(height, width, radius=8):
    rows, columns = np.divmod(np.arange(height * width), width)
    far = np.maximum(np.abs(rows[:, None] - rows), np.abs(columns[:, None] - columns))
    return far <= radius


def affinity_targets(label, radius=8, stride=16):
    label = label[:, ::stride, ::stride]
    height, width = label.shape[1:3]
    tokens = ops.cast(ops.reshape(label, (-1, height * width)), "int32")
    rows, columns = tokens[:, :, None], tokens[:, None, :]
    targets = ops.cast(rows == columns, "int32")
    unknown = (rows == 255) | (columns == 255)
    if radius is not None:
        unknown = unknown | ~ops.convert_to_tensor(radius_mask(height, width, radius))
    return ops.where(unknown, 255, targets)
