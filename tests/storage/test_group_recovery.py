"""What a start makes of the writes of groups, also where the first of them were dropped."""

import pytest

from liferaft.errors import DamagedLog
from liferaft.raft.types import Entry, EntryId, EntryKind, HardState, TermRun
from liferaft.storage.contents import EMPTY
from liferaft.storage.extents import Extent
from liferaft.storage.group_records import OF_A_GROUP, WriteKind, encode_write
from liferaft.storage.group_recovery import GroupContents, Replay
from liferaft.storage.ledger import Ledger
from liferaft.storage.records import FormatError, decode_body, encode_entries, encode_hard_state
from liferaft.storage.segment import Position
from tests.storage.logs import make_entries

GROUP = b"a"


def append(first: int, last: int, *, term: int = 1, prior: int = 1) -> bytes:
    items = encode_entries(make_entries(first, last, term=term))
    before = EntryId(prior if first > 1 else 0, first - 1)
    return encode_write(WriteKind.APPENDED, GROUP, before, items)


def copy(first: int, last: int, *, term: int = 1, prior: int = 1) -> bytes:
    items = encode_entries(make_entries(first, last, term=term))
    before = EntryId(prior if first > 1 else 0, first - 1)
    return encode_write(WriteKind.COPIED, GROUP, before, items)


def vote(term: int, voted_for: str | None = None) -> bytes:
    items = encode_hard_state(HardState(term, voted_for))
    return encode_write(WriteKind.APPENDED, GROUP, EMPTY, items)


def replayed(*writes: bytes, first: int = 1, tail_bytes: int = 1000) -> Replay:
    """Return what is found in writes that follow each other, one record for each."""
    replay = Replay(tail_bytes=tail_bytes, ledger=Ledger(step_bytes=1000))
    for number, data in enumerate(writes, start=first):
        body = decode_body(encode_entries([Entry(1, number, OF_A_GROUP, data)]))
        replay.take(body, Position(1, 0, 0), len(data))
    return replay


def contents(*writes: bytes, base: EntryId = EMPTY, first: int = 1) -> GroupContents:
    return replayed(*writes, first=first).contents("/data", {"a": base})["a"]


def test_a_copy_fills_the_hole_that_a_dropped_write_left() -> None:
    """Entries 1 to 4 were written before what is left of the log."""
    found = contents(append(5, 6), vote(1), copy(1, 2), append(7, 7), copy(3, 4), first=100)

    assert (1, 7, 0) == (found.terms.first, found.terms.last, found.terms.prior_term)
    assert (TermRun(1, 1),) == found.terms.runs
    assert [
        Extent(1, 2, 102),
        Extent(3, 4, 104),
        Extent(5, 6, 100),
        Extent(7, 7, 103),
    ] == list(found.places.runs(1))
    assert found.tail is None, "what came last is not what is last"


def test_a_hole_that_is_left_is_what_was_lost() -> None:
    with pytest.raises(DamagedLog, match=r"group a: entries 1 to 4 are missing.*move /data away"):
        contents(vote(1), append(5, 6), first=100)


def test_a_hole_below_the_snapshot_is_none() -> None:
    found = contents(vote(2), copy(1, 2), append(5, 6, term=2), base=EntryId(1, 4), first=100)

    assert (5, 6, 1) == (found.terms.first, found.terms.last, found.terms.prior_term)
    assert found.void_before is None


def test_what_replaced_entries_that_were_dropped_is_the_beginning() -> None:
    """First came 8 and 9, then a leader that replaced all from 5 on."""
    found = contents(vote(2), append(8, 9), append(5, 6, term=2), base=EntryId(1, 4), first=100)

    assert (5, 6) == (found.terms.first, found.terms.last)
    assert [Extent(5, 6, 102)] == list(found.places.runs(1))


def test_what_lies_below_the_floor_does_not_count() -> None:
    """Its segment may be dropped at any moment."""
    floor = encode_write(WriteKind.FLOOR, b"", EntryId(0, 101))
    replay = replayed(vote(1), append(1, 2), append(3, 4), vote(1), floor, first=100)
    found = replay.contents("/data", {"a": EntryId(1, 2)})["a"]

    assert 101 == replay.floor
    assert (3, 4, 1) == (found.terms.first, found.terms.last, found.terms.prior_term)
    with pytest.raises(DamagedLog, match="entries 1 to 2 are missing"):
        replay.contents("/data", {"a": EMPTY})


def test_a_copy_of_all_the_log_leaves_its_place_and_nothing_else_changed() -> None:
    found = contents(vote(1), append(1, 4), append(5, 5), copy(1, 5))

    assert [Extent(1, 5, 4)] == list(found.places.runs(1))
    assert tuple(make_entries(1, 5)) == found.tail


def test_configurations_outlive_their_copies() -> None:
    members = [
        Entry(1, index, EntryKind.CONFIGURATION, b"members %d" % index) for index in (1, 2, 3)
    ]
    found = contents(
        vote(1),
        encode_write(WriteKind.APPENDED, GROUP, EMPTY, encode_entries(members)),
        encode_write(WriteKind.COPIED, GROUP, EntryId(1, 1), encode_entries(members[1:2])),
    )

    assert tuple(members) == found.configurations


@pytest.mark.parametrize(
    ("writes", "what"),
    [
        ((vote(2), vote(1)), "the hard state of group a goes back"),
        ((vote(1, "n1"), vote(1, "n2")), "the hard state of group a goes back"),
        ((vote(2), append(1, 2), append(3, 3, term=2, prior=2)), "do not follow those before them"),
        ((vote(2), append(1, 4), copy(2, 3, term=2)), "that group a does not hold"),
        ((b"",), "half a head"),
    ],
)
def test_writes_that_break_a_groups_promises_are_refused(
    writes: tuple[bytes, ...], what: str
) -> None:
    with pytest.raises(FormatError, match=what):
        replayed(*writes)


def test_entries_of_a_later_term_than_the_groups_are_refused() -> None:
    with pytest.raises(DamagedLog, match="of a later term than its hard state"):
        contents(vote(1), append(1, 1, term=2))


def test_an_entry_of_another_kind_is_no_write() -> None:
    replay = Replay(tail_bytes=0, ledger=Ledger(step_bytes=1))
    body = decode_body(encode_entries(make_entries(1, 1)))

    with pytest.raises(FormatError, match="this is no shared log"):
        replay.take(body, Position(1, 0, 0), 0)
