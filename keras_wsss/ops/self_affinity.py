"""Affinity of places by what a network sees there, and scores that walk along it (SGN).

Places (tokens) are numbered row by row; N = height x width, which may be unknown until the graph
runs.
"""

from keras import ops

from keras_wsss.ops.affinity import radius_mask

EPSILON = 1e-6


def pool_to(features, size):
    """Mean over the cells of a coarser grid; a grid of the same size is left as it is.

    Cells are whole numbers of places wide, the last ones narrower where the sizes do not divide,
    as in pooling with "same" padding.

    Args:
        features: float `[B,H,W,C]`.
        size: pair (h, w), ints or scalar int tensors, at most (H, W).

    Returns:
        float32 `[B,h,w,C]`.

    Example:

    >>> pool_to(np.array([[[[1.0], [3.0], [5.0]]]]), (1, 2)).numpy()[0, 0, :, 0]
    array([2., 5.], dtype=float32)
    """
    rows, columns = (
        _cell_means(source, target)
        for source, target in zip(ops.shape(features)[1:3], size, strict=True)
    )
    # Columns first: each is one product of a matrix with the rows of the image.
    features = ops.matmul(columns, ops.cast(features, "float32"))
    features = ops.transpose(features, (0, 2, 1, 3))
    return ops.transpose(ops.matmul(rows, features), (0, 2, 1, 3))


def self_affinity(levels, valid, radius=8, power=4):
    """How alike two near places are to the network: a power of the cosine of their features.

    SGN, eq. 4 and 5. Each level is centred on its mean over the valid places of the image;
    cosines are averaged over the levels, negative ones are 0.

    Args:
        levels: list of features float `[B,h,w,C]`, C may differ.
        valid: `[B,h,w]`, 1 = place of the image, 0 = padding.
        radius: int; places further apart in rows or columns have affinity 0.
        power: int.

    Returns:
        float32 `[B,N,N]` in 0..1, symmetric; 1 on the diagonal, 0 for padding.

    Example:

    >>> features = np.array([[[[1.0, 0.0], [2.0, 0.0], [0.0, 5.0]]]])
    >>> self_affinity([features], np.ones((1, 1, 3))).numpy()[0].round(2)
    array([[1.  , 0.54, 0.  ],
           [0.54, 1.  , 0.  ],
           [0.  , 0.  , 1.  ]], dtype=float32)
    """
    height, width = ops.shape(valid)[1:3]
    tokens = height * width
    valid = ops.reshape(ops.cast(valid, "float32"), (-1, tokens, 1))
    count = ops.maximum(ops.sum(valid, axis=1, keepdims=True), 1.0)
    units = []
    for level in levels:
        level = ops.reshape(ops.cast(level, "float32"), (-1, tokens, level.shape[-1]))
        level = level - ops.sum(level * valid, axis=1, keepdims=True) / count
        length = ops.sqrt(ops.sum(ops.square(level), axis=-1, keepdims=True))
        units.append(level / ops.maximum(length, EPSILON))
    units = ops.concatenate(units, axis=-1)
    cosine = ops.matmul(units, ops.transpose(units, (0, 2, 1))) / len(levels)
    affinity = ops.where(ops.eye(tokens, dtype="bool"), 1.0, ops.relu(cosine) ** power)
    affinity = ops.where(radius_mask(height, width, radius), affinity, 0.0)
    return affinity * valid * ops.transpose(valid, (0, 2, 1))


def random_walk(maps, affinity, steps=8, restart=0.2):
    """Random walk with restart: scores spread to similar places and are pulled back.

    SGN, eq. 6 and 7: ``M <- (1 - restart) T M + restart M0``, T the affinity with rows that sum
    to 1. A constant map stays as it is.

    Args:
        maps: float `[B,h,w,C]`.
        affinity: float `[B,N,N]`, N = h * w.
        steps: int.
        restart: float in 0..1.

    Returns:
        float32 `[B,h,w,C]`.

    Example:

    >>> maps, affinity = ops.reshape([1.0, 0.0], (1, 1, 2, 1)), ops.ones((1, 2, 2))
    >>> random_walk(maps, affinity).numpy()[0, 0, :, 0].round(2)  # two places that are alike
    array([0.6, 0.4], dtype=float32)
    """
    shape = ops.shape(maps)
    start = ops.reshape(ops.cast(maps, "float32"), (-1, shape[1] * shape[2], maps.shape[-1]))
    walk = affinity / (ops.sum(affinity, axis=-1, keepdims=True) + EPSILON)
    scores = start
    for _ in range(steps):
        scores = (1 - restart) * ops.matmul(walk, scores) + restart * start
    return ops.reshape(scores, shape)


def _cell_means(source, target):
    """Matrix `[target, source]` whose rows average the places of a cell."""
    cell = -(-source // target)
    member = ops.arange(source, dtype="int32") // cell == ops.arange(target, dtype="int32")[:, None]
    member = ops.cast(member, "float32")
    return member / ops.maximum(ops.sum(member, axis=1, keepdims=True), 1.0)
