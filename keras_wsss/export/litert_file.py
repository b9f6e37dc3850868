"""LiteRT (TensorFlow Lite): one file for phones and small boards, with its metadata inside."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import flatbuffers
import numpy as np

from keras_wsss._command import native_output_kept_back
from keras_wsss.errors import ConfigError, WeightsError
from keras_wsss.export.files import METADATA_KEY, check_images, import_extra, read_metadata
from keras_wsss.export.metadata import SIGNATURE, Metadata

if TYPE_CHECKING:
    from keras_wsss.export.network import NetworkFunction

Precision = Literal["float32", "float16", "dynamic_int8", "int8"]
OUTPUT_OF_RANK = {2: "image_logits", 3: "class_map", 4: "logits"}


def write_litert(
    network: NetworkFunction,
    path: str | Path,
    precision: Precision,
    metadata: Metadata,
    size: tuple[int, int] | None = None,
    calibration: Iterable[np.ndarray] | None = None,
) -> None:
    """Writes a network as a LiteRT file.

    The file has the signature ``serving_default``: ``images`` `[N,H,W,3]`, RGB 0..255, float32 or
    with ``int8`` uint8, to ``class_map`` uint8, ``logits`` and ``image_logits`` float32 as the
    network gives them. The JSON of ``metadata`` is its metadata entry ``keras_wsss``.

    Args:
        network: of :func:`~keras_wsss.export.network.network_of`.
        path: file to write.
        precision: ``float32``; ``float16``: weights of half the size; ``dynamic_int8``: weights of
            a quarter, activations quantised as they come; ``int8``: activations quantised by ranges
            that were measured on ``calibration``.
        metadata: what the file says about itself.
        size: height and width that the file is made for, with a batch of 1; None: any batch and
            any size.
        calibration: images uint8 `[H,W,3]` of any size that look like those to come, for ``int8``
            only.

    Raises:
        ConfigError: an unknown precision, ``int8`` without calibration images, or the extra
            ``export`` is not installed.

    Example:

    >>> write_litert(network_of(model), "cats.tflite", "float16", metadata)  # doctest: +SKIP
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision {precision!r}: allowed are {', '.join(get_args(Precision))}")
    import_extra("ai_edge_litert")  # no file without a way to check it
    import tensorflow as tf  # slow, and the reader needs none

    function = tf.function(
        network,
        input_signature=[
            tf.TensorSpec([None, None, None, 3] if size is None else [1, *size, 3], name="images")
        ],
        autograph=False,
    )
    # Without the trackable object that the converter asks for: by way of a SavedModel it loses the
    # weights, and says nothing.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        examples = _calibration(calibration, size)
        converter.representative_dataset = lambda: (
            [image[None].astype(np.float32)] for image in examples
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
    with native_output_kept_back():
        content = converter.convert()
    Path(path).write_bytes(_described(content, metadata))


def _calibration(
    images: Iterable[np.ndarray] | None, size: tuple[int, int] | None
) -> list[np.ndarray]:
    """The images at the size of the file, with black and white somewhere among them.

    The range of the input decides how a uint8 pixel is read: with 0..255 it is the pixel's own
    value.
    """
    import tensorflow as tf

    examples = [np.array(image) for image in (() if images is None else images)]
    if not examples:
        raise ConfigError(
            "precision int8: needs calibration images; give some of the training images"
        )
    if size is not None:
        examples = [tf.image.resize(image, size).numpy() for image in examples]
    examples[0][0, 0], examples[0][-1, -1] = 0, 255
    return examples


def _described(content: bytes, metadata: Metadata) -> bytes:
    """The file with the signature and the metadata, which the converter cannot write."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(content)
    graph = model.subgraphs[0]
    for index in graph.outputs:
        tensor = graph.tensors[index]
        tensor.name = OUTPUT_OF_RANK[len(tensor.shape)]
    signature = schema.SignatureDefT(signatureKey=SIGNATURE)
    signature.inputs, signature.outputs = (
        [schema.TensorMapT(name=graph.tensors[i].name, tensorIndex=i) for i in indices]
        for indices in (graph.inputs, graph.outputs)
    )
    model.signatureDefs = [signature]
    json = metadata.model_dump_json().encode()
    model.metadata.append(schema.MetadataT(name=METADATA_KEY, buffer=len(model.buffers)))
    model.buffers.append(schema.BufferT(data=np.frombuffer(json, np.uint8)))
    builder = _AligningBuilder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


class _AligningBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Starts weights at multiples of 16 bytes: the schema asks for it, Python's builder forgets."""

    def CreateNumpyVector(self, x: np.ndarray) -> Any:  # noqa: N802
        self.Prep(16, x.nbytes)
        return super().CreateNumpyVector(x)


class LiteRTModel:
    """A LiteRT file of :func:`write_litert`, run by ai-edge-litert.

    Args:
        path: the file.
        threads: of one call; None: one.

    Raises:
        ConfigError: ai-edge-litert is not installed.
        WeightsError: the file is none of :func:`write_litert`.

    Example:

    >>> images = np.zeros((1, 240, 320, 3), np.uint8)
    >>> LiteRTModel("cats.tflite")(images)["class_map"].shape  # doctest: +SKIP
    (1, 240, 320)
    """

    def __init__(self, path: str | Path, threads: int | None = None):
        (litert,) = import_extra("ai_edge_litert.interpreter")
        self.path = path
        try:
            self.content = Path(path).read_bytes()
            self.interpreter = litert.Interpreter(
                model_content=self.content, num_threads=threads or 1
            )
            self.runner = self.interpreter.get_signature_runner(SIGNATURE)
            (self.input,) = self.runner.get_input_details().values()
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"{path}: not a model that LiteRT can read, or none of keras_wsss ({error})"
            ) from error

    @functools.cached_property
    def metadata(self) -> Metadata:
        """What the file says about itself; to read it takes TensorFlow.

        Raises:
            WeightsError: there is none.
        """
        from tensorflow.lite.python import schema_py_generated as schema

        model = schema.Model.GetRootAs(self.content)
        for entry in map(model.Metadata, range(model.MetadataLength())):
            if entry.Name() == METADATA_KEY.encode():
                text = bytes(model.Buffers(entry.Buffer()).DataAsNumpy())
                return read_metadata(text, self.path)
        return read_metadata(None, self.path)

    def __call__(self, images: np.ndarray) -> dict[str, Any]:
        """``class_map``, ``logits`` and ``image_logits`` of images uint8 `[N,H,W,3]`.

        Raises:
            DataError: images of another type, or of a size that the file is not made for.
        """
        check_images(images, self.input["shape_signature"].tolist(), self.path)
        outputs: dict[str, Any] = self.runner(images=images.astype(self.input["dtype"]))
        return outputs
