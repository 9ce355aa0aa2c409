"""Linearizable reads on their way: asked together, confirmed together, answered after the apply.

All reads that arrive between two turns of the driver share one `ReadAsked`, and so one round of
the leader's heartbeats (dissertation, section 6.4).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from liferaft.raft.types import NodeId


class Read(Protocol):
    """Who waits to read. One of the two methods is called, once."""

    def ready(self) -> None:
        """Read the state machine now: it holds everything that was acknowledged before."""

    def rejected(self, leader: NodeId | None) -> None:
        """Learn that this node cannot answer; `leader` may, if it is known."""


class Barrier:
    """A read that only waits: `reached` is done when the state holds all that was acknowledged.

    `on_rejected` makes the exception that it raises where this node cannot answer.
    """

    def __init__(self, on_rejected: Callable[[NodeId | None], Exception]) -> None:
        self.reached: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        self._on_rejected = on_rejected

    def ready(self) -> None:
        """Let go on who waits."""
        if not self.reached.done():
            self.reached.set_result(None)

    def rejected(self, leader: NodeId | None) -> None:
        """Send away who waits."""
        if not self.reached.done():
            self.reached.set_exception(self._on_rejected(leader))


class Reads:
    """Keeps who reads until the leader's confirmation and the state machine are both there."""

    def __init__(self) -> None:
        self._queued: list[Read] = []
        self._asked: dict[int, list[Read]] = {}
        self._confirmed: deque[tuple[int, list[Read]]] = deque()
        self._last_read_id = 0

    def add(self, read: Read) -> None:
        """Queue a read for the next `take`."""
        self._queued.append(read)

    def take(self) -> int | None:
        """Return the id for one `ReadAsked` on behalf of all queued reads, None without any."""
        if not self._queued:
            return None
        self._last_read_id += 1
        self._asked[self._last_read_id] = self._queued
        self._queued = []
        return self._last_read_id

    def confirmed(self, read_ids: tuple[int, ...], index: int) -> None:
        """Remember that these may be answered once `index` is applied; indexes never fall."""
        for read_id in read_ids:
            self._confirmed.append((index, self._asked.pop(read_id)))

    def rejected(self, read_ids: tuple[int, ...], leader: NodeId | None) -> None:
        """Send these reads away."""
        for read_id in read_ids:
            for read in self._asked.pop(read_id):
                read.rejected(leader)

    def answer(self, applied_index: int) -> None:
        """Let everyone read whose index the state machine has reached."""
        while self._confirmed and self._confirmed[0][0] <= applied_index:
            _, reads = self._confirmed.popleft()
            for read in reads:
                read.ready()

    def reject_all(self) -> None:
        """Send everybody away: this node ends."""
        waiting = [*self._asked.values(), *(reads for _, reads in self._confirmed), self._queued]
        self._asked, self._queued = {}, []
        self._confirmed.clear()
        for reads in waiting:
            for read in reads:
                read.rejected(None)
