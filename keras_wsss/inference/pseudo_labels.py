"""Pseudo labels as files: what a trained run leaves for the next training (``writes``)."""

import json
import logging
from pathlib import Path

import tensorflow as tf

from keras_wsss.data import evaluation_dataset, explain_errors
from keras_wsss.errors import ConfigError
from keras_wsss.inference.checkpoints import load
from keras_wsss.inference.evaluation import crf_labels
from keras_wsss.inference.scores import SureScore, report
from keras_wsss.ops.saliency_labels import (
    attention_map,
    object_guided_label,
    saliency_guided_label,
)
from keras_wsss.pictures import palette_image
from keras_wsss.prediction import Predictor, as_trained
from keras_wsss.run_folder import RunDirectory

logger = logging.getLogger(__name__)

FOLDERS = {"train": "pseudo_labels", "val": "pseudo_labels_val"}
"""Sub-folder of a run for each list; labels of validation images are written to be scored."""


def write_pseudo_labels(path, config, digest, splits, source=None):
    """Writes the label files of a trained run; those that are there already stay.

    ``pseudo_labels/ID.png`` is a palette image with the ids of the data set's own masks, beside it
    lies ``manifest.json``. Masks of the training list are never opened.

    Args:
        path: run folder with the checkpoint ``last``.
        config: :class:`~keras_wsss.config.Config` whose ``writes`` says which labels.
        digest: hash of the configuration, see :func:`~keras_wsss.config.digest`.
        splits: the lists that it trains on, see :func:`~keras_wsss.data.load_splits`.
        source: run folder with the labels that object-guided ones start from.

    Returns:
        Score of the same labels on the validation list, made with its tags, or None where that
        list has no masks or lacks what the labels need.

    Raises:
        ConfigError: the folder holds labels of another configuration.
        DataError: saliency maps are missing or do not fit.

    Example:

    >>> write_pseudo_labels("runs/i2crc/classifier", config, digest, splits)  # doctest: +SKIP
    {'miou': 62.9, ...}
    """
    guided = config.writes == "object_guided_labels"
    score = None
    for (part, name), split in zip(FOLDERS.items(), splits, strict=True):
        lacks_input = not (source / name).is_dir() if guided else split.saliency_paths is None
        if part == "val" and (split.mask_paths is None or lacks_input):
            logger.warning("%s: no masks or no saliency maps, labels not scored", split.name)
            continue
        folder = Path(path) / name
        start = split.with_masks(source / name) if guided else split
        _write_split(path, config, digest, start, folder)
        if part == "val":
            score = score_labels(folder, split)
    return score and {"kind": config.writes, **score}


def check_labels(folder, digest):
    """Checks that the labels in a folder, if there are any, are of this configuration.

    Raises:
        ConfigError: they are of another one.
    """
    manifest = Path(folder) / "manifest.json"
    if not manifest.exists():
        return
    try:
        found = json.loads(manifest.read_text())["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{manifest}: cannot be read ({error}); delete the folder and go on with --resume"
        ) from error
    if found != digest:
        raise ConfigError(
            f"{manifest}: these labels were made with another configuration ({found}, now "
            f"{digest}); choose another --run-dir, or delete the folder and go on with --resume"
        )


def score_labels(folder, split):
    """Score of label files against the masks of a list.

    Args:
        folder: holds ``ID.png`` for all images of ``split``.
        split: :class:`~keras_wsss.data.Split` with masks.

    Returns:
        dict: ``miou`` (percent, of the labelled pixels) with ``per_class``, and ``coverage``,
        the percentage of pixels that have a label.
    """
    names = ("background", *split.class_names)
    score, labels = SureScore(names), split.with_masks(Path(folder))
    for position in range(len(split)):
        score.update(split.mask(position), labels.mask(position))
    return report(score.metric, names, tags_used=True, coverage=score.coverage)


def _write_split(path, config, digest, split, folder):
    """Writes the labels of ``split`` that ``folder`` lacks."""
    check_labels(folder, digest)
    run, manifest = RunDirectory(folder), folder / "manifest.json"
    there = {file.stem for file in folder.glob("*.png")} if manifest.exists() else set()
    missing = [position for position, image in enumerate(split.ids) if image not in there]
    # First, so that what an interrupted writing leaves is known to be ours.
    content = {"kind": config.writes, "list": split.name, "images": len(split), "config": digest}
    run.write_json(manifest, content)
    if not missing:
        return
    make = MAKERS[config.writes](load(path), split, config)
    file_ids = split.file_ids()
    with explain_errors(split):
        for batch in evaluation_dataset(split, masks=False, positions=missing):
            position = int(batch["index"][0])
            label = palette_image(file_ids[make(position, batch["image"])])
            run.write(folder / f"{split.ids[position]}.png", label.save)


def _saliency_labels(model, split, config):
    """Function of position and image `[1,H,W,3]` to a label: I2CRC, eq. 7 to 11."""

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)]
    )
    def raw_cam(image):
        seen = as_trained(image, model.square, model.working_size)
        return model.outputs(seen, ("cam",), training=False)["cam"]

    def make(position, image):
        attention = attention_map(raw_cam(image)[0], image.shape[1:3])
        return saliency_guided_label(attention, split.saliency(position), split.labels[position])

    return make


def _object_guided_labels(model, split, config):
    """Likewise: I2CRC, eq. 12 to 15. The masks of ``split`` are the labels so far.

    The network predicts as it is tested: with the scales, flip and CRF of ``evaluation``; what the
    classifier thinks of the tags is not asked, since they are known.
    """
    settings = config.evaluation
    predictor = Predictor(model, settings.scales, settings.flip, tag_cut=0)

    def make(position, image):
        if settings.crf:
            prediction = crf_labels(image[0], predictor.logits(image)[0])
        else:
            prediction = predictor(image)[0].numpy()
        return object_guided_label(prediction, split.mask(position), split.labels[position])

    return make


MAKERS = {"saliency_labels": _saliency_labels, "object_guided_labels": _object_guided_labels}
