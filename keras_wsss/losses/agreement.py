"""Class maps shall agree where the network's own features do."""

from keras import ops


def agreement_loss(affinity, cam, tags):
    """Mean squared difference of class evidence between places, weighted by their affinity.

    SGN, eq. 11, in place of propagation: ``sum_ij A_ij sum_c (s_ci - s_cj)^2 /
    (|K| sum_ij A_ij)`` with s the sigmoid of the class activation and K the present classes; mean
    over the images. No gradient flows into the affinity. An image without tags or valid places
    counts 0.

    Args:
        affinity: float `[B,N,N]` in 0..1, symmetric
            (:func:`~keras_wsss.ops.self_affinity.self_affinity`).
        cam: float `[B,h,w,C]`, raw class activations, N = h * w.
        tags: `[B,C]`, 1 = class present.

    Returns:
        float32 scalar in 0..1.

    Example:

    >>> affinity, cam, tags = np.ones((1, 2, 2)), np.array([[[[4.0], [-4.0]]]]), np.array([[1.0]])
    >>> round(float(agreement_loss(affinity, cam, tags)), 3)
    0.465
    """
    affinity = ops.stop_gradient(ops.cast(affinity, "float32"))
    present = ops.cast(tags, "float32")[:, None, :]
    tokens, classes = ops.shape(affinity)[1], cam.shape[-1]
    evidence = ops.sigmoid(ops.cast(ops.reshape(cam, (-1, tokens, classes)), "float32")) * present
    # Only differences count; around their mean the products below keep more digits.
    evidence = evidence - ops.stop_gradient(ops.mean(evidence, axis=1, keepdims=True))
    degree = ops.sum(affinity, axis=-1, keepdims=True)
    # Half of the sum over ordered pairs, without a tensor of all pairs and classes.
    pairs = ops.sum(evidence * (degree * evidence - ops.matmul(affinity, evidence)), axis=(1, 2))
    total = ops.sum(affinity, axis=(1, 2)) * ops.sum(present, axis=(1, 2))
    return ops.mean(2 * pairs / ops.maximum(total, 1.0))
