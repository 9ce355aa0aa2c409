"""What a correct server could not have written is told apart from what it could."""

import msgspec
import pytest

from liferaft.raft.messages import (
    KIND_MAX,
    NODE_ID_CHARACTERS_MAX,
    NUMBER_MAX,
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    is_sound,
)
from liferaft.raft.types import Configuration, Entry, EntryKind, Snapshot
from tests.raft.harness import entries_of

APPEND = AppendEntries(
    term=3,
    source="a",
    target="b",
    prev_log_index=4,
    prev_log_term=2,
    entries=entries_of([2, 3, 3], first=5),
    leader_commit=4,
    round=1,
)
REPLY = AppendEntriesReply(
    term=3,
    source="b",
    target="a",
    is_success=True,
    match_index=7,
    rejected_index=0,
    conflict_term=0,
    conflict_index=0,
    round=1,
)
REQUEST = RequestVote(term=3, source="a", target="b", last_log_index=4, last_log_term=2)
VOTE = RequestVoteReply(term=3, source="b", target="a", is_granted=True)
SNAPSHOT = Snapshot(4, 2, Configuration(voters=("a", "b")), 1000, 7)
OFFER = InstallSnapshot(3, "a", "b", SNAPSHOT, 1)
OFFER_REPLY = InstallSnapshotReply(3, "b", "a", 4, 4, is_failed=False, round=1)
WISH = TimeoutNow(3, "a", "b")
READ = ReadIndex(3, "b", "a", 5)
READ_REPLY = ReadIndexReply(3, "a", "b", 5, 4)


@pytest.mark.parametrize(
    "message", [APPEND, REPLY, REQUEST, VOTE, OFFER, OFFER_REPLY, WISH, READ, READ_REPLY]
)
def test_every_message_survives_the_wire_and_is_sound(message: Message) -> None:
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=Message)

    assert message == decoded
    assert is_sound(decoded)


@pytest.mark.parametrize(
    "message",
    [
        msgspec.structs.replace(APPEND, prev_log_index=3),
        msgspec.structs.replace(APPEND, prev_log_index=-1, entries=()),
        msgspec.structs.replace(APPEND, prev_log_term=3),
        msgspec.structs.replace(APPEND, term=2),
        msgspec.structs.replace(APPEND, leader_commit=-1),
        msgspec.structs.replace(APPEND, round=-1),
        msgspec.structs.replace(
            APPEND, entries=(*entries_of([2, 3], first=5), Entry(3, 9, 0, b""))
        ),
        msgspec.structs.replace(APPEND, entries=entries_of([2, 3, 2], first=5)),
        msgspec.structs.replace(APPEND, source=""),
        msgspec.structs.replace(APPEND, term=NUMBER_MAX + 1),
        msgspec.structs.replace(APPEND, prev_log_index=NUMBER_MAX + 1, entries=()),
        msgspec.structs.replace(APPEND, leader_commit=NUMBER_MAX + 1),
        msgspec.structs.replace(APPEND, entries=(Entry(3, 5, KIND_MAX + 1, b""),)),
        msgspec.structs.replace(APPEND, entries=(Entry(3, 5, -1, b""),)),
        msgspec.structs.replace(REPLY, match_index=-1),
        msgspec.structs.replace(REPLY, conflict_index=-1),
        msgspec.structs.replace(REPLY, conflict_term=NUMBER_MAX + 1),
        msgspec.structs.replace(REPLY, round=NUMBER_MAX + 1),
        msgspec.structs.replace(REQUEST, source="n" * (NODE_ID_CHARACTERS_MAX + 1)),
        msgspec.structs.replace(REQUEST, source=""),
        msgspec.structs.replace(REQUEST, last_log_index=NUMBER_MAX + 1),
        msgspec.structs.replace(REPLY, rejected_index=-1),
        msgspec.structs.replace(REQUEST, last_log_term=3),
        msgspec.structs.replace(REQUEST, last_log_index=-1),
        msgspec.structs.replace(VOTE, term=-1),
        msgspec.structs.replace(
            APPEND, entries=(Entry(3, 5, EntryKind.CONFIGURATION, b"no configuration"),)
        ),
        msgspec.structs.replace(OFFER, snapshot=Snapshot(4, 2, Configuration(voters=()))),
        msgspec.structs.replace(OFFER, snapshot=msgspec.structs.replace(SNAPSHOT, index=0)),
        msgspec.structs.replace(OFFER, snapshot=msgspec.structs.replace(SNAPSHOT, term=4)),
        msgspec.structs.replace(OFFER, snapshot=msgspec.structs.replace(SNAPSHOT, size_bytes=-1)),
        msgspec.structs.replace(OFFER, round=-1),
        msgspec.structs.replace(OFFER_REPLY, match_index=-1),
        msgspec.structs.replace(WISH, source=""),
        msgspec.structs.replace(READ, read=-1),
        msgspec.structs.replace(READ_REPLY, index=NUMBER_MAX + 1),
    ],
)
def test_what_no_correct_server_writes_is_unsound(message: Message) -> None:
    assert not is_sound(message)
