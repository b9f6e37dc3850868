"""The pickles of PyTorch, read as data: nothing that they name is imported, nothing is called.

Python's own reader runs a program that the file brings along. Here its few operations that a state
dict consists of are carried out on dicts, lists, tuples, numbers and strings, and on tensors of our
own; all others are refused.
"""

import math
import pickletools
from dataclasses import dataclass

import numpy as np

from keras_wsss.errors import WeightsError

STORAGE_TYPES = {
    "torch DoubleStorage": np.float64,
    "torch FloatStorage": np.float32,
    "torch HalfStorage": np.float16,
    "torch LongStorage": np.int64,
    "torch IntStorage": np.int32,
    "torch ShortStorage": np.int16,
    "torch CharStorage": np.int8,
    "torch ByteStorage": np.uint8,
    "torch BoolStorage": np.bool_,
}
DICT = "collections OrderedDict"
TENSOR = "torch._utils _rebuild_tensor_v2"
PARAMETER = "torch._utils _rebuild_parameter"
NAMES = {DICT, TENSOR, PARAMETER, *STORAGE_TYPES}

MOST_OPERATIONS = 1_000_000  # about 40 a tensor; more would take seconds
LARGEST_KEY = 2**31  # larger numbers can be chosen such that a dict takes hours

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"),
}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
MARK = object()


@dataclass
class Storage:
    """The numbers that tensors share; ``values`` come after the pickle."""

    dtype: np.dtype
    values: np.ndarray | None = None


@dataclass
class Tensor:
    """A part of a storage: where it begins, its shape, and how far its axes step."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple

    @property
    def nbytes(self):
        """Bytes of the array, which may be more than the storage has: a step can be 0."""
        return math.prod(self.shape) * self.storage.dtype.itemsize

    def array(self):
        """A copy as an array.

        Raises:
            WeightsError: it reaches outside its storage.
        """
        steps = zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((size - 1) * stride for size, stride in steps)
        empty = 0 in self.shape
        if min((self.offset, *self.shape, *self.strides)) < 0 or not (
            empty or last < self.storage.values.size
        ):
            raise WeightsError("a tensor reaches outside its storage")
        if empty:
            return np.zeros(self.shape, self.storage.dtype)
        values = self.storage.values[self.offset :]
        strides = [stride * values.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(values, self.shape, strides).copy()


def read_pickle(file, storages):
    """Reads one pickle.

    Args:
        file: binary stream in memory; it then stands behind the pickle.
        storages: dict, key -> :class:`Storage`, to which those that the pickle names are added.

    Returns:
        What it holds; tensors as :class:`Tensor`.

    Raises:
        WeightsError: it holds something else, or takes too many operations.
        ValueError, IndexError, KeyError, TypeError: it is damaged.
    """
    stack, memo = [], {}
    for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if number == MOST_OPERATIONS:
            raise WeightsError(f"takes more than {MOST_OPERATIONS} operations to read")
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                stack.append(MARK)
            case name if name in VALUES:
                stack.append(argument)
            case name if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "TUPLE":
                stack.append(tuple(_since_mark(stack)))
            case name if name in TUPLES:
                stack[-TUPLES[name] :] = [tuple(stack[-TUPLES[name] :])]
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "APPEND":
                _extend(stack[-2], [stack.pop()])
            case "APPENDS":
                items = _since_mark(stack)
                _extend(stack[-1], items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _update(stack[-1], [(key, value)])
            case "SETITEMS":
                items = _since_mark(stack)
                _update(stack[-1], zip(items[::2], items[1::2], strict=True))
            case "GLOBAL":
                stack.append(_known(argument))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_known(f"{module} {name}"))
            case "BINPERSID":
                stack.append(_storage(stack.pop(), storages))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_made(stack.pop(), arguments))
            case "BUILD":  # attributes of a state dict: the versions of its layers
                stack.pop()
                _update(stack[-1], ())
            case "STOP":
                return stack.pop()
            case other:
                raise WeightsError(f"holds more than tensors (the operation {other})")
    raise ValueError("the pickle has no end")


def _since_mark(stack):
    """Takes what was put on the stack after the last mark, and the mark."""
    for place in range(len(stack) - 1, -1, -1):
        if stack[place] is MARK:
            items = stack[place + 1 :]
            del stack[place:]
            return items
    raise ValueError("a mark is missing")


def _extend(target, items):
    if not isinstance(target, list):
        raise WeightsError("holds more than tensors")
    target.extend(items)


def _update(target, pairs):
    if not isinstance(target, dict):
        raise WeightsError("holds more than tensors")
    for key, value in pairs:
        is_number = isinstance(key, int) and abs(key) < LARGEST_KEY
        if not (is_number or isinstance(key, str)):
            raise WeightsError(f"names something by a {type(key).__name__}, not by text")
        target[key] = value


def _known(name):
    if name not in NAMES:
        raise WeightsError(
            f"holds the object `{name.replace(' ', '.', 1):.100}`; only tensors are admitted. Save "
            "the plain state dict, or convert the file to .safetensors."
        )
    return name


def _storage(identifier, storages):
    kind, dtype, key, _, _, *view = identifier
    if kind != "storage" or not isinstance(key, str) or any(part is not None for part in view):
        raise WeightsError("holds something else than plain tensor storages")
    return storages.setdefault(key, Storage(np.dtype(STORAGE_TYPES[dtype])))


def _made(name, arguments):
    """What PyTorch's function of that name would make."""
    if name == DICT:
        content = {}
        _update(content, *arguments or [()])
        return content
    if name == PARAMETER:
        return arguments[0]
    if name != TENSOR or not isinstance(arguments[0], Storage):
        raise WeightsError("holds more than tensors")
    storage, offset, shape, strides, *_ = arguments
    return Tensor(storage, offset, tuple(shape), tuple(strides))
