"""Tensors as TF Serving's REST API writes them (tensorflow.org/tfx/serving/api_rest)."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_wsss.export.serving.gate import check_rows, invalid

# Of a number as text, with what parts it from the next one.
FLOAT_BYTES, INTEGER_BYTES = 20, 5


def parse_inputs(
    document: Any, specs: Mapping[str, tf.TensorSpec], max_rows: int
) -> tuple[dict[str, np.ndarray], bool]:
    """Input arrays of the body of a predict request.

    Args:
        document: the parsed JSON with ``instances`` (rows) or ``inputs`` (columns).
        specs: the inputs of the signature.
        max_rows: of each input.

    Returns:
        Arrays by name, those of strings as objects; whether the answer is to be in rows.

    Raises:
        RequestError: the document is not what the API describes.

    Example:

    >>> specs = {"image_bytes": tf.TensorSpec([None], tf.string)}
    >>> arrays, rows = parse_inputs({"instances": [{"b64": "AAAA"}]}, specs, max_rows=1024)
    >>> arrays["image_bytes"].shape, rows
    ((1,), True)
    """
    rows = "instances" in document
    if rows and "inputs" in document:
        raise invalid("expects only one of 'instances' or 'inputs' keys to exist")
    if not rows and "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    if rows and isinstance(document["instances"], list):
        check_rows(len(document["instances"]), max_rows)
    columns = _columns_of_rows(document["instances"], specs) if rows else document["inputs"]
    if not _is_object(columns):
        if len(specs) != 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        columns = {next(iter(specs)): columns}
    for name in specs:
        if name not in columns:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    for name in columns:
        if name not in specs:
            raise invalid(f"The signature has no input {name}; it has {sorted(specs)}")
    for name in specs:
        if isinstance(columns[name], list):
            check_rows(len(columns[name]), max_rows)
    return {name: _array(name, columns[name], spec) for name, spec in specs.items()}, rows


def format_outputs(outputs: Mapping[str, np.ndarray], rows: bool) -> dict[str, Any]:
    """Body of the answer: ``predictions`` or ``outputs``; a single output is not named.

    Args:
        outputs: arrays by name.
        rows: as the request was.

    Raises:
        RequestError: rows are wanted, but not all outputs have one for each.

    Example:

    >>> format_outputs({"class_map": np.zeros([1, 2], np.uint8)}, rows=True)
    {'predictions': [[0, 0]]}
    """
    sizes = {name: array.shape[0] if array.ndim else None for name, array in outputs.items()}
    if rows and (None in sizes.values() or len(set(sizes.values())) > 1):
        raise invalid(f"outputs have inconsistent batch sizes {sizes}; ask with 'inputs'")
    columns = {name: _values(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        (values,) = columns.values()
    elif rows:
        values = [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
    else:
        values = columns
    return {"predictions" if rows else "outputs": values}


def json_size(outputs: Iterable[np.ndarray]) -> int:
    """About how many bytes :func:`format_outputs` of these arrays has as text.

    Example:

    >>> json_size([np.zeros([1, 2], np.uint8)])
    10
    """
    return sum(_size(array) for array in outputs)


def _size(array: np.ndarray) -> int:
    if array.dtype == object:
        return sum(len(value) * 4 // 3 for value in array.flat)
    return array.size * (INTEGER_BYTES if array.dtype.kind in "iub" else FLOAT_BYTES)


def _columns_of_rows(rows: Any, specs: Mapping[str, tf.TensorSpec]) -> Any:
    if not isinstance(rows, list) or not rows:
        raise invalid("'instances' must be a list with at least one element")
    if not _is_object(rows[0]):
        if len(specs) != 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple input "
                "tensors required as per tensorinfo_map"
            )
        return {next(iter(specs)): rows}
    for number, row in enumerate(rows):
        if not _is_object(row) or row.keys() != rows[0].keys():
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. Expecting an object "
                f"with the names {sorted(rows[0])}"
            )
    return {name: [row[name] for row in rows] for name in rows[0]}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() != {"b64"}


def _array(name: str, values: Any, spec: tf.TensorSpec) -> np.ndarray:
    dtype = spec.dtype
    try:
        # Before millions of lists are looked through that are too deep.
        if spec.shape.rank is not None and _depth(values) > spec.shape.rank:
            raise ValueError
        if dtype == tf.string:
            # As objects throughout: numpy would make all strings as long as the longest.
            array = np.array(_strings(values), object)
            if any(isinstance(value, list) for value in array.flat):
                raise ValueError
            return array
        array = np.array(values)
        wanted = dtype.as_numpy_dtype
        if array.size and array.dtype.kind not in _kinds(dtype):
            raise ValueError
        converted = array.astype(wanted)
        if dtype.is_integer and not np.array_equal(converted, array):  # beyond its range
            raise ValueError
        return converted
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise invalid(
            f"Failed to process the values of {name}: they must have the shape {spec.shape}; not "
            f"of expected type {dtype.name}, too deep, or lists of different lengths"
        ) from None


def _depth(values: Any) -> int:
    """Of lists in each other, as the first ones have it."""
    depth = 0
    while isinstance(values, list) and values:
        depth, values = depth + 1, values[0]
    return depth


def _kinds(dtype: tf.DType) -> str:
    """Kinds of numpy's types that are taken for a type: whole numbers also where any may stand."""
    if dtype.is_floating:
        return "iuf"
    return "b" if dtype.is_bool else "iu"


def _strings(values: Any) -> Any:
    if isinstance(values, list):
        return [_strings(value) for value in values]
    if isinstance(values, dict):
        return base64.b64decode(values["b64"], validate=True)
    if isinstance(values, str):
        return values.encode()
    raise ValueError


def _values(name: str, array: np.ndarray) -> Any:
    if array.dtype == object:
        encode = _base64 if name.endswith("_bytes") else _text
        return _nested(array.tolist(), encode)
    if array.dtype.kind not in "iufb":  # bfloat16 and its like
        array = array.astype(np.float32)
    return array.tolist()


def _nested(values: Any, encode: Any) -> Any:
    return [_nested(value, encode) for value in values] if type(values) is list else encode(values)


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
