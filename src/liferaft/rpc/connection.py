"""The asyncio driver of a caller's connection: links, one timer, and futures for the callers.

It decides nothing about the protocol: it makes links, reports to `CallerProtocol` and carries out
what that says. It lives on one event loop and is touched from that loop's thread only. It never
retries what the protocol has not said may be retried, and never arms a timer per call.
"""

import asyncio
import logging
import os
import weakref
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

import msgspec

from liferaft.errors import (
    AddressError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidArgument,
    LiferaftError,
    Overloaded,
    ProtocolError,
    StubClosed,
    Unreachable,
)
from liferaft.link.address import Address, parse_address
from liferaft.link.base import Link, Network
from liferaft.rpc import deadline as ambient
from liferaft.rpc import wire
from liferaft.rpc.bridge import FORKED
from liferaft.rpc.caller_streams import StreamedCall
from liferaft.rpc.codec import decode_failure, encode
from liferaft.rpc.interface import Interface, MethodSignature
from liferaft.rpc.protocol import CallerProtocol, Leave, State, Timing, copy_error
from liferaft.rpc.session import PendingCall

logger = logging.getLogger("liferaft.rpc")

Waiter = asyncio.Future[Any]

CONNECT_TIMEOUT: Final = 3.0
"""Seconds to make a link; then the next address is tried."""
BACKOFF_FIRST: Final = 0.02
BACKOFF_MAX: Final = 1.0
"""Seconds between attempts, doubling, each jittered down to its half."""
REDIRECTS_AT_ONCE_MAX: Final = 2
"""How many redirects are followed without a pause: nodes may send a caller round in a circle."""
SETTLED_AFTER: Final = 1.0
"""Seconds that a link must live for the next attempt to count as the first again."""
UNANSWERED_MAX: Final = 16_384
"""Calls without an answer on one connection: a caller without a brake is stopped here."""
ADDRESSES_MAX: Final = 64
"""Addresses known: hosts that redirect must not be able to grow the list for ever."""


_open: "weakref.WeakSet[CallerConnection]" = weakref.WeakSet()
_forked: list[object] = []
"""Tasks of a loop that stayed in the parent: kept, as there is nobody to end them here."""


class CallerConnection:
    """A connection to one object at one of several addresses, kept up while it is open."""

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        interface: Interface,
        network: Network,
        random: Random,
        object: str = "",  # noqa: A002 - what it is called on the wire
        timeout: float | None = 10.0,
        timing: Timing | None = None,
        gives_back: bool = False,
    ) -> None:
        """`timeout` bounds each call that has no ambient deadline, in seconds; None does not.

        With `gives_back` a call that may as well go to another host raises `Unreachable` as soon as
        this one is gone.
        """
        if not addresses:
            raise AddressError("no address to connect to")
        self.interface = interface
        self.addresses = list(addresses)
        self.timeout = timeout
        self._network = network
        self._random = random
        self._turn = 0
        self._attempts = 0
        self._was_redirected = False
        self._link: Link | None = None
        self._line: _Line | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._is_closed = False
        self._why_closed = "is closed"
        self._verdict: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._protocol: CallerProtocol[Waiter] = CallerProtocol(
            object_name=object,
            signatures=interface.signatures,
            draw_session=lambda: random.randbytes(wire.SESSION_BYTES),
            timing=timing,
            gives_back=gives_back,
        )

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else self._protocol.state.name.lower()
        return f"<CallerConnection {self.interface.name} at {self.address_text} {state}>"

    @property
    def address_text(self) -> str:
        """The addresses known, as a user writes them."""
        return ",".join(map(str, self.addresses))

    @property
    def is_bound(self) -> bool:
        """Whether a host has the object and calls are sent at once."""
        return self._protocol.state is State.BOUND

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

    def open(self) -> None:
        """Begin to connect, and to reconnect when the link is lost; called once, on the loop."""
        self._check_open()
        assert self._keeper is None
        self._loop = asyncio.get_running_loop()
        self._keeper = self._loop.create_task(self._keep_connected(), name="liferaft connection")
        _open.add(self)

    async def wait_bound(self) -> None:
        """Wait until calls can be sent, at most for the deadline.

        Raises `InterfaceMismatch` or `NoSuchObject` as soon as a host says so, and `Unreachable`
        or a `Refused` such as `NoLeader` when time is up. The connection stays open after each.
        """
        self._check_open()
        protocol = self._protocol
        if protocol.is_trouble_lasting:
            raise copy_error(protocol.trouble)
        if protocol.state is State.BOUND:
            return
        if self._verdict is None or self._verdict.done():
            self._verdict = self._loop.create_future()
        try:
            async with asyncio.timeout(self._time_left()):
                await asyncio.shield(self._verdict)
        except TimeoutError:
            reason = copy_error(protocol.trouble)
            if isinstance(reason, Unreachable):
                reason = Unreachable(f"nobody answers at {self.address_text}: {reason}")
            raise reason from None

    async def call(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        time_left: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the result of a call, or raise what it raised.

        `arguments` has a value for every parameter in order (`MethodSignature.flatten`), or is
        that, encoded. `time_left`, in seconds, stands in for the ambient deadline of this task.
        Raises `Unreachable` (or why else it could not be sent) or `DeadlineExceeded` when time is
        up, `OutcomeUnknown`, `StubClosed`. Cancelling the caller cancels the call at the host.
        """
        protocol = self._protocol
        loop = self._loop
        if time_left is None and (time_left := ambient.time_left()) is None:
            time_left = self.timeout
        if self._is_closed:
            raise StubClosed(f"{self.interface.name}.{method.name}: the stub {self._why_closed}")
        if len(protocol.session.pending) >= UNANSWERED_MAX:
            raise Overloaded(f"{UNANSWERED_MAX} calls of this stub are unanswered: wait for some")
        if time_left is not None and time_left <= 0:
            raise DeadlineExceeded(f"{method.name}: the deadline had passed before the call")
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
            )
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self._unfit(method, arguments, error) from error
        self._carry_out()
        try:
            outcome = await waiter
        except asyncio.CancelledError:
            protocol.cancel(call)
            self._carry_out()
            raise
        if type(outcome) is wire.Reply:
            return read_result(self.interface.name, method, outcome)
        raise decode_failure(outcome, method.declared) if type(outcome) is wire.Failure else outcome

    def start_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None,
        metadata: Mapping[str, str] | None = None,
    ) -> StreamedCall:
        """Begin a call that has streams; what it takes and raises is as for `call`.

        It ends with its streams. Without an ambient deadline it has none, and ends early when
        nothing is heard of the host for as long as a call of this connection may take.
        """
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
    ) -> Any:
        """Return the result of a call whose arguments have streams, as `call` does."""
        if time_left is None:
            time_left = ambient.time_left()
        streamed = self.start_streaming(method, arguments, time_left=time_left, metadata=metadata)
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
    ) -> None:
        """Send a one-way call; it is lost when there is no connection."""
        if self._is_closed:
            raise StubClosed(f"{self.interface.name}.{method.name}: the stub {self._why_closed}")
        try:
            self._protocol.notify(method, arguments, dict(metadata) if metadata else None)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self._unfit(method, arguments, error) from error
        self._carry_out()

    def close(self) -> None:
        """End the connection; unanswered calls raise `StubClosed`. May be called again."""
        if self._is_closed:
            return
        self._is_closed = True
        _open.discard(self)
        self._protocol.fail_all(StubClosed(f"the {self.interface.name} stub was closed"))
        if self._verdict is not None and not self._verdict.done():
            self._verdict.set_exception(StubClosed(f"the {self.interface.name} stub was closed"))
            self._verdict.exception()  # whoever waits has it; if nobody does, nothing is amiss
        if self._link is not None:
            self._link.send(encode(wire.Goodbye("closed by the caller", is_final=True)))
            self._link.close()
        self._carry_out()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._keeper is not None:
            self._keeper.cancel()

    async def aclose(self) -> None:
        """Close, and wait until the link's socket is really closed."""
        link, keeper = self._link, self._keeper
        self.close()
        if keeper is not None:
            await asyncio.wait([keeper])
        if link is not None:
            await link.wait_closed()

    def frames_received(self, frames: list[bytes]) -> None:
        """Take what one socket read of the present link brought."""
        if self._is_closed:
            return
        try:
            self._protocol.receive(frames, self._loop.time())
        except ProtocolError as error:
            logger.warning("%s: %s; the connection is closed", self.address_text, ascii(str(error)))
            self._leave(Leave(error))
        self._carry_out()

    # Carrying out what the protocol says.

    def _carry_out(self) -> None:
        protocol = self._protocol
        outgoing = protocol.outgoing
        if outgoing:
            link = self._link
            if link is not None:
                for frame in outgoing:
                    link.send(frame)
            outgoing.clear()
        if protocol.progressed:
            self._tell_progress()
        if protocol.answers:
            self._hand_out_answers()
        if self._verdict is not None:
            self._tell_verdict()
        if protocol.leave is not None:
            leave, protocol.leave = protocol.leave, None
            self._leave(leave)
        due = protocol.deadline()
        if due is not None and (self._timer_at is None or due < self._timer_at):
            self._arm(due)

    def _hand_out_answers(self) -> None:
        answers = self._protocol.answers
        for call, outcome in answers:
            if not call.waiter.done():
                call.waiter.set_result(outcome)
        answers.clear()
        self._attempts = 0

    def _tell_progress(self) -> None:
        progressed, self._protocol.progressed = self._protocol.progressed, []
        for call in progressed:
            if call.on_progress is not None:
                call.on_progress()

    def _tell_verdict(self) -> None:
        verdict, protocol = self._verdict, self._protocol
        if verdict is None or verdict.done():
            return
        if protocol.state is State.BOUND:
            verdict.set_result(None)
        elif protocol.is_trouble_lasting:
            verdict.set_exception(copy_error(protocol.trouble))
            verdict.exception()  # as in close
        else:
            return
        self._verdict = None

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

    def _leave(self, leave: Leave) -> None:
        if leave.address is not None:
            self._turn_to(leave.address)
        elif not leave.is_lasting:
            self._turn += 1
        if self._line is not None:
            self._line.end(leave.reason)

    def _turn_to(self, text: str) -> None:
        try:
            address = parse_address(text)
        except AddressError as error:
            logger.warning("a host redirects to %s: %s", ascii(text), error)
            self._turn += 1
            return
        if address not in self.addresses:
            if len(self.addresses) >= ADDRESSES_MAX:
                self.addresses.pop()
            self.addresses.append(address)
        self._was_redirected = True
        self._turn = self.addresses.index(address)

    async def _keep_connected(self) -> None:
        while True:
            address = self.addresses[self._turn % len(self.addresses)]
            turn, self._was_redirected = self._turn, False
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    link = await self._network.connect(address)
            except (LiferaftError, TimeoutError) as error:
                reason = str(error) or f"no link within {CONNECT_TIMEOUT} s"
                self._protocol.link_lost(Unreachable(f"{address}: {reason}"))
                self._carry_out()
            else:
                await self._use(link)
            if turn == self._turn and not self._protocol.is_trouble_lasting:
                self._turn += 1  # it did not answer, or ended without a word on where to go
            self._attempts += 1
            await asyncio.sleep(self._pause())

    async def _use(self, link: Link) -> None:
        """Talk over `link` until it ends or is to be left."""
        opened_at = self._loop.time()
        line = _Line(self, self._loop.create_future())
        self._link, self._line = link, line
        link.start(line)
        self._protocol.link_opened(opened_at)
        self._carry_out()
        reason: LiferaftError | None = None
        try:
            reason = await line.ended
        finally:
            self._link = self._line = None
            line.is_current = False
            if not self._is_closed:
                link.abort()
            self._protocol.link_lost(reason or ConnectionLost(f"{link.peer}: closed"))
            self._carry_out()
            if self._loop.time() - opened_at > SETTLED_AFTER:
                self._attempts = 0

    def _pause(self) -> float:
        """Return how long to wait before the next attempt."""
        if self._was_redirected and self._attempts <= REDIRECTS_AT_ONCE_MAX:
            return 0.0
        ceiling = min(BACKOFF_FIRST * 2.0 ** min(self._attempts, 16), BACKOFF_MAX)
        return ceiling * (0.5 + self._random.random() / 2)

    # Small things.

    def _time_left(self) -> float | None:
        left = ambient.time_left()
        return self.timeout if left is None else left

    def _check_open(self) -> None:
        if self._is_closed:
            raise StubClosed(f"the {self.interface.name} stub {self._why_closed}")

    def after_fork(self) -> None:
        """Know, in a process that was just forked, that the socket is the parent's to use."""
        self._is_closed = True
        self._why_closed = FORKED
        if self._keeper is not None:
            _forked.append(self._keeper)

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


class _Line:
    """What one link calls back: late callbacks of a link that was left must not reach the next."""

    def __init__(
        self, connection: CallerConnection, ended: asyncio.Future[LiferaftError | None]
    ) -> None:
        self.is_current = True
        self.ended = ended
        self._connection = connection

    def end(self, reason: LiferaftError | None) -> None:
        """Have the link left; the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(reason)

    def frames_received(self, frames: list[bytes]) -> None:
        """See `Receiver`."""
        if self.is_current:
            self._connection.frames_received(frames)

    def link_closed(self, reason: LiferaftError | None) -> None:
        """See `Receiver`."""
        self.end(reason)

    def sending_paused(self) -> None:
        """See `Receiver`; what waits to be sent is bounded by `UNANSWERED_MAX` already."""

    def sending_resumed(self) -> None:
        """See `Receiver`."""


def _after_fork() -> None:
    for connection in list(_open):
        connection.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
