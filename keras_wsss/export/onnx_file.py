"""ONNX: one file for onnxruntime, with its metadata inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from keras_wsss.errors import WeightsError
from keras_wsss.export.files import METADATA_KEY, check_images, import_extra, read_metadata
from keras_wsss.export.metadata import Metadata

if TYPE_CHECKING:
    from keras_wsss.export.network import NetworkFunction

OPSET = 18
AXES = {
    "images": ("batch", "height", "width"),
    "class_map": ("batch", "height", "width"),
    "logits": ("batch", "height", "width"),
    "image_logits": ("batch",),
}


def write_onnx(
    network: NetworkFunction,
    path: str | Path,
    metadata: Metadata,
    size: tuple[int, int] | None = None,
    dtype: Literal["uint8", "float32"] = "uint8",
) -> None:
    """Writes a network as an ONNX file.

    The file takes ``images`` `[N,H,W,3]`, RGB 0..255, and gives ``class_map``, ``logits`` and
    ``image_logits`` as the network does. Its metadata properties hold ``keras_wsss`` (the JSON of
    ``metadata``), ``classes`` (comma-separated, by mask id) and ``license``.

    Args:
        network: of :func:`~keras_wsss.export.network.network_of`.
        path: file to write.
        metadata: what the file says about itself.
        size: height and width that the file is made for, with a batch of 1; None: any batch and
            any size.
        dtype: of the images; float32 for programs that shrink photographs and do not round them.

    Raises:
        ConfigError: the extra ``export`` is not installed.

    Example:

    >>> write_onnx(network_of(model), "cats.onnx", metadata)  # doctest: +SKIP
    """
    onnx, tf2onnx = import_extra("onnx", "tf2onnx")
    import tensorflow as tf  # slow, and the reader needs none

    shape = [None, None, None, 3] if size is None else [1, *size, 3]
    signature = [tf.TensorSpec(shape, dtype, name="images")]
    function = tf.function(
        lambda images: network(tf.cast(images, tf.float32)),
        input_signature=signature,
        autograph=False,
    )
    model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    if size is None:
        for value in (*model.graph.input, *model.graph.output):
            for axis, name in enumerate(AXES[value.name]):
                value.type.tensor_type.shape.dim[axis].dim_param = name
    _round_factors_up(onnx, model.graph)
    model.graph.name = metadata.name
    properties = {
        METADATA_KEY: metadata.model_dump_json(),
        "classes": ",".join(metadata.classes),
        "license": metadata.licence,
    }
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    Path(path).write_bytes(model.SerializeToString())


def _round_factors_up(onnx: Any, graph: Any) -> None:
    """Sees to it that what is resized to a fixed size gets that size.

    tf2onnx writes such a size as a float32 factor, and runtimes round the product down: a factor
    below the true one costs a row or a column, and the graph no longer fits together. An image
    side of 88 does so: 6 rows at stride 16 to 22 at stride 4.
    """
    factors = {
        node.input[2] for node in graph.node if node.op_type == "Resize" and len(node.input) == 3
    }
    for tensor in graph.initializer:
        if tensor.name in factors:
            value = onnx.numpy_helper.to_array(tensor)
            above = np.nextafter(value, np.float32(np.inf))
            exact = value % 1 == 0
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(np.where(exact, value, above), tensor.name)
            )


class OnnxModel:
    """An ONNX file of :func:`write_onnx`, run by onnxruntime.

    Args:
        path: the file.
        threads: of one call; None: onnxruntime's choice.

    Raises:
        ConfigError: onnxruntime is not installed.
        WeightsError: the file is none of :func:`write_onnx`.

    Example:

    >>> images = np.zeros((1, 64, 96, 3), np.uint8)
    >>> OnnxModel("exported/onnx/demo.onnx")(images)["class_map"].shape
    (1, 64, 96)
    """

    def __init__(self, path: str | Path, threads: int | None = None):
        (onnxruntime,) = import_extra("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a family of errors of its own
            raise WeightsError(
                f"{path}: not a model that onnxruntime can read ({error})"
            ) from error
        properties = self.session.get_modelmeta().custom_metadata_map
        self.metadata = read_metadata(properties.get(METADATA_KEY), path)
        (images,) = self.session.get_inputs()
        self.path, self.shape = path, images.shape
        self.dtype = np.float32 if images.type == "tensor(float)" else np.uint8
        self.names = [output.name for output in self.session.get_outputs()]

    def __call__(self, images: np.ndarray) -> dict[str, Any]:
        """``class_map``, ``logits`` and ``image_logits`` of images uint8 `[N,H,W,3]`.

        Raises:
            DataError: images of another type, or of a size that the file is not made for.
        """
        check_images(images, self.shape, self.path)
        outputs = self.session.run(None, {"images": images.astype(self.dtype)})
        return dict(zip(self.names, outputs, strict=True))
