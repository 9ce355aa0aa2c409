"""What one node sends another, so that programs of different ages understand each other.

The call that carries it never changes; the envelope is an array that may grow at its end, and so
may each message: what a reader does not know it leaves, what a writer did not know has its default.
A message of a kind that the reader does not know at all is dropped. Pure.

`LEVEL` says what a program can do. A feature that older programs would misunderstand gets the next
level, and is used only once the configuration has it: see introductions.py.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from liferaft.errors import ProtocolError
from liferaft.raft.messages import Message

LEVEL: Final = 1
"""What this program can do: 1 is all there has been so far."""


class Introduction(msgspec.Struct, frozen=True, array_like=True):
    """What a node says of itself: its disk, empty where that has no number, and its level.

    `address` is where others reach it: who is far behind has not read of it in the log, and could
    answer nothing else. Empty where that is not told.
    """

    disk_id: str = ""
    level: int = 0
    address: str = ""


class _Envelope(msgspec.Struct, frozen=True, array_like=True):
    """The messages of one node for another; `target_disk` is empty where it is not known."""

    source: Introduction
    target_disk: str
    messages: tuple[Message, ...]


class _Opened(msgspec.Struct, frozen=True, array_like=True):
    """The same, its messages not decoded yet."""

    source: Introduction
    target_disk: str
    messages: tuple[msgspec.Raw, ...]


class Delivery(msgspec.Struct, frozen=True):
    """An envelope that was opened; `unknown` messages were left out."""

    source: Introduction
    target_disk: str
    messages: Sequence[Message]
    unknown: int = 0


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Envelope).decode
_open: Final = msgspec.msgpack.Decoder(_Opened).decode
_decode_message: Final = msgspec.msgpack.Decoder(Message).decode
_FAULTS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def sealed(source: Introduction, target_disk: str, messages: tuple[Message, ...]) -> bytes:
    """Return the envelope with these messages."""
    return _encode(_Envelope(source, target_disk, messages))


def opened(envelope: bytes) -> Delivery:
    """Return what an envelope holds, as far as this program knows it.

    Raises `ProtocolError` for what is no envelope.
    """
    try:
        found = _decode(envelope)
    except _FAULTS:
        return _opened_one_by_one(envelope)
    return Delivery(found.source, found.target_disk, found.messages)


def _opened_one_by_one(envelope: bytes) -> Delivery:
    try:
        found = _open(envelope)
    except _FAULTS as error:
        raise ProtocolError(f"no envelope of a peer: {error}") from error
    messages: list[Message] = []
    for each in found.messages:
        try:
            messages.append(_decode_message(each))
        except _FAULTS:
            continue
    unknown = len(found.messages) - len(messages)
    return Delivery(found.source, found.target_disk, messages, unknown)
