"""Decoder prediction with optional test-time scales and flip; never sees image tags."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_wsss.config import section
from keras_wsss.config.sections import EvaluationConfig
from keras_wsss.data.decode import read_image
from keras_wsss.data.photos.readable import readable
from keras_wsss.data.sizes import shrunk
from keras_wsss.errors import DataError
from keras_wsss.ops.resize import resize, resize_smooth
from keras_wsss.photographs import PHOTO_SUFFIXES, photographs_in

ABSENT = -1e4
"""Logit of a class that is not there: finite in half precision, too."""

SMALLEST_SIDE = 64  # so that half the size still suits every backbone


def enlarged(images):
    """Images float `[B,H,W,3]` with both sides brought up to 64 pixels where they are smaller.

    Example:

    >>> enlarged(tf.zeros([1, 1, 300, 3])).shape
    TensorShape([1, 64, 300, 3])
    """
    height, width = tf.unstack(tf.maximum(tf.shape(images)[1:3], SMALLEST_SIDE))
    return resize(images, (height, width))


def as_trained(images, square, working_size=None):
    """Images as a network is to see them.

    Args:
        images: float `[B,H,W,3]`.
        square: int, side of the square to which the training brought every image, or None.
        working_size: int, longer side to which it brought larger ones, or None.

    Returns:
        float `[B,H',W',3]`, no side below 64 pixels.

    Example:

    >>> as_trained(tf.zeros([1, 375, 500, 3]), square=None, working_size=250).shape
    TensorShape([1, 188, 250, 3])
    """
    if square:
        return resize_smooth(images, (square, square))
    return enlarged(shrunk(images, working_size) if working_size else images)


def fuse_logits(logits, flip=True):
    """Fuses decoder logits over flip and scales (AFA, eq. 21).

    Args:
        logits: list, one per scale and the reference scale first, of float `[B,h,w,K]`, or with
            ``flip`` `[2B,h,w,K]` whose second half belongs to the mirrored images (not mirrored
            back).
        flip: bool.

    Returns:
        float `[B,h,w,K]` on the first scale's grid: mean of a view and its mirror, then maximum
        over scales.

    Example:

    >>> fuse_logits([tf.zeros([2, 24, 32, 21]), tf.ones([2, 12, 16, 21])]).shape
    TensorShape([1, 24, 32, 21])
    """
    size = tf.shape(logits[0])[1:3]
    fused = []
    for scale_logits in logits:
        view = resize(scale_logits, (size[0], size[1]))
        if flip:
            plain, mirrored = tf.split(view, 2)
            view = (plain + tf.reverse(mirrored, axis=[2])) / 2
        fused.append(view)
    return tf.reduce_max(tf.stack(fused), axis=0)


def checked_views(scales, flip):
    """The test-time views as a section of a configuration.

    Args:
        scales: floats above 0, sizes of the image.
        flip: bool, also the mirror image of each.

    Returns:
        :class:`~keras_wsss.config.sections.EvaluationConfig`.

    Raises:
        ConfigError: no scale, one that is no number above 0, or a ``flip`` that is no bool.

    Example:

    >>> checked_views([1.0, 1.5], flip=True).scales
    (1.0, 1.5)
    """
    return section(EvaluationConfig, "test-time views", {"scales": scales, "flip": flip})


def label_map(logits, size):
    """Class of the largest logit after bilinear resizing; the lowest wins a tie.

    One class is resized at a time: all 21 of VOC would fill a gigabyte for a photograph of a phone.

    Args:
        logits: float `[B,h,w,K]`.
        size: pair of ints (height, width).

    Returns:
        int32 `[B,height,width]`.

    Example:

    >>> label_map(tf.constant([[[[0.0, 1.0]]]]), (1, 2)).numpy()
    array([[[1, 1]]], dtype=int32)
    """
    if tuple(logits.shape[1:3]) == tuple(size):
        return tf.argmax(logits, axis=-1, output_type=tf.int32)

    def plane(number):
        return resize(logits[..., number : number + 1], size)[..., 0]

    best = plane(0)
    label = tf.zeros(tf.shape(best), tf.int32)
    for number in range(1, logits.shape[-1]):
        each = plane(number)
        label = tf.where(each > best, number, label)
        best = tf.maximum(best, each)
    return label


def without_absent(logits, image_logits, tag_cut):
    """Decoder logits in which a class that the classifier does not see cannot win (tag cut).

    The background always can.

    Args:
        logits: float `[B,H,W,C+1]`.
        image_logits: float `[B,C]` of the classifier.
        tag_cut: float in 0..1; a class whose sigmoid lies below is absent.

    Returns:
        float `[B,H,W,C+1]`, :data:`ABSENT` where a class is absent.

    Example:

    >>> without_absent(tf.zeros([1, 1, 1, 3]), tf.constant([[-9.0, 9.0]]), 0.2).numpy().ravel()
    array([     0., -10000.,      0.], dtype=float32)
    """
    absent = tf.pad(tf.sigmoid(image_logits) < tag_cut, [[0, 0], [1, 0]])
    return tf.where(absent[:, None, None], tf.cast(ABSENT, logits.dtype), logits)


@contextmanager
def enough_memory(name, size):
    """One message where an image asks for more memory than there is in the ``with`` block.

    Args:
        name: of the image.
        size: pair of ints (height, width).

    Raises:
        DataError: in place of TensorFlow's error.

    Example:

    >>> with enough_memory("photo.jpg", (48, 64)):
    ...     labels = segment(wsss.load("runs/demo"), "photo.jpg")
    """
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        height, width = size
        raise DataError(
            f"{name}: {width}x{height} pixels ask for more memory than there is; train with "
            "data.working_size (512, for example), at which photographs are then scored too, or "
            "bring them to a smaller size"
        ) from error


class Predictor:
    """Label maps of images of any size from the decoder alone.

    Args:
        model: a built :class:`~keras_wsss.methods.WSSSModel`.
        scales: floats; 1.0 alone is the plain prediction. Logits are fused on the grid of the
            scale nearest to 1.
        flip: bool, average every view with its mirror.
        tag_cut: as for :func:`without_absent`; None: the model's own, ``heads.tag_cut``; 0 where
            the tags are known.

    Example:

    >>> predictor = Predictor(wsss.load("runs/demo"), flip=True)
    >>> images = tf.zeros([1, 64, 96, 3])  # RGB 0..255
    >>> predictor(images).shape, predictor.logits(images).shape
    (TensorShape([1, 64, 96]), TensorShape([1, 64, 96, 7]))
    """

    def __init__(self, model, scales=(1.0,), flip=False, tag_cut=None):
        views = checked_views(scales, flip)
        self.model = model
        self.tag_cut = model.settings.heads.tag_cut if tag_cut is None else tag_cut
        self.scales = sorted(views.scales, key=lambda scale: abs(scale - 1))
        self.flip = views.flip
        self.answer = tf.function(
            self.answer,
            autograph=False,
            input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)],
        )

    def __call__(self, images):
        """Label map int32 `[B,H,W]` of images float `[B,H,W,3]` in 0..255."""
        return label_map(self.answer(images)["logits"], images.shape[1:3])

    def logits(self, images):
        """The decoder's logits, float32 `[B,H,W,K]`, of images float `[B,H,W,3]` in 0..255."""
        return resize(self.answer(images)["logits"], images.shape[1:3])

    def answer(self, images):
        """As :meth:`outputs`, of images brought to the model's working size."""
        size = self.model.working_size
        return self.outputs(shrunk(images, size) if size else images)

    def outputs(self, images):
        """What the network says, not compiled: what exported graphs hold.

        Args:
            images: float32 `[B,H,W,3]`, RGB 0..255.

        Returns:
            dict: ``logits``, those of the decoder, fused, after the tag cut, float32 `[B,H,W,K]` at
            the size of the images; ``image_logits`` float32 `[B,C]` of the first view alone.
        """
        own_size = tf.shape(images)[1:3]
        images = as_trained(images, self.model.square)
        size = tf.shape(images)[1:3]
        views, image_logits = [], []
        for scale in self.scales:
            scaled = tf.cast(tf.cast(size, tf.float32) * scale, tf.int32)
            view = enlarged(resize(images, (scaled[0], scaled[1])) if scale != 1 else images)
            if self.flip:
                view = tf.concat([view, tf.reverse(view, axis=[2])], axis=0)
            outputs = self.model(view, training=False)
            views.append(outputs["segmentation_logits"])
            image_logits.append(outputs["image_logits"])
        logits = resize(fuse_logits(views, self.flip), (own_size[0], own_size[1]))
        image_logits = image_logits[0][: tf.shape(images)[0]]
        if self.tag_cut:
            logits = without_absent(logits, image_logits, self.tag_cut)
        return {"logits": logits, "image_logits": image_logits}


def segment(model, images, scales=(1.0,), flip=False):
    """Label maps of images at their own size; tags are not used.

    Args:
        model: a built :class:`~keras_wsss.methods.WSSSModel`.
        images: an array `[H,W,3]` or `[B,H,W,3]`, RGB 0..255; the path of an image; the path of a
            folder; or a list of arrays `[H,W,3]` and paths.
        scales: as for :class:`Predictor`.
        flip: as for :class:`Predictor`.

    Returns:
        numpy int32, 0 = background, c + 1 = class c: `[H,W]` for one image, `[B,H,W]` for an array
        of several, a list of `[H,W]` for a list, and for a folder a dict, file name -> `[H,W]`.

    Raises:
        DataError: a file is missing or no image, or an array is no RGB image in 0..255.
        ConfigError: scales that cannot be.

    Example:

    >>> segment(wsss.load("runs/demo"), "photo.jpg").shape
    (48, 64)
    """
    predictor = _predictor(model, checked_views(scales, flip))

    def one(image):
        array = pixels(image)
        name = image if isinstance(image, str | Path) else "an image"
        with enough_memory(name, array.shape[:2]):
            return predictor(tf.cast(array, tf.float32)[None]).numpy()[0]

    if isinstance(images, str | Path) and Path(images).is_dir():
        files = photographs_in(Path(images))
        if not files:
            raise DataError(f"{images}: holds no image ({', '.join(PHOTO_SUFFIXES)})")
        return {file.name: one(file) for file in files}
    if isinstance(images, list | tuple):
        return [one(image) for image in images]
    if not isinstance(images, str | Path) and len(np.shape(images)) == 4:
        labels = [one(image) for image in images]
        return np.stack(labels) if labels else np.zeros(np.shape(images)[:3], np.int32)
    return one(images)


def _predictor(model, views):
    """The model's predictor of these views, which is traced once: that takes seconds."""
    known = vars(model).setdefault("_predictors", {})  # past Keras, which would track it
    key = views.scales, views.flip
    return known.setdefault(key, Predictor(model, *key))


def pixels(image):
    """The pixels of an array or a file.

    Args:
        image: `[H,W,3]`, RGB in 0..255, or the path of an image.

    Returns:
        uint8 or float `[H,W,3]`.

    Raises:
        DataError: the file is missing or no image, or the array is no RGB image in 0..255.

    Example:

    >>> pixels("photo.jpg").shape
    TensorShape([48, 64, 3])
    >>> pixels(np.eye(3)[None])
    Traceback (most recent call last):
        ...
    keras_wsss.errors.DataError: an image is RGB 0..255; this one goes from 0 to 1: ...
    """
    if isinstance(image, str | Path):
        with readable(Path(image)) as file:
            return read_image(str(file))
    if len(np.shape(image)) != 3 or np.shape(image)[-1] != 3:
        raise DataError(f"an image is an array [H,W,3], RGB 0..255, not {list(np.shape(image))}")
    array = np.asarray(image)
    if array.dtype != np.uint8:
        _check_range(array)
    return array


def _check_range(image):
    """Raises where numbers are of another range, which a network would take for a dark image."""
    if image.dtype.kind not in "if":
        raise DataError(f"an image is RGB 0..255, uint8 or float, not {image.dtype}; convert it")
    low, high = (np.min(image), np.max(image)) if image.size else (0, 0)
    if not np.isfinite(high - low) or low < high <= 1:
        raise DataError(
            f"an image is RGB 0..255; this one goes from {low:g} to {high:g}: bring it to 0..255"
        )
