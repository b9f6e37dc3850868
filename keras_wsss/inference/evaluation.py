"""Scores of a model on a list of images, in one streaming pass."""

import numpy as np
import tensorflow as tf

from keras_wsss.data import evaluation_dataset
from keras_wsss.inference.contact_sheet import contact_sheet
from keras_wsss.inference.scores import (
    AgreementScore,
    CamScore,
    ClassifierScore,
    MaskScore,
    PseudoLabelScore,
    Seen,
)
from keras_wsss.ops.crf import dense_crf
from keras_wsss.ops.resize import resize
from keras_wsss.palette import IGNORE_ID
from keras_wsss.prediction import Predictor, as_trained, enough_memory, label_map

SHEET_PIXELS = 512  # of the longer side; those of twelve photographs of a phone would fill 5 GB


def evaluate(
    model,
    split,
    *,
    scales=(1.0,),
    flip=False,
    crf=False,
    tag_cut=None,
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
        scales: test-time sizes of the image for the decoder.
        flip: bool, whether the decoder also sees the mirror image.
        crf: bool, also score the decoder's probabilities after a dense CRF, as ``decoder_crf``.
        tag_cut: float, least score of a class that the decoder may say; None: the model's own.
        tags: bool, also score what needs tags (about eight network passes more).
        sheet: path of a contact sheet to write, or None.
        sheet_images: int, rows of the sheet.
        watch: function that is called with the position of every image and the arrays of its
            :class:`~keras_wsss.inference.scores.Seen`, or None.
        progress: function that wraps the images while they are gone through.

    Returns:
        dict: ``decoder.miou`` (percent) with ``per_class``, ``cam``, ``pseudo_label``; without
        masks as well ``classifier`` (``f1``, and ``average_precision`` by class), ``agreement``
        (of decoder and pseudo labels, made with the tags) and the ``protocol``.

    Example:

    >>> split = wsss.load_split(wsss.config.load_run_config("runs/demo").data, "val")
    >>> scores = evaluate(wsss.load("runs/demo"), split, tags=False)
    >>> 0 <= scores["decoder"]["miou"] <= 100
    True
    """
    names = ("background", *split.class_names)
    has_masks, has_decoder = split.mask_paths is not None, model.settings.trains_decoder
    tags = tags and model.settings.trains_classifier
    scores = {}
    if has_masks and has_decoder:
        scores["decoder"] = MaskScore(names)
    if has_masks and has_decoder and crf:
        scores["decoder_crf"] = MaskScore(names, of="crf")
    if tags and has_decoder:
        scores["agreement"] = AgreementScore(names)
    if tags and has_masks:
        scores |= {"cam": CamScore(names), "pseudo_label": PseudoLabelScore(names)}
    if tags:
        scores["classifier"] = ClassifierScore(names)
    chosen = set(np.linspace(0, len(split.ids) - 1, sheet_images).astype(int))
    rows, shown_ids = [], []
    predictor = Predictor(model, scales, flip, tag_cut)
    images = _look(model, split, predictor, "decoder_crf" in scores, tags)
    for position, seen in enumerate(progress(images)):
        for score in scores.values():
            score.update(seen)
        if sheet is not None and position in chosen:
            rows.append(_row(seen))
            shown_ids.append(split.ids[position])
        if watch is not None:
            watch(position, seen.arrays())
    if sheet is not None:
        contact_sheet(rows, shown_ids, split.class_names).save(sheet)
    protocol = {
        "list": split.name,
        "images": len(split.ids),
        "scales": list(scales),
        "flip": flip,
        "crf": "decoder_crf only" if crf and has_decoder else False,
        "resolution": "original",
        "tags_used": "cam and pseudo_label only; never by decoder",
    }
    if predictor.tag_cut:
        protocol["tag_cut"] = predictor.tag_cut
    return {**{name: score.report() for name, score in scores.items()}, "protocol": protocol}


def _look(model, split, predictor, crf, tags):
    """What the model says of each image, as :class:`Seen`."""
    describe = describe_function(model)
    batches = evaluation_dataset(split, masks=split.mask_paths is not None)
    for name, batch in zip(split.ids, batches, strict=True):
        image, found = batch["image"], {}
        size = image.shape[1:3]
        with enough_memory(name, size):
            if model.settings.trains_decoder:
                logits = predictor.answer(image)["logits"]
                found["prediction"] = label_map(logits, size)
                if crf:
                    found["crf"] = crf_labels(image[0], resize(logits, size)[0])[None]
            if tags:
                described = describe(image, batch["labels"])
                found |= zip(("image_logits", "cam", "label", "full"), described, strict=True)
        yield Seen(image, batch["labels"], batch.get("mask"), **found)


def _row(seen):
    """The columns of a contact sheet; what there is not is empty."""
    step = max(1, max(seen.image.shape[1:3]) // SHEET_PIXELS)
    image, label, prediction, truth = (
        None if picture is None else np.asarray(picture)[0, ::step, ::step]
        for picture in (seen.image, seen.label, seen.prediction, seen.truth)
    )
    size = image.shape[:2]
    if seen.cam is None:
        cam, label = np.zeros((*size, seen.tags.shape[1])), np.full(size, IGNORE_ID)
    else:
        cam = np.asarray(resize(seen.cam, size)[0] * seen.tags[0])
    if prediction is None:
        prediction = np.zeros(size, np.int32)
    columns = [image, cam, label, prediction]
    return columns if truth is None else [*columns, truth]


def describe_function(model):
    """What the tags of photographs are worth.

    Args:
        model: built :class:`~keras_wsss.methods.WSSSModel`.

    Returns:
        Function of images float32 `[1,H,W,3]`, 0..255, and tags float32 `[1,C]` to image logits
        `[1,C]`, CAM float32 `[1,h,w,C]` at the size at which the network sees the images, the label
        as in training int32 `[1,H,W]`, 255 = unsure, and the full label int32 `[1,H,W]`.

    Example:

    >>> describe = describe_function(wsss.load("runs/demo"))
    >>> image_logits, cam, label, full = describe(tf.zeros([1, 64, 64, 3]), tf.ones([1, 6]))
    >>> image_logits.shape, cam.shape, label.shape
    (TensorShape([1, 6]), TensorShape([1, 64, 64, 6]), TensorShape([1, 64, 64]))
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
            cam,
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
