"""Numpy arrays as arguments and results: an element type, a shape, and the bytes as they lie there.

Numpy itself is not needed, and not imported, before an array comes along. Only arrays of numbers,
dates and fixed texts travel: an element that is an object could be anything.
"""

import math
import re
import sys
import typing
from typing import Any, Final

ARRAY_NAME: Final = "ndarray"
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


def encode_array(value: object) -> object:
    """Return what travels for an array, or for a single element of one.

    What msgspec calls for a type that it does not know. Raises `NotImplementedError`.
    """
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        element = value.dtype.str
        if not _ELEMENT.fullmatch(element):
            raise TypeError(f"an array of {value.dtype} cannot be sent: its elements are no values")
        flat = numpy.ascontiguousarray(value).reshape(-1)
        return (element, value.shape, flat.view("u1").data)
    if numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    # As msgspec words it where there is no hook.
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def decode_array(wanted: Any, value: object) -> Any:
    """Return the array that has travelled, which cannot be written to: its bytes are the frame's.

    What msgspec calls for a type that it does not know. Raises `ValueError`.
    """
    if not is_array_type(typing.get_origin(wanted) or wanted):
        raise NotImplementedError(f"a {wanted} cannot be read")
    match value:
        case [str() as element, [*shape], bytes() as data] if _ELEMENT.fullmatch(element):
            pass
        case _:
            raise ValueError("Expected an array: its element type, its shape and its bytes")
    sizes = [size for size in shape if isinstance(size, int) and size >= 0]
    if len(sizes) != len(shape):
        raise ValueError("the shape of an array is not one")
    import numpy as np  # noqa: PLC0415 - as above

    dtype = np.dtype(element)
    if math.prod(sizes) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {tuple(sizes)} does not have {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(sizes)
