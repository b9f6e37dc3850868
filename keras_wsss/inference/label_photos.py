"""Labels of a run's photographs for people to correct: pseudo labels, or predictions."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from rich.progress import track

from keras_wsss.data import evaluation_dataset, explain_errors, load_split
from keras_wsss.errors import ConfigError
from keras_wsss.inference.checkpoints import class_names, load, stage_of_run
from keras_wsss.inference.evaluation import describe_function
from keras_wsss.inference.label_formats import LabelledPhoto, write_labels
from keras_wsss.palette import IGNORE_ID
from keras_wsss.prediction import Predictor
from keras_wsss.run_folder import RunDirectory

LEAST_PROBABILITY = 0.5
"""A pixel is in doubt where the decoder's best class has less, and there is no CAM to compare."""


def export_labels(
    path,
    label_format,
    output,
    *,
    config=None,
    part="train",
    kind="pseudo",
    limit=None,
    overwrite=False,
    verbose=False,
):
    """Writes the labels of a run's photographs in the format of an annotation tool.

    Args:
        path: run folder; of a run with stages the last one labels.
        label_format: a name in :data:`~keras_wsss.registry.LABEL_FORMATS`.
        output: folder to make.
        config: :class:`~keras_wsss.config.Config` to take the data from; None: the run's own.
        part: ``"train"`` or ``"val"``, the list of photographs.
        kind: ``"pseudo"``: the label that CAM and tags give, with a class for every pixel;
            ``"prediction"``: what the decoder sees without tags, as the run is evaluated.
        limit: int, the most uncertain photographs only, so many; None: all.
        overwrite: bool, replace a folder with labels that is there.
        verbose: bool, show a progress bar.

    Returns:
        dict: what ``label_manifest.json`` says.

    Raises:
        ConfigError: the output is there already, or the run has no such labels.
        DataError: a photograph or a folder cannot be used.

    Example:

    >>> manifest = export_labels("runs/demo", "png", "to_correct", part="val", kind="prediction")
    >>> manifest["format"], manifest["images"]
    ('png', 1)
    """
    path, config = stage_of_run(path, config)
    split = load_split(config.data, part)
    if split.class_names != class_names(RunDirectory(path)):
        raise ConfigError(
            f"{path}: was trained on other classes than list {split.name} has "
            f"({', '.join(split.class_names)}); set data.classes, or use the run's own data"
        )
    model = load(path)
    with TemporaryDirectory() as scratch:
        photos = label_photos(
            model,
            split,
            kind,
            Path(scratch),
            scales=config.evaluation.scales,
            flip=config.evaluation.flip,
        )
        return write_labels(
            track(photos, f"labelling {split.name}", len(split), disable=not verbose),
            split.class_names,
            label_format,
            Path(output),
            limit=limit,
            overwrite=overwrite,
            about={
                "run": config.name,
                "step": model.trained_steps,
                "list": split.name,
                "kind": kind,
                "tags_used": kind == "pseudo",
                "classes": list(split.class_names),
            },
        )


def label_photos(model, split, kind, scratch, scales=(1.0,), flip=False):
    """Labels of the images of a list, one at a time.

    Args:
        model: built :class:`~keras_wsss.methods.WSSSModel`.
        split: :class:`~keras_wsss.data.Split`; masks are not read.
        kind: ``"pseudo"`` or ``"prediction"``, see :func:`export_labels`.
        scratch: folder for images that are no files, e.g. generated ones.
        scales, flip: test-time views of the decoder.

    Returns:
        Iterator of :class:`~keras_wsss.inference.label_formats.LabelledPhoto`; the uncertainty is
        that of :func:`doubt`.

    Raises:
        ConfigError: the model has no such labels.
        DataError: an image cannot be read.

    Example:

    >>> split = wsss.load_split(wsss.config.load_run_config("runs/demo").data, "val")
    >>> photo = next(label_photos(wsss.load("runs/demo"), split, "prediction", Path()))
    >>> photo.label.shape, photo.label.dtype
    ((64, 64), dtype('uint8'))
    """
    has_cam, has_decoder = model.settings.trains_classifier, model.settings.trains_decoder
    if kind == "pseudo" and not has_cam:
        raise ConfigError(
            "this network has learned from masks and has no CAM for pseudo labels; use --kind "
            "prediction"
        )
    if kind == "prediction" and not has_decoder:
        raise ConfigError("no loss term trains the decoder of this run; use --kind pseudo")
    # For pseudo labels the tags tell which classes are there.
    predictor = Predictor(model, scales, flip, tag_cut=0 if kind == "pseudo" else None)
    return _label_photos(model, split, kind, scratch, predictor)


def _label_photos(model, split, kind, scratch, predictor):
    describe = describe_function(model)
    with explain_errors(split):
        for batch in evaluation_dataset(split, masks=False):
            image, tags, position = batch["image"], batch["labels"], int(batch["index"][0])
            sure = full = logits = None
            if model.settings.trains_classifier:
                *_, sure, full = (tensor.numpy()[0] for tensor in describe(image, tags))
            if model.settings.trains_decoder:
                logits = predictor.logits(image).numpy()[0]
            possible = np.append(True, tags.numpy()[0] > 0) if kind == "pseudo" else True
            label = full if kind == "pseudo" else np.argmax(logits, axis=-1)
            path = Path(split.image_paths[position])
            if split.read_image is not None:
                path = scratch / f"{position}.png"
                Image.fromarray(image.numpy()[0].astype(np.uint8)).save(path)
            yield LabelledPhoto(
                split.ids[position], path, label.astype(np.uint8), doubt(sure, logits, possible)
            )


def doubt(sure, logits, possible=True):
    """How much of an image's label is in doubt: where CAM and decoder contradict each other.

    Args:
        sure: int `[H,W]`, label of the CAM where it is sure, 255 elsewhere; or None.
        logits: float `[H,W,C+1]` of the decoder; or None.
        possible: bool `[C+1]`, classes that the decoder may say, e.g. background and tags; or True.

    Returns:
        float, 0..1: the share of the pixels of which the CAM is sure whose class is not the
        decoder's; 1 where it is sure of none. Without a decoder, the share of which the CAM is not
        sure; without a CAM, that for which no class has a probability of a half.

    Example:

    >>> doubt(np.array([[1, 255]]), np.array([[[0.0, 1.0], [5.0, 0.0]]]))
    0.0
    """
    if logits is None:
        return float(np.mean(sure == IGNORE_ID))
    if sure is None:
        odds = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
        return float(np.mean(1 / np.sum(odds, axis=-1) < LEAST_PROBABILITY))
    labelled = sure != IGNORE_ID
    decoded = np.argmax(np.where(possible, logits, -np.inf), axis=-1)
    return float(np.mean((decoded != sure)[labelled])) if labelled.any() else 1.0
