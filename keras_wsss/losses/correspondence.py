"""Self correspondence distillation: pairs of places alike for the CAM be alike for the decoder."""

from keras import ops

from keras_wsss.ops.correspondence import cosine_correspondence, sample_points


def correspondence_distillation(
    cam, small_cam, logits, small_logits, coordinates, small_coordinates
):
    """Mean of -(teacher x student) over all pairs of a place in the image and one in a small view.

    TSCD, eq. 5 to 9. Teacher: cosine similarity of the CAM vectors, minus its mean over
    the places of the small view, plus its mean over all pairs; no gradient. Student: cosine
    similarity of the decoder's logits where positive. Negative in normal operation.

    Args:
        cam: float `[B,H,W,C]`, CAM of the image.
        small_cam: float `[B,h,w,C]`, CAM of its small view.
        logits: float `[B,H',W',K]`.
        small_logits: float `[B,h',w',K]`.
        coordinates: float `[B,P,2]`, places (x, y) in [-1,1] as in
            :func:`~keras_wsss.ops.correspondence.sample_points`.
        small_coordinates: float `[B,Q,2]`, those in the small view.

    Returns:
        float32 scalar.

    Example:

    >>> cam, logits = np.eye(4).reshape(1, 4, 4, 1), np.eye(4).reshape(1, 4, 4, 1)
    >>> points = np.array([[[-1.0, -1.0], [1.0, -1.0]]])  # on and beside the diagonal
    >>> round(float(correspondence_distillation(cam, cam, logits, logits, points, points)), 3)
    -0.188
    """
    cam, small_cam = ops.stop_gradient(cam), ops.stop_gradient(small_cam)
    teacher = cosine_correspondence(
        sample_points(cam, coordinates), sample_points(small_cam, small_coordinates)
    )
    teacher = teacher - ops.mean(teacher, axis=2, keepdims=True) + ops.mean(teacher)
    student = cosine_correspondence(
        sample_points(logits, coordinates), sample_points(small_logits, small_coordinates)
    )
    return -ops.mean(ops.relu(student) * teacher)
