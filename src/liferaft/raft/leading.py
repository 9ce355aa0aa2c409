"""Figure 2, Rules for Servers, Leaders; check-quorum (D§6.2); and who is offered a snapshot.

Handlers change what the leader knows; messages to followers are made once for all events that
were stepped, by `replicate`.
"""

from liferaft.errors import InvariantViolated
from liferaft.raft.effects import Accepted, Outbox, Rejected
from liferaft.raft.log import ENTRY_OVERHEAD_BYTES
from liferaft.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
)
from liferaft.raft.progress import SNAPSHOT, Progress
from liferaft.raft.quorum import quorum_reached
from liferaft.raft.state import Leader, RaftState
from liferaft.raft.types import COMMAND, NOOP, Entry, NodeId


def begin_term(state: RaftState) -> Leader:
    """Return the record of a new leader, its no-op appended and its first heartbeats begun.

    "Upon election: send initial empty AppendEntries RPCs (heartbeat) to each server".
    """
    now = state.now
    term_start = state.log.last_index + 1
    leader = Leader(
        term_start=term_start,
        progress={peer: Progress(next_index=term_start, contact=now) for peer in state.peers},
        heartbeat_due=now + state.config.heartbeat_interval,
        contact_until=now + state.config.election_timeout,
    )
    leader.begin_round(now)
    state.append((Entry(state.current_term, term_start, NOOP, b""),))
    return leader


def propose(state: RaftState, leader: Leader, commands: tuple[bytes, ...]) -> Accepted | Rejected:
    """Append the commands, unless too much waits to be committed already.

    "If command received from client: append entry to local log, respond after entry applied".
    An empty queue takes one batch however large, or it could never be proposed.
    """
    assert commands
    size_bytes = sum(map(len, commands)) + ENTRY_OVERHEAD_BYTES * len(commands)
    queued_bytes = leader.uncommitted_bytes
    if queued_bytes and queued_bytes + size_bytes > state.config.uncommitted_bytes_max:
        return Rejected(leader=state.node_id, is_overloaded=True)
    log = state.log
    term, first, kind = state.current_term, log.last_index + 1, COMMAND
    log.append([Entry(term, i, kind, command) for i, command in enumerate(commands, first)])
    leader.uncommitted.append((log.last_index, size_bytes))
    leader.uncommitted_bytes += size_bytes
    return Accepted(term=term, first=first, count=len(commands))


def take_reply(state: RaftState, leader: Leader, reply: AppendEntriesReply) -> None:
    """Learn from a follower's answer in the current term. Strangers are not listened to."""
    progress = _acknowledge(leader, reply)
    if progress is None:
        return
    if reply.is_success:
        if reply.match_index > state.log.last_index:
            raise InvariantViolated(
                f"{reply.source} stores {reply.match_index} of this leader's "
                f"{state.log.last_index} entries"
            )
        # "If successful", Figure 2 goes on, "update nextIndex and matchIndex for follower".
        progress.accepted(reply.match_index)
        progress.round_matched = max(progress.round_matched, reply.round)
        return
    if progress.is_stale_rejection(reply.rejected_index):
        return
    if reply.rejected_index <= state.log.base_index:
        # What the follower needs the log no longer holds.
        if state.snapshot is not None:
            progress.offer(state.snapshot)
        return
    # "If AppendEntries fails because of log inconsistency", it says, "decrement nextIndex and
    # retry": over whole terms at once.
    common = state.log.last_at_or_below(reply.conflict_index, reply.conflict_term)
    progress.rewind(common.index + 1)


def take_snapshot_reply(state: RaftState, leader: Leader, reply: InstallSnapshotReply) -> None:
    """Learn how far a follower has come that is offered a snapshot."""
    progress = _acknowledge(leader, reply)
    if progress is None:
        return
    if reply.match_index > state.log.last_index:
        raise InvariantViolated(
            f"{reply.source} has a snapshot up to {reply.match_index}, beyond this leader's log"
        )
    offered = progress.snapshot
    if reply.match_index:
        progress.accepted(reply.match_index)
    elif reply.is_failed and offered is not None and reply.snapshot_index == offered.index:
        assert state.snapshot is not None, "what was offered was stored"
        progress.offer(state.snapshot)


def _acknowledge(
    leader: Leader, reply: AppendEntriesReply | InstallSnapshotReply
) -> Progress | None:
    """Note which round was answered; returns None for who is not listened to."""
    progress = leader.progress.get(reply.source)
    if progress is None or reply.round > leader.round:
        return None
    if reply.round > progress.round_acked:
        progress.round_acked = reply.round
        started = leader.round_started.get(reply.round)
        if started is not None:
            progress.acked_at = started
            progress.contact = max(progress.contact, started)
    return progress


def has_quorum_contact(state: RaftState, leader: Leader) -> bool:
    """Return whether a quorum answered a round that began less than an election timeout ago.

    Asked before every event: after a pause the clock, not habit, says whether this node leads.
    """
    if state.now < leader.contact_until:
        return True
    contacts = {peer: progress.contact for peer, progress in leader.progress.items()}
    contacts[state.node_id] = state.now
    contact = quorum_reached(contacts, state.configuration)
    leader.contact_until = contact + state.config.election_timeout
    return state.now < leader.contact_until


def pass_time(state: RaftState, leader: Leader) -> None:
    """Begin a round of heartbeats when one is due, and forget rounds too old to prove anything."""
    if state.now < leader.heartbeat_due:
        return
    leader.heartbeat_due = state.now + state.config.heartbeat_interval
    oldest = state.now - state.config.election_timeout
    for number in [n for n, started in leader.round_started.items() if started < oldest]:
        del leader.round_started[number]
    leader.begin_round(state.now)
    if leader.told_commit < state.commit_index:
        leader.told_commit, leader.told_round = state.commit_index, leader.round


def replicate(state: RaftState, leader: Leader, outbox: Outbox) -> int | None:
    """Send every follower its heartbeat and its entries, as far as flow control allows.

    Heartbeats go first and alone: their answers wait for no disk. Returns the lowest index that a
    follower needs and memory does not hold, None if there is none: so whoever is furthest behind
    is read for first, and the others join in when it has caught up with them.
    """
    missing: int | None = None
    last_index = state.log.last_index
    for peer, progress in leader.progress.items():
        if _needs_offer(state, progress):
            assert state.snapshot is not None, "what the log forgot a snapshot covers"
            progress.offer(state.snapshot)
        if progress.round_sent < leader.round:
            progress.round_sent = leader.round
            outbox.send(_heartbeat(state, leader, peer, progress))
        if progress.next_index > last_index or progress.state is SNAPSHOT:
            continue
        if not _send_entries(state, leader, peer, progress, outbox):
            missing = progress.next_index if missing is None else min(missing, progress.next_index)
    return missing


def _needs_offer(state: RaftState, progress: Progress) -> bool:
    """Return whether the newest snapshot shall be offered: who fetches one already keeps to it."""
    if progress.state is not SNAPSHOT:
        return progress.next_index <= state.log.base_index
    is_newest = progress.snapshot is state.snapshot
    return not is_newest and not progress.is_fetching(state.now - state.config.election_timeout)


def _send_entries(
    state: RaftState, leader: Leader, peer: NodeId, progress: Progress, outbox: Outbox
) -> bool:
    """Send what may be sent; returns False when it stopped at what memory does not hold.

    "If last log index >= nextIndex for a follower: send AppendEntries RPC with log entries
    starting at nextIndex".
    """
    config, log = state.config, state.log
    while progress.next_index <= log.last_index and progress.can_send(
        messages_max=config.inflight_messages_max, bytes_max=config.inflight_bytes_max
    ):
        piece = log.piece(progress.next_index, log.last_index, config.append_bytes_max)
        if piece is None:
            return False
        outbox.send(_append_entries(state, leader, peer, progress, piece.entries))
        progress.sent(piece.entries[-1].index, piece.size_bytes)
    return True


def _heartbeat(
    state: RaftState, leader: Leader, peer: NodeId, progress: Progress
) -> AppendEntries | InstallSnapshot:
    if progress.state is SNAPSHOT:
        assert progress.snapshot is not None
        return InstallSnapshot(
            state.current_term, state.node_id, peer, progress.snapshot, leader.round
        )
    return _append_entries(state, leader, peer, progress, ())


def _append_entries(
    state: RaftState,
    leader: Leader,
    peer: NodeId,
    progress: Progress,
    entries: tuple[Entry, ...],
) -> AppendEntries:
    prev_log_index = progress.next_index - 1
    return AppendEntries(
        term=state.current_term,
        source=state.node_id,
        target=peer,
        prev_log_index=prev_log_index,
        prev_log_term=state.log.term_at(prev_log_index),
        entries=entries,
        leader_commit=state.commit_index,
        round=leader.round,
    )
