"""Figure 2, State: what is persistent, what is volatile, and what only one role has (Figure 4).

A field that makes sense in one role only lives in that role's record, so no code can take an old
leader's knowledge for the present one's. Rules live elsewhere; only core.py changes the role.
"""

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

import msgspec

from liferaft.raft.config import RaftConfig
from liferaft.raft.configuration import members
from liferaft.raft.log import RaftLog
from liferaft.raft.progress import Progress
from liferaft.raft.types import Configuration, HardState, NodeId


@dataclass(slots=True)
class Follower:
    """Follows the leader of the term, as soon as it is known.

    `contact` is when that leader was last heard.
    """

    name: ClassVar = "follower"
    leader: NodeId | None = None
    contact: float = 0.0


@dataclass(slots=True)
class PreCandidate:
    """Asks whether it would win, in `current_term + 1`, before it disturbs anyone (D§9.6)."""

    name: ClassVar = "pre-candidate"
    votes: dict[NodeId, bool] = field(default_factory=dict)


@dataclass(slots=True)
class Candidate:
    """Asks for votes in `current_term`. Its own counts from when it is stored."""

    name: ClassVar = "candidate"
    votes: dict[NodeId, bool] = field(default_factory=dict)


class ReadBatch(msgspec.Struct, frozen=True):
    """Reads that wait until a quorum has answered `round`, or a later one."""

    round: int
    index: int
    read_ids: tuple[int, ...]


@dataclass(slots=True)
class Leader:
    """Leads the term.

    - `term_start`: the index of the term's no-op; committed, it opens reads.
    - `progress`: of every other member, in the order of their names.
    - `round`: counts the rounds of heartbeats; `round_started` tells when each recent one began.
    - `heartbeat_due`: when the next round begins at the latest.
    - `contact_until`: until then a quorum's answers are fresh enough, at least.
    - `uncommitted`: (last index, bytes) of each accepted batch that is not committed yet.
    - `reads_asked` wait for a round; `reads` for their round's answers.
    """

    name: ClassVar = "leader"
    term_start: int
    progress: dict[NodeId, Progress]
    heartbeat_due: float
    contact_until: float
    round: int = 0
    round_started: dict[int, float] = field(default_factory=dict)
    uncommitted: deque[tuple[int, int]] = field(default_factory=deque)
    uncommitted_bytes: int = 0
    reads_asked: list[int] = field(default_factory=list)
    reads: deque[ReadBatch] = field(default_factory=deque)

    def begin_round(self, now: float) -> None:
        """Begin a round of heartbeats; they leave with the next effects."""
        self.round += 1
        self.round_started[self.round] = now


Role = Follower | PreCandidate | Candidate | Leader


@dataclass(slots=True)
class RaftState:
    """One server of Figure 2. `now` is the time of the latest event and never falls.

    Invariant: last_applied <= commit_index <= log.last_index.
    """

    node_id: NodeId
    config: RaftConfig
    configuration: Configuration
    random: Random
    now: float

    # Persistent state on all servers, as far as it was decided; effects.py knows what is stored.
    hard_state: HardState
    log: RaftLog

    # Volatile state on all servers. `last_applied` is what was given out in an `Apply`.
    commit_index: int
    last_applied: int
    election_deadline: float
    role: Role = field(default_factory=Follower)

    @property
    def current_term(self) -> int:
        """The latest term this server has seen; it only grows."""
        return self.hard_state.current_term

    @property
    def leader(self) -> NodeId | None:
        """Who leads the current term, as far as this server knows."""
        if isinstance(self.role, Follower):
            return self.role.leader
        return self.node_id if isinstance(self.role, Leader) else None

    @property
    def peers(self) -> tuple[NodeId, ...]:
        """Every other member, sorted."""
        return tuple(node for node in members(self.configuration) if node != self.node_id)

    def restart_election_timer(self) -> None:
        """Draw a new timeout from [T, 2T), so that few candidates meet (section 5.2)."""
        timeout = self.config.election_timeout
        self.election_deadline = self.now + timeout * (1 + self.random.random())
