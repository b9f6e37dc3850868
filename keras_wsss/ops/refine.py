"""Local refinement of scores by the image: PAR (AFA) and VARM (TSCD)."""

import numpy as np
from keras import ops

from keras_wsss.ops.resize import resize

DILATIONS = (1, 2, 4, 8, 12, 24)
DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
EPSILON = 1e-8


def pixel_adaptive_refinement(image, scores, iterations=10, dilations=DILATIONS):
    def kernel(neighbours, centre, deviation):
        colour = [ops.square((n - centre) / (deviation + EPSILON) / 0.3) for n in neighbours]
        distance = np.array([d * np.hypot(*step) for d in dilations for step in DIRECTIONS])
        position = -((distance / (np.std(distance, ddof=1) + EPSILON) / 0.3) ** 2)
        position = np.exp(position) / np.sum(np.exp(position))
        weights = ops.softmax(-ops.stack([ops.mean(c, axis=1, keepdims=True) for c in colour]), 0)
        offset = (0.01 * position).astype("float32").reshape(-1, 1, 1, 1, 1)
        return weights + offset

    return _refine(image, scores, kernel, iterations, dilations)


def variation_aware_refinement(image, scores, iterations=10, dilations=DILATIONS):
    def kernel(neighbours, centre, deviation):
        colour = [ops.square(4 * (n - centre) / (deviation + EPSILON)) for n in neighbours]
        weights = ops.softmax(-ops.stack([ops.mean(c, axis=1, keepdims=True) for c in colour]), 0)
        variation = ops.stack([ops.mean(_variation(n), axis=1, keepdims=True) for n in neighbours])
        return weights - 0.01 * ops.softmax(variation, 0)

    return _refine(image, scores, kernel, iterations, dilations)


def _refine(image, scores, kernel, iterations, dilations):
    image, scores = ops.cast(image, "float32"), ops.cast(scores, "float32")
    height, width = ops.shape(image)[1:3]
    scores = resize(scores, (height, width), align_corners=True)
    centre = ops.transpose(image, (0, 3, 1, 2))
    neighbours = _neighbours(centre, dilations)
    stack = ops.stack(neighbours)
    deviation = ops.sqrt(
        ops.sum(ops.square(stack - ops.mean(stack, axis=0)), axis=0) / (len(neighbours) - 1)
    )
    weights = kernel(neighbours, centre, deviation)

    def iterate(_, x):
        shifted = _neighbours(x, dilations)
        return sum(weights[k] * shifted[k] for k in range(len(shifted)))

    refined = ops.fori_loop(0, iterations, iterate, ops.transpose(scores, (0, 3, 1, 2)))
    return ops.transpose(refined, (0, 2, 3, 1))


def _neighbours(x, dilations):
    height, width = ops.shape(x)[2:4]
    pad = max(dilations)
    x = ops.concatenate(
        [ops.repeat(x[:, :, :1], pad, axis=2), x, ops.repeat(x[:, :, -1:], pad, axis=2)], axis=2
    )
    x = ops.concatenate(
        [ops.repeat(x[:, :, :, :1], pad, axis=3), x, ops.repeat(x[:, :, :, -1:], pad, axis=3)],
        axis=3,
    )
    return [
        x[:, :, pad + dy * d : pad + dy * d + height, pad + dx * d : pad + dx * d + width]
        for d in dilations
        for dy, dx in DIRECTIONS
    ]


def _variation(x):
    down = ops.concatenate([x[:, :, 1:], x[:, :, -1:]], axis=2)
    right = ops.concatenate([x[:, :, :, 1:], x[:, :, :, -1:]], axis=3)
    return ops.square(x - down) + ops.square(x - right)
