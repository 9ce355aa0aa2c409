"""Reads share a round, and wait for the state machine."""

from liferaft.cluster.reads import Reads
from liferaft.raft.types import NodeId


class Reader:
    """Notes what became of its read."""

    def __init__(self) -> None:
        self.fate: list[str | None] = []

    def ready(self) -> None:
        self.fate.append("ready")

    def rejected(self, leader: NodeId | None) -> None:
        self.fate.append(leader)


def asked(count: int) -> tuple[Reads, list[Reader], int]:
    reads, readers = Reads(), [Reader() for _ in range(count)]
    for reader in readers:
        reads.add(reader)
    read_id = reads.take()
    assert read_id is not None
    return reads, readers, read_id


def test_reads_that_wait_together_are_asked_together() -> None:
    reads, readers, read_id = asked(3)

    reads.confirmed((read_id,), 5)
    reads.answer(5)

    assert [["ready"]] * 3 == [reader.fate for reader in readers]
    assert reads.take() is None


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
    reads.take()
    reads.add(third)

    reads.reject_all()

    assert [[None]] * 3 == [reader.fate for reader in (first, second, third)]
