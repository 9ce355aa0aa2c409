"""Raft's promises across all nodes, checked after every turn of every node (Figure 3 of the paper).

- Election safety: at most one leader in a term.
- Log matching: two entries of one index and term carry the same data and follow entries of the
  same term; by induction the logs are the same up to there.
- Leader completeness: whoever becomes leader has every entry that was ever applied anywhere.
- State machine safety: no two nodes apply different entries at an index.
- A node's term and commit index never fall while it lives, and after a crash it still has every
  term and vote that it had reported as stored.

The checker only looks: it holds what it saw, and asks nothing of the nodes but their logs' terms.
"""

from collections.abc import Sequence

from liferaft.cluster.driver import Driver
from liferaft.errors import InvariantViolated
from liferaft.raft.effects import Apply, Effect, Persist
from liferaft.raft.events import Event, Stored
from liferaft.raft.types import Entry, HardState, NodeId


class SafetyChecker:
    """Sees every turn of every node; raises `InvariantViolated` when a promise is broken."""

    def __init__(self) -> None:
        self.events = 0
        self.elections = 0
        self._leaders: dict[int, NodeId] = {}
        self._entries: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._applied: list[Entry] = []
        self._term_of: dict[NodeId, int] = {}
        self._commit_of: dict[NodeId, int] = {}
        self._written: dict[NodeId, list[tuple[int, HardState]]] = {}
        self._promised: dict[NodeId, HardState] = {}

    @property
    def applied(self) -> Sequence[Entry]:
        """Every entry that was ever applied, in the order of the log, from index 1."""
        return self._applied

    def node_started(self, node_id: NodeId) -> None:
        """Learn that a node begins a new life: what was not stored may be forgotten."""
        self._term_of.pop(node_id, None)
        self._commit_of.pop(node_id, None)
        self._written.pop(node_id, None)

    def observe(
        self, node_id: NodeId, driver: Driver, events: Sequence[Event], effects: Sequence[Effect]
    ) -> None:
        """Check all promises after one turn of one node."""
        self.events += len(events)
        for event in events:
            if isinstance(event, Stored):
                self._note_promise(node_id, event.mark)
        for effect in effects:
            if isinstance(effect, Persist):
                self._check_log_matching(node_id, driver, effect.entries)
                if effect.hard_state is not None:
                    written = self._written.setdefault(node_id, [])
                    written.append((effect.mark, effect.hard_state))
            elif isinstance(effect, Apply):
                self._check_state_machine(node_id, effect.entries)
        self._check_monotonic(node_id, driver)
        self._check_promise(node_id, driver)
        if driver.core.role == "leader":
            self._check_leader(node_id, driver)

    def _check_log_matching(
        self, node_id: NodeId, driver: Driver, entries: Sequence[Entry]
    ) -> None:
        if not entries:
            return
        previous_term = driver.core.term_at(entries[0].index - 1)
        for entry in entries:
            seen = (previous_term, entry.data)
            if self._entries.setdefault((entry.index, entry.term), seen) != seen:
                raise InvariantViolated(
                    f"log matching: {node_id} has another entry {entry.index} of term {entry.term}"
                )
            previous_term = entry.term

    def _check_state_machine(self, node_id: NodeId, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.index > len(self._applied) + 1:
                raise InvariantViolated(f"{node_id} applies {entry.index} before those below it")
            if entry.index == len(self._applied) + 1:
                self._applied.append(entry)
            elif self._applied[entry.index - 1] != entry:
                raise InvariantViolated(
                    f"state machine safety: {node_id} applies {entry!r}, "
                    f"another node applied {self._applied[entry.index - 1]!r}"
                )

    def _check_monotonic(self, node_id: NodeId, driver: Driver) -> None:
        core = driver.core
        for name, seen, value in (
            ("term", self._term_of, core.current_term),
            ("commit index", self._commit_of, core.commit_index),
        ):
            before = seen.get(node_id, 0)
            if value < before:
                raise InvariantViolated(f"the {name} of {node_id} fell from {before} to {value}")
            seen[node_id] = value

    def _note_promise(self, node_id: NodeId, mark: int) -> None:
        written = self._written.get(node_id, [])
        while written and written[0][0] <= mark:
            _, self._promised[node_id] = written.pop(0)

    def _check_promise(self, node_id: NodeId, driver: Driver) -> None:
        """Check that term and vote are those that were reported as stored, or later ones."""
        promised = self._promised.get(node_id, HardState())
        now = driver.core.state.hard_state
        is_kept = now.current_term > promised.current_term or (
            now.current_term == promised.current_term
            and promised.voted_for in (None, now.voted_for)
        )
        if not is_kept:
            raise InvariantViolated(f"{node_id} promised {promised!r} and now has {now!r}")

    def _check_leader(self, node_id: NodeId, driver: Driver) -> None:
        term = driver.core.current_term
        if term in self._leaders:
            if self._leaders[term] != node_id:
                raise InvariantViolated(
                    f"election safety: {self._leaders[term]} and {node_id} lead in term {term}"
                )
            return
        self._leaders[term] = node_id
        self.elections += 1
        core = driver.core
        for entry in self._applied:
            if entry.index > core.last_index or core.term_at(entry.index) != entry.term:
                raise InvariantViolated(
                    f"leader completeness: {node_id} leads term {term} without {entry!r}"
                )
