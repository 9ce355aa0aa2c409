"""Figure 2, AppendEntries RPC, receiver implementation, steps 1 to 5."""

from liferaft.raft.messages import AppendEntries, AppendEntriesReply
from liferaft.raft.state import RaftState
from liferaft.raft.types import Entry


def receive_entries(state: RaftState, message: AppendEntries) -> AppendEntriesReply:
    """Bring the log in line with the leader's and answer. The term is the current one.

    A success with entries promises that they are stored, so it must not leave before they are. A
    heartbeat promises only what is stored already, so it need not wait for the disk.
    """
    log = state.log
    prev_log_index, entries = message.prev_log_index, message.entries
    if prev_log_index < state.commit_index:
        # What is committed is the same at every leader: only the rest of the message is news.
        entries = entries[state.commit_index - prev_log_index :]
        prev_log_index = state.commit_index
    # 1. Reply false if term < currentTerm: refused by `refuse_entries`
    # 2. Reply false if log doesn't contain an entry at prevLogIndex whose term matches
    elif not log.has(prev_log_index, message.prev_log_term):
        return refuse_entries(state, message)
    _append_new(state, entries)
    # 5. If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new entry)
    last_new_index = prev_log_index + len(entries)
    state.commit_index = max(state.commit_index, min(message.leader_commit, last_new_index))
    match_index = last_new_index if message.entries else min(last_new_index, log.stable_index)
    return AppendEntriesReply(
        term=state.current_term,
        source=state.node_id,
        target=message.source,
        is_success=True,
        match_index=match_index,
        rejected_index=0,
        conflict_term=0,
        conflict_index=0,
        round=message.round,
    )


def _append_new(state: RaftState, entries: tuple[Entry, ...]) -> None:
    log = state.log
    for position, entry in enumerate(entries):
        if entry.index <= log.last_index:
            if log.term_at(entry.index) == entry.term:
                continue
            # 3. If an existing entry conflicts with a new one (same index but different terms),
            #    delete the existing entry and all that follow it
            state.truncate_from(entry.index)
        # 4. Append any new entries not already in the log
        state.append(entries[position:] if position else entries)
        return


def refuse_entries(state: RaftState, message: AppendEntries) -> AppendEntriesReply:
    """Refuse, with this server's term, and how far the leader may go back at once."""
    conflict = state.log.last_at_or_below(message.prev_log_index, message.prev_log_term)
    return AppendEntriesReply(
        term=state.current_term,
        source=state.node_id,
        target=message.source,
        is_success=False,
        match_index=0,
        rejected_index=message.prev_log_index,
        conflict_term=conflict.term,
        conflict_index=conflict.index,
        round=message.round,
    )
