"""Every snapshot is held against what the applied log makes."""

import pytest

from liferaft.errors import InvariantViolated
from liferaft.raft.configuration import encoded
from liferaft.raft.types import Configuration, Entry, EntryKind, Snapshot
from liferaft.sim.core_machine import Command, RegisterMachine, encode_command
from liferaft.sim.core_reference import Reference

FIRST = Configuration(voters=("a", "b", "c"))
LATER = Configuration(voters=("a", "b", "c"), learners=("d",))


def log() -> list[Entry]:
    commands = [encode_command(Command(1, number, 1, 1)) for number in range(1, 6)]
    entries = [
        Entry(1, index, int(EntryKind.COMMAND), data) for index, data in enumerate(commands, 1)
    ]
    entries[2] = Entry(1, 3, int(EntryKind.CONFIGURATION), encoded(LATER))
    return entries


def state_at(index: int) -> bytes:
    machine = RegisterMachine()
    for entry in log()[:index]:
        if entry.kind == EntryKind.COMMAND:
            machine.apply(entry.data)
    return machine.encoded()


def test_what_the_log_makes_is_right_in_any_order() -> None:
    reference = Reference(log(), FIRST)
    for index in (4, 2, 5, 4):
        members = FIRST if index < 3 else LATER
        reference.check("a", Snapshot(index, 1, members), state_at(index))


@pytest.mark.parametrize(
    ("snapshot", "state", "says"),
    [
        (Snapshot(4, 1, LATER), 2, "another state at 4"),
        (Snapshot(4, 1, FIRST), 4, "and the log makes"),
        (Snapshot(4, 2, LATER), 4, "applied nowhere"),
        (Snapshot(6, 1, LATER), 5, "applied nowhere"),
    ],
    ids=["state", "members", "term", "index"],
)
def test_what_it_does_not_make_is_found(snapshot: Snapshot, state: int, says: str) -> None:
    reference = Reference(log(), FIRST)
    with pytest.raises(InvariantViolated, match=f"snapshot: a has .*{says}"):
        reference.check("a", snapshot, state_at(state))
