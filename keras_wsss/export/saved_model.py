"""SavedModel as TF Serving loads it: encoded images in, masks out, all inside the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_wsss.data.sizes import shrunk
from keras_wsss.export import guards
from keras_wsss.export.guards import check, decode_or_empty, statuses
from keras_wsss.export.metadata import SIGNATURE, Limits, Metadata
from keras_wsss.export.network import NetworkFunction
from keras_wsss.export.palette_png import encode_mask


class ServedModel:
    """The signatures of a SavedModel.

    * ``serving_default``: ``image_bytes`` string `[N]`, JPEG or PNG files. For each image, of C
      classes beside the background: ``mask_png_bytes``, a palette PNG of the displayed size;
      ``class_ids`` int32, ``class_names`` string and ``class_scores`` float32 `[N,C]`, the class
      that the image most probably shows first, which means nothing where ``scores_trained`` of the
      metadata is false; ``coverage`` float32 `[N,C+1]`, the share of the
      mask by class id; ``confidence`` float32 `[N]`, the mean over pixels of the largest
      probability; ``status`` and ``message`` string `[N]`. Where the status is not ``ok``, the mask
      is empty and the numbers are 0.
    * ``predict_tensor``: ``images`` uint8 `[N,H,W,3]` -> ``class_map`` uint8 `[N,H,W]`.
    * ``predict_scores``: the same -> ``class_map`` uint8 `[N,h,w]`, ``logits`` and
      ``probabilities`` float32 `[N,h,w,C+1]`, of the size in which the network saw the images, and
      ``image_logits`` float32 `[N,C]`.

    Images whose longer side exceeds ``limits.working_size`` are shrunk to it for the network.

    Args:
        network: as of :func:`~keras_wsss.export.network.network_of`.
        classes: C + 1 names, background first.
        limits: what is admitted.
    """

    def __init__(self, network: NetworkFunction, classes: tuple[str, ...], limits: Limits):
        self._network = network
        self._classes = classes
        self._limits = limits

    def signatures(self) -> dict[str, Any]:
        """Traced functions by name of the signature."""
        encoded = tf.TensorSpec([None], tf.string, "image_bytes")
        images = tf.TensorSpec([None, None, None, 3], tf.uint8, "images")
        signatures = {
            SIGNATURE: (self.segment_files, encoded),
            "predict_tensor": (self.segment_tensors, images),
            "predict_scores": (self.scores, images),
        }
        return {
            name: tf.function(function, input_signature=[spec], autograph=False)
            for name, (function, spec) in signatures.items()
        }

    def segment_files(self, image_bytes: Any) -> dict[str, Any]:
        """Signature ``serving_default``."""
        count = len(self._classes)
        spec = {
            "mask_png_bytes": tf.TensorSpec([], tf.string),
            "class_ids": tf.TensorSpec([count - 1], tf.int32),
            "class_scores": tf.TensorSpec([count - 1], tf.float32),
            "coverage": tf.TensorSpec([count], tf.float32),
            "confidence": tf.TensorSpec([], tf.float32),
            "code": tf.TensorSpec([], tf.int32),
        }
        # One by one, because each has its own size and memory has to be bounded.
        answers = tf.map_fn(
            self._segment_file, image_bytes, parallel_iterations=1, fn_output_signature=spec
        )
        names, messages = zip(*statuses(self._limits), strict=True)
        code = answers.pop("code")
        return {
            **answers,
            "class_names": tf.gather(tf.constant(self._classes), answers["class_ids"]),
            "status": tf.gather(tf.constant(names), code),
            "message": tf.gather(tf.constant(messages), code),
        }

    def _segment_file(self, contents: Any) -> dict[str, Any]:
        code = check(contents, self._limits)
        image = tf.cond(
            code == guards.OK,
            lambda: decode_or_empty(contents),
            lambda: tf.zeros([0, 0, 3], tf.uint8),
        )
        failed = (code == guards.OK) & (tf.size(image) == 0)
        code = tf.where(failed, guards.NOT_DECODABLE, code)
        answer = tf.cond(code == guards.OK, lambda: self._answer(image), self._no_answer)
        return {**answer, "code": code}

    def _answer(self, image: Any) -> dict[str, Any]:
        outputs = self._outputs(image[None])
        class_map, count = outputs["class_map"], len(self._classes)
        scores = tf.sigmoid(outputs["image_logits"][0])
        order = tf.argsort(scores, direction="DESCENDING", stable=True)
        shares = tf.one_hot(class_map, count)
        largest = tf.reduce_max(tf.nn.softmax(outputs["logits"]), axis=-1)
        return {
            "mask_png_bytes": encode_mask(enlarged(class_map, tf.shape(image)[:2])[0]),
            "class_ids": order + 1,
            "class_scores": tf.gather(scores, order),
            "coverage": tf.reduce_mean(shares, axis=[0, 1, 2]),
            "confidence": tf.reduce_mean(largest),
        }

    def _no_answer(self) -> dict[str, Any]:
        count = len(self._classes)
        return {
            "mask_png_bytes": tf.constant(b""),
            "class_ids": tf.range(1, count),
            "class_scores": tf.zeros([count - 1]),
            "coverage": tf.zeros([count]),
            "confidence": tf.constant(0.0),
        }

    def segment_tensors(self, images: Any) -> dict[str, Any]:
        """Signature ``predict_tensor``."""
        class_map = self._outputs(images)["class_map"]
        return {"class_map": enlarged(class_map, tf.shape(images)[1:3])}

    def scores(self, images: Any) -> dict[str, Any]:
        """Signature ``predict_scores``."""
        outputs = self._outputs(images)
        return {**outputs, "probabilities": tf.nn.softmax(outputs["logits"])}

    def _outputs(self, images: Any) -> dict[str, Any]:
        return self._network(shrunk(images, self._limits.working_size))


def enlarged(class_map: Any, size: Any) -> Any:
    """Class maps uint8 `[N,h,w]` at the ``size`` (height, width) of their images."""
    return tf.image.resize(class_map[..., None], size, method="nearest")[..., 0]


def write_saved_model(
    network: NetworkFunction, path: Path, metadata: Metadata, limits: Limits
) -> None:
    """Writes the version folder of a SavedModel.

    It needs nothing but TensorFlow to be loaded: neither this library nor Keras.

    Args:
        network: as of :func:`~keras_wsss.export.network.network_of`.
        path: the folder to make.
        metadata: goes to ``assets.extra/metadata.json``, with the limits.
        limits: what is admitted.

    Example:

    >>> folder = Path("saved_model/cats/1")
    >>> write_saved_model(network_of(model), folder, metadata, Limits())  # doctest: +SKIP
    """
    signatures = ServedModel(network, metadata.classes, limits).signatures()
    root = tf.Module()
    # Only these are saved: neither those of the training nor the Keras layers they belong to.
    root.variables_of_network = list(signatures[SIGNATURE].get_concrete_function().graph.variables)
    tf.saved_model.save(root, str(path), signatures=signatures)
    extra = path / "assets.extra"
    extra.mkdir()
    served = metadata.model_copy(update={"limits": limits})
    (extra / "metadata.json").write_text(served.model_dump_json(indent=2) + "\n")
