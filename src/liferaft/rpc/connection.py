"""A caller's connection: makes links to one of several addresses, and keeps one up.

How calls are made over them is told in `liferaft.rpc.driving`. It lives on one event loop and is
touched from that loop's thread only.
"""

import asyncio
import logging
import os
import weakref
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Final

from liferaft.errors import (
    AddressError,
    ConnectionLost,
    LiferaftError,
    ProtocolError,
    Refused,
    StubClosed,
    Unreachable,
)
from liferaft.link.address import Address, parse_address
from liferaft.link.base import Link, Network
from liferaft.rpc import parting, wire
from liferaft.rpc.addresses import AddressBook
from liferaft.rpc.bridge import FORKED
from liferaft.rpc.buffers import CallFrame
from liferaft.rpc.callbacks import CallbackHost
from liferaft.rpc.caller_state import Leave, State, Timing, copy_error
from liferaft.rpc.codec import encode
from liferaft.rpc.driving import CallDriver, Waiter
from liferaft.rpc.inquiry import PING_WITHIN, PINGS, Inquirer, is_in_doubt
from liferaft.rpc.interception import Interceptor
from liferaft.rpc.interface import Interface
from liferaft.rpc.protocol import CallerProtocol
from liferaft.rpc.references import CALLER_LEASE
from liferaft.rpc.session import RESEND_CAP, PendingCall

if TYPE_CHECKING:
    from liferaft.rpc.failover import FailoverConnection

logger = logging.getLogger("liferaft.rpc")

SETTLED_AFTER: Final = 1.0
"""Seconds that a link must live for its host to count as one that helped."""


_open: "weakref.WeakSet[CallerConnection]" = weakref.WeakSet()
_forked: list[object] = []
"""Tasks of a loop that stayed in the parent: kept, as there is nobody to end them here."""


class CallerConnection(CallDriver):
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
        token: str = "",
        metadata: dict[str, str] | None = None,
        interceptors: Sequence[Interceptor] = (),
        callback_interceptors: Sequence[Interceptor] = (),
    ) -> None:
        """`timeout` bounds each call that has no ambient deadline, in seconds; None does not.

        With `gives_back` a call that may as well go to another host raises `Unreachable` as soon as
        this one is gone. `token` is this caller's secret, for hosts that ask for one. `metadata`
        goes with every call. `interceptors` are those of references, as at `CallDriver`, and
        `callback_interceptors` those of what the host calls here.
        """
        self._book = AddressBook(addresses, random)
        self._random = random
        self._owner: FailoverConnection | None = None
        protocol: CallerProtocol[Waiter] = CallerProtocol(
            object_name=object,
            signatures=interface.signatures,
            draw_session=lambda: random.randbytes(wire.SESSION_BYTES),
            timing=timing,
            gives_back=gives_back,
            token=token,
            metadata=metadata,
            frame_bytes_max=network.frame_bytes_max,
        )
        super().__init__(protocol, interface=interface, timeout=timeout, interceptors=interceptors)
        self._network = network
        self._inquirer = Inquirer(
            network, object_name=object, signatures=interface.signatures, token=token
        )
        self._inquiry: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._line: _Line | None = None
        # The last link that was left with a goodbye.
        self._parting: Link | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._callbacks: CallbackHost | None = None
        self._callback_interceptors = callback_interceptors

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else self._protocol.state.name.lower()
        return f"<CallerConnection {self.interface.name} at {self.address_text} {state}>"

    @property
    def addresses(self) -> list[Address]:
        """The addresses known: those that it was made with, and those that hosts have named."""
        return self._book.addresses

    @property
    def address_text(self) -> str:
        """The addresses known, as a user writes them."""
        return ",".join(map(str, self.addresses))

    @property
    def is_bound(self) -> bool:
        """Whether a host has the object and calls are sent at once."""
        return self._protocol.state is State.BOUND

    def open(self, owner: "FailoverConnection | None" = None) -> None:
        """Begin to connect, and to reconnect when the link is lost; called once, on the loop.

        Where there is an `owner`, this connection ends when its host stops, and that one has the
        calls.
        """
        self._owner = owner
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
            if type(reason) is ConnectionLost:
                # Before anything was bound nothing was executed either.
                reason = Unreachable(
                    f"{reason} before it had answered: TLS on one side only, or a certificate that"
                    " is not taken, looks like this"
                )
            elif isinstance(reason, Unreachable) and self.address_text not in str(reason):
                reason = Unreachable(f"nobody answers at {self.address_text}: {reason}")
            raise reason from None

    def close(self) -> None:
        """End the connection; unanswered calls raise `StubClosed`. May be called again."""
        if self._parting is not None:
            self._parting.abort()
        if self._is_closed:
            return
        self._set_closed("is closed")
        self._protocol.fail_all(StubClosed(f"the {self.interface.name} stub was closed"))
        if self._verdict is not None and not self._verdict.done():
            self._verdict.set_exception(StubClosed(f"the {self.interface.name} stub was closed"))
            self._verdict.exception()  # whoever waits has it; if nobody does, nothing is amiss
        if self._link is not None:
            self._link.send(encode(wire.Goodbye("closed by the caller", is_final=True)))
            self._link.close()
        self._carry_out()
        if self._keeper is not None:
            self._keeper.cancel()

    async def aclose(self) -> None:
        """Close, and wait until the link's socket is really closed."""
        links, keeper = (self._link, self._parting), self._keeper
        self.close()
        if self._callbacks is not None:
            await self._callbacks.stop()
        if keeper is not None:
            await asyncio.wait([keeper])
        for link in links:
            if link is not None:
                await link.wait_closed()

    def frames_received(self, frames: list[bytes]) -> None:
        """Take what one socket read of the present link brought."""
        if self._is_closed:
            return
        try:
            self._protocol.receive(frames, self._loop.time())
            if self._protocol.incoming:
                self._take_incoming()
            if self._protocol.state is State.LEAVING and self._heir is None:
                self._part()
        except ProtocolError as error:
            logger.warning("%s: %s; the connection is closed", self.address_text, ascii(str(error)))
            self._leave(Leave(error))
        self._carry_out()

    def bytes_received(self) -> None:
        """Learn that a part of a large frame came over the present link."""
        self._protocol.bytes_received(self._loop.time())

    def set_clogged(self, *, is_clogged: bool) -> None:
        """Learn whether what was sent over the present link still waits to leave."""
        self._protocol.set_clogged(self._loop.time(), is_clogged=is_clogged)
        self._carry_out()

    def _take_incoming(self) -> None:
        """Have the host's calls of objects that it refers to executed."""
        incoming, self._protocol.incoming = self._protocol.incoming, []
        if self._callbacks is None:
            self._callbacks = CallbackHost(
                self.references,
                answer=self._answer_callback,
                interceptors=self._callback_interceptors,
            )
        for frame, data in incoming:
            self._callbacks.take(frame, data)

    def _forget_references(self) -> None:
        super()._forget_references()
        if self._callbacks is not None:
            self._callbacks.forget()

    def _answer_callback(self, frame: CallFrame) -> None:
        if self._send is not None and self._protocol.state.is_bound:
            self._send(frame)

    # Carrying out what the protocol says.

    def _hand_out_answers(self) -> None:
        super()._hand_out_answers()
        if self._protocol.state.is_bound:
            self._book.helped()

    def _tell_state(self) -> None:
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

    def _leave(self, leave: Leave) -> None:
        if leave.address is not None:
            self._redirected(leave.address)
        if leave.has_parted and self._link is not None:
            self._parting = self._link
            self._parting.close()
        if self._line is not None:
            is_gone = leave.address is None and not isinstance(leave.reason, Refused)
            self._line.end(leave.reason, is_gone=is_gone)

    def _redirected(self, text: str) -> None:
        try:
            self._book.redirected(parse_address(text))
        except AddressError as error:
            logger.warning("a host redirects to %s: %s", ascii(text), error)

    async def _keep_connected(self) -> None:
        while not self._has_parted():
            self._check_lease()
            address, is_gone = self._book.current, True
            timeout = self._book.connect_timeout
            try:
                async with asyncio.timeout(timeout):
                    link = await self._network.connect(address)
            except (LiferaftError, TimeoutError) as error:
                reason = str(error) or f"nobody answered at {address} within {timeout:g} s"
                if str(address) not in reason:
                    reason = f"{address}: {reason}"
                self._protocol.link_lost(Unreachable(reason))
                self._carry_out()
                self._hand_over(is_refused=isinstance(error, LiferaftError))
            else:
                is_gone = await self._use(link)
            if self._has_parted():
                break
            stays = self._protocol.is_trouble_lasting
            pause = self._book.turn(self._loop.time(), is_gone=is_gone, stays=stays)
            await asyncio.sleep(pause)
        await self._end_parted()

    # Leaving a host that is about to stop.

    def _has_parted(self) -> bool:
        """Whether the host was left for good: it owes nothing any more."""
        return self._heir is not None and not self._protocol.session.pending

    def _part(self) -> None:
        """Leave new calls to the owner, and end once those are answered that the host has."""
        if self._owner is None:
            return
        here, others = self._book.current, self._book.others
        self._book = AddressBook([here], self._random)
        self._heir, self._protocol.is_parting = self._owner, True
        self._owner.succeed(self, [*others, here])
        if self._verdict is not None and not self._verdict.done():
            self._verdict.set_result(None)

    def _hand_over(self, *, is_refused: bool) -> None:
        """Give the host up, if it was to stop and is gone."""
        protocol = self._protocol
        is_late = self._loop.time() - protocol.heard_at > parting.GONE_AFTER
        if self._owner is not None and self._heir is not None and (is_refused or is_late):
            self._owner.take_over(parting.give_up(protocol))
            self._carry_out()

    def take_over(self, calls: Sequence[PendingCall[Waiter]]) -> None:
        """Have calls answered that another host did not answer, and that do no harm twice."""
        for call in calls:
            self._protocol.take_over(call, self._loop.time())
        self._carry_out()

    async def _end_parted(self) -> None:
        """Close quietly: the stub lives on, and so may stubs of what the host had referred to."""
        assert self._owner is not None
        self._protocol.forget()
        self._carry_out()
        self._set_closed("has left its host, which stopped")
        if self._callbacks is not None:
            await self._callbacks.stop()
        if self._parting is not None:
            await self._parting.wait_closed()
        self._owner.parted(self)

    def _set_closed(self, why: str) -> None:
        self._is_closed, self._why_closed = True, why
        _open.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_lease(self) -> None:
        """Begin a new session when the host was not heard of for as long as a lease of references.

        It may have dropped them, and those that it holds must not be kept for it for ever.
        """
        references, protocol = self._references, self._protocol
        if references is None or references.table.is_empty:
            return
        if self._loop.time() - protocol.heard_at > CALLER_LEASE:
            protocol.begin_anew(f"the host was not heard of for {CALLER_LEASE:g} s")
            self._carry_out()

    def _time_passed(self) -> None:
        super()._time_passed()
        line = self._line
        if line is None or self._inquiry is not None or not self._book.others:
            return
        if is_in_doubt(self._protocol, self._loop.time()):
            self._inquiry = self._loop.create_task(self._inquire(line), name="liferaft inquiry")

    async def _inquire(self, line: "_Line") -> None:
        """Leave the host if it stays silent and another is in its place."""
        found = await self._find_another()
        if found is not None:
            self._book.redirected(found)
            line.end(Unreachable(f"{found} serves the object meanwhile"))
            return
        await asyncio.sleep(RESEND_CAP)  # no more often than a call is repeated
        self._inquiry = None

    async def _find_another(self) -> Address | None:
        """Return who serves the object as others say, None as soon as the host is heard of."""
        protocol, silent_since = self._protocol, self._protocol.heard_at
        for _ in range(PINGS):
            if self._send is not None:
                self._send(encode(wire.Ping(protocol.session.acked_below)))
            await asyncio.sleep(max(PING_WITHIN, protocol.round_trip.interval))
        for address in self._book.others:
            if protocol.heard_at != silent_since:
                return None
            found = await self._inquirer.who_serves(address, protocol.session.session_id)
            if found not in (None, self._book.current):
                return found if protocol.heard_at == silent_since else None
        return None

    async def _end_inquiry(self) -> None:
        inquiry, self._inquiry = self._inquiry, None
        if inquiry is not None:
            inquiry.cancel()
            await asyncio.wait([inquiry])

    async def _use(self, link: Link) -> bool:
        """Talk over `link` until it ends or is to be left; returns whether its host is gone."""
        opened_at = self._loop.time()
        line = _Line(self, self._loop.create_future())
        self._link, self._line = link, line
        self._send = link.send
        link.start(line)
        self._protocol.link_opened(opened_at)
        self._carry_out()
        reason: LiferaftError | None = None
        try:
            reason = await line.ended
        finally:
            self._link = self._line = self._send = None
            line.is_current = False
            if not self._is_closed and not link.is_closed:
                link.abort()
            self._protocol.link_lost(reason or ConnectionLost(f"{link.peer}: closed"))
            self._carry_out()
            if self._loop.time() - opened_at > SETTLED_AFTER:
                self._book.helped()
            await self._end_inquiry()
        return line.is_gone

    # Small things.

    def after_fork(self) -> None:
        """Know, in a process that was just forked, that the socket is the parent's to use."""
        self._is_closed = True
        self._why_closed = FORKED
        if self._keeper is not None:
            _forked.append(self._keeper)


class _Line:
    """What one link calls back: late callbacks of a link that was left must not reach the next."""

    def __init__(
        self, connection: CallerConnection, ended: asyncio.Future[LiferaftError | None]
    ) -> None:
        self.is_current = True
        self.is_gone = True
        self.ended = ended
        self._connection = connection

    def end(self, reason: LiferaftError | None, *, is_gone: bool = True) -> None:
        """Have the link left; the first reason counts. `is_gone` says that the host may be."""
        if not self.ended.done():
            self.is_gone = is_gone
            self.ended.set_result(reason)

    def frames_received(self, frames: list[bytes]) -> None:
        """See `Receiver`."""
        if self.is_current:
            self._connection.frames_received(frames)

    def link_closed(self, reason: LiferaftError | None) -> None:
        """See `Receiver`."""
        self.end(reason)

    def bytes_received(self) -> None:
        """See `Receiver`."""
        if self.is_current:
            self._connection.bytes_received()

    def sending_paused(self) -> None:
        """See `Receiver`; what waits to be sent is bounded by `UNANSWERED_MAX` already."""
        if self.is_current:
            self._connection.set_clogged(is_clogged=True)

    def sending_resumed(self) -> None:
        """See `Receiver`."""
        if self.is_current:
            self._connection.set_clogged(is_clogged=False)


def _after_fork() -> None:
    for connection in list(_open):
        connection.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
