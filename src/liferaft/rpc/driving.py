"""Makes calls over whatever link there is: the asyncio driver of one `CallerProtocol`.

It decides nothing about the protocol: it reports to it and carries out what that says. It lives on
one event loop and is touched from that loop's thread only. It never retries what the protocol has
not said may be retried, never arms a timer per call, and makes no links: who derives from it does.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from liferaft.errors import (
    DeadlineExceeded,
    InvalidArgument,
    LiferaftError,
    Overloaded,
    ProtocolError,
    StubClosed,
)
from liferaft.rpc import deadline as ambient
from liferaft.rpc import wire
from liferaft.rpc.buffers import CallFrame
from liferaft.rpc.caller_references import CallerReferences
from liferaft.rpc.caller_state import Leave
from liferaft.rpc.caller_streams import StreamedCall
from liferaft.rpc.codec import decode_failure, of_a_call
from liferaft.rpc.interception import Connection, Interceptor
from liferaft.rpc.interface import Interface, MethodSignature
from liferaft.rpc.protocol import CallerProtocol
from liferaft.rpc.references import ReferenceTable
from liferaft.rpc.session import PendingCall

Waiter = Any
"""A future, or what stands for one: it has `done` and `set_result`."""

UNANSWERED_MAX: Final = 16_384
"""Calls without an answer on one connection: a caller without a brake is stopped here."""


class ThreadWaiter:
    """Where a thread waits for the outcome of its call: what a future is to a task, and no more."""

    __slots__ = ("_is_done", "_lock", "_outcome", "call", "driver")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._is_done = False
        self._outcome: Any = None
        self.call: PendingCall[Any] | None = None
        self.driver: CallDriver | None = None

    def done(self) -> bool:
        """Return whether there is an outcome."""
        return self._is_done

    def set_result(self, outcome: Any) -> None:
        """Have the thread go on; called once, on the loop."""
        self._is_done = True
        self._outcome = outcome
        self._lock.release()

    def wait(self) -> Any:
        """Return the outcome, once it is there."""
        with self._lock:
            return self._outcome


class Heir(Connection, Protocol):
    """Who takes the calls of a connection that is leaving its host; references stay behind."""

    def start_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None,
        metadata: Mapping[str, str] | None = None,
    ) -> StreamedCall:
        """See `CallDriver`."""

    def begin(
        self,
        waiter: ThreadWaiter,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        time_left: float | None,
    ) -> None:
        """See `CallDriver`."""


class CallDriver:
    """Calls to one object, and to those that it refers to, over one link at a time."""

    def __init__(
        self,
        protocol: CallerProtocol[Waiter],
        *,
        interface: Interface,
        timeout: float | None,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        """`interceptors` stand around the calls of references; the others are their stub's."""
        self.interface = interface
        self._interceptors = interceptors
        self.timeout = timeout
        self._protocol = protocol
        self._loop: asyncio.AbstractEventLoop
        self._send: Callable[[CallFrame], None] | None = None
        self._is_closed = False
        self._why_closed = "is closed"
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._references: CallerReferences | None = None
        self._first_reference = 1
        # Who has the calls once this connection leaves its host; for who derives from this.
        self._heir: Heir | None = None
        # Whoever waits for the connection's state; for who derives from this.
        self._verdict: asyncio.Future[None] | None = None

    @property
    def takes_values(self) -> bool:
        """Whether arguments must come as they are; encoded ones are as welcome here."""
        return False

    @property
    def pending_count(self) -> int:
        """How many calls have no answer yet."""
        return len(self._protocol.session.pending)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    @property
    def epoch(self) -> int:
        """How often the peer has forgotten its references."""
        return self._protocol.epoch

    async def call(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        time_left: float | None = None,
        metadata: Mapping[str, str] | None = None,
        object: str | None = None,  # noqa: A002 - what it is called on the wire
    ) -> Any:
        """Return the result of a call, or raise what it raised.

        `arguments` has a value for every parameter in order (`MethodSignature.flatten`), or is
        that, encoded. `time_left`, in seconds, stands in for the ambient deadline of this task.
        `object` is another one than this connection's, which a reference leads to. Raises
        `Unreachable` (or why else it could not be sent) or `DeadlineExceeded` when time is
        up, `OutcomeUnknown`, `StubClosed`. Cancelling the caller cancels the call at the host.
        """
        protocol = self._protocol
        loop = self._loop
        if time_left is None and (time_left := ambient.time_left()) is None:
            time_left = self.timeout
        # Written out, as this is done for every call.
        is_full = len(protocol.session.pending) >= UNANSWERED_MAX
        is_moved = self._heir is not None or self._is_closed
        if is_moved or is_full or (time_left is not None and time_left <= 0):
            if self._heir is not None and object is None:
                return await self._heir.call(
                    method, arguments, time_left=time_left, metadata=metadata
                )
            self._check_callable(method, time_left)
        exported: list[int] | None = None
        if method.has_references:
            assert isinstance(arguments, tuple), "they are encoded here, with their references"
            # Stubs that go home are held here until the answer: see `ReferenceTable.result_out`.
            values = arguments
            arguments, exported = self.references.arguments_out(method, values)
        now = loop.time()
        waiter: Waiter = loop.create_future()
        try:
            call = protocol.call(
                method,
                arguments,
                now=now,
                deadline=None if time_left is None else now + time_left,
                waiter=waiter,
                metadata=dict(metadata) if metadata else None,
                object_name=object,
                exported=exported,
            )
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            self._take_back(exported)
            raise self._unfit(method, arguments, error) from error
        self._carry_out()
        try:
            outcome = await waiter
        except asyncio.CancelledError:
            protocol.cancel(call)
            self._carry_out()
            raise
        if type(outcome) is wire.Reply:
            return self.read(method, outcome)
        raise decode_failure(outcome, method.declared) if type(outcome) is wire.Failure else outcome

    def call_from_thread(
        self,
        method: MethodSignature,
        arguments: msgspec.Raw | tuple[Any, ...],
        *,
        time_left: float | None,
        tell: Callable[..., None],
    ) -> Any:
        """Return the result of a call to a thread that waits for it: `call`, without a task.

        `tell` has the loop call a function, or raises. The thread decodes the result itself. Not
        for methods that have streams or references, and never for the loop's own thread.
        """
        waiter = ThreadWaiter()
        tell(self.begin, waiter, method, arguments, time_left)
        try:
            outcome = waiter.wait()
        except BaseException:  # an interrupt while waiting: nobody waits any more
            tell(self._give_up, waiter)
            raise
        if type(outcome) is wire.Reply:
            return read_result(self.interface.name, method, outcome)
        raise decode_failure(outcome, method.declared) if type(outcome) is wire.Failure else outcome

    def begin(
        self,
        waiter: ThreadWaiter,
        method: MethodSignature,
        arguments: msgspec.Raw | tuple[Any, ...],
        time_left: float | None,
    ) -> None:
        """Begin a call that a thread waits for; what is wrong with it is its outcome."""
        if self._heir is not None:
            self._heir.begin(waiter, method, arguments, time_left)
            return
        now = self._loop.time()
        waiter.driver = self
        try:
            self._check_callable(method, time_left)
            waiter.call = self._protocol.call(
                method,
                arguments,
                now=now,
                deadline=None if time_left is None else now + time_left,
                waiter=waiter,
            )
        except LiferaftError as error:
            waiter.set_result(error)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            waiter.set_result(
                error
                if isinstance(arguments, msgspec.Raw)
                else method.arguments.unfit(arguments, error)
            )
        else:
            self._carry_out()

    def _give_up(self, waiter: ThreadWaiter) -> None:
        driver = waiter.driver
        if driver is not None and waiter.call is not None and not waiter.done():
            driver._protocol.cancel(waiter.call)  # noqa: SLF001 - of its own class
            driver._carry_out()  # noqa: SLF001

    def start_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None,
        metadata: Mapping[str, str] | None = None,
        object: str | None = None,  # noqa: A002 - as in call
    ) -> StreamedCall:
        """Begin a call that has streams; what it takes and raises is as for `call`.

        It ends with its streams. Without an ambient deadline it has none, and ends early when
        nothing is heard of the host for as long as a call of this connection may take.
        """
        if self._heir is not None and object is None:
            return self._heir.start_streaming(
                method, arguments, time_left=time_left, metadata=metadata
            )
        if self._is_closed:
            raise StubClosed(f"{self.interface.name}.{method.name}: the stub {self._why_closed}")
        protocol, now = self._protocol, self._loop.time()
        begun: list[PendingCall[Waiter]] = []

        def flush() -> None:
            protocol.send_streams(begun[0], self._loop.time())
            self._carry_out()

        def cancel() -> None:
            protocol.cancel(begun[0])
            self._carry_out()

        streamed = StreamedCall(method, flush=flush, cancel=cancel)
        rest = streamed.write(arguments)
        try:
            call = protocol.call(
                method,
                rest,
                now=now,
                deadline=None if time_left is None else now + time_left,
                waiter=streamed.outcome,
                streams=streamed.streams,
                patience=self.timeout,
                metadata=dict(metadata) if metadata else None,
                object_name=object,
            )
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            streamed.outcome.cancel()
            raise self._unfit(method, rest, error) from error
        begun.append(call)
        call.on_progress = streamed.progress.wake
        self._carry_out()
        return streamed

    async def call_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None = None,
        metadata: Mapping[str, str] | None = None,
        object: str | None = None,  # noqa: A002 - as in call
    ) -> Any:
        """Return the result of a call whose arguments have streams, as `call` does."""
        if time_left is None:
            time_left = ambient.time_left()
        streamed = self.start_streaming(
            method, arguments, time_left=time_left, metadata=metadata, object=object
        )
        outcome = await streamed.result()
        if type(outcome) is wire.Reply:
            return read_result(self.interface.name, method, outcome)
        raise decode_failure(outcome, method.declared) if type(outcome) is wire.Failure else outcome

    def notify(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        metadata: Mapping[str, str] | None = None,
        object: str | None = None,  # noqa: A002 - as in call
    ) -> None:
        """Send a one-way call; it is lost when there is no connection."""
        if self._heir is not None and object is None:
            self._heir.notify(method, arguments, metadata=metadata)
            return
        if self._is_closed:
            raise StubClosed(f"{self.interface.name}.{method.name}: the stub {self._why_closed}")
        try:
            self._protocol.notify(
                method, arguments, dict(metadata) if metadata else None, object_name=object
            )
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self._unfit(method, arguments, error) from error
        self._carry_out()

    # Carrying out what the protocol says.

    def _carry_out(self) -> None:
        protocol = self._protocol
        outgoing = protocol.outgoing
        if outgoing:
            send = self._send
            if send is not None:
                for frame in outgoing:
                    send(frame)
            outgoing.clear()
        if protocol.progressed:
            self._tell_progress()
        if protocol.answers:
            self._hand_out_answers()
        if protocol.has_forgotten:
            protocol.has_forgotten = False
            self._forget_references()
        if self._verdict is not None:
            self._tell_state()
        if protocol.leave is not None:
            leave, protocol.leave = protocol.leave, None
            self._leave(leave)
        due = protocol.deadline()
        if due is not None and (self._timer_at is None or due < self._timer_at):
            self._arm(due)

    def _hand_out_answers(self) -> None:
        answers = self._protocol.answers
        for call, outcome in answers:
            if call.exported is not None:
                self._referring().settle(call, outcome)
            if not call.waiter.done():
                call.waiter.set_result(outcome)
        answers.clear()

    def _tell_progress(self) -> None:
        progressed, self._protocol.progressed = self._protocol.progressed, []
        for call in progressed:
            if call.on_progress is not None:
                call.on_progress()

    def _tell_state(self) -> None:
        """Tell whoever waits for the connection's state; for who derives from this."""

    def _leave(self, leave: Leave) -> None:
        """End the present link; for who derives from this."""

    # References.

    @property
    def references(self) -> ReferenceTable:
        """What the two sides hold of each other, from the first reference on."""
        return self._referring().table

    def _referring(self) -> CallerReferences:
        if self._references is None:
            self._references = CallerReferences(
                self,
                self._protocol,
                self._loop,
                carry_out=self._carry_out,
                interceptors=self._interceptors,
                first_number=self._first_reference,
            )
        return self._references

    def _take_back(self, exported: list[int] | None) -> None:
        if exported is not None:
            self._referring().take_back(exported)

    def _forget_references(self) -> None:
        """Know that the peer has forgotten all references, or never knew them."""
        if self._references is not None:
            self._references.forget()

    def read(self, method: MethodSignature, reply: wire.Reply) -> Any:
        """Return what a call brought, with stubs for what it refers to."""
        result = read_result(self.interface.name, method, reply)
        return self.references.result_in(method, result) if method.has_references else result

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._is_closed:
            self._timer_at = due
            self._timer = self._loop.call_at(due, self._time_passed)

    def _time_passed(self) -> None:
        self._timer = self._timer_at = None
        self._protocol.time_passed(self._loop.time())
        self._carry_out()

    # Small things.

    def _check_callable(self, method: MethodSignature, time_left: float | None) -> None:
        if self._is_closed:
            raise StubClosed(f"{self.interface.name}.{method.name}: the stub {self._why_closed}")
        if len(self._protocol.session.pending) >= UNANSWERED_MAX:
            text = f"{UNANSWERED_MAX} calls of this stub are unanswered: wait for some"
            raise of_a_call(Overloaded(text))
        if time_left is not None and time_left <= 0:
            raise DeadlineExceeded(f"{method.name}: the deadline had passed before the call")

    def _time_left(self) -> float | None:
        left = ambient.time_left()
        return self.timeout if left is None else left

    def _check_open(self) -> None:
        if self._is_closed:
            raise StubClosed(f"the {self.interface.name} stub {self._why_closed}")

    def _unfit(
        self, method: MethodSignature, arguments: tuple[Any, ...] | msgspec.Raw, error: Exception
    ) -> InvalidArgument:
        if isinstance(arguments, msgspec.Raw) or isinstance(error, LiferaftError):
            raise error
        return method.arguments.unfit(arguments, error)


def read_result(interface: str, method: MethodSignature, reply: wire.Reply) -> Any:
    """Return what the method returned; raises `ProtocolError` when it is of another type."""
    try:
        return method.decode_result(reply.result)
    except Exception as error:  # a user's class may raise anything at all when it is made
        text = f"{interface}.{method.name}: the result does not fit: {error}"
        raise ProtocolError(text) from error
