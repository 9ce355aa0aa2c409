"""Reads on their way: asked together, confirmed together, answered after the apply.

All reads of one kind that arrive between two turns of the driver share one `ReadAsked`, and so one
round of the leader's heartbeats (dissertation, section 6.4).

Every confirmed read also tells how old the state can be at most. Whatever was acknowledged anywhere
before the read was asked is at or below its index; once that is applied, the state lacks nothing
older than the asking. `fresh_as_of` keeps the latest such time. It is this node's own clock that
measures both ends, and the state never goes back while a node lives, neither by an entry nor by a
snapshot: so this only grows. A node that starts knows nothing, whatever its disk holds.
"""

import asyncio
import heapq
import math
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple, Protocol

from liferaft.raft.events import ReadAsked
from liferaft.raft.types import NodeId


class ReadKind(Enum):
    """What makes a read linearizable.

    `QUORUM`: the leader asks a quorum whether it still leads. `LEASE`: as far as its settings allow
    it the leader goes by its clock instead. `FOLLOW`: any node, by asking the leader who asks.
    """

    QUORUM = "quorum"
    LEASE = "lease"
    FOLLOW = "follow"


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


class _Batch(NamedTuple):
    """Reads that were asked together, and when; by a lease it is never known that they were."""

    reads: list[Read]
    asked_at: float


class Reads:
    """Keeps who reads until the leader's confirmation and the state machine are both there."""

    def __init__(self) -> None:
        self.fresh_as_of = -math.inf
        """What was acknowledged anywhere before this time is in the state; it only grows."""
        self._queued: dict[ReadKind, list[Read]] = {}
        self._asked: dict[int, _Batch] = {}
        # By index, the lowest first: what a lease or another's answer confirms may overtake.
        self._confirmed: list[tuple[int, int, _Batch]] = []
        self._last_read_id = 0

    def add(self, read: Read, kind: ReadKind = ReadKind.QUORUM) -> None:
        """Queue a read for the next `take`."""
        queued = self._queued.get(kind)
        if queued is None:
            self._queued[kind] = [read]
        else:
            queued.append(read)

    def take(self, now: float) -> list[ReadAsked]:
        """Return what asks on behalf of all queued reads: one event for each kind among them.

        `now` must not be later than the events are stepped.
        """
        if not self._queued:
            return []
        queued, self._queued = self._queued, {}
        return [self._ask(kind, reads, now) for kind, reads in queued.items()]

    def confirmed(self, read_ids: tuple[int, ...], index: int) -> None:
        """Remember that these may be answered once `index` is applied."""
        for read_id in read_ids:
            heapq.heappush(self._confirmed, (index, read_id, self._asked.pop(read_id)))

    def rejected(self, read_ids: tuple[int, ...], leader: NodeId | None) -> None:
        """Send these reads away."""
        for read_id in read_ids:
            for read in self._asked.pop(read_id).reads:
                read.rejected(leader)

    def answer(self, applied_index: int) -> None:
        """Let everyone read whose index the state machine has reached."""
        while self._confirmed and self._confirmed[0][0] <= applied_index:
            _, _, batch = heapq.heappop(self._confirmed)
            self.fresh_as_of = max(self.fresh_as_of, batch.asked_at)
            for read in batch.reads:
                read.ready()

    def reject_all(self) -> None:
        """Send everybody away: this node ends."""
        batches = [*self._asked.values(), *(batch for _, _, batch in self._confirmed)]
        waiting = [*(batch.reads for batch in batches), *self._queued.values()]
        self._asked, self._queued = {}, {}
        self._confirmed.clear()
        for reads in waiting:
            for read in reads:
                read.rejected(None)

    def _ask(self, kind: ReadKind, reads: list[Read], now: float) -> ReadAsked:
        self._last_read_id = read_id = self._last_read_id + 1
        # A lease is only as good as all clocks of the cluster, and an age must not rest on them.
        self._asked[read_id] = _Batch(reads, -math.inf if kind is ReadKind.LEASE else now)
        return ReadAsked(
            read_id,
            may_use_lease=kind is ReadKind.LEASE,
            may_follow=kind is ReadKind.FOLLOW,
        )
