"""Asks other hosts who serves an object, while the present host says nothing.

A machine that is gone without a word resets no link, and a host that is merely slow says no more
than that one. Whoever takes silence for death soon leaves hosts that live, all callers at once and
just when the host has too much to do. So the other hosts are asked, over links of their own: only
where one of them serves the object, or knows another that does, is the silent one left.

It asks for durable objects alone, whose calls may go to another host at any time: their sessions
are not the host's. It never opens a session, and sends no calls.
"""

import asyncio
from typing import Final

from liferaft.errors import AddressError, LiferaftError, ProtocolError
from liferaft.link.address import Address, parse_address
from liferaft.link.base import Link, Network
from liferaft.rpc import wire
from liferaft.rpc.codec import decode_frame, encode
from liferaft.rpc.protocol import CallerProtocol
from liferaft.rpc.session import RESEND_FIRST

SILENCE_MIN: Final = 0.15
"""Seconds without a word before the host is asked whether it lives."""
PINGS: Final = 2
PING_WITHIN: Final = 0.1
"""Seconds for each of the pings that must be lost before anybody else is asked. A host that works
at a call says nothing of it, but it answers these."""
ANSWER_WITHIN: Final = 1.0
"""Seconds for each host. One that is waiting for an election keeps the question for half of it."""


def is_in_doubt(protocol: CallerProtocol[object], now: float) -> bool:
    """Return whether the host of a durable object owes an answer and was not heard of lately.

    To be asked when a call was not answered in the usual time.
    """
    if not protocol.is_durable or not protocol.state.is_bound or not protocol.session.pending:
        return False
    return now - protocol.heard_at >= SILENCE_MIN


class Inquirer:
    """Puts the question of one caller to hosts."""

    def __init__(
        self, network: Network, *, object_name: str, signatures: dict[str, str], token: str
    ) -> None:
        self._network = network
        self._token = token
        # As of a session that was bound before: where it is not known, none is opened.
        self._bind = wire.Bind(object_name, signatures, is_resumed=True)

    async def who_serves(self, address: Address, session: bytes) -> Address | None:
        """Ask the host at `address`; return where the object is served, None if it cannot tell."""
        hello = wire.Hello(wire.PROTOCOL_NAME, wire.PROTOCOL_VERSION, session, self._token)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                link = await self._network.connect(address)
                try:
                    return await _Question(link, address, hello, self._bind).answered()
                finally:
                    link.abort()
        except (LiferaftError, TimeoutError):
            return None  # another host may know


class _Question:
    """The handshake over one link, as far as its outcome; a `Receiver`."""

    def __init__(self, link: Link, address: Address, hello: wire.Hello, bind: wire.Bind) -> None:
        self._link = link
        self._address = address
        self._bind = bind
        self._next: wire.Frame = hello
        self._answer: asyncio.Future[Address | None] = asyncio.get_running_loop().create_future()

    async def answered(self) -> Address | None:
        """Ask, again and again as frames may be lost, and return the answer."""
        self._link.start(self)
        while not self._answer.done():
            self._link.send(encode(self._next))
            await asyncio.wait([self._answer], timeout=RESEND_FIRST)
        return self._answer.result()

    def frames_received(self, frames: list[bytes]) -> None:
        """See `Receiver`."""
        try:
            for data in frames:
                self._take(decode_frame(data))
        except (ProtocolError, AddressError):
            self._tell(None)

    def _take(self, frame: wire.Frame) -> None:
        if isinstance(frame, wire.Welcome):
            self._next = self._bind
            self._link.send(encode(self._bind))
        elif isinstance(frame, wire.Bound):
            self._tell(self._address)
        elif isinstance(frame, wire.Redirect) and frame.address is not None:
            self._tell(parse_address(frame.address))
        else:
            self._tell(None)

    def _tell(self, answer: Address | None) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)

    def link_closed(self, reason: LiferaftError | None) -> None:
        """See `Receiver`."""
        del reason
        self._tell(None)

    def bytes_received(self) -> None:
        """See `Receiver`; the answers are small."""

    def sending_paused(self) -> None:
        """See `Receiver`; next to nothing is sent."""

    def sending_resumed(self) -> None:
        """See `Receiver`."""
