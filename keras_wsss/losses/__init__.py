from keras import ops

from keras_wsss.ops.correspondence import cosine_correspondence, sample_points
from keras_wsss.ops.cam import outside
from keras_wsss.ops.resize import resize


def multilabel_soft_margin(labels, logits):
    logits = ops.cast(logits, "float32")
    return ops.mean(ops.relu(logits) - logits * labels + ops.log1p(ops.exp(-ops.abs(logits))))


def _ce(labels, logits):
    logits = ops.cast(logits, "float32")
    safe = ops.where(labels == 255, 0, labels)
    log = ops.log_softmax(logits, axis=-1)
    return -ops.take_along_axis(log, safe[..., None], axis=-1)[..., 0]


def _mean(values, mask):
    mask = ops.cast(mask, "float32")
    return ops.sum(values * mask) / ops.maximum(ops.sum(mask), 1)


def balanced_cross_entropy(labels, logits):
    values = _ce(labels, logits)
    return 0.5 * _mean(values, labels == 0) + 0.5 * _mean(values, (labels > 0) & (labels != 255))


def cross_entropy(labels, logits):
    return _mean(_ce(labels, logits), labels != 255)


def affinity_loss(targets, affinity):
    affinity = ops.cast(affinity, "float32")
    positive, negative = ops.cast(targets == 1, "float32"), ops.cast(targets == 0, "float32")
    return 0.5 * ops.sum(positive * (1 - affinity)) / (ops.sum(positive) + 1) + 0.5 * ops.sum(
        negative * affinity
    ) / (ops.sum(negative) + 1)


def correspondence_distillation(cam, small_cam, logits, small_logits, points, small_points):
    teacher = ops.stop_gradient(
        cosine_correspondence(sample_points(cam, points), sample_points(small_cam, small_points))
    )
    teacher = teacher - ops.mean(teacher, axis=2, keepdims=True) + ops.mean(teacher)
    student = cosine_correspondence(
        sample_points(logits, points), sample_points(small_logits, small_points)
    )
    return -ops.mean(ops.relu(student) * teacher)


def cam_equivariance_released(cam, small_cam):
    size = ops.shape(small_cam)[1:3]
    down = resize(cam, size, align_corners=True)
    return ops.mean(ops.abs(down[..., 1:] - small_cam[..., 1:]))


def cam_equivariance(cam, small_cam, labels):
    def normalized(x):
        x = ops.relu(ops.cast(x, "float32"))
        x = x / (ops.max(x, axis=(1, 2), keepdims=True) + 1e-5)
        return x * labels[:, None, None, :]

    small_cam = normalized(small_cam)
    down = resize(normalized(cam), ops.shape(small_cam)[1:3], align_corners=True)
    return ops.mean(ops.abs(down - small_cam))


def dense_energy(image, labels, logits, valid_box, sigma_rgb=15.0, sigma_xy=100.0, scale=0.5, stride=1):
    height, width = ops.shape(image)[1:3]
    half = (height // 2, width // 2)
    image = ops.floor(ops.cast(image, "float32"))[:, ::2, ::2]
    y = labels[:, ::2, ::2]
    roi = 1.0 - ops.cast(outside(ops.cast(valid_box, "int32"), height, width), "float32")[:, ::2, ::2]
    s = resize(ops.softmax(ops.cast(logits, "float32"), axis=-1), half)
    gate = ops.where(y == 255, 1.0, ops.relu(roi - ops.max(s, axis=-1)))
    rows = ops.arange(half[0], dtype="float32") / (sigma_xy * scale)
    columns = ops.arange(half[1], dtype="float32") / (sigma_xy * scale)
    batch = ops.shape(image)[0]
    grid = ops.stack(ops.meshgrid(rows, columns, indexing="ij"), axis=-1)
    grid = ops.broadcast_to(grid[None], (batch, *half, 2))
    features = ops.concatenate([grid, image / sigma_rgb], axis=-1)
    shat = s * roi[..., None]

    def flat(x):
        return ops.reshape(x, (batch, -1, x.shape[-1]))

    f = flat(features)
    q = flat(features[:, stride // 2 :: stride, stride // 2 :: stride])
    v = flat(shat[:, stride // 2 :: stride, stride // 2 :: stride])
    d = (
        ops.sum(f * f, -1)[:, :, None]
        + ops.sum(q * q, -1)[:, None, :]
        - 2 * ops.matmul(f, ops.transpose(q, (0, 2, 1)))
    )
    filtered = ops.stop_gradient(ops.matmul(ops.exp(-0.5 * ops.relu(d)), v)) * float(stride**2)
    gated = ops.stop_gradient(gate)[..., None] * ops.reshape(filtered, ops.shape(shat))
    value = ops.sum(shat * gated)
    # gradient is twice that of the frozen product
    energy = 2 * value - ops.stop_gradient(value)
    return -1e-7 * energy / ops.cast(batch, "float32")
