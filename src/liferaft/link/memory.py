"""Links inside one process, for tests and for a cluster that lives in one loop.

Names are addresses: `memory:name`. What is sent in one turn of the loop arrives together in a later
one, like a socket's read. There is no clock and no chance here: the same sends give the same
deliveries, in the same order. Invariants:

- A link calls its receiver only from the loop, never from inside a method of either end.
- What waits to be delivered is bounded by the sender's heed of `sending_paused`, as on a socket.
"""

import asyncio
import itertools
from collections.abc import Callable

from liferaft.errors import AddressError, ConnectionLost, LiferaftError, Unreachable
from liferaft.link.address import Address
from liferaft.link.base import FRAME_BYTES_MAX, HIGH_WATER_BYTES, Link, Receiver
from liferaft.link.frames import Sendable, check_frame, joined


class MemoryNetwork:
    """The links of one process; a `Network`. Two networks know nothing of each other's names."""

    def __init__(self, *, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._listeners: dict[str, MemoryListener] = {}

    async def connect(self, address: Address) -> Link:
        """Return a link to whoever listens there; raises `Unreachable` when nobody does."""
        _check_kind(address)
        listener = self._listeners.get(address.host)
        if listener is None:
            raise Unreachable(f"nobody answered at {address}: nobody listens under that name")
        there, back = _Pipe(), _Pipe()
        accepted = MemoryLink(listener.next_peer(), there, back, self.frame_bytes_max)
        asyncio.get_running_loop().call_soon(listener.offer, accepted)
        return MemoryLink(str(address), back, there, self.frame_bytes_max)

    async def listen(self, address: Address, accept: Callable[[Link], None]) -> "MemoryListener":
        """Call `accept` with each new link; raises `AddressError` when the name is in use."""
        _check_kind(address)
        if address.host in self._listeners:
            raise AddressError(f"{address} is in use in this process: choose another name")
        listener = MemoryListener(address, accept, self._forget)
        self._listeners[address.host] = listener
        return listener

    def _forget(self, address: Address) -> None:
        del self._listeners[address.host]


class MemoryListener:
    """A name under which links are accepted; a `Listener`."""

    def __init__(
        self,
        address: Address,
        accept: Callable[[Link], None],
        forget: Callable[[Address], None],
    ) -> None:
        self._address = address
        self._accept = accept
        self._forget = forget
        self._numbers = itertools.count(1)
        self._is_closed = False

    @property
    def address(self) -> Address:
        """The address under which links are accepted."""
        return self._address

    def next_peer(self) -> str:
        """Return what to call the next link's other end."""
        return f"{self._address}#{next(self._numbers)}"

    def offer(self, link: Link) -> None:
        """Accept the link, or end it when the listener was closed since it was made."""
        if self._is_closed:
            link.abort()
        else:
            self._accept(link)

    async def close(self) -> None:
        """Stop to accept and free the name. Links that were accepted live on."""
        if not self._is_closed:
            self._is_closed = True
            self._forget(self._address)


class MemoryLink:
    """One end of a link inside the process; a `Link`. Made in pairs by `MemoryNetwork`."""

    def __init__(
        self, peer: str, incoming: "_Pipe", outgoing: "_Pipe", frame_bytes_max: int
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._peer = peer
        self.frame_bytes_max = frame_bytes_max
        self._incoming = incoming
        self._outgoing = outgoing
        self._receiver: Receiver | None = None
        self._is_started = False
        self._is_closed = False
        self._is_told_paused = False
        self._reason: LiferaftError | None = None
        self._ended = asyncio.Event()
        incoming.on_frames = self._deliver
        incoming.on_end = self._peer_ended
        outgoing.on_pressure = self._tell_pressure

    @property
    def peer(self) -> str:
        """Where the other end is, for log lines and errors."""
        return self._peer

    @property
    def is_closed(self) -> bool:
        """Whether `close` or `abort` was called, or the peer went away."""
        return self._is_closed

    def start(self, receiver: Receiver) -> None:
        """Begin to deliver, from the next turn of the loop on; called once."""
        assert not self._is_started, "a link is started once"
        self._is_started = True
        self._loop.call_soon(self._begin, receiver)

    def send(self, frame: Sendable) -> None:
        """Send a frame; on a closed link it is lost.

        Raises `InvalidArgument` when the frame is empty or too large.
        """
        check_frame(frame, self.frame_bytes_max)
        if not self._is_closed:
            self._outgoing.put(joined(frame))

    def close(self) -> None:
        """End the link; what was sent still arrives."""
        if not self._is_closed:
            self._outgoing.end()
            self._end(None)

    def abort(self) -> None:
        """End the link at once; what has not been delivered is lost."""
        self._outgoing.take()
        self.close()

    async def wait_closed(self) -> None:
        """Wait until the link has ended."""
        await self._ended.wait()

    def _begin(self, receiver: Receiver) -> None:
        self._receiver = receiver
        if self._ended.is_set():
            receiver.link_closed(self._reason)
            return
        # Each is scheduled by itself: a receiver that fails at one of them is told the others.
        self._loop.call_soon(self._tell_pressure)
        self._loop.call_soon(self._deliver)
        if self._incoming.is_ended:
            self._loop.call_soon(self._peer_ended)

    def _deliver(self) -> None:
        """Hand over what has come since the last time."""
        if self._receiver is None or self._is_closed:
            return
        frames = self._incoming.take()
        if frames:
            self._receiver.frames_received(frames)

    def _tell_pressure(self) -> None:
        """Tell the receiver whether too much waits to be sent, when that has changed."""
        is_full = self._outgoing.is_full
        if self._receiver is None or self._is_closed or is_full == self._is_told_paused:
            return
        self._is_told_paused = is_full
        if is_full:
            self._receiver.sending_paused()
        else:
            self._receiver.sending_resumed()

    def _peer_ended(self) -> None:
        # As on a socket that is not read, the end is not seen before the link is started.
        if self._receiver is not None and not self._is_closed:
            self._end(ConnectionLost(f"{self._peer} closed the connection"))

    def _end(self, reason: LiferaftError | None) -> None:
        self._is_closed = True
        self._reason = reason
        self._incoming.take()
        self._loop.call_soon(self._tell_ended)

    def _tell_ended(self) -> None:
        self._ended.set()
        if self._receiver is not None:
            self._receiver.link_closed(self._reason)


class _Pipe:
    """One direction: what one end has sent and the other has not delivered.

    The two ends learn of changes from the loop: the receiving one of frames and of the end, the
    sending one that `is_full` may have changed.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._frames: list[bytes] = []
        self._size_bytes = 0
        self.is_full = False
        self.is_ended = False
        self.on_frames: Callable[[], None]
        self.on_end: Callable[[], None]
        self.on_pressure: Callable[[], None]

    def put(self, frame: bytes) -> None:
        """Take a frame from the sending end."""
        if not self._frames:
            self._loop.call_soon(self.on_frames)
        self._frames.append(frame)
        self._size_bytes += len(frame)
        if self._size_bytes > HIGH_WATER_BYTES and not self.is_full:
            self.is_full = True
            self._loop.call_soon(self.on_pressure)

    def take(self) -> list[bytes]:
        """Give all frames to the receiving end."""
        frames, self._frames, self._size_bytes = self._frames, [], 0
        if self.is_full:
            self.is_full = False
            self._loop.call_soon(self.on_pressure)
        return frames

    def end(self) -> None:
        """Tell the receiving end that the sending one sends nothing more."""
        self.is_ended = True
        self._loop.call_soon(self.on_end)


def _check_kind(address: Address) -> None:
    if address.kind != "memory":
        raise AddressError(f"{address} is not inside this process: write memory:name")
