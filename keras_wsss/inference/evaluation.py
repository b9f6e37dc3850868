"""Scores of a model on a list of images, in one streaming pass."""

import numpy as np
import tensorflow as tf

from keras_wsss.data import evaluation_dataset
from keras_wsss.inference.contact_sheet import contact_sheet
from keras_wsss.metrics import MeanIoU, average_precision, multilabel_f1
from keras_wsss.ops.cam import cam_to_label
from keras_wsss.ops.crf import dense_crf
from keras_wsss.ops.resize import resize
from keras_wsss.palette import IGNORE_ID
from keras_wsss.prediction import Predictor, as_trained

SHEET_PIXELS = 512  # of the longer side; those of twelve photographs of a phone would fill 5 GB
BACKGROUND_SCORES = tuple(round(0.05 * i, 2) for i in range(1, 20))


def evaluate(
    model,
    split,
    *,
    scales=(1.0,),
    flip=False,
    crf=False,
    tags=True,
    sheet=None,
    sheet_images=12,
    watch=None,
    progress=iter,
):
    """Scores the decoder, and with ``tags`` the classifier, CAM and pseudo labels beside it.

    The decoder never sees tags. A decoder or a classifier that no loss term trains is not scored,
    nor is what the classifier would give. CAM and pseudo labels are masked by each image's tags,
    which no user has for a new photograph; they show how good the supervision is, not the model.

    Images without masks still say something: how well the classifier finds the tags, and how far
    the decoder agrees with the pseudo labels.

    Args:
        model: built :class:`~keras_wsss.methods.WSSSModel`.
        split: :class:`~keras_wsss.data.Split`; without masks nothing is held against masks.
        scales, flip: test-time views of the decoder.
        crf: bool, also score the decoder's probabilities after a dense CRF, as ``decoder_crf``.
        tags: bool, also score what needs tags (about eight network passes more).
        sheet: path of a contact sheet to write, or None.
        sheet_images: int, rows of the sheet.
        watch: function that is called with the position and a dict of arrays for every image:
            ``image`` `[H,W,3]`, ``labels`` (its tags) `[C]`; of a decoder ``prediction`` `[H,W]`;
            with ``tags`` ``image_logits`` `[C]`, tag-masked ``cam`` `[H,W,C]`, ``label`` and
            ``full`` `[H,W]`; where there are masks ``mask`` `[H,W]`.
        progress: function that wraps the images while they are gone through.

    Returns:
        dict: ``decoder.miou`` (percent) with ``per_class``, ``cam``, ``pseudo_label``; without
        masks as well ``classifier`` (``f1``, and ``average_precision`` by class), ``agreement``
        (of decoder and pseudo labels, made with the tags) and the ``protocol``.

    Example:

    >>> evaluate(model, split)["decoder"]["miou"]
    63.2
    """
    names = ("background", *split.class_names)
    classes = len(names)
    predictor = Predictor(model, scales, flip)
    decoder_trained = model.settings.trains_decoder
    crf = crf and decoder_trained
    tags = tags and "classification" in model.settings.losses
    decoder, decoder_crf = MeanIoU(classes), MeanIoU(classes)
    cams = [MeanIoU(classes) for _ in BACKGROUND_SCORES]
    pseudo, three_way, agreement = MeanIoU(classes), MeanIoU(classes), MeanIoU(classes)
    labelled = valid = equal = pixels = 0
    image_logits, rows, shown_ids = [], [], []
    describe = describe_function(model)

    @tf.function(autograph=False, reduce_retracing=True)
    def record_cam(truth, cam, labels):
        for score, metric in zip(BACKGROUND_SCORES, cams, strict=True):
            metric.update_state(truth, cam_to_label(cam, labels, score))

    chosen = set(np.linspace(0, len(split.ids) - 1, sheet_images).astype(int))

    has_masks = split.mask_paths is not None
    for position, batch in enumerate(progress(evaluation_dataset(split, masks=has_masks))):
        image, truth = batch["image"], batch.get("mask")
        seen = {name: batch[name] for name in ("image", "labels", "mask") if name in batch}
        shape = image.shape[:3]
        prediction = tf.zeros(shape, tf.int32)
        shown, label = tf.zeros((*shape, classes - 1)), tf.fill(shape, IGNORE_ID)
        if decoder_trained:
            logits = predictor.logits(image)
            prediction = tf.argmax(logits, axis=-1, output_type=tf.int32)
            seen["prediction"] = prediction
        if tags:
            found, cam, label, full = describe(image, batch["labels"])
            image_logits.append(found.numpy()[0])
            shown = cam * batch["labels"][:, None, None, :]
            seen |= {"image_logits": found, "cam": shown, "label": label, "full": full}
        if tags and decoder_trained:
            agreement.update_state(full, prediction)
            equal += np.sum(full == prediction)
            pixels += full.numpy().size
        if has_masks and decoder_trained:
            decoder.update_state(truth, prediction)
        if has_masks and crf:
            decoder_crf.update_state(truth, crf_labels(image[0], logits[0])[None])
        if has_masks and tags:
            record_cam(truth, cam, batch["labels"])
            pseudo.update_state(truth, full)
            three_way.update_state(truth, label)
            valid += np.sum(truth != IGNORE_ID)
            labelled += np.sum((truth != IGNORE_ID) & (label != IGNORE_ID))
        if sheet is not None and position in chosen:
            columns = [image, shown, label, prediction, *([truth] if has_masks else [])]
            rows.append([_for_a_sheet(column[0]) for column in columns])
            shown_ids.append(split.ids[position])
        if watch is not None:
            watch(position, {name: value[0].numpy() for name, value in seen.items()})

    scores = {}
    if has_masks and decoder_trained:
        scores["decoder"] = report(decoder, names, tags_used=False)
    if has_masks and crf:
        scores["decoder_crf"] = report(decoder_crf, names, tags_used=False)
    scores |= {
        "protocol": {
            "list": split.name,
            "images": len(split.ids),
            "scales": list(scales),
            "flip": flip,
            "crf": "decoder_crf only" if crf else False,
            "resolution": "original",
            "tags_used": "cam and pseudo_label only; never by decoder",
        },
    }
    if tags and decoder_trained:
        share = percent(equal / max(pixels, 1))
        scores["agreement"] = {"miou": percent(agreement.result()), "pixels": share}
    if has_masks and tags:
        best = int(np.argmax([float(metric.result()) for metric in cams]))
        scores["cam"] = report(
            cams[best], names, tags_used=True, background_score=BACKGROUND_SCORES[best]
        )
        scores["pseudo_label"] = report(pseudo, names, tags_used=True)
        scores["pseudo_label"]["three_way"] = {
            "miou": percent(three_way.result()),
            "coverage": percent(labelled / max(valid, 1)),
        }
    if tags:
        scores["classifier"] = classifier_scores(split, np.asarray(image_logits))
    if sheet is not None:
        contact_sheet(rows, shown_ids, split.class_names).save(sheet)
    return scores


def _for_a_sheet(picture):
    """A picture `[H,W,...]` with as many pixels as a contact sheet shows, and some more."""
    step = max(1, max(picture.shape[:2]) // SHEET_PIXELS)
    return picture[::step, ::step].numpy()


def classifier_scores(split, image_logits):
    """How well the classifier finds the tags of a list: F1, and average precision by class.

    Args:
        split: :class:`~keras_wsss.data.Split`.
        image_logits: array `[N,C]`, positive where an image shows the class.
    """
    precisions = average_precision(split.labels, image_logits)
    return {
        "f1": round(multilabel_f1(split.labels, image_logits), 4),
        "average_precision": {
            name: None if np.isnan(each) else percent(each)
            for name, each in zip(split.class_names, precisions, strict=True)
        },
    }


def describe_function(model):
    """What the tags of photographs are worth, at their own size.

    Args:
        model: built :class:`~keras_wsss.methods.WSSSModel`.

    Returns:
        Function of images float32 `[1,H,W,3]`, 0..255, and tags float32 `[1,C]` to image logits
        `[1,C]`, CAM float32 `[1,H,W,C]`, the label as in training int32 `[1,H,W]`, 255 = unsure,
        and the full label int32 `[1,H,W]`.

    Example:

    >>> image_logits, cam, label, full = describe_function(model)(images, tags)
    """

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, None, None, 3], tf.float32),
            tf.TensorSpec([None, model.num_classes], tf.float32),
        ],
    )
    def describe(image, labels):
        height, width = tf.unstack(tf.shape(image)[1:3])
        image = as_trained(image, model.square, model.working_size)
        size = tf.shape(image)
        box = tf.stack([0, size[1], 0, size[2]])
        batch = {"image": image, "labels": labels, "valid_box": tf.tile(box[None], [size[0], 1])}
        cam, label, full = model.describe(batch)

        def own_size(label):
            label = tf.image.resize(label[..., None], (height, width), method="nearest")
            return label[..., 0]

        return (
            model(image, training=False)["image_logits"],
            resize(cam, (height, width)),
            own_size(label),
            own_size(full),
        )

    return describe


def crf_labels(image, logits):
    """Label map of one image after a dense CRF (I2CRC, "CRF").

    Args:
        image: float `[H,W,3]`, 0..255.
        logits: float `[H,W,K]`.

    Returns:
        numpy int32 `[H,W]`.

    Raises:
        ConfigError: the extra ``crf`` is not installed.
    """
    probabilities = dense_crf(np.asarray(image), tf.nn.softmax(logits).numpy())
    return np.argmax(probabilities, axis=-1).astype(np.int32)


def report(metric, names, **extra):
    """The dict that a summary holds of a :class:`MeanIoU`: percentages, and what is in ``extra``.

    Args:
        metric: :class:`MeanIoU`.
        names: its classes.
    """
    per_class = metric.per_class()
    return {
        "miou": percent(metric.result()),
        "per_class": {
            name: None if np.isnan(iou) else percent(iou)
            for name, iou in zip(names, per_class, strict=True)
        },
        **extra,
    }


def percent(fraction):
    """``fraction`` as a percentage with two digits."""
    return round(100 * float(fraction), 2)
