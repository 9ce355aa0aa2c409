"""Commands as clients and leaders make them, for tests of the state machine."""

from typing import Any

import msgspec

from liferaft.raft.types import Entry, EntryKind
from liferaft.replicated.command import CommandKind, pack
from liferaft.rpc.codec import decode_frame, encode
from liferaft.rpc.wire import Call, Failure, Reply

ALICE = b"a" * 16
BOB = b"b" * 16


class Log:
    """Makes the entries of a log, one after the other."""

    def __init__(self) -> None:
        self.last_index = 0

    def opening(self, session: bytes, *, wall_now: float = 100.0) -> Entry:
        return self._entry(
            pack(CommandKind.OPEN_SESSION, session=session, wall_now=wall_now, seed=0, frame=b"")
        )

    def call(
        self,
        session: bytes,
        number: int,
        method: str,
        *arguments: Any,
        acked_below: int = 1,
        object_name: str = "Book",
        wall_now: float = 100.0,
        seed: int = 7,
    ) -> Entry:
        frame = encode_call(number, method, *arguments, acked_below=acked_below, name=object_name)
        return self._entry(
            pack(CommandKind.CALL, session=session, wall_now=wall_now, seed=seed, frame=frame)
        )

    def _entry(self, data: bytes) -> Entry:
        self.last_index += 1
        return Entry(term=1, index=self.last_index, kind=EntryKind.COMMAND, data=data)


def encode_call(
    number: int, method: str, *arguments: Any, acked_below: int = 1, name: str = "Book"
) -> bytes:
    """Return the frame that a client sends."""
    raw = msgspec.Raw(encode(arguments))
    return encode(Call(number, acked_below, name, method, None, raw))


def result_of(answer: bytes) -> Any:
    """Return what a `Reply` carries."""
    frame = decode_frame(answer)
    assert isinstance(frame, Reply), frame
    return msgspec.msgpack.decode(frame.result)


def failure_of(answer: bytes) -> Failure:
    """Return the `Failure` that an answer is."""
    frame = decode_frame(answer)
    assert isinstance(frame, Failure), frame
    return frame
