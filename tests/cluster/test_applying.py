"""Entries are applied in their order, and a turn is never long for their number."""

from liferaft.cluster.applying import SLICE, Applying
from liferaft.raft.types import Entry, EntryKind


class Machine:
    """Notes what it applies; each entry takes half a slice."""

    def __init__(self) -> None:
        self.now = 0.0
        self.applied: list[int] = []
        self.applying = Applying(self._apply, lambda: self.now)

    def _apply(self, entry: Entry) -> None:
        self.now += SLICE / 2
        self.applied.append(entry.index)


def entries(first: int, last: int) -> tuple[Entry, ...]:
    return tuple(Entry(1, index, EntryKind.COMMAND, b"") for index in range(first, last + 1))


def test_what_does_not_fit_into_a_slice_waits_for_the_next() -> None:
    machine = Machine()
    machine.applying.begin_slice()
    machine.applying.take(entries(1, 5))
    first = list(machine.applied)
    machine.applying.begin_slice()

    assert ([1, 2], [1, 2, 3, 4]) == (first, machine.applied)
    assert 1 == len(machine.applying)


def test_what_comes_later_waits_behind_what_waits() -> None:
    machine = Machine()
    machine.applying.begin_slice()
    machine.applying.take(entries(1, 3))
    machine.applying.take(entries(4, 5))
    machine.applying.begin_slice()
    machine.applying.begin_slice()

    assert [1, 2, 3, 4, 5] == machine.applied


def test_a_slice_applies_something_however_long_it_takes() -> None:
    machine = Machine()
    machine.applying.begin_slice()
    machine.applying.take(entries(1, 4))
    machine.now += 10 * SLICE

    for _ in range(2):
        machine.applying.begin_slice()
        machine.now += 10 * SLICE

    assert [1, 2, 3, 4] == machine.applied


def test_before_the_state_is_replaced_all_that_waits_is_applied() -> None:
    machine = Machine()
    machine.applying.begin_slice()
    machine.applying.take(entries(1, 9))
    machine.applying.finish()

    assert list(range(1, 10)) == machine.applied
