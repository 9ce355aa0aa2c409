"""Numpy arrays as arguments and results: an element type, a shape, and the bytes as they lie there.

On the wire an array is an extension of MessagePack: the length of what is told of it, that (element
type and shape, themselves MessagePack), padding, and the bytes. Only an extension is handed over by
the decoder as it lies in the frame; the padding puts the bytes where the processor wants them.

Numpy itself is not needed, and not imported, before an array comes along. Only arrays of numbers,
dates and fixed texts travel: an element that is an object could be anything.
"""

import math
import re
import sys
import typing
from struct import Struct
from typing import Any, Final

import msgspec

ARRAY_NAME: Final = "ndarray"

EXTENSION: Final = 1
"""The code of MessagePack's extension type that carries an array."""

ALIGNMENT: Final = 16
"""Bytes; no element that travels wants more, and a frame in memory begins at such an address."""

_EXT_32: Final = 0xC9
_HEAD: Final = Struct(">BIBH")
_TOLD_BYTES: Final = 2
_read_told: Final = msgspec.msgpack.Decoder(tuple[str, list[int]]).decode
_ELEMENT: Final = re.compile(
    r"[<>|=]?(b1|[iu][1248]|f[248]|c(8|16)|[Mm]8(\[\d*[a-zA-Zμ]+\])?|[SU]\d+)"
)


def is_array_type(cls: object) -> bool:
    """Return whether a class is numpy's array."""
    return isinstance(cls, type) and cls.__name__ == ARRAY_NAME and cls.__module__ == "numpy"


def names_array(hint: Any) -> bool:
    """Return whether an annotation is an array, or has one in it."""
    if is_array_type(typing.get_origin(hint) or hint):
        return True
    return any(names_array(part) for part in typing.get_args(hint) if not isinstance(part, list))


def array_type() -> Any:
    """Return numpy's array type; raises `ImportError` where numpy is not installed."""
    import numpy as np  # noqa: PLC0415 - only for those who have arrays

    return np.ndarray


def flat_bytes(array: Any) -> memoryview:
    """Return the bytes of an array, row by row; not copied where they lie so already.

    Raises `TypeError` for an array of anything but numbers, dates and fixed texts.
    """
    if not _ELEMENT.fullmatch(array.dtype.str):
        raise TypeError(f"an array of {array.dtype} cannot be sent: its elements are no values")
    import numpy as np  # noqa: PLC0415 - as above

    data: memoryview = np.ascontiguousarray(array).reshape(-1).view("u1").data
    return data


def array_head(array: Any, offset: int) -> bytes:
    """Return what goes before an array's bytes: an extension's header, and what they are.

    When the head begins `offset` bytes behind the frame's beginning, the bytes behind it begin at a
    multiple of `ALIGNMENT`.
    """
    told = msgspec.msgpack.encode((array.dtype.str, array.shape))
    fixed_bytes = _HEAD.size + len(told)
    padding = -(offset + fixed_bytes) % ALIGNMENT
    size_bytes = _TOLD_BYTES + len(told) + padding + array.nbytes
    return _HEAD.pack(_EXT_32, size_bytes, EXTENSION, len(told)) + told + bytes(padding)


def is_array(value: object) -> bool:
    """Return whether a value is numpy's array."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def encode_array(value: object) -> object:
    """Return what travels for an array, or for a single element of one.

    What msgspec calls for a type that it does not know. Raises `NotImplementedError`.
    """
    if is_array(value):
        data = flat_bytes(value)
        return msgspec.Raw(array_head(value, 0) + data)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    # As msgspec words it where there is no hook.
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def read_extension(code: int, data: memoryview) -> msgspec.msgpack.Ext:
    """Return an extension as it lies in the frame: what msgspec calls for one."""
    return msgspec.msgpack.Ext(code, data)


def decode_array(wanted: Any, value: object) -> Any:
    """Return the array that has travelled, which cannot be written to: its bytes are the frame's.

    They are copied only where they do not lie as the processor wants them. What msgspec calls for a
    type that it does not know. Raises `ValueError`.
    """
    if not is_array_type(typing.get_origin(wanted) or wanted):
        raise NotImplementedError(f"a {wanted} cannot be read")
    if not isinstance(value, msgspec.msgpack.Ext) or value.code != EXTENSION:
        raise ValueError("Expected an array, which is an extension")
    element, shape, rest = _read_head(memoryview(value.data))
    import numpy as np  # noqa: PLC0415 - as above

    dtype = np.dtype(element)
    size_bytes = math.prod(shape) * dtype.itemsize
    padding = len(rest) - size_bytes
    if not 0 <= padding < ALIGNMENT:
        raise ValueError(f"an array of shape {tuple(shape)} does not have {len(rest)} bytes")
    array = np.frombuffer(rest[padding:], dtype).reshape(shape)
    if not array.flags.aligned:
        array = array.copy()
        array.flags.writeable = False
    return array


def _read_head(data: memoryview) -> tuple[str, list[int], memoryview]:
    """Return the element type, the shape, and what comes behind them."""
    told_bytes = int.from_bytes(data[:_TOLD_BYTES], "big")
    try:
        element, shape = _read_told(data[_TOLD_BYTES : _TOLD_BYTES + told_bytes])
    except msgspec.DecodeError as error:
        raise ValueError("Expected an array's element type and its shape") from error
    if not _ELEMENT.fullmatch(element):
        raise ValueError(f"{element[:20]!r} is no element type of an array")
    if any(size < 0 for size in shape):
        raise ValueError("the shape of an array is not one")
    return element, shape, data[_TOLD_BYTES + told_bytes :]
