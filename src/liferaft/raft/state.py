"""Figure 2, State: what is persistent, what is volatile, and what only one role has (Figure 4).

A field that makes sense in one role only lives in that role's record, so no code can take an old
leader's knowledge for the present one's. Rules live elsewhere; only core.py changes the role.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

import msgspec

from liferaft.raft.config import RaftConfig
from liferaft.raft.configuration import ConfigurationLog, is_outranked, members
from liferaft.raft.log import RaftLog
from liferaft.raft.progress import Progress
from liferaft.raft.types import Configuration, Entry, HardState, NodeId, Snapshot


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
    """Asks for votes in `current_term`. Its own counts from when it is stored.

    `is_transfer` says that the leader wished it.
    """

    name: ClassVar = "candidate"
    is_transfer: bool = False
    votes: dict[NodeId, bool] = field(default_factory=dict)


class ReadBatch(msgspec.Struct, frozen=True):
    """Reads that wait until a quorum has answered `round`, or a later one.

    `remote` are those that followers asked for: who, and its own number for it.
    """

    round: int
    index: int
    read_ids: tuple[int, ...]
    remote: tuple[tuple[NodeId, int], ...] = ()


class ForwardedRead(msgspec.Struct):
    """What a follower asked its leader for, under one number; asked again at `again_at`."""

    number: int
    read_ids: tuple[int, ...]
    again_at: float


class Transfer(msgspec.Struct):
    """A leadership transfer under way; `sent_round` is when the target was last told."""

    target: NodeId
    deadline: float
    sent_round: int = 0


@dataclass(slots=True)
class Leader:
    """Leads the term.

    - `term_start`: the index of the term's no-op; committed, it opens reads.
    - `progress`: of every other member, in the order of their names.
    - `round`: counts the rounds of heartbeats; `round_started` tells when each recent one began.
    - `heartbeat_due`: when the next round begins at the latest.
    - `told_commit` and `told_round`: the commit_index that the heartbeats of that round were the
      first to tell.
    - `contact_until`: until then a quorum's answers are fresh enough, at least.
    - `uncommitted`: (last index, bytes) of each accepted batch that is not committed yet.
    - `reads_asked` and `remote_reads_asked` wait for a round; `reads` for their round's answers.
    - `transfer` is under way, `prefer_at` when one to a preferred node may be tried; once a
      target was told, `is_lease_void` for the rest of the term.
    - `catching_up`: of each learner to be promoted, what it must reach, and since when it is meant
      to (D§4.2.1).
    - `settled`: the configuration of which it is known that nothing is left to do.
    - `departing`: who was removed and is still told so, up to the index of that configuration.
    """

    name: ClassVar = "leader"
    term_start: int
    progress: dict[NodeId, Progress]
    heartbeat_due: float
    contact_until: float
    told_commit: int = 0
    told_round: int = 0
    round: int = 0
    round_started: dict[int, float] = field(default_factory=dict)
    uncommitted: deque[tuple[int, int]] = field(default_factory=deque)
    uncommitted_bytes: int = 0
    reads_asked: list[int] = field(default_factory=list)
    remote_reads_asked: dict[tuple[NodeId, int], None] = field(default_factory=dict)
    reads: deque[ReadBatch] = field(default_factory=deque)
    transfer: Transfer | None = None
    prefer_at: float = 0.0
    is_lease_void: bool = False
    catching_up: dict[NodeId, tuple[int, float]] = field(default_factory=dict)
    departing: dict[NodeId, int] = field(default_factory=dict)
    settled: Configuration | None = None

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
    configurations: ConfigurationLog
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
    # Until then it helps nobody into office, for it may have promised its silence to a lease.
    loyal_from_start_until: float = 0.0

    # The newest snapshot that is stored here, and the one that is being fetched.
    snapshot: Snapshot | None = None
    fetching: Snapshot | None = None

    # Reads that a follower passes on. Their numbers begin at random, so that no life of a node
    # repeats those of an earlier one; 0 until the first is drawn.
    reads_to_forward: list[int] = field(default_factory=list)
    forwarded: deque[ForwardedRead] = field(default_factory=deque)
    next_read_number: int = 0

    @property
    def configuration(self) -> Configuration:
        """The configuration that counts: the latest in the log, committed or not."""
        return self.configurations.latest

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

    def append(self, entries: Sequence[Entry]) -> None:
        """Append entries to the log; a configuration among them counts at once."""
        self.log.append(entries)
        self.configurations.append(entries)

    def truncate_from(self, index: int) -> None:
        """Drop the entry at `index` and all that follow it, and what they said of members."""
        self.log.truncate_from(index, commit_index=self.commit_index)
        self.configurations.truncate_from(index)

    def restart_election_timer(self, since: float | None = None) -> None:
        """Draw a new timeout from [T, 2T), so that few candidates meet (section 5.2).

        It runs from now, or from `since`.

        Who is outranked by another than the leader waited for waits for T longer, so that the
        preferred nodes go first.
        """
        timeout = self.config.election_timeout
        chances = 1 + self.random.random()
        if is_outranked(self.configuration, self.node_id, but_for=self.leader):
            chances += 1
        self.election_deadline = (self.now if since is None else since) + timeout * chances
