"""A receiver that keeps what a link tells it, and waits for more; shared by the tests of links."""

import asyncio
from collections.abc import Callable

from liferaft.errors import LiferaftError
from liferaft.link.address import Address
from liferaft.link.base import Link, Listener, Network

PATIENCE = 5.0
"""Seconds until a test with real sockets says that what it waits for will not come."""


class Recorder:
    """Keeps all callbacks of one link, in order."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.batches: list[list[bytes]] = []
        self.times: list[float] = []
        self.ends: list[LiferaftError | None] = []
        self.pressure: list[str] = []
        self.parts = 0
        self._changed = asyncio.Event()
        link.start(self)

    @property
    def frames(self) -> list[bytes]:
        return [frame for batch in self.batches for frame in batch]

    def frames_received(self, frames: list[bytes]) -> None:
        assert not self.ends, "link_closed is the last callback"
        self.batches.append(frames)
        self.times.extend([asyncio.get_running_loop().time()] * len(frames))
        self._changed.set()

    def bytes_received(self) -> None:
        assert not self.ends, "link_closed is the last callback"
        self.parts += 1
        self._changed.set()

    def link_closed(self, reason: LiferaftError | None) -> None:
        self.ends.append(reason)
        self._changed.set()

    def sending_paused(self) -> None:
        assert not self.ends, "link_closed is the last callback"
        self.pressure.append("paused")
        self._changed.set()

    def sending_resumed(self) -> None:
        assert not self.ends, "link_closed is the last callback"
        self.pressure.append("resumed")
        self._changed.set()

    async def wait_until(self, is_reached: Callable[["Recorder"], bool]) -> None:
        """Wait until what was recorded fulfils the condition."""
        async with asyncio.timeout(PATIENCE):
            while not is_reached(self):
                self._changed.clear()
                await self._changed.wait()

    async def wait_frames(self, count: int) -> list[bytes]:
        """Wait for that many frames, and return all that came."""
        await self.wait_until(lambda self: len(self.frames) >= count)
        return self.frames

    async def wait_end(self) -> LiferaftError | None:
        """Wait for the end of the link, and return its reason."""
        await self.wait_until(lambda self: bool(self.ends))
        return self.ends[0]


class Acceptor:
    """Keeps the links that a listener accepts."""

    def __init__(self) -> None:
        self._links: asyncio.Queue[Link] = asyncio.Queue()

    def __call__(self, link: Link) -> None:
        self._links.put_nowait(link)

    @property
    def waiting(self) -> int:
        """How many accepted links have not been asked for."""
        return self._links.qsize()

    async def next_link(self) -> Link:
        async with asyncio.timeout(PATIENCE):
            return await self._links.get()


async def make_pair(network: Network, address: Address) -> tuple[Link, Link, Listener]:
    """Return the connecting end, the accepting end and the listener of a new link."""
    acceptor = Acceptor()
    listener = await network.listen(address, acceptor)
    connecting = await network.connect(listener.address)
    return connecting, await acceptor.next_link(), listener


async def end_all(*links: Link) -> None:
    """Abort links and wait until their sockets are closed."""
    for link in links:
        link.abort()
    for link in links:
        await link.wait_closed()


async def pass_turns(count: int = 4) -> None:
    """Let the loop come round that often: enough for what memory links schedule for later."""
    for _ in range(count):
        await asyncio.sleep(0)
