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

And to rules of Figure 2 whose breach may take long to show in those:

- *won votes*: who leads a term has received the votes of a majority in that very term.
- *one term, one leader's role*: nobody goes on as leader after it saw a later term.
- *own term*: a leader commits by counting only through an entry of its own term (Figure 8).
- *its leader's log*: what a follower writes is in the log of a leader of the term it is in.
- *stored*: no node takes an entry for stored that its disk does not have, or may be overwriting.

It only looks: it holds what it saw, and asks nothing of the nodes but their state. What holds of
one server alone is in raft/invariants.py.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from liferaft.errors import InvariantViolated
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Apply, Effect, Persist, RoleChanged
from liferaft.raft.events import Event, Received, Stored
from liferaft.raft.log import RaftLog
from liferaft.raft.messages import RequestVoteReply
from liferaft.raft.state import Leader, RaftState, Role
from liferaft.raft.types import Entry, HardState, NodeId

_NOTHING: Final = HardState()


@dataclass(slots=True)
class _Node:
    """What is remembered of one node. The first fields are of its present life alone.

    - `led_term`: the term in which `role` was taken up, of a leader.
    - `votes`: who granted it a vote, by term, as far as it has heard.
    - `pending`: what it was asked to write and has not reported as stored yet.
    - `promised`, `stored`: term and vote, and the terms of the entries from index 1 on, that it
      reported as stored.
    """

    is_new_life: bool = True
    hard_state: HardState = _NOTHING
    role: Role | None = None
    led_term: int = 0
    votes: dict[int, set[NodeId]] = field(default_factory=dict)
    commit_index: int = 0
    applied_index: int = 0
    last_index: int = 0
    pending: deque[Persist] = field(default_factory=deque)
    promised: HardState = _NOTHING
    stored: list[int] = field(default_factory=list)


class SafetyChecker:
    """Sees every turn of every node; raises `InvariantViolated` when a promise is broken.

    `events` counts the events that were stepped, `elections` the terms that had a leader.
    """

    def __init__(self) -> None:
        self.events = 0
        self.elections = 0
        self._nodes: dict[NodeId, _Node] = {}
        self._leaders: dict[int, NodeId] = {}
        self._applied: list[Entry] = []
        self._committed_terms: list[int] = []
        self._committed_in: dict[int, int] = {}
        self._matching = _LogMatching()
        # The terms of the entries that the leader of a term has, from index 1 on.
        self._led_logs: dict[int, list[int]] = {}

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
        node = self._nodes.setdefault(node_id, _Node())
        node.is_new_life = True
        node.hard_state, node.role = _NOTHING, None
        node.commit_index = node.applied_index = node.last_index = 0
        node.votes.clear()

    def disk_lost(self, node_id: NodeId) -> None:
        """Learn that a node's disk was damaged or lost on purpose: its promises are void."""
        self._nodes[node_id] = _Node()

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
            node = self._nodes[node_id] = _Node()
        state = core.state
        if node.is_new_life:
            _check_kept(node_id, node, state, effects)
        has_stored = _note_events(node, events)
        role = state.role
        if type(role) is Leader:
            self._check_leader(node_id, node, core, role, effects)
        if effects:
            self._check_effects(node_id, node, core, effects)
        if has_stored:
            _check_stored(node_id, node, state.log)
        if state.hard_state is not node.hard_state:
            _check_hard_state(node_id, node, state.hard_state)
        if state.commit_index != node.commit_index:
            self._check_commit(node_id, node, core)
        node.role = role
        node.last_index = state.log.last_index

    def _check_effects(
        self, node_id: NodeId, node: _Node, core: RaftCore, effects: Sequence[Effect]
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
            elif type(effect) is RoleChanged and effect.role == Leader.name:
                self._note_leader(node_id, effect.term)

    def _check_written(
        self, node_id: NodeId, node: _Node, core: RaftCore, entries: Sequence[Entry]
    ) -> None:
        """Compare what a node writes with the log of its leader, or note the leader's own.

        Within one turn it may have heard of several terms, and have entries of any of them.
        """
        first, last = entries[0].index, entries[-1].index
        terms = [entry.term for entry in entries]
        if type(core.state.role) is Leader:
            self._led_logs[core.current_term][first - 1 :] = terms
            return
        earliest = max(node.hard_state.current_term, 1)
        logs = [self._led_logs.get(t) for t in range(earliest, core.current_term + 1)]
        if None not in logs and terms not in [log[first - 1 : last] for log in logs if log]:
            raise InvariantViolated(
                f"its leader's log: {node_id} writes entries {first} to {last} of terms "
                f"{_runs(terms)} in term {core.current_term}, whose leader has others"
            )

    def _check_leader(
        self,
        node_id: NodeId,
        node: _Node,
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

    def _check_new_leader(self, node_id: NodeId, node: _Node, core: RaftCore) -> None:
        term = core.current_term
        self._note_leader(node_id, term)
        voters = core.state.configuration.voters
        granted = {node_id} | node.votes.get(term, set())
        if 2 * len(granted.intersection(voters)) <= len(voters):
            raise InvariantViolated(
                f"won votes: {node_id} leads term {term}, in which {sorted(granted)} of "
                f"{len(voters)} voted for it"
            )
        self._led_logs[term] = [0] * core.state.log.base_index + _terms_of(core.state.log)
        # A candidate that hears its votes late may still come to lead a term that is over: what
        # was committed in later terms is not its own to have.
        required = max((i for t, i in self._committed_in.items() if t < term), default=0)
        log = core.state.log
        held, wanted = _terms_of(log), self._committed_terms[log.base_index : required]
        if held[: len(wanted)] != wanted:
            raise InvariantViolated(
                f"leader completeness: {node_id} leads term {term} with "
                f"{log.last_index} entries of terms {_runs(held)}, without all of the first "
                f"{required}, committed before, of terms {_runs(wanted)}"
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

    def _check_commit(self, node_id: NodeId, node: _Node, core: RaftCore) -> None:
        """Compare what a node knows as committed with what any node knows."""
        state, committed = core.state, self._committed_terms
        commit_index = state.commit_index
        if commit_index < node.commit_index:
            raise InvariantViolated(
                f"monotonic commit: {node_id} went from {node.commit_index} to {commit_index}"
            )
        node.commit_index = commit_index
        known = min(commit_index, len(committed))
        if known > state.log.base_index and core.term_at(known) != committed[known - 1]:
            raise InvariantViolated(
                f"state machine safety: {node_id} knows {known} of term {core.term_at(known)} as "
                f"committed, another node one of term {committed[known - 1]}"
            )
        if commit_index > known:
            is_leader = type(state.role) is Leader and node.role is state.role
            if is_leader and core.term_at(commit_index) != core.current_term:
                raise InvariantViolated(
                    f"own term: {node_id} leads term {core.current_term} and commits entry "
                    f"{commit_index} of term {core.term_at(commit_index)} by counting"
                )
            committed += [core.term_at(index) for index in range(known + 1, commit_index + 1)]
            self._committed_in[state.current_term] = commit_index

    def _check_applied(self, node_id: NodeId, node: _Node, entries: Sequence[Entry]) -> None:
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


class _LogMatching:
    """Every entry ever written, by index and term, with the term before it.

    `_recent` are entries that follow each other, known already: followers write what their leader
    wrote, and comparing two lists of the same objects costs next to nothing.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._recent: list[Entry] = []
        self._recent_first = 1
        self._recent_prior_term = 0

    def check(self, node_id: NodeId, core: RaftCore, entries: Sequence[Entry]) -> None:
        """Raise `InvariantViolated` unless these entries are what others have there, if any."""
        first = entries[0].index
        prior_term = core.term_at(first - 1)
        recent, start = self._recent, first - self._recent_first
        is_joined = 0 <= start <= len(recent) and prior_term == (
            recent[start - 1].term if start else self._recent_prior_term
        )
        if is_joined and recent[start : start + len(entries)] == list(entries):
            return
        previous_term = prior_term
        for entry in entries:
            seen = (previous_term, entry.data)
            if self._seen.setdefault((entry.index, entry.term), seen) != seen:
                raise InvariantViolated(
                    f"log matching: {node_id} has another entry {entry.index} of term "
                    f"{entry.term}, or after another one"
                )
            previous_term = entry.term
        if is_joined:
            recent[start:] = entries
        else:
            self._recent, self._recent_first = list(entries), first
            self._recent_prior_term = prior_term


def _check_hard_state(node_id: NodeId, node: _Node, now: HardState) -> None:
    before = node.hard_state
    if now.current_term < before.current_term:
        raise InvariantViolated(
            f"monotonic term: {node_id} went from {before.current_term} to {now.current_term}"
        )
    if now.current_term == before.current_term and before.voted_for not in (None, now.voted_for):
        raise InvariantViolated(
            f"one vote: {node_id} voted for {before.voted_for} and {now.voted_for} in term "
            f"{now.current_term}"
        )
    node.hard_state = now


def _check_kept(node_id: NodeId, node: _Node, state: RaftState, effects: Sequence[Effect]) -> None:
    """Compare a node after its first turn with what it had reported as stored in earlier lives.

    What it was writing when it crashed may have replaced entries from its first on; what it writes
    in this very turn does.
    """
    node.is_new_life = False
    promised, now = node.promised, state.hard_state
    is_kept = now.current_term > promised.current_term or (
        now.current_term == promised.current_term and promised.voted_for in (None, now.voted_for)
    )
    if not is_kept:
        raise InvariantViolated(
            f"kept promise: {node_id} had stored {promised!r}, and starts with {now!r}"
        )
    base = state.log.base_index
    kept = len(node.stored)
    writes = [effect for effect in effects if isinstance(effect, Persist)]
    overwritten = [write.entries[0].index for write in (*node.pending, *writes) if write.entries]
    kept = min([kept, *(index - 1 for index in overwritten)])
    held = _terms_of(state.log)
    wanted = node.stored[base:kept]
    if held[: len(wanted)] != wanted:
        raise InvariantViolated(
            f"kept promise: {node_id} had stored {kept} entries of terms {_runs(wanted)}, and "
            f"starts with {state.log.last_index} of terms {_runs(held)}"
        )
    node.pending.clear()
    if not any(write.hard_state for write in writes):
        node.promised = now  # as it was read from the disk
    node.stored = [0] * base + held[: state.log.stable_index - base]
    node.applied_index = base


def _note_events(node: _Node, events: Sequence[Event]) -> bool:
    """Note votes and what was stored; return whether anything was."""
    has_stored = False
    for event in events:
        if type(event) is Stored:
            has_stored = True
            _note_stored(node, event.mark)
        elif type(event) is Received and type(event.message) is RequestVoteReply:
            _note_vote(node, event.message)
    return has_stored


def _note_vote(node: _Node, reply: RequestVoteReply) -> None:
    if reply.is_granted and not reply.is_prevote:
        node.votes.setdefault(reply.term, set()).add(reply.source)


def _note_stored(node: _Node, mark: int) -> None:
    pending = node.pending
    while pending and pending[0].mark <= mark:
        write = pending.popleft()
        if write.hard_state is not None:
            node.promised = write.hard_state
        if write.entries:
            node.stored[write.entries[0].index - 1 :] = [entry.term for entry in write.entries]


def _check_stored(node_id: NodeId, node: _Node, log: RaftLog) -> None:
    """Compare what a node takes for stored with what it was told is."""
    index, stored = log.stable_index, node.stored
    overwritten = min((w.entries[0].index for w in node.pending if w.entries), default=index + 1)
    if index > len(stored) or index >= overwritten:
        raise InvariantViolated(
            f"stored: {node_id} takes {index} entries for stored; {len(stored)} are, and those "
            f"from {overwritten} on are being overwritten"
        )
    if index > log.base_index and stored[index - 1] != log.term_at(index):
        raise InvariantViolated(
            f"stored: {node_id} takes entry {index} of term {log.term_at(index)} for stored; one "
            f"of term {stored[index - 1]} is"
        )


def _terms_of(log: RaftLog) -> list[int]:
    """Return the term of every entry above the base of the log."""
    terms: list[int] = []
    runs = log.runs
    ends = [run.first - 1 for run in runs[1:]] + [log.last_index]
    for run, end in zip(runs, ends, strict=True):
        terms += [run.term] * (end - log.base_index - len(terms))
    return terms


def _runs(terms: Sequence[int]) -> str:
    """Write terms in a way that a person can compare: "1 x 3, 4 x 2"."""
    parts: list[tuple[int, int]] = []
    for term in terms:
        if parts and parts[-1][0] == term:
            parts[-1] = (term, parts[-1][1] + 1)
        else:
            parts.append((term, 1))
    return ", ".join(f"{term} x {count}" for term, count in parts) or "none"
