"""Large buffers in calls and replies: they leave from where they lie, and nothing copies them.

What is encoded of such a message is its outline, with a placeholder for each large buffer. The
frame that is sent consists of the pieces of the outline and the buffers between them, and is byte
for byte what a copy would have been: who receives it sees no difference. Nothing here knows of
sessions or links.

An argument is read until the call has its answer. A result must still be the same when a repeated
call is answered again, so only what cannot change any more is left where it is: `bytes`, and arrays
that nobody has kept. Anything else is copied once.
"""

import itertools
import sys
import types
import typing
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from liferaft.errors import InvalidArgument
from liferaft.link.frames import Gathered
from liferaft.rpc.arrays import array_head, encode_array, flat_bytes, is_array, names_array
from liferaft.rpc.codec import encode, of_a_call
from liferaft.rpc.nesting import NESTING_MAX, is_nested_too_deep
from liferaft.rpc.wire import Reply

LARGE_BYTES: Final = 256 * 1024
"""Copying less costs less than the system calls that would save it."""

_BYTES_TYPES: Final = (bytes, bytearray, memoryview)
_PLACE: Final = b"\xc4\x10\x9f\x1c\x83\x5e\x27\xb1\x60\x0a\xd2\x4b\x95\xee\x38"
"""How a placeholder begins: as a MessagePack binary of 16 bytes. It is found again for sure, for no
end of it is a beginning; where a message has the same bytes, another number is tried."""


class LargeFrame(Gathered):
    """A frame with large buffers in it. `outline` is what is encoded of it."""

    __slots__ = ("_asides", "_place", "outline")

    def __init__(self, outline: bytes, place: bytes, asides: Sequence["_Aside"]) -> None:
        self.outline = outline
        self._place = place
        self._asides = tuple(asides)
        buffers: list[bytes | memoryview] = []
        start = offset = 0
        for aside in self._asides:
            stop = outline.index(place, start)
            piece = outline[start:stop] + aside.head(offset + stop - start)
            buffers += (piece, aside.data)
            offset += len(piece) + len(aside.data)
            start = stop + len(place)
        super().__init__([*buffers, outline[start:]])

    def with_outline(self, outline: bytes) -> "LargeFrame":
        """Return the frame with the same buffers in another outline."""
        return LargeFrame(outline, self._place, self._asides)


CallFrame = bytes | LargeFrame
"""What is sent of a call or its answer."""


def outline_of(frame: CallFrame) -> bytes:
    """Return what is encoded of a frame: all of it, but for large buffers."""
    return frame if isinstance(frame, bytes) else frame.outline


def with_outline(frame: CallFrame, outline: bytes) -> CallFrame:
    """Return a frame with this outline, and the other's large buffers if it has any."""
    return outline if isinstance(frame, bytes) else frame.with_outline(outline)


def check_call(method: str, frame: CallFrame, frame_bytes_max: int) -> None:
    """Raise `InvalidArgument` for a call that a host would end the connection over."""
    if len(frame) > frame_bytes_max:
        raise too_large(method, frame, frame_bytes_max)
    if len(frame) > NESTING_MAX and is_nested_too_deep(outline_of(frame)):
        text = f"{method}: the arguments are nested more than {NESTING_MAX} deep"
        raise of_a_call(InvalidArgument(text))


def too_large(method: str, frame: CallFrame, frame_bytes_max: int) -> InvalidArgument:
    """Return the error for a call of more bytes than a frame may have."""
    text = f"the arguments make {len(frame)} bytes; {frame_bytes_max} are allowed"
    return of_a_call(InvalidArgument(f"{method}: {text}"))


def may_be_large(hint: Any) -> bool:
    """Return whether an annotation is of what may be a large buffer, or has an array in it."""
    if hint in _BYTES_TYPES:
        return True
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return names_array(hint) or (is_union and any(map(may_be_large, typing.get_args(hint))))


def set_aside(arguments: msgspec.Raw | tuple[Any, ...]) -> msgspec.Raw | tuple[Any, ...]:
    """Return the arguments for `encode_apart`: those that are large `bytes` are marked as such."""
    if isinstance(arguments, msgspec.Raw):
        return arguments
    return tuple(_aside(_in_one_piece(value)) for value in arguments)


def encode_apart(message: object) -> CallFrame:
    """Return the frame of a message: its arrays, and what `set_aside` marked, are not copied.

    Raises what encoding raises.
    """
    for number in itertools.count():
        place = _PLACE + number.to_bytes(3, "big")
        outline, asides = _encode(message, place)
        if not asides:
            return outline
        if outline.count(place) == len(asides):
            return LargeFrame(outline, place, asides)
    raise AssertionError("no message is so long that every number stands in it")


def encode_reply(number: int, result: Any) -> CallFrame:
    """Return the frame of the reply to a call; a large result is copied if it may still change."""
    result = _in_one_piece(result)
    if not _is_large(result):
        return encode(Reply(number, result))
    if is_array(result):
        if not _is_given_away(result):
            result = result.copy()
    elif type(result) is not bytes:
        result = bytes(result)
    return encode_apart(Reply(number, _aside(result)))


class _Aside:
    """A large buffer, and the array whose bytes it is, if it is one's."""

    def __init__(self, data: memoryview, array: Any = None) -> None:
        self.data = data
        self._array = array

    def head(self, offset: int) -> bytes:
        """Return what goes before the data, where it begins so far behind the frame's beginning."""
        if self._array is None:
            return b"\xc6" + len(self.data).to_bytes(4, "big")
        return array_head(self._array, offset)


def _aside(value: Any) -> Any:
    return _Aside(memoryview(value).cast("B")) if _is_large_bytes(value) else value


def _encode(message: object, place: bytes) -> tuple[bytes, list[_Aside]]:
    asides: list[_Aside] = []

    def hook(value: object) -> object:
        if isinstance(value, _Aside):
            aside = value
        elif is_array(value) and _is_large(value):
            aside = _Aside(flat_bytes(value), value)
        else:
            return encode_array(value)
        asides.append(aside)
        return msgspec.Raw(place)

    return msgspec.msgpack.Encoder(enc_hook=hook).encode(message), asides


def _in_one_piece(value: Any) -> Any:
    """Return a value that can be encoded: not a view of every second byte."""
    is_scattered = isinstance(value, memoryview) and not value.c_contiguous
    return bytes(value) if is_scattered else value


def _is_large_bytes(value: Any) -> bool:
    return isinstance(value, _BYTES_TYPES) and memoryview(value).nbytes >= LARGE_BYTES


def _is_large(value: Any) -> bool:
    return _is_large_bytes(value) or (is_array(value) and value.nbytes >= LARGE_BYTES)


def _is_given_away(array: Any) -> bool:
    """Return whether nobody can change a result any more, for nobody else has it.

    Called by `encode_reply` only, which a job's `encode` calls with what its method returned: where
    one more refers to it than on that way, somebody has kept it.
    """
    owner = array
    while is_array(owner) and owner.base is not None:
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if isinstance(owner, bytes | msgspec.Raw):
        return True  # as an argument has come
    if not is_array(owner) or not owner.flags.owndata:
        return False
    is_the_owner = owner is array
    del owner
    if sys.getrefcount(array) > _REFERENCES:
        return False
    return is_the_owner or (
        array.base.base is None and sys.getrefcount(array.base) <= _REFERENCES_OF_BASE
    )


def _count_references() -> int:
    """Return how many refer to a result that nobody has kept, where `_is_given_away` looks."""

    def is_given_away(value: object) -> int:
        return sys.getrefcount(value)

    def encode_reply(value: object) -> int:
        return is_given_away(value)

    def encode(value: object) -> int:
        return encode_reply(value)

    return encode(object())


_REFERENCES: Final = _count_references()
_REFERENCES_OF_BASE: Final = 2  # the array, and what counts
