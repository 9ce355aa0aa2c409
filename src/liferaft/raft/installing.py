"""Figure 13 at the follower, and what any server does with a snapshot of its own.

An older snapshot never rolls the state back, and an installed one keeps the log's tail only where
the log holds the very entry that the snapshot ends with (step 6). The data is fetched by the
driver; here only whole snapshots are known.
"""

from msgspec.structs import replace

from liferaft.raft.configuration import ConfigurationLog
from liferaft.raft.effects import Compact, FetchSnapshot, Outbox, RestoreSnapshot
from liferaft.raft.messages import InstallSnapshot, InstallSnapshotReply
from liferaft.raft.state import Leader, RaftState
from liferaft.raft.types import NodeId, Snapshot


def receive_offer(state: RaftState, message: InstallSnapshot, outbox: Outbox) -> None:
    """Answer an offer: fetch the snapshot, or say that it is not needed."""
    snapshot = message.snapshot
    match_index = 0
    if snapshot.index <= state.commit_index:
        match_index = min(state.commit_index, state.log.stable_index)
    elif state.log.has(snapshot.index, snapshot.term):
        # The leader's log up to there is the own one, and committed: nothing is to be fetched.
        state.commit_index = snapshot.index
        match_index = min(snapshot.index, state.log.stable_index)
    elif state.fetching != snapshot:
        state.fetching = snapshot
        outbox.answer(FetchSnapshot(message.source, snapshot))
    outbox.send(_reply(state, message.source, snapshot.index, match_index, message.round))


def refuse_offer(state: RaftState, message: InstallSnapshot) -> InstallSnapshotReply:
    """Return the answer to an offer of an earlier term: this server's own."""
    return _reply(state, message.source, message.snapshot.index, 0, message.round)


def install(state: RaftState, snapshot: Snapshot, outbox: Outbox) -> bool:
    """Make a fetched snapshot the state; returns False when it has become useless meanwhile."""
    if state.fetching == snapshot:
        state.fetching = None
    if snapshot.index <= state.commit_index:
        return False
    log, configurations = state.log, state.configurations
    keeps_log = log.has(snapshot.index, snapshot.term)
    if not keeps_log:
        log.reset(snapshot.index, snapshot.term)
    is_later = keeps_log and configurations.latest_index > snapshot.index
    if not is_later:
        base = snapshot.configuration
        state.configurations = ConfigurationLog(base, snapshot.index, ())
    state.commit_index = state.last_applied = snapshot.index
    state.snapshot = snapshot
    outbox.answer(RestoreSnapshot(snapshot, keeps_log))
    return True


def failed_reply(state: RaftState, leader: NodeId, snapshot: Snapshot) -> InstallSnapshotReply:
    """Return the answer that the offered snapshot cannot be had."""
    return replace(_reply(state, leader, snapshot.index, 0, 0), is_failed=True)


def installed_reply(state: RaftState, leader: NodeId) -> InstallSnapshotReply:
    """Return the answer that the snapshot is the state now."""
    return _reply(state, leader, state.commit_index, state.commit_index, 0)


def compact(state: RaftState, outbox: Outbox) -> None:
    """Forget what the stored snapshot covers, but for what followers that are near may need.

    What a follower that fetches a snapshot will need behind it is kept while it answers.
    """
    if state.snapshot is None:
        return
    index = min(state.snapshot.index, state.last_applied, state.log.stable_index)
    index -= state.config.keep_entries
    if isinstance(state.role, Leader):
        fresh = state.now - state.config.election_timeout
        for progress in state.role.progress.values():
            if progress.is_fetching(fresh) and progress.snapshot is not None:
                index = min(index, progress.snapshot.index)
    if index > state.log.base_index:
        state.log.compact(index)
        outbox.answer(Compact(index))


def _reply(
    state: RaftState, leader: NodeId, snapshot_index: int, match_index: int, round_number: int
) -> InstallSnapshotReply:
    return InstallSnapshotReply(
        term=state.current_term,
        source=state.node_id,
        target=leader,
        snapshot_index=snapshot_index,
        match_index=match_index,
        is_failed=False,
        round=round_number,
    )
