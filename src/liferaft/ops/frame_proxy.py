"""A proxy of whole frames, for liferaft's own protocol: these may be lost, repeated and reordered.

What happens to them is told in `liferaft.link.leak`; how the protocol above bears it is what one
wants to see. For bytes of other protocols see `liferaft.ops.proxy`.
"""

import asyncio
from typing import Self

from liferaft.errors import LiferaftError
from liferaft.link.address import Address
from liferaft.link.base import Link, Listener
from liferaft.link.leak import Leak
from liferaft.link.leaky import LeakyStatistics
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.system import SystemNetwork


class FrameProxy:
    """Passes links on from one address to another; what leaks is `network`'s to say."""

    def __init__(
        self, listen: Address, target: Address, *, leak: Leak | None = None, seed: int = 0
    ) -> None:
        self._inner = SystemNetwork(is_insecure=True)
        self.network = LeakyNetwork(self._inner, seed=seed, outgoing=leak, incoming=leak)
        self.target = target
        self._listen = listen
        self._listener: Listener | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}

    @property
    def address(self) -> Address:
        """Where it listens: with the port that the system chose, once started."""
        return self._listen if self._listener is None else self._listener.address

    async def start(self) -> Self:
        """Begin to listen; raises `AddressError`."""
        self._listener = await self._inner.listen(self._listen, self._accepted)
        return self

    async def stop(self) -> None:
        """Stop to listen, and end every link. May be called again."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        await listener.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def reset_all(self) -> int:
        """End every link without a word, and return how many there were."""
        links = self.network.links
        for link in links:
            link.abort()
        return len(links)

    def statistics(self) -> LeakyStatistics:
        """Return what happened to the frames so far."""
        return self.network.statistics()

    def _accepted(self, link: Link) -> None:
        task = asyncio.get_running_loop().create_task(self._pass_on(link))
        self._tasks[task] = None

        def ended(_: asyncio.Task[None]) -> None:
            del self._tasks[task]
            link.abort()  # it may have been cancelled before it could do anything

        task.add_done_callback(ended)

    async def _pass_on(self, client: Link) -> None:
        try:
            target = await self.network.connect(self.target)
        except LiferaftError:
            client.abort()
            return
        ended = asyncio.Event()
        client.start(_Side(target, ended))
        target.start(_Side(client, ended))
        try:
            await ended.wait()
        finally:
            for link in (client, target):
                link.close()
            for link in (client, target):
                await link.wait_closed()


class _Side:
    """What one link calls back: it hands frames to the other."""

    def __init__(self, other: Link, ended: asyncio.Event) -> None:
        self._other = other
        self._ended = ended

    def frames_received(self, frames: list[bytes]) -> None:
        """See `Receiver`."""
        for frame in frames:
            self._other.send(frame)

    def link_closed(self, reason: LiferaftError | None) -> None:
        """See `Receiver`."""
        del reason
        self._ended.set()

    def bytes_received(self) -> None:
        """See `Receiver`; a frame is passed on once it is whole."""

    def sending_paused(self) -> None:
        """See `Receiver`; the link that was accepted reads nothing more by itself then."""

    def sending_resumed(self) -> None:
        """See `Receiver`."""
