"""Executes, at a caller, what its host calls back: objects that the host was given references of.

It is a host without a server: the calls come over the caller's own connection. How a host makes
them is told in `liferaft.rpc.callee_references`.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from liferaft.errors import ProtocolError, Refused
from liferaft.rpc import wire
from liferaft.rpc.access import EVERYTHING
from liferaft.rpc.buffers import CallFrame
from liferaft.rpc.callee import ObjectDispatcher
from liferaft.rpc.callee_references import CALLBACK_SESSION
from liferaft.rpc.codec import encode, encode_failure
from liferaft.rpc.references import RELEASES, ReferenceTable

THREADS: Final = 8
"""How many blocking callbacks run at a time."""
TIME_LEFT_MAX: Final = 1e7
"""Seconds; a peer's number must not overflow a timer."""


class CallbackHost:
    """Executes a host's calls of this side's objects; lives on the connection's loop."""

    def __init__(self, table: ReferenceTable, *, answer: Callable[[CallFrame], None]) -> None:
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._dispatcher = ObjectDispatcher(_NoObject(), RELEASES, threads=THREADS)
        self._dispatcher.open_session(CALLBACK_SESSION)
        self._dispatcher.references.adopt(CALLBACK_SESSION, table)

    def take(self, frame: wire.Frame, data: bytes) -> None:
        """Take a frame that the host sent about an object of this side."""
        if isinstance(frame, wire.Call):
            left = frame.time_left
            if left is not None and not left >= 0:
                raise ProtocolError(f"a call with {left} s left")
            until = None if left is None else self._loop.time() + min(left, TIME_LEFT_MAX)
            self._dispatcher.dispatch(_CallbackRequest(frame, data, until, self._answer))
        elif isinstance(frame, wire.Cancel):
            self._dispatcher.cancel(CALLBACK_SESSION, frame.number)
        elif isinstance(frame, wire.Notify):
            self._dispatcher.notify(frame, _TheHost())

    async def stop(self) -> None:
        """End what is being executed."""
        await self._dispatcher.stop()


class _TheHost:
    """Who calls back; see `liferaft.rpc.dispatch.Sender`."""

    session: bytes | None = CALLBACK_SESSION
    peer = "the host"
    roles = EVERYTHING


class _NoObject:
    """There is no object but those that references lead to."""

    async def release(self, dropped: list[tuple[int, int]]) -> None:
        raise AssertionError(f"release of {dropped} is the table's, not an object's")


class _CallbackRequest:
    """One call of the host; see `liferaft.rpc.dispatch.Request`."""

    def __init__(
        self,
        call: wire.Call,
        frame: bytes,
        deadline: float | None,
        send: Callable[[CallFrame], None],
    ) -> None:
        self.session = CALLBACK_SESSION
        self.peer = "the host"
        self.roles = EVERYTHING
        self.call = call
        self.frame = frame
        self.deadline = deadline
        self._send = send

    def answer(self, frame: CallFrame) -> None:
        self._send(frame)

    def refuse(self, error: Refused) -> None:
        self._send(encode_failure(self.call.number, error))

    def redirect(self, address: str | None) -> None:
        raise AssertionError(f"a callback is never sent elsewhere, such as {address}")

    def push(self, frame: bytes) -> None:
        self._send(frame)

    def working(self) -> None:
        self._send(encode(wire.Working(self.call.number)))
