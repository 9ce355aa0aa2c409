"""The state and the members that the applied log gives: what every snapshot is held against."""

from collections.abc import Sequence
from typing import Final

from liferaft.errors import InvariantViolated
from liferaft.raft.configuration import decoded
from liferaft.raft.types import COMMAND, CONFIGURATION, Configuration, Entry, NodeId, Snapshot
from liferaft.sim.core_machine import RegisterMachine


class Reference:
    """Applies what was applied anywhere, once more; states that were right once save time.

    `applied` grows, and nothing in it changes. `waiting` are snapshots that were seen before it was
    known what was applied in the same turn.
    """

    def __init__(self, applied: Sequence[Entry], first: Configuration) -> None:
        self._applied = applied
        self._first = first
        self._states: dict[int, bytes] = {0: RegisterMachine().encoded()}
        self._members: dict[int, Configuration] = {}
        self._looked_at = 0
        self.waiting: Final[list[tuple[NodeId, Snapshot, bytes]]] = []

    def check_waiting(self) -> None:
        """Check all snapshots that wait."""
        for node_id, snapshot, state in self.waiting:
            self.check(node_id, snapshot, state)
        self.waiting.clear()

    def check(self, node_id: NodeId, snapshot: Snapshot, state: bytes) -> None:
        """Raise `InvariantViolated` unless a snapshot is what the log makes at its index."""
        index = snapshot.index
        if index > len(self._applied) or self._applied[index - 1].term != snapshot.term:
            raise InvariantViolated(
                f"snapshot: {node_id} has one up to {index} of term {snapshot.term}, and that "
                "entry is applied nowhere"
            )
        if snapshot.configuration != self._members_at(index):
            raise InvariantViolated(
                f"snapshot: {node_id} has one up to {index} with {snapshot.configuration}, and "
                f"the log makes {self._members_at(index)}"
            )
        if state != self._state_at(index):
            raise InvariantViolated(
                f"snapshot: {node_id} has another state at {index} than the log makes"
            )

    def _state_at(self, index: int) -> bytes:
        if index not in self._states:
            before = max(known for known in self._states if known < index)
            machine = RegisterMachine()
            machine.restore(self._states[before])
            for entry in self._applied[before:index]:
                if entry.kind == COMMAND:
                    machine.apply(entry.data)
            self._states[index] = machine.encoded()
        return self._states[index]

    def _members_at(self, index: int) -> Configuration:
        for entry in self._applied[self._looked_at :]:
            if entry.kind == CONFIGURATION:
                self._members[entry.index] = decoded(entry.data)
        self._looked_at = len(self._applied)
        latest = max((known for known in self._members if known <= index), default=0)
        return self._members[latest] if latest else self._first
