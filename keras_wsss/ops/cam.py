"""Class activation maps: fusion over views, and labels made from them."""

from keras import ops

from keras_wsss.ops.resize import resize

SLOTS = (4, 8, 16)


def normalize_cam(cam):
    cam = ops.cast(cam, "float32")
    cam = cam - ops.min(cam, axis=(1, 2), keepdims=True)
    return cam / (ops.max(cam, axis=(1, 2), keepdims=True) + 1e-5)


def fuse_multi_scale(cams, size):
    total = 0.0
    for cam in cams:
        plain, mirrored = ops.split(resize(ops.cast(cam, "float32"), size), 2, axis=0)
        total = total + ops.relu(ops.maximum(plain, ops.flip(mirrored, axis=2)))
    return normalize_cam(total)


def outside(valid_box, height, width):
    y0, y1, x0, x1 = [ops.reshape(valid_box[:, i], (-1, 1, 1)) for i in range(4)]
    rows = ops.reshape(ops.arange(height, dtype="int32"), (1, -1, 1))
    columns = ops.reshape(ops.arange(width, dtype="int32"), (1, 1, -1))
    return (rows < y0) | (rows >= y1) | (columns < x0) | (columns >= x1)


def cam_to_label(cam, labels, background_score=0.45, high=None, low=None, valid_box=None, ignore_id=255):
    cam = ops.cast(cam, "float32") * ops.cast(labels, "float32")[:, None, None, :]
    best = ops.max(cam, axis=-1)
    label = ops.cast(ops.argmax(cam, axis=-1), "int32") + 1
    if high is None:
        label = ops.where(best <= background_score, 0, label)
    else:
        label = ops.where(best <= high, ignore_id, label)
        label = ops.where(best <= low, 0, label)
    if valid_box is not None:
        height, width = ops.shape(label)[1:3]
        label = ops.where(outside(ops.cast(valid_box, "int32"), height, width), ignore_id, label)
    return label


def refined_pseudo_label(cam, labels, image, valid_box, refine, high=0.55, low=0.35, iterations=10):
    channels = cam.shape[-1] + 1
    ladder = [slots for slots in SLOTS if slots < channels] + [channels]
    needed = ops.cast(ops.max(ops.sum(ops.cast(labels > 0, "int32"), axis=-1)), "int32") + 1

    def with_slots(slots):
        return _refined_label(cam, labels, image, valid_box, refine, high, low, iterations, slots)

    def choose(rungs):
        if len(rungs) == 1:
            return with_slots(rungs[0])
        return ops.cond(needed <= rungs[0], lambda: with_slots(rungs[0]), lambda: choose(rungs[1:]))

    return choose(ladder)


def refined_soft_maps(cam, labels, image, refine, high, low, iterations, slots):
    height, width = ops.shape(cam)[1:3]
    half = (height // 2, width // 2)
    cam, labels = ops.cast(cam, "float32"), ops.cast(labels > 0, "float32")
    # argsort of the absent flag is stable: present classes first, in ascending order
    order = ops.argsort(1 - labels + ops.arange(labels.shape[-1], dtype="float32") * 1e-4, axis=-1)
    chosen = order[:, : slots - 1]
    present = ops.take_along_axis(labels, chosen, axis=-1)
    small = resize(cam, half)
    scores = ops.take_along_axis(small, chosen[:, None, None, :], axis=-1)
    guide = resize(ops.floor(ops.cast(image, "float32")) / 255.0, half)

    def soft(score):
        background = ops.full_like(scores[..., :1], score)
        stack = ops.concatenate([background, scores], axis=-1)
        keep = ops.concatenate([ops.ones_like(present[:, :1]), present], axis=-1)[:, None, None, :]
        weights = ops.exp(stack - ops.max(stack * keep, axis=-1, keepdims=True)) * keep
        return weights / ops.sum(weights, axis=-1, keepdims=True)

    both = refine(guide, ops.concatenate([soft(high), soft(low)], axis=-1), iterations=iterations)
    ids = ops.concatenate([ops.zeros_like(chosen[:, :1]), chosen + 1], axis=-1)
    kept = ops.concatenate([ops.ones_like(present[:, :1]), present], axis=-1)
    return both[..., :slots], both[..., slots:], ids, kept


def _refined_label(cam, labels, image, valid_box, refine, high, low, iterations, slots):
    height, width = ops.shape(cam)[1:3]
    *maps, ids, kept = refined_soft_maps(
        cam, labels, image, refine, high, low, iterations, slots
    )

    def label_of(soft):
        soft = ops.where(kept[:, None, None, :] > 0, resize(soft, (height, width)), -1e9)
        best = ops.argmax(soft, axis=-1)
        shape = ops.shape(best)
        flat = ops.take_along_axis(ops.cast(ids, "int32"), ops.reshape(best, (shape[0], -1)), axis=1)
        return ops.reshape(flat, shape)

    strict, loose = [label_of(soft) for soft in maps]
    label = ops.where((strict == 0) & (loose != 0), 255, strict)
    return ops.where(outside(ops.cast(valid_box, "int32"), height, width), 255, label)
