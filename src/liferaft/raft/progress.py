"""What the leader knows of one follower: Figure 2's nextIndex[] and matchIndex[], and flow control.

Invariants: match_index < next_index; match_index only grows; in flight is only what was sent since
the last rewind and is above match_index.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Final

from liferaft.raft.types import Snapshot


class ProgressState(Enum):
    """How the leader sends to a follower."""

    PROBE = "probe"
    """It does not know yet where the logs meet: one message with entries, and it waits."""
    REPLICATE = "replicate"
    """It knows, and sends on before the answers come (pipelining)."""
    SNAPSHOT = "snapshot"
    """It needs what the log no longer holds, and is offered a snapshot with each heartbeat."""


PROBE: Final = ProgressState.PROBE
REPLICATE: Final = ProgressState.REPLICATE
SNAPSHOT: Final = ProgressState.SNAPSHOT
# They are asked for with every message, and in Python 3.11 a look into an enumeration is a call.


@dataclass(slots=True)
class Progress:
    """One follower, as its leader sees it.

    - `next_index`: the next entry to send; the follower's log is taken to match just before it.
    - `match_index`: up to here the follower has the leader's log on stable storage.
    - `contact`: when the latest round of heartbeats that it answered began; at first, when the
      leader began to count it.
    - `acked_at`: the same, without that grace: what a lease may rest on.
    - `vouched_at`: when it was alive as others tell (`PeerAlive`); no lease rests on that.
    - `told_round`: of one that was removed, the round whose answer shows that it knows.
    - `snapshot`: what it is offered; pinned, so that a slow one is not offered another each time.
    - `round_matched`: the latest round that whose heartbeat it took, with all that told.
    - `round_sent`, `round_acked`: the latest round sent to it, and the latest it answered.
    """

    next_index: int
    contact: float
    match_index: int = 0
    state: ProgressState = PROBE
    round_sent: int = 0
    round_acked: int = 0
    round_matched: int = 0
    acked_at: float = -inf
    vouched_at: float = -inf
    told_round: int = 0
    snapshot: Snapshot | None = None
    inflight_bytes: int = 0
    inflight: deque[tuple[int, int]] = field(default_factory=deque)

    def can_send(self, *, messages_max: int, bytes_max: int) -> bool:
        """Return whether one more message with entries may leave."""
        if self.state is not REPLICATE:
            return self.state is PROBE and not self.inflight
        return len(self.inflight) < messages_max and self.inflight_bytes < bytes_max

    def sent(self, last: int, size_bytes: int) -> None:
        """Note a message with entries up to `last`."""
        assert last >= self.next_index
        self.inflight.append((last, size_bytes))
        self.inflight_bytes += size_bytes
        if self.state is REPLICATE:
            self.next_index = last + 1

    def accepted(self, match_index: int) -> None:
        """Take a success: the logs meet, so go on with pipelining; match_index never falls.

        A probe that is still on its way counts as sent: if it was lost, what follows it is refused.
        """
        if match_index > self.match_index:  # noqa: PLR1730 - as in RaftCore.step, at every reply
            self.match_index = match_index
        if self.state is SNAPSHOT:
            self.next_index = max(self.next_index, self.match_index + 1)
            if self.snapshot is None or self.match_index >= self.snapshot.index:
                self.resume(match_index)
            return
        if self.state is PROBE:
            self.state = REPLICATE
            if self.inflight:
                self.next_index = max(self.next_index, self.inflight[-1][0] + 1)
        if self.next_index <= self.match_index:
            self.next_index = self.match_index + 1
        while self.inflight and self.inflight[0][0] <= self.match_index:
            self.inflight_bytes -= self.inflight.popleft()[1]

    def is_stale_rejection(self, rejected_index: int) -> bool:
        """Return whether a rejection is no news.

        What is stored at the follower stays there, so a rejection at or below match_index is old.
        A probe is outstanding at just one place. While replicating, nothing has been sent from
        beyond next_index since the last rewind.
        """
        if rejected_index <= self.match_index or self.state is SNAPSHOT:
            return True
        if self.state is PROBE:
            return rejected_index != self.next_index - 1
        return rejected_index >= self.next_index

    def rewind(self, next_index: int) -> None:
        """Probe from `next_index` on, but never below what matches, nor up; forget what flew."""
        self._probe(max(min(next_index, self.next_index - 1), self.match_index + 1))

    def offer(self, snapshot: Snapshot) -> None:
        """Offer this snapshot from now on: the log no longer holds what the follower needs."""
        self._probe(self.next_index)
        self.state = SNAPSHOT
        self.snapshot = snapshot

    def is_fetching(self, since: float) -> bool:
        """Return whether the follower fetches what it is offered, having answered since then."""
        return self.state is SNAPSHOT and self.contact > since

    def resume(self, match_index: int) -> None:
        """Go on with the log behind what the follower holds since it has a snapshot."""
        self.match_index = max(self.match_index, match_index)
        self._probe(self.match_index + 1)

    def _probe(self, next_index: int) -> None:
        self.next_index = next_index
        self.state = PROBE
        self.snapshot = None
        self.inflight.clear()
        self.inflight_bytes = 0
