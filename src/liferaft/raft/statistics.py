"""What a core tells of itself: frozen records, for operators and tests."""

import msgspec

from liferaft.raft.state import Leader, RaftState
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
    base_index: int
    snapshot_index: int
    followers: tuple[FollowerStatistics, ...]


def statistics_of(state: RaftState, *, campaigns: int, unsound_messages: int) -> CoreStatistics:
    """Return how a core in this state is doing."""
    leader = state.role if isinstance(state.role, Leader) else None
    progress = leader.progress if leader is not None else {}
    return CoreStatistics(
        node_id=state.node_id,
        role=state.role.name,
        current_term=state.current_term,
        leader=state.leader,
        commit_index=state.commit_index,
        last_applied=state.last_applied,
        last_index=state.log.last_index,
        stable_index=state.log.stable_index,
        tail_bytes=state.log.tail_bytes,
        uncommitted_bytes=leader.uncommitted_bytes if leader is not None else 0,
        campaigns=campaigns,
        unsound_messages=unsound_messages,
        base_index=state.log.base_index,
        snapshot_index=0 if state.snapshot is None else state.snapshot.index,
        followers=tuple(
            FollowerStatistics(
                node_id=peer,
                state=follower.state.value,
                match_index=follower.match_index,
                next_index=follower.next_index,
                inflight_messages=len(follower.inflight),
                inflight_bytes=follower.inflight_bytes,
                contact=follower.contact,
            )
            for peer, follower in progress.items()
        ),
    )
