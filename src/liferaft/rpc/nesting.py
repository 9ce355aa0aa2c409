"""How deep containers may lie in each other in a frame; what is deeper is not let in.

Decoding takes one level of Python's recursion limit (1,000) for each container. A frame that one
place can read just so, and another, a few calls deeper, cannot, would be let into the log and then
end every node that applies it. So a frame must be readable with many levels to spare.

Every frame of some length is looked at by each who sends and receives it, so the look is quick: it
never decodes, and reads a long frame to its end only where it is made of many values.
"""

import sys
from typing import Final

import msgspec

NESTING_MAX: Final = 256
"""How deep containers may lie in each other in a frame, at least; deeper ones may be refused."""

_SPARE_LEVELS: Final = 400
_SPARE: Final = b"\x91" * _SPARE_LEVELS

_CONTAINERS: Final = bytes((*range(0x80, 0xA0), *range(0xDC, 0xE0)))
_OTHERS: Final = bytes(sorted(set(range(256)) - set(_CONTAINERS)))
_QUICKLY_COUNTED_BYTES_MAX: Final = 2 * 1024
_COUNTED_BYTES_MAX: Final = 16 * 1024
"""Up to here counting what may begin a container is cheaper than skipping with levels to spare."""

_COPIED_BYTES_MAX: Final = 1024 * 1024
"""Beyond it a copy of the frame costs more than 400 calls of a function."""
_HAS_ONE_STACK: Final = sys.version_info < (3, 12)
"""Whether Python's calls and those of extensions count towards the same limit."""

_VALUES_MAX: Final = 48
"""How many values are looked at one by one: they take about as long as skipping with levels to
spare, and a call of a method with some arguments, one of them long, has half of them."""

_skip: Final = msgspec.msgpack.Decoder(msgspec.Raw).decode


def is_nested_too_deep(data: bytes) -> bool:
    """Return whether whoever decodes `data` later might run out of stack.

    Never so up to `NESTING_MAX` levels. Costs a few microseconds, and nothing for short data.
    """
    if len(data) <= NESTING_MAX:
        return False
    if len(data) > _QUICKLY_COUNTED_BYTES_MAX and _has_few_values(data):
        return False
    if len(data) <= _COUNTED_BYTES_MAX and len(data.translate(None, _OTHERS)) <= NESTING_MAX:
        return False
    try:
        if len(data) > _COPIED_BYTES_MAX and _HAS_ONE_STACK:
            _skip_deep_down(data, _SPARE_LEVELS)
        else:
            _skip(_SPARE + data)
    except RecursionError:
        return True
    except msgspec.DecodeError:
        return False  # it cannot be read at all, which is for its decoder to say
    return False


def _skip_deep_down(data: bytes, levels: int) -> None:
    """Skip `data` with so many levels less: what `_SPARE` does, without a copy of the data."""
    if levels:
        _skip_deep_down(data, levels - 1)
    else:
        _skip(data)


def _has_few_values(data: bytes) -> bool:
    """Return whether `data` has at most `_VALUES_MAX` values: they cannot lie deeper than that."""
    sizes = _SIZES
    stop = len(data)
    offset = 0
    for _ in range(_VALUES_MAX):
        first = data[offset]
        if size := sizes[first]:
            offset += size
        else:
            width, extra = _LENGTHS[first]
            start = offset + 1
            length = int.from_bytes(data[start : start + width], "big")
            offset = start + width + extra + length
        if offset >= stop:
            return True
    return False


def _size_of_value(first: int) -> int:
    """Return how many bytes a value has that begins with `first`, and 0 where its length says it.

    Those of containers are values of their own. MessagePack, "Formats": fixstr; then bool and nil,
    float, uint, int and fixext; then array and map.
    """
    if 0xA0 <= first < 0xC0:
        return 1 + first - 0xA0
    if first in _LENGTHS:
        return 0
    sizes = {
        **dict(zip(range(0xCA, 0xD4), (5, 9, 2, 3, 5, 9, 2, 3, 5, 9), strict=True)),
        **dict(zip(range(0xD4, 0xD9), (3, 4, 6, 10, 18), strict=True)),
        **dict(zip(range(0xDC, 0xE0), (3, 5, 3, 5), strict=True)),
    }
    return sizes.get(first, 1)


_LENGTHS: Final = {
    **dict(zip(range(0xC4, 0xC7), ((1, 0), (2, 0), (4, 0)), strict=True)),
    **dict(zip(range(0xC7, 0xCA), ((1, 1), (2, 1), (4, 1)), strict=True)),
    **dict(zip(range(0xD9, 0xDC), ((1, 0), (2, 0), (4, 0)), strict=True)),
}
"""Of bin, ext and str: how many bytes their length has, and what else is before the data."""
_SIZES: Final = tuple(map(_size_of_value, range(256)))
