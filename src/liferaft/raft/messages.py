"""The messages of Figures 2 and 13 and of the dissertation, immutable.

Every one carries its sender's term, source and target.

Messages may be lost, repeated, delayed and reordered without limit; nothing here assumes otherwise.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from liferaft.errors import ConfigurationError
from liferaft.raft.configuration import checked, decoded
from liferaft.raft.types import CONFIGURATION, Entry, NodeId, Snapshot

NUMBER_MAX: Final = 2**62
"""The highest term, index or round that counts: what follows it can still be sent and stored."""

NODE_ID_CHARACTERS_MAX: Final = 255
"""A vote is stored with the name of who got it."""

KIND_MAX: Final = 255
"""An entry's kind is one byte on disk."""


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


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The leader's wish that the target campaigns at once: leadership transfer (D§3.10)."""

    term: int
    source: NodeId
    target: NodeId


class InstallSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Figure 13, but for the data: the leader offers a snapshot, and the target fetches it.

    Sent instead of a heartbeat while the target needs entries that the leader no longer has. Who
    fetches sets the pace, and can go on where a lost link stopped it.
    """

    term: int
    source: NodeId
    target: NodeId
    snapshot: Snapshot
    round: int


class InstallSnapshotReply(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The answer: how far the sender's log is now the leader's, 0 while it fetches.

    `is_failed` says that the snapshot offered at `snapshot_index` could not be had.
    """

    term: int
    source: NodeId
    target: NodeId
    snapshot_index: int
    match_index: int
    is_failed: bool
    round: int


class ReadIndex(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """A follower asks its leader what a read must see (D§6.4). `read` is never used twice."""

    term: int
    source: NodeId
    target: NodeId
    read: int


class ReadIndexReply(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The answer, sent once a round that began after the request was answered by a quorum."""

    term: int
    source: NodeId
    target: NodeId
    read: int
    index: int


Message = (
    RequestVote
    | RequestVoteReply
    | AppendEntries
    | AppendEntriesReply
    | TimeoutNow
    | InstallSnapshot
    | InstallSnapshotReply
    | ReadIndex
    | ReadIndexReply
)


def is_sound(message: Message) -> bool:
    """Return whether a message could have been written by a correct server.

    Checked once, when it arrives; whoever handles it relies on it.
    """
    if not (0 <= message.term <= NUMBER_MAX and _is_sound_name(message.source)):
        return False
    return _SOUND[type(message)](message)


def _is_sound_request(message: RequestVote) -> bool:
    return 0 <= message.last_log_term < message.term and _are_indexes(message.last_log_index)


def _is_sound_reply(message: AppendEntriesReply) -> bool:
    return _are_indexes(
        message.match_index,
        message.rejected_index,
        message.conflict_term,
        message.conflict_index,
        message.round,
    )


def _is_sound_offer(message: InstallSnapshot) -> bool:
    return _is_sound_snapshot(message.snapshot, message.term) and _are_indexes(message.round)


def _is_sound_offer_reply(message: InstallSnapshotReply) -> bool:
    return _are_indexes(message.snapshot_index, message.match_index, message.round)


def _is_sound_read(message: ReadIndex) -> bool:
    return _are_indexes(message.read)


def _is_sound_read_reply(message: ReadIndexReply) -> bool:
    return _are_indexes(message.read, message.index)


def _is_sound_snapshot(snapshot: Snapshot, term: int) -> bool:
    try:
        checked(snapshot.configuration)
    except ConfigurationError:
        return False
    is_place = 0 < snapshot.index <= NUMBER_MAX and 0 < snapshot.term <= term
    return is_place and _are_indexes(snapshot.size_bytes, snapshot.checksum)


def _is_sound_name(name: NodeId) -> bool:
    return 0 < len(name) <= NODE_ID_CHARACTERS_MAX


def _are_indexes(*numbers: int) -> bool:
    return min(numbers) >= 0 and max(numbers) <= NUMBER_MAX


def _are_sound_entries(message: AppendEntries) -> bool:
    index, term = message.prev_log_index, message.prev_log_term
    if not _are_indexes(index, term, message.leader_commit, message.round):
        return False
    for entry in message.entries:
        index += 1
        if entry.index != index or entry.term < term or not 0 <= entry.kind <= KIND_MAX:
            return False
        if entry.kind == CONFIGURATION and not _is_configuration(entry.data):
            return False
        term = entry.term
    return term <= message.term and index <= NUMBER_MAX


def _is_configuration(data: bytes) -> bool:
    try:
        decoded(data)
    except ConfigurationError:
        return False
    return True


_SOUND: Final[dict[type, Callable[..., bool]]] = {
    AppendEntries: _are_sound_entries,
    AppendEntriesReply: _is_sound_reply,
    RequestVote: _is_sound_request,
    InstallSnapshot: _is_sound_offer,
    InstallSnapshotReply: _is_sound_offer_reply,
    ReadIndex: _is_sound_read,
    ReadIndexReply: _is_sound_read_reply,
    RequestVoteReply: lambda _: True,
    TimeoutNow: lambda _: True,
}
