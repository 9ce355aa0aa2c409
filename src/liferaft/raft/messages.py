"""The messages of Figure 2, immutable. Every one carries its sender's term, source and target.

Messages may be lost, repeated, delayed and reordered without limit; nothing here assumes otherwise.
"""

import msgspec

from liferaft.raft.types import Entry, NodeId


class RequestVote(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Figure 2, RequestVote RPC, and the PreVote of the dissertation, section 9.6.

    In a pre-vote `term` is the term that the sender would campaign in; it has not adopted it.
    `is_transfer` marks a campaign that the leader itself asked for (dissertation, section 3.10),
    which other voters' loyalty to that leader does not hinder.
    """

    term: int
    source: NodeId
    target: NodeId
    last_log_index: int
    last_log_term: int
    is_prevote: bool = False
    is_transfer: bool = False


class RequestVoteReply(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The answer. A granted pre-vote carries the term asked for; a refusal, the voter's own."""

    term: int
    source: NodeId
    target: NodeId
    is_granted: bool
    is_prevote: bool = False


class AppendEntries(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Figure 2, AppendEntries RPC; with no entries it is a heartbeat.

    `round` counts the leader's rounds of heartbeats in this term. A reply that echoes round r
    proves that its sender still followed this leader after round r began: check-quorum and
    ReadIndex (dissertation, section 6.4) count it.
    """

    term: int
    source: NodeId
    target: NodeId
    prev_log_index: int
    prev_log_term: int
    entries: tuple[Entry, ...]
    leader_commit: int
    round: int


class AppendEntriesReply(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The answer, in the sender's own term.

    When `is_success`, the sender's log equals the leader's up to `match_index`, and that prefix is
    on its stable storage. Otherwise `rejected_index` repeats the request's prev_log_index, and
    (`conflict_term`, `conflict_index`) tell the leader how far to go back at once: the last entry
    of the sender's log at or below rejected_index whose term is not above the request's
    prev_log_term.
    """

    term: int
    source: NodeId
    target: NodeId
    is_success: bool
    match_index: int
    rejected_index: int
    conflict_term: int
    conflict_index: int
    round: int


Message = RequestVote | RequestVoteReply | AppendEntries | AppendEntriesReply


def is_sound(message: Message) -> bool:
    """Return whether a message could have been written by a correct server.

    Checked once, when it arrives; whoever handles it relies on it.
    """
    if isinstance(message, AppendEntries):
        return _are_sound_entries(message)
    if isinstance(message, AppendEntriesReply):
        return message.match_index >= 0 and message.rejected_index >= 0 and message.round >= 0
    if isinstance(message, RequestVote):
        return 0 <= message.last_log_term < message.term and message.last_log_index >= 0
    return message.term >= 0


def _are_sound_entries(message: AppendEntries) -> bool:
    index, term = message.prev_log_index, message.prev_log_term
    if index < 0 or message.leader_commit < 0 or message.round < 0:
        return False
    for entry in message.entries:
        index += 1
        if entry.index != index or entry.term < term:
            return False
        term = entry.term
    return 0 <= term <= message.term
