"""Masks of photographs as files: what ``keras-wsss predict`` writes."""

import csv
import hashlib
from html import escape
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_wsss.checksums import sha256
from keras_wsss.errors import ConfigError, DataError
from keras_wsss.inference.checkpoints import load
from keras_wsss.inference.evaluation import crf_labels
from keras_wsss.mask_folder import MaskFolder
from keras_wsss.ops.crf import require_crf
from keras_wsss.ops.resize import resize
from keras_wsss.output import new_file
from keras_wsss.pages import address, figure, page, pictures
from keras_wsss.photographs import Photograph
from keras_wsss.pictures import found_classes, save_mask_and_overlay
from keras_wsss.prediction import Predictor, enough_memory, label_map, pixels

KIND = "predictions"


def predict_files(
    model,
    photographs,
    output,
    *,
    scales=(1.0,),
    flip=False,
    crf=False,
    threshold=None,
    batch=1,
    overwrite=False,
    progress=iter,
):
    """Segments photographs and writes what a person, and what a program, wants to see of them.

    ``output`` then holds ``masks/NAME.png`` (palette PNG at the size of the photograph),
    ``overlays/NAME.jpg``, a row for each photograph in ``predictions.jsonl`` and
    ``predictions.csv``, and ``index.html``. Photographs that have their row already are not
    segmented again unless they have changed, so that an interrupted call goes on where it stopped,
    and another one adds its photographs.

    Args:
        model: folder of a run or preset, or ``.keras`` file, see :func:`keras_wsss.load`.
        photographs: as :func:`~keras_wsss.photographs.find_photographs` finds them.
        output: folder.
        scales, flip: test-time views, see :class:`~keras_wsss.prediction.Predictor`.
        crf: bool, sharpen with a dense CRF (extra ``crf``).
        threshold: float in 0..1; classes whose image score is below leave the mask. None: the
            model's own (``heads.tag_cut``).
        batch: int, photographs of one size that go through the network at once.
        overwrite: bool, begin anew where the folder holds predictions of other settings.
        progress: function that wraps the list of photographs while it is gone through.

    Returns:
        dict: ``images``, ``written``, ``kept`` (from an earlier call) and ``failed``, a list of
        those that could not be read, with the reason.

    Raises:
        ConfigError: the folder holds predictions of other settings, or something else; or a
            threshold is given for a classifier that no loss term teaches.
        InterruptionError: Ctrl-C; the same call goes on.
        WeightsError: there is no model.

    Example:

    >>> from keras_wsss.photographs import find_photographs
    >>> predict_files("runs/demo", find_photographs(["photos/cat"]), "masks")["written"]
    4
    """
    if crf:
        require_crf()
    settings = {
        "weights": _weights_digest(Path(model)),
        "scales": list(scales),
        "flip": flip,
        "crf": crf,
        "threshold": threshold,
    }
    folder = MaskFolder(Path(output), KIND, settings, overwrite)
    todo = folder.todo(photographs)
    failed = []
    if todo:
        network = load(model)
        network.refuse_untrained_decoder()
        if threshold and not network.settings.trains_classifier:
            raise ConfigError(
                f"{model}: no loss term teaches its classifier, so there are no image scores to "
                "hold against a threshold; leave --threshold out"
            )
        names = network.class_names or [f"class {c + 1}" for c in range(network.num_classes)]
        segment = _segmenter(Predictor(network, scales, flip, threshold), crf)
    folder.begin(todo)  # nothing is written before all of this is right
    with folder.interruptible(photographs):
        for photographs_of_size, images in _batches(progress(todo), batch, failed):
            with enough_memory(photographs_of_size[0].path, images[0].shape[:2]):
                predicted = list(segment(images))
            for photograph, image, found in zip(
                photographs_of_size, images, predicted, strict=True
            ):
                folder.add(photograph, _write(folder.path, photograph, image, names, *found))
    rows = list(folder.rows.values())
    _write_table(folder.path / f"{KIND}.csv", rows)
    with new_file(folder.path / "index.html") as file:
        file.write_text(_page(rows, failed), encoding="utf-8")
    return {
        "images": len(photographs),
        "written": len(todo) - len(failed),
        "kept": len(photographs) - len(todo),
        "failed": failed,
    }


def _weights_digest(model):
    """Of the files that hold a model's weights; those of a run change as it trains on."""
    kinds = "*.h5", "*.safetensors"
    files = [model] if model.is_file() else [file for kind in kinds for file in model.rglob(kind)]
    return hashlib.sha256("".join(sorted(map(sha256, files))).encode()).hexdigest()


def _batches(photographs, size, failed):
    """Photographs of one size with their pixels; what cannot be read goes to ``failed``."""
    waiting, images = [], []
    for photograph in photographs:
        try:
            image = np.asarray(pixels(photograph.path))
        except DataError as error:
            failed.append({"path": str(photograph.path), "reason": str(error)})
            continue
        if images and (len(images) == size or image.shape != images[0].shape):
            yield waiting, images
            waiting, images = [], []
        waiting.append(photograph)
        images.append(image)
    if images:
        yield waiting, images


def _segmenter(predictor, crf):
    """Function of images `[H,W,3]` of one size to (mask, confidence, class scores) of each."""

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)]
    )
    def answer(images):
        found = predictor.answer(images)
        largest = tf.reduce_max(tf.nn.softmax(found["logits"]), axis=-1)
        scores = tf.sigmoid(found["image_logits"])
        return found["logits"], tf.reduce_mean(largest, axis=[1, 2]), scores

    def segment(images):
        images = np.float32(np.stack(images))
        logits, confidence, scores = answer(images)
        size = images.shape[1:3]
        if crf:
            logits = resize(logits, size)
            masks = [crf_labels(image, each) for image, each in zip(images, logits, strict=True)]
        else:
            masks = label_map(logits, size).numpy()
        # What nobody has taught has no scores.
        known = scores.shape[1] if predictor.model.settings.trains_classifier else 0
        return zip(masks, confidence.numpy(), scores.numpy()[:, :known], strict=True)

    return segment


def _write(output, photograph, image, names, mask, confidence, scores):
    """Writes mask and overlay, and returns what the row says of them."""
    legend = dict(enumerate(names, start=1))
    save_mask_and_overlay(np.uint8(image), mask, legend, output, photograph.name)
    coverage = {name: float(np.mean(mask == number)) for number, name in legend.items()}
    return {
        "classes": found_classes(coverage),
        "confidence": round(float(confidence), 4),
        "scores": {name: round(float(s), 4) for name, s in zip(names, scores, strict=False)},
        "coverage": {name: round(share, 4) for name, share in coverage.items()},
    }


def _write_table(path, rows):
    with new_file(path) as table, table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        kinds = {"score": "scores", "coverage": "coverage"} if rows else {}
        heads = [f"{head}: {name}" for head, key in kinds.items() for name in rows[0][key]]
        writer.writerow(["path", "classes", "confidence", *heads])
        for row in rows:
            shown = Photograph(Path(row["path"]), row["name"]).shown
            numbers = [*row["scores"].values(), *row["coverage"].values()]
            writer.writerow([shown, ";".join(row["classes"]), row["confidence"], *numbers])


def _page(rows, failed):
    figures = (
        figure(
            address(f"overlays/{row['name']}.jpg"),
            f"{row['name']}: {', '.join(row['classes']) or 'nothing but background'}, "
            f"confidence {row['confidence']:.2f}",
            alt=f"{row['name']} with its mask",
            link=address(f"masks/{row['name']}.png"),
        )
        for row in rows
    )
    reasons = "".join(f"<li>{escape(each['reason'])}</li>\n" for each in failed)
    left_out = reasons and f"<h2>Left out</h2>\n<ul>\n{reasons}</ul>\n"
    return page("Predictions", left_out + pictures(figures), f"{len(rows)} photographs")
