"""Raft's promises across all nodes, checked after every turn of every node (Figure 3 of the paper).

Both fidelities of the simulator share this checker. What it holds the nodes to, each named at the
beginning of the `InvariantViolated` that it raises:

- *election safety*: at most one leader in a term.
- *leader append-only*: a leader never overwrites or deletes entries of its log.
- *log matching*: two entries of one index and term carry the same data and follow entries of the
  same term; by induction the logs are the same up to there.
- *leader completeness*: whoever leads a term has every entry that any node, applied or not, ever
  knew as committed in an earlier term; so what the cluster committed never falls.
- *state machine safety*: no two nodes apply, or know as committed, different entries at an index,
  and no node applies with a gap or a repeat.
- *monotonic term*, *one vote*, *monotonic commit*: within a life neither falls, nor a vote changes.
- *kept promise*: after a crash a node has every term, vote and entry that it had reported as
  stored, but for entries that it was overwriting when it crashed.
- *acknowledged*: what a client was told is applied.
- *a snapshot never rolls back*: what is restored covers more than what was applied; and it is of
  what was committed.

A log may begin behind a snapshot. What a snapshot covers counts as applied and as stored; a log
that does not meet the newest one is void, and begins behind it.

And to rules of Figure 2 whose breach may take long to show in those:

- *won votes*: who leads a term has received the votes of a majority in that very term; in a joint
  phase, of both.
- *quorum*: what a leader commits is stored by a majority of the members; in a joint phase, by both.
- *members*: every node goes by the members that its log, or its snapshot, names.
- *compacted*: nobody drops entries that no snapshot of its own covers.
- *one term, one leader's role*: nobody goes on as leader after it saw a later term.
- *check-quorum*: nobody leads on for longer than an election timeout after it heard of a quorum.
- *read*: who reads is told an index no lower than what any node knew as committed when it asked.
- *own term*: a leader commits by counting only through an entry of its own term (Figure 8).
- *its leader's log*: what a follower writes is in the log of a leader of the term it is in.
- *stored*: no node takes an entry for stored that its disk does not have, or may be overwriting.
- *persisted*: what a node says at once, of its entries and its vote, is on its disk.

It only looks: it holds what it saw, and asks nothing of the nodes but their state. What holds of
one server alone is in raft/invariants.py.
"""

from collections.abc import Sequence

from liferaft.errors import InvariantViolated
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import (
    Apply,
    Compact,
    ConfigurationChanged,
    Effect,
    Persist,
    ReadReady,
    RestoreSnapshot,
    RoleChanged,
    Send,
)
from liferaft.raft.events import Event
from liferaft.raft.state import Leader
from liferaft.raft.types import Configuration, Entry, NodeId
from liferaft.sim.safety_contact import begin_contact, check_contact
from liferaft.sim.safety_log import LogMatching, runs_of, terms_of
from liferaft.sim.safety_members import check_counted, check_members, check_won
from liferaft.sim.safety_node import (
    Node,
    check_hard_state,
    check_kept,
    check_read,
    check_restored,
    check_said,
    check_stored,
    note_events,
)


class SafetyChecker:
    """Sees every turn of every node; raises `InvariantViolated` when a promise is broken.

    `events` counts the events that were stepped, `elections` the terms that had a leader.
    `configuration` is the cluster's first; None to take that of each node for right.
    """

    def __init__(self, configuration: Configuration | None = None) -> None:
        self.events = 0
        self.elections = 0
        self._nodes: dict[NodeId, Node] = {}
        self._leaders: dict[int, NodeId] = {}
        self._applied: list[Entry] = []
        self._committed_terms: list[int] = []
        self._committed_in: dict[int, int] = {}
        self._matching = LogMatching()
        # The terms of the entries that the leader of a term has, from index 1 on.
        self._led_logs: dict[int, list[int]] = {}
        self._first_configuration = configuration
        self._are_members_due = False

    @property
    def applied(self) -> Sequence[Entry]:
        """Every entry that was ever applied, in the order of the log, from index 1."""
        return self._applied

    @property
    def committed_index(self) -> int:
        """The highest index that any node ever knew as committed."""
        return len(self._committed_terms)

    def node_started(self, node_id: NodeId) -> None:
        """Learn that a node begins a new life: what was not stored may be forgotten."""
        self._nodes.setdefault(node_id, Node()).begin_life()

    def disk_lost(self, node_id: NodeId) -> None:
        """Learn that a node's disk was damaged or lost on purpose: its promises are void."""
        self._nodes[node_id] = Node(was_lost=True, is_unknown=True)

    def snapshot_damaged(self, node_id: NodeId) -> None:
        """Learn that a node's newest snapshot was damaged on purpose: it may begin without it."""
        self._nodes[node_id].covered = 0

    def acknowledged(self, index: int, term: int) -> None:
        """Check that what a client was told of, the entry of this index and term, is applied."""
        if index > len(self._applied) or self._applied[index - 1].term != term:
            raise InvariantViolated(
                f"acknowledged: entry {index} of term {term} was promised to a client, and "
                + (
                    f"only {len(self._applied)} are applied"
                    if index > len(self._applied)
                    else f"one of term {self._applied[index - 1].term} is applied there"
                )
            )

    def observe(
        self, node_id: NodeId, core: RaftCore, events: Sequence[Event], effects: Sequence[Effect]
    ) -> None:
        """Check all promises after one turn of one node."""
        self.events += len(events)
        node = self._nodes.get(node_id)
        if node is None:
            node = self._nodes[node_id] = Node()
        state = core.state
        if node.is_new_life:
            check_kept(node_id, node, state, effects, self._committed_terms)
        has_stored = note_events(node, events, len(self._committed_terms))
        role = state.role
        leader = role if type(role) is Leader else None
        if leader is not None:
            self._check_leader(node_id, node, core, leader, effects)
            if node.members is not state.configurations.latest or node.role is not role:
                begin_contact(node, core)
            check_contact(node, core, events)
        if effects:
            self._check_effects(node_id, node, core, effects)
        if has_stored:
            check_stored(node_id, node, state.log)
        if state.hard_state is not node.hard_state:
            check_hard_state(node_id, node, state.hard_state)
        if state.commit_index != node.commit_index:
            self._check_commit(node_id, node, core)
        if leader is not None and node.members is not state.configurations.latest:
            node.members = state.configurations.latest
            node.members_index = state.configurations.latest_index
        node.role = role
        node.last_index = state.log.last_index

    def _check_effects(
        self, node_id: NodeId, node: Node, core: RaftCore, effects: Sequence[Effect]
    ) -> None:
        for effect in effects:
            # For a Struct's class, a negative isinstance costs four times as much as this.
            if type(effect) is Persist:
                node.pending.append(effect)
                if effect.entries:
                    self._matching.check(node_id, core, effect.entries)
                    self._check_written(node_id, node, core, effect.entries)
            elif type(effect) is Apply:
                self._check_applied(node_id, node, effect.entries)
            elif type(effect) is ReadReady:
                check_read(node_id, node, effect)
            elif type(effect) is not Send:
                self._check_rare(node_id, node, effect)
            elif not effect.after:
                check_said(node_id, node, core.state, effect.message)
        if self._are_members_due:
            self._are_members_due = False
            self._check_members(node_id, core)

    def _check_rare(self, node_id: NodeId, node: Node, effect: Effect) -> None:
        if isinstance(effect, RoleChanged) and effect.role == Leader.name:
            self._note_leader(node_id, effect.term)
        elif isinstance(effect, ConfigurationChanged):
            self._are_members_due = True  # once the entry that names them was looked at
        elif isinstance(effect, RestoreSnapshot):
            check_restored(node_id, node, effect, self._committed_terms)
            self._are_members_due = True
        elif isinstance(effect, Compact) and effect.index > node.covered:
            raise InvariantViolated(
                f"compacted: {node_id} drops its log up to {effect.index}, and its snapshot covers "
                f"what is up to {node.covered}"
            )

    def _check_members(self, node_id: NodeId, core: RaftCore) -> None:
        expected = self._matching.members_of(core.state.log, self._committed_terms)
        first = self._first_configuration
        if expected is None and first is not None:
            # Who joins belongs to nobody until its log tells, or a snapshot.
            is_first = node_id in first.voters or core.state.snapshot is not None
            expected = first if is_first else Configuration(voters=())
        if expected is not None:
            check_members(node_id, core, expected)

    def _check_written(
        self, node_id: NodeId, node: Node, core: RaftCore, entries: Sequence[Entry]
    ) -> None:
        """Compare what a node writes with the log of its leader, or note the leader's own.

        Within one turn it may have heard of several terms, and have entries of any of them.
        """
        first, last = entries[0].index, entries[-1].index
        terms = [entry.term for entry in entries]
        if type(core.state.role) is Leader:
            self._led_logs[core.current_term][first - 1 :] = terms
            return
        if type(node.role) is Leader:
            self._note_last_own(node, entries)
        earliest = max(node.hard_state.current_term, 1)
        logs = [self._led_logs.get(t) for t in range(earliest, core.current_term + 1)]
        if None not in logs and terms not in [log[first - 1 : last] for log in logs if log]:
            raise InvariantViolated(
                f"its leader's log: {node_id} writes entries {first} to {last} of terms "
                f"{runs_of(terms)} in term {core.current_term}, whose leader has others"
            )

    def _note_last_own(self, node: Node, entries: Sequence[Entry]) -> None:
        """Note what a leader appended in the turn in which it stepped down."""
        led_log = self._led_logs[node.led_term]
        for entry in entries:
            if entry.term == node.led_term and entry.index == len(led_log) + 1:
                led_log.append(entry.term)

    def _check_leader(
        self,
        node_id: NodeId,
        node: Node,
        core: RaftCore,
        role: Leader,
        effects: Sequence[Effect],
    ) -> None:
        if node.role is not role:
            self._check_new_leader(node_id, node, core)
            node.led_term = core.current_term
            return
        if core.current_term != node.led_term:
            raise InvariantViolated(
                f"one term, one leader's role: {node_id} was elected in term {node.led_term} and "
                f"goes on in term {core.current_term}"
            )
        rewritten = core.last_index < node.last_index
        for effect in effects:
            if type(effect) is Persist and effect.entries:
                rewritten |= effect.entries[0].index <= node.last_index
        if rewritten:
            raise InvariantViolated(
                f"leader append-only: {node_id} leads term {core.current_term} and rewrote its "
                f"log of {node.last_index} entries"
            )

    def _check_new_leader(self, node_id: NodeId, node: Node, core: RaftCore) -> None:
        term = core.current_term
        self._note_leader(node_id, term)
        self._check_members(node_id, core)
        check_won(node_id, core, {node_id} | node.votes.get(term, set()))
        base = core.state.log.base_index
        self._led_logs[term] = self._committed_terms[:base] + terms_of(core.state.log)
        # A candidate that hears its votes late may still come to lead a term that is over: what
        # was committed in later terms is not its own to have.
        required = max((i for t, i in self._committed_in.items() if t < term), default=0)
        log = core.state.log
        held, wanted = terms_of(log), self._committed_terms[log.base_index : required]
        if held[: len(wanted)] != wanted:
            raise InvariantViolated(
                f"leader completeness: {node_id} leads term {term} with "
                f"{log.last_index} entries of terms {runs_of(held)}, without all of the first "
                f"{required}, committed before, of terms {runs_of(wanted)}"
            )

    def _note_leader(self, node_id: NodeId, term: int) -> None:
        leader = self._leaders.get(term)
        if leader is None:
            self._leaders[term] = node_id
            self.elections += 1
        elif leader != node_id:
            raise InvariantViolated(
                f"election safety: {leader} and {node_id} both lead in term {term}"
            )

    def _check_commit(self, node_id: NodeId, node: Node, core: RaftCore) -> None:
        """Compare what a node knows as committed with what any node knows."""
        state, committed = core.state, self._committed_terms
        commit_index = state.commit_index
        if commit_index < node.commit_index:
            raise InvariantViolated(
                f"monotonic commit: {node_id} went from {node.commit_index} to {commit_index}"
            )
        node.commit_index = commit_index
        known = min(commit_index, len(committed))
        base_index = state.log.base_index
        if base_index > len(committed):
            raise InvariantViolated(
                f"state machine safety: the log of {node_id} begins behind {base_index}, and only "
                f"{len(committed)} entries are known as committed"
            )
        if known and known >= base_index and core.term_at(known) != committed[known - 1]:
            raise InvariantViolated(
                f"state machine safety: {node_id} knows {known} of term {core.term_at(known)} as "
                f"committed, another node one of term {committed[known - 1]}"
            )
        is_leader = type(state.role) is Leader and node.role is state.role
        if commit_index > known:
            if is_leader and core.term_at(commit_index) != core.current_term:
                raise InvariantViolated(
                    f"own term: {node_id} leads term {core.current_term} and commits entry "
                    f"{commit_index} of term {core.term_at(commit_index)} by counting"
                )
            committed += [core.term_at(index) for index in range(known + 1, commit_index + 1)]
            self._committed_in[state.current_term] = commit_index
        if is_leader and node.members is not None:
            check_counted(node_id, core, node, self._nodes)

    def _check_applied(self, node_id: NodeId, node: Node, entries: Sequence[Entry]) -> None:
        first, last = entries[0].index, entries[-1].index
        if first != node.applied_index + 1 or last - first + 1 != len(entries):
            raise InvariantViolated(
                f"state machine safety: {node_id} applies {first} to {last} after "
                f"{node.applied_index}"
            )
        node.applied_index = last
        seen = self._applied[first - 1 : last]
        if seen != list(entries[: len(seen)]):
            for entry, other in zip(entries, seen, strict=False):
                if entry != other:
                    raise InvariantViolated(
                        f"state machine safety: {node_id} applies {entry!r}, another node "
                        f"applied {other!r}"
                    )
        if first > len(self._applied) + 1:
            raise InvariantViolated(
                f"state machine safety: {node_id} applies {first}, and nobody what is below"
            )
        self._applied += entries[len(seen) :]
