"""References at a host: what its callers hold of it and it of them, and how it calls them back.

A callback goes over whichever link the caller's session has at present; its numbers and answers are
of a session of their own, which ends with the caller's. A caller that was not heard of for
`HOST_LEASE` seconds holds nothing any more, and nothing of it is held.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from liferaft.errors import ConnectionLost, NoSuchObject
from liferaft.rpc import wire
from liferaft.rpc.buffers import CallFrame
from liferaft.rpc.caller_state import Timing
from liferaft.rpc.codec import decode_frame, encode
from liferaft.rpc.driving import CallDriver, Waiter
from liferaft.rpc.interception import Interceptor
from liferaft.rpc.interface import Interface
from liferaft.rpc.protocol import CallerProtocol
from liferaft.rpc.references import (
    HOST_LEASE,
    RELEASES,
    ReferenceTable,
    Target,
)

CALLBACK_SESSION: Final = bytes(wire.SESSION_BYTES)
"""What stands for the one caller of a callback: its host."""
NEVER: Final = 1e7
"""Seconds. The caller asks whether its host is there; the host does not ask back."""


class HostReferences:
    """The references of all sessions of one hosted object; lives on the host's loop.

    `heard_at` tells when a session was heard of last, in the loop's time. What is called of
    callers' objects goes through the `interceptors`.
    """

    def __init__(
        self,
        interface: Interface,
        *,
        heard_at: Callable[[bytes], float | None],
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        self._interceptors = interceptors
        self._interface = interface
        self._heard_at = heard_at
        self._tables: dict[bytes, ReferenceTable] = {}
        self._connections: dict[bytes, CallbackConnection] = {}
        self._sends: dict[bytes, Callable[[CallFrame], None]] = {}
        # A caller that was left, and comes again, may have the answers to earlier calls still; and
        # answers that it gets only now may speak of earlier references. So no number comes again.
        self._next_number = 1
        self._next_reference = 1
        self._timer: asyncio.TimerHandle | None = None

    def adopt(self, session: bytes, table: ReferenceTable) -> None:
        """Take a table that somebody else keeps."""
        self._tables[session] = table

    def of(self, session: bytes) -> ReferenceTable:
        """Return the table of a session, made when there is none; called on the loop."""
        table = self._tables.get(session)
        if table is None:
            connection = CallbackConnection(
                interface=self._interface,
                first_number=self._next_number,
                first_reference=self._next_reference,
                interceptors=self._interceptors,
            )
            self._connections[session] = connection
            if session in self._sends:
                connection.attach(self._sends[session])
            table = self._tables[session] = connection.references
            self._watch()
        return table

    def known(self, session: bytes) -> ReferenceTable:
        """Return the table of a session, in any thread; raises `NoSuchObject` once it has left."""
        table = self._tables.get(session)
        if table is None:
            raise NoSuchObject("the caller is gone, and its references with it")
        return table

    def target(self, session: bytes, name: str) -> Target:
        """Return what a call to a reference reaches; raises `NoSuchObject`."""
        digits = name.rpartition("#")[2]
        if not digits.isdecimal() or len(digits) > len(str(1 << 63)):
            raise NoSuchObject(f"{name!r} is no reference")
        if digits == "0":
            return Target(RELEASES.methods, self._releases(session), {})
        table = self._tables.get(session)
        if table is None:
            raise NoSuchObject("what the reference leads to is gone: its lease ended, or its host")
        return table.find(int(digits)).target

    def attach(self, session: bytes, send: Callable[[CallFrame], None]) -> None:
        """Learn over which link a session is reached from now on."""
        self._sends[session] = send
        connection = self._connections.get(session)
        if connection is not None:
            connection.attach(send)

    def answered(self, session: bytes, data: bytes) -> None:
        """Take the answer to a callback, or of its streams; raises `ProtocolError`."""
        connection = self._connections.get(session)
        if connection is not None:
            connection.frame_received(data)
        elif session in self._sends:
            frame = decode_frame(data)
            if isinstance(frame, wire.Chunk):  # of a call that was given up with its caller
                self._sends[session](encode(wire.Cancel(-frame.number)))

    def leave(self, session: bytes, reason: str = "the caller is gone") -> None:
        """Hold nothing of a session any more."""
        self._sends.pop(session, None)
        self._tables.pop(session, None)
        connection = self._connections.pop(session, None)
        if connection is not None:
            self._next_number = max(self._next_number, connection.next_number)
            self._next_reference = max(self._next_reference, connection.references.next_number)
            connection.end(reason)
            # What is let out to two callers, and leads to each other, would hold itself for ever.
            connection.references.clear()

    def stop(self) -> None:
        """Hold nothing of anybody any more."""
        for session in list(self._connections):
            self.leave(session, "the host stops")
        self._tables.clear()
        self._sends.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _releases(self, session: bytes) -> Mapping[str, tuple[Callable[..., Any], bool]]:
        async def release(dropped: list[tuple[int, int]]) -> None:
            table = self._tables.get(session)
            if table is not None:
                table.release(dropped)

        return {"release": (release, True)}

    # Leases.

    def _watch(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(HOST_LEASE / 4, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for session in list(self._connections):
            heard_at = self._heard_at(session)
            if heard_at is None or loop.time() - heard_at > HOST_LEASE:
                self.leave(session, "the caller was not heard of for too long")
        if self._connections:
            self._watch()


class CallbackConnection(CallDriver):
    """Calls the objects of one caller's session, over the link that it has at present."""

    def __init__(
        self,
        *,
        interface: Interface,
        first_number: int = 1,
        first_reference: int = 1,
        timeout: float | None = 10.0,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        """Bound calls that have no ambient deadline to `timeout` seconds."""
        protocol: CallerProtocol[Waiter] = CallerProtocol(
            object_name="",
            signatures={},
            draw_session=lambda: CALLBACK_SESSION,
            timing=Timing(NEVER, NEVER, NEVER, NEVER),
            calls_back=True,
        )
        protocol.session.next_number = first_number
        super().__init__(protocol, interface=interface, timeout=timeout, interceptors=interceptors)
        self._first_reference = first_reference
        self._loop = asyncio.get_running_loop()

    @property
    def next_number(self) -> int:
        """The number of the next call."""
        return self._protocol.session.next_number

    def attach(self, send: Callable[[CallFrame], None]) -> None:
        """Go on over the link on which the caller's session was bound last."""
        self._send = send
        self._protocol.attached(self._loop.time())
        self._carry_out()

    def frame_received(self, data: bytes) -> None:
        """Take an answer of the caller; raises `ProtocolError` when it cannot be read."""
        self._protocol.receive([data], self._loop.time())
        self._carry_out()

    def close(self) -> None:
        """Give up every call: the caller is gone."""
        self.end("the caller is gone")

    def end(self, reason: str) -> None:
        """Give up every call, for a reason; calls made later raise `StubClosed`."""
        if self._is_closed:
            return
        self._is_closed = True
        self._why_closed = f"is no more: {reason}"
        self._protocol.fail_all(ConnectionLost(reason))
        self._carry_out()
        self._send = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
