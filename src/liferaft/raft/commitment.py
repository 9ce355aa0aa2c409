"""The commit rule: the one place where a leader counts replicas (Figure 2, Leaders, last rule)."""

from liferaft.errors import InvariantViolated
from liferaft.raft.quorum import quorum_reached
from liferaft.raft.state import Leader, RaftState


def next_commit_index(
    *, commit_index: int, stored_index: int, stored_term: int, current_term: int
) -> int:
    """Return the leader's commit_index once a quorum stores `stored_index`; it never falls.

    `stored_term` is the term of the entry at `stored_index`. Source: section 5.4.2.
    """
    if stored_index <= commit_index:
        return commit_index
    if stored_term != current_term:
        # Figure 8: an older term's entry can be on a majority and still be overwritten. It is
        # committed only through an entry of our own term above it.
        return commit_index
    return stored_index


def advance_commit_index(state: RaftState, leader: Leader) -> None:
    """Commit what a quorum has on stable storage. The leader counts itself only for what is."""
    match_index = {peer: progress.match_index for peer, progress in leader.progress.items()}
    match_index[state.node_id] = state.log.stable_index
    stored_index = quorum_reached(match_index, state.configuration)
    if stored_index > state.log.last_index:
        raise InvariantViolated(f"a quorum stores {stored_index}, which no leader wrote")
    if stored_index <= state.commit_index:
        return
    state.commit_index = next_commit_index(
        commit_index=state.commit_index,
        stored_index=stored_index,
        stored_term=state.log.term_at(stored_index),
        current_term=state.current_term,
    )
    while leader.uncommitted and leader.uncommitted[0][0] <= state.commit_index:
        leader.uncommitted_bytes -= leader.uncommitted.popleft()[1]
