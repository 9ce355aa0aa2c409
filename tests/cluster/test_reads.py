"""Reads share a round, wait for the state machine, and tell how old it can be."""

import math

import pytest

from liferaft.cluster.reads import ReadKind, Reads
from liferaft.raft.events import ReadAsked
from liferaft.raft.types import NodeId


class Reader:
    """Notes what became of its read."""

    def __init__(self) -> None:
        self.fate: list[str | None] = []

    def ready(self) -> None:
        self.fate.append("ready")

    def rejected(self, leader: NodeId | None) -> None:
        self.fate.append(leader)


def asked(count: int, kind: ReadKind = ReadKind.QUORUM) -> tuple[Reads, list[Reader], int]:
    reads, readers = Reads(), [Reader() for _ in range(count)]
    for reader in readers:
        reads.add(reader, kind)
    [event] = reads.take(10.0)
    return reads, readers, event.read_id


def test_reads_that_wait_together_are_asked_together() -> None:
    reads, readers, read_id = asked(3)

    reads.confirmed((read_id,), 5)
    reads.answer(5)

    assert [["ready"]] * 3 == [reader.fate for reader in readers]
    assert [] == reads.take(11.0)


def test_a_confirmed_read_waits_until_its_index_is_applied() -> None:
    """Trap 44: the answer waits for apply."""
    reads, [reader], read_id = asked(1)
    reads.confirmed((read_id,), 5)

    reads.answer(4)
    before = list(reader.fate)
    reads.answer(5)

    assert ([], ["ready"]) == (before, reader.fate)


def test_an_unconfirmed_read_is_not_answered_however_far_the_state_is() -> None:
    reads, [reader], _ = asked(1)

    reads.answer(1_000)

    assert [] == reader.fate


def test_a_rejected_read_learns_who_may_know() -> None:
    reads, [reader], read_id = asked(1)

    reads.rejected((read_id,), "n2")

    assert ["n2"] == reader.fate


def test_an_ending_node_sends_every_reader_away() -> None:
    reads, [first], read_id = asked(1)
    reads.confirmed((read_id,), 9)
    second, third = Reader(), Reader()
    reads.add(second)
    reads.take(11.0)
    reads.add(third)

    reads.reject_all()

    assert [[None]] * 3 == [reader.fate for reader in (first, second, third)]


def test_each_kind_of_reads_is_asked_once_in_its_own_way() -> None:
    reads = Reads()
    for kind in (ReadKind.FOLLOW, ReadKind.LEASE, ReadKind.FOLLOW, ReadKind.QUORUM):
        reads.add(Reader(), kind)

    assert [
        ReadAsked(1, may_follow=True),
        ReadAsked(2, may_use_lease=True),
        ReadAsked(3),
    ] == reads.take(1.0)


def test_a_read_whose_index_is_applied_does_not_wait_for_one_that_came_first() -> None:
    """A lease, or a leader's answer that was not lost, overtakes what was asked before it."""
    reads, [first], first_id = asked(1)
    second = Reader()
    reads.add(second, ReadKind.LEASE)
    [event] = reads.take(11.0)
    reads.confirmed((event.read_id,), 7)
    reads.confirmed((first_id,), 5)

    reads.answer(5)

    assert (["ready"], []) == (first.fate, second.fate)


def test_a_node_that_starts_knows_of_no_age() -> None:
    assert -math.inf == Reads().fresh_as_of


@pytest.mark.parametrize("kind", [ReadKind.QUORUM, ReadKind.FOLLOW])
def test_the_state_is_fresh_as_of_when_a_read_was_asked_once_its_index_is_applied(
    kind: ReadKind,
) -> None:
    """Not as of its confirmation: by then another leader may have written."""
    reads, _, read_id = asked(1, kind)
    reads.confirmed((read_id,), 5)
    reads.answer(4)
    before = reads.fresh_as_of
    reads.answer(5)

    assert (-math.inf, 10.0) == (before, reads.fresh_as_of)


def test_a_lease_tells_nothing_of_the_age() -> None:
    """It rests on the clocks of the whole cluster, an age on this node's alone."""
    reads, [reader], read_id = asked(1, ReadKind.LEASE)
    reads.confirmed((read_id,), 5)
    reads.answer(5)

    assert (["ready"], -math.inf) == (reader.fate, reads.fresh_as_of)


def test_an_earlier_read_that_is_confirmed_later_makes_nothing_older() -> None:
    reads, _, first_id = asked(1, ReadKind.FOLLOW)
    reads.add(Reader(), ReadKind.FOLLOW)
    [event] = reads.take(11.0)
    reads.confirmed((event.read_id,), 5)
    reads.answer(5)
    reads.confirmed((first_id,), 5)
    reads.answer(5)

    assert 11.0 == reads.fresh_as_of


def test_a_rejected_read_tells_nothing_of_the_age() -> None:
    reads, _, read_id = asked(1, ReadKind.FOLLOW)
    reads.rejected((read_id,), None)
    reads.answer(100)

    assert -math.inf == reads.fresh_as_of
