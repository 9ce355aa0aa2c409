"""The one small interface that every way of moving frames offers.

A frame has 1 up to `frame_bytes_max` bytes; what they mean is not this layer's business. It is sent
as `bytes`, or as the buffers in which a large one lies (`Gathered`), and arrives as `bytes`.
A link moves frames both ways between two ends. It may lose, repeat, delay or reorder them (TCP
never does, `LeakySocket` does on purpose), but a frame that arrives is whole and unchanged.

All methods are called from, and all callbacks arrive on, the thread of the event loop. The loop is
the running asyncio loop, which the simulator replaces; time is `loop.time()` and nothing else.
"""

from collections.abc import Callable
from typing import Protocol

from liferaft.errors import LiferaftError
from liferaft.link.address import Address
from liferaft.link.frames import Sendable

FRAME_BYTES_MAX = 64 * 1024 * 1024
"""The default bound of one frame: snapshot chunks and large results fit, a length bomb does not."""

BYTES_PER_SECOND_MIN = 128 * 1024
"""How fast a large frame must come at least: 1 Mbit/s, a poor mobile line."""

HIGH_WATER_BYTES = 1024 * 1024
LOW_WATER_BYTES = 256 * 1024
"""How much may wait to be sent before `sending_paused`, and be left before `sending_resumed`."""


class Receiver(Protocol):
    """What a link calls back. No callback comes before `Link.start`, nor from inside it."""

    def frames_received(self, frames: list[bytes]) -> None:
        """Take the frames of one socket read, in the order in which they arrived; never empty."""

    def bytes_received(self) -> None:
        """Learn that a part of a frame came, and nothing whole: the peer is there."""

    def link_closed(self, reason: LiferaftError | None) -> None:
        """Learn, exactly once and as the last callback, that the link has ended.

        `reason` is None when this side called `close` or `abort`; `ConnectionLost` when the peer
        went away; `ProtocolError` when it sent something that is no frame.
        """

    def sending_paused(self) -> None:
        """Learn that more than the high-water mark waits to be sent."""

    def sending_resumed(self) -> None:
        """Learn that what waits to be sent has fallen below the low-water mark."""


class Link(Protocol):
    """One connection that carries frames both ways."""

    @property
    def peer(self) -> str:
        """Where the other end is, for log lines and errors."""

    @property
    def is_closed(self) -> bool:
        """Whether `close` or `abort` was called, or the peer went away."""

    def start(self, receiver: Receiver) -> None:
        """Begin to deliver; called once. Frames that arrived before are kept until then."""

    def send(self, frame: Sendable) -> None:
        """Send a frame; never blocks. All frames of one loop turn leave in one write.

        On a closed link the frame is lost, as it would be in the network: who needs to know
        waits for an answer.
        """

    def close(self) -> None:
        """End the link after what was sent has left. May be called again."""

    def abort(self) -> None:
        """End the link at once; what has not left is lost. May be called again."""

    async def wait_closed(self) -> None:
        """Wait until the link's socket is really closed."""


class Listener(Protocol):
    """A place where links are accepted."""

    @property
    def address(self) -> Address:
        """The address that was really bound: with the port that the system chose."""

    async def close(self) -> None:
        """Stop to accept and free the address. Links that were accepted live on."""


class Network(Protocol):
    """Makes links. The real one, the one in memory and the simulator's stand in for each other."""

    @property
    def frame_bytes_max(self) -> int:
        """How large a frame its links take."""

    async def connect(self, address: Address) -> Link:
        """Return a link to whoever listens there.

        Raises `Unreachable` when nobody does. Waits as long as the system does: callers bound it
        with `asyncio.timeout`.
        """

    async def listen(self, address: Address, accept: Callable[[Link], None]) -> Listener:
        """Call `accept` with each new link, on the loop, until the listener is closed.

        Raises `AddressError`, with a sentence that says what to do, when it cannot listen there.
        """
