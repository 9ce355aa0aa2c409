"""How deep containers may lie in each other in a frame; what is deeper is not let in.

Decoding takes one level of a limit for each container: up to Python 3.11 that of Python's calls,
1,000; in 3.12 and 3.13 one of its own, 1,500 or 10,000; from 3.14 on what the thread's stack has
room for. A frame that one place can read just so, and another, a few calls deeper or under another
Python, cannot, would be let into the log and then end every node that applies it. So a frame must
be readable with many levels to spare, and no Python lets in what is more than `_READABLE_MAX` deep.

Every frame of some length is looked at by each who sends and receives it, so the look is quick: it
never decodes, and reads a long frame to its end only where it is made of many values.
"""

import functools
import sys
from itertools import repeat
from typing import Final

import msgspec

NESTING_MAX: Final = 256
"""How deep containers may lie in each other in a frame, at least; deeper ones may be refused."""

_READABLE_MAX: Final = 600
"""How deep a frame may be that is let in by chance: 3.11 reads so many, 400 calls deep."""

_SPARE_LEVELS: Final = 400
_HAS_ONE_STACK: Final = sys.version_info < (3, 12)
"""Whether Python's calls and those of extensions count towards the same limit."""
_HAS_FIXED_LIMIT: Final = sys.version_info < (3, 14)
"""Whether so many containers can be read, and no more, in every thread."""

_CONTAINERS: Final = bytes((*range(0x80, 0xA0), *range(0xDC, 0xE0)))
_OTHERS: Final = bytes(sorted(set(range(256)) - set(_CONTAINERS)))
_QUICKLY_COUNTED_BYTES_MAX: Final = 2 * 1024
_COUNTED_BYTES_MAX: Final = 16 * 1024
"""Up to here counting what may begin a container is cheaper than skipping with levels to spare."""

_COPIED_BYTES_MAX: Final = 1024 * 1024
"""Beyond it a copy of the frame costs more than 400 calls of a function."""

_VALUES_MAX: Final = 48
"""How many values are looked at one by one: they take about as long as skipping with levels to
spare, and a call of a method with some arguments, one of them long, has half of them."""

_ROUNDS_MAX: Final = 8
"""How often all of a frame may be gone over before it is looked at value by value."""

_skip: Final = msgspec.msgpack.Decoder(msgspec.Raw).decode
_rows: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


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
    if not _HAS_FIXED_LIMIT:
        return _is_deep_by_rows(data)
    return _is_deep_by_the_limit(data)


def _is_deep_by_the_limit(data: bytes) -> bool:
    """Return whether `data` cannot be skipped with many levels to spare."""
    try:
        if len(data) > _COPIED_BYTES_MAX and _HAS_ONE_STACK:
            _skip_deep_down(data, _SPARE_LEVELS)
        else:
            _skip(_spare() + data)
    except RecursionError:
        return True
    except msgspec.DecodeError:
        return False  # it cannot be read at all, which is for its decoder to say
    return False


@functools.cache
def _spare() -> bytes:
    """Return containers that leave so many levels of the limit as shall be left."""
    if _HAS_ONE_STACK:
        return b"\x91" * _SPARE_LEVELS
    readable, unreadable = 0, 1 << 20
    while unreadable - readable > 1:
        levels = (readable + unreadable) // 2
        try:
            _skip(b"\x91" * levels + b"\xc0")
            readable = levels
        except RecursionError:
            unreadable = levels
    return b"\x91" * (readable - _READABLE_MAX)


def _is_deep_by_rows(data: bytes) -> bool:
    """Return whether `data` lies deeper than can be let in, where no limit tells.

    Arrays are taken apart level by level: most of what is long is arrays of what is short, which
    cannot be deep. Maps, and what would be gone over too often, are looked at value by value.
    """
    parts: list[bytes | msgspec.Raw] = [data]
    bytes_left = _ROUNDS_MAX * len(data)
    for level in range(NESTING_MAX):
        bytes_left -= sum(map(len, parts))
        if bytes_left < 0:
            return _is_deep(data, _READABLE_MAX)
        longer: list[bytes | msgspec.Raw] = []
        for part in parts:
            try:
                longer += [each for each in _rows(part) if len(each) > NESTING_MAX]
            except (RecursionError, msgspec.DecodeError):
                if _is_deep(bytes(part), _READABLE_MAX - level):
                    return True
        if not longer:
            return False
        parts = longer
    return True


def _is_deep(data: bytes, levels: int) -> bool:
    """Return whether containers lie more than so many levels deep, by a look at every value."""
    sizes = _SIZES_OF_SCALARS
    offset = 0
    around = [repeat(None, 1)]
    try:
        while around:
            for _ in around[-1]:
                first = data[offset]
                if size := sizes[first]:
                    offset += size
                elif first in _LENGTHS:
                    offset += _size_of_long_value(data, offset)
                else:
                    head, count = _head_of_container(data, offset)
                    offset += head
                    around.append(repeat(None, count))
                    break
            else:
                around.pop()
            if len(around) > levels + 1:
                return True
    except IndexError:
        return False  # it was cut off, which is for its decoder to say
    return False


def _skip_deep_down(data: bytes, levels: int) -> None:
    """Skip `data` with so many levels less: what `_spare` does, without a copy of the data."""
    if levels:
        _skip_deep_down(data, levels - 1)
    else:
        _skip(data)


def _has_few_values(data: bytes) -> bool:
    """Return whether `data` has at most `_VALUES_MAX` values, but for some in its last bytes.

    Each container has a byte at least, so all of them cannot lie deeper than `NESTING_MAX`.
    """
    sizes = _SIZES
    enough = len(data) - (NESTING_MAX - _VALUES_MAX)
    offset = 0
    for _ in range(_VALUES_MAX):
        first = data[offset]
        offset += sizes[first] or _size_of_long_value(data, offset)
        if offset >= enough:
            return True
    return False


def _size_of_long_value(data: bytes, offset: int) -> int:
    """Return how many bytes a bin, ext or str with a length of its own has."""
    width, extra = _LENGTHS[data[offset]]
    start = offset + 1
    return 1 + width + extra + int.from_bytes(data[start : start + width], "big")


def _head_of_container(data: bytes, offset: int) -> tuple[int, int]:
    """Return how many bytes the head of an array or map has, and how many values lie in it."""
    first = data[offset]
    if first < 0xA0:
        return 1, first - 0x90 if first >= 0x90 else 2 * (first - 0x80)
    size = _SIZES[first]
    count = int.from_bytes(data[offset + 1 : offset + size], "big")
    return size, count if first < 0xDE else 2 * count


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
_SIZES_OF_SCALARS: Final = tuple(0 if n in _CONTAINERS else _SIZES[n] for n in range(256))
