"""Executes, at a caller, what its host calls back: objects that the host was given references of.

It is a host without a server: the calls come over the caller's own connection. How a host makes
them is told in `liferaft.rpc.callee_references`.
"""

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from liferaft.errors import ProtocolError, Refused
from liferaft.rpc import wire
from liferaft.rpc.access import EVERYTHING
from liferaft.rpc.buffers import CallFrame
from liferaft.rpc.callee import ObjectDispatcher
from liferaft.rpc.callee_references import CALLBACK_SESSION
from liferaft.rpc.codec import encode, encode_failure
from liferaft.rpc.interception import Interceptor
from liferaft.rpc.references import RELEASES, ReferenceTable
from liferaft.rpc.refusals import Refusals

THREADS: Final = 8
"""How many blocking callbacks run at a time."""
TIME_LEFT_MAX: Final = 1e7
"""Seconds; a peer's number must not overflow a timer."""


class CallbackHost:
    """Executes a host's calls of this side's objects; lives on the connection's loop.

    They go through the `interceptors`, and `answer` sends what is answered.
    """

    def __init__(
        self,
        table: ReferenceTable,
        *,
        answer: Callable[[CallFrame], None],
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        self._interceptors = interceptors
        self._table = table
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._dispatcher = self._new_dispatcher()
        self._refusals = Refusals(self._loop.time)
        self._endings: set[asyncio.Task[None]] = set()

    def _new_dispatcher(self) -> ObjectDispatcher:
        dispatcher = ObjectDispatcher(
            _NoObject(),
            RELEASES,
            threads=THREADS,
            interceptors=self._interceptors,
            is_called_back=True,
        )
        dispatcher.open_session(CALLBACK_SESSION)
        dispatcher.references.adopt(CALLBACK_SESSION, self._table)
        return dispatcher

    def take(self, frame: wire.Frame, data: bytes) -> None:
        """Take a frame that the host sent about an object of this side."""
        if isinstance(frame, wire.Call):
            refusal = self._refusals.answer_to(frame.number, data)
            if refusal is not None:
                self._answer(refusal)
                return
            left = frame.time_left
            if left is not None and not left >= 0:
                raise ProtocolError(f"a call with {left} s left")
            until = None if left is None else self._loop.time() + min(left, TIME_LEFT_MAX)
            send = functools.partial(self._send, self._dispatcher)
            self._dispatcher.dispatch(_CallbackRequest(frame, data, until, send, self._refusals))
        elif isinstance(frame, wire.Cancel):
            self._dispatcher.cancel(CALLBACK_SESSION, frame.number)
        elif isinstance(frame, wire.Notify):
            self._dispatcher.notify(frame, _TheHost())
        elif isinstance(frame, wire.Chunk | wire.Credit):
            ours = msgspec.structs.replace(frame, number=-frame.number)
            self._dispatcher.stream(CALLBACK_SESSION, ours)

    def forget(self) -> None:
        """Know that another host calls from now on, whose numbers begin anew.

        What the earlier one has called ends, and is answered to nobody.
        """
        earlier, self._dispatcher = self._dispatcher, self._new_dispatcher()
        self._refusals = Refusals(self._loop.time)
        ending = self._loop.create_task(earlier.stop())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def stop(self) -> None:
        """End what is being executed."""
        await self._dispatcher.stop()
        if self._endings:
            await asyncio.wait(self._endings)

    def _send(self, dispatcher: ObjectDispatcher, frame: CallFrame) -> None:
        if dispatcher is self._dispatcher:
            self._answer(frame)


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
        refusals: Refusals,
    ) -> None:
        self.session = CALLBACK_SESSION
        self.peer = "the host"
        self.roles = EVERYTHING
        self.is_beyond_limit = False
        self.call = call
        self.frame = frame
        self.deadline = deadline
        self._send = send
        self._refusals = refusals

    def answer(self, frame: CallFrame) -> None:
        self._send(frame)

    def refuse(self, error: Refused) -> None:
        failure = encode_failure(self.call.number, error)
        self._refusals.remember(self.call.number, self.frame, failure)
        self._send(failure)

    def redirect(self, address: str | None) -> None:
        raise AssertionError(f"a callback is never sent elsewhere, such as {address}")

    def push(self, frame: bytes) -> None:
        self._send(frame)

    def working(self) -> None:
        self._send(encode(wire.Working(self.call.number)))
