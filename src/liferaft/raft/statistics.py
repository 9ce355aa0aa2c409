"""What a core tells of itself: frozen records, for operators and tests."""

import msgspec

from liferaft.raft.types import NodeId


class FollowerStatistics(msgspec.Struct, frozen=True):
    """One follower, as its leader sees it. `contact` is a time of the leader's clock."""

    node_id: NodeId
    state: str
    match_index: int
    next_index: int
    inflight_messages: int
    inflight_bytes: int
    contact: float


class CoreStatistics(msgspec.Struct, frozen=True):
    """A core at one moment; the counters count since its start."""

    node_id: NodeId
    role: str
    current_term: int
    leader: NodeId | None
    commit_index: int
    last_applied: int
    last_index: int
    stable_index: int
    tail_bytes: int
    uncommitted_bytes: int
    campaigns: int
    unsound_messages: int
    followers: tuple[FollowerStatistics, ...]
