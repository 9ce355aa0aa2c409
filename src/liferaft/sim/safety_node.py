"""What the safety checker remembers of one node, across its crashes, and what it owes by that."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from liferaft.errors import InvariantViolated
from liferaft.raft.effects import Effect, Persist, ReadReady, RestoreSnapshot
from liferaft.raft.events import (
    Event,
    ReadAsked,
    Received,
    SnapshotFetched,
    SnapshotStored,
    Stored,
)
from liferaft.raft.log import RaftLog
from liferaft.raft.messages import (
    AppendEntriesReply,
    InstallSnapshotReply,
    Message,
    RequestVoteReply,
)
from liferaft.raft.state import RaftState, Role
from liferaft.raft.types import Configuration, HardState, NodeId
from liferaft.sim.safety_log import runs_of, terms_of

NOTHING: Final = HardState()

ANY_TERM: Final = 0
"""Stands for the term of an entry that a snapshot covers: nobody looks at it any more."""


@dataclass(slots=True)
class Node:
    """What is remembered of one node. The first fields are of its present life alone.

    - `led_term`: the term in which `role` was taken up, of a leader.
    - `members`, `members_index`: who counted at the end of its last turn as a leader, and the index
      of the entry that said so.
    - `heard`, `contact_until`: when a leader last heard of each other member, by its clock, and
      until when a quorum's answers are fresh.
    - `asked`: what was known as committed anywhere when it was asked to read, by the read's id.
    - `votes`: who granted it a vote, by term, as far as it has heard.
    - `pending`: what it was asked to write and has not reported as stored yet.
    - `promised`, `stored`: term and vote, and the terms of the entries from index 1 on, that it
      reported as stored.
    - `covered`: up to here it reported a snapshot as stored.
    - `was_lost`: its disk was lost once, so what it acknowledged is not known.
    - `is_unknown`: and it has not started since, so neither is what its disk holds.
    """

    is_new_life: bool = True
    hard_state: HardState = NOTHING
    role: Role | None = None
    led_term: int = 0
    members: Configuration | None = None
    members_index: int = 0
    heard: dict[NodeId, float] = field(default_factory=dict)
    contact_until: float = 0.0
    asked: dict[int, int] = field(default_factory=dict)
    votes: dict[int, set[NodeId]] = field(default_factory=dict)
    commit_index: int = 0
    applied_index: int = 0
    last_index: int = 0
    pending: deque[Persist] = field(default_factory=deque)
    promised: HardState = NOTHING
    stored: list[int] = field(default_factory=list)
    covered: int = 0
    was_lost: bool = False
    is_unknown: bool = False

    def begin_life(self) -> None:
        """Forget what a crash takes."""
        self.is_new_life = True
        self.hard_state, self.role, self.members = NOTHING, None, None
        self.commit_index = self.applied_index = self.last_index = 0
        self.votes.clear()
        self.asked.clear()

    def may_have(self, index: int, term: int) -> bool:
        """Return whether its disk may hold the entry, so that it may have said so.

        One that crashed may have stored more than it lived to report.
        """
        if self.covered >= index or self.was_lost:
            return True
        stored = self.stored
        if len(stored) >= index and stored[index - 1] in (term, ANY_TERM):
            return True
        return self.is_new_life and any(
            entry.index == index and entry.term == term
            for write in self.pending
            for entry in write.entries
        )


def note_events(node: Node, events: Sequence[Event], committed_index: int) -> bool:
    """Note votes, reads and what was stored; return whether any entries may have been.

    `committed_index` is what any node knew as committed before this turn.
    """
    has_stored = False
    for event in events:
        # For a Struct's class, a negative isinstance costs four times as much as this.
        if type(event) is Received:
            if type(event.message) is RequestVoteReply:
                _note_vote(node, event.message)
        elif type(event) is Stored:
            has_stored = True
            _note_stored(node, event.mark)
        elif type(event) is ReadAsked:
            node.asked[event.read_id] = committed_index
        elif type(event) is SnapshotStored or type(event) is SnapshotFetched:
            node.covered = max(node.covered, event.snapshot.index)
    return has_stored


def _note_vote(node: Node, reply: RequestVoteReply) -> None:
    if reply.is_granted and not reply.is_prevote:
        node.votes.setdefault(reply.term, set()).add(reply.source)


def _note_stored(node: Node, mark: int) -> None:
    pending = node.pending
    while pending and pending[0].mark <= mark:
        write = pending.popleft()
        if write.hard_state is not None:
            node.promised = write.hard_state
        if write.entries:
            node.stored[write.entries[0].index - 1 :] = [entry.term for entry in write.entries]


def check_read(node_id: NodeId, node: Node, effect: ReadReady) -> None:
    """Raise `InvariantViolated` when a read would miss what was committed before it was asked."""
    for read_id in effect.read_ids:
        committed_index = node.asked.pop(read_id)
        if effect.index < committed_index:
            raise InvariantViolated(
                f"read: {node_id} is told to read at {effect.index}, and {committed_index} was "
                "known as committed when it asked"
            )


def check_said(node_id: NodeId, node: Node, state: RaftState, message: Message) -> None:
    """Raise `InvariantViolated` when a message that waits for no write says more than is stored.

    Of an earlier term's message it is not known any more: what it spoke for may be replaced.
    """
    if message.term != state.current_term:
        return
    log = state.log
    if type(message) is AppendEntriesReply or type(message) is InstallSnapshotReply:
        index = message.match_index
        is_in_log = log.base_index < index <= log.last_index
        if is_in_log and not node.may_have(index, log.term_at(index)):
            raise InvariantViolated(
                f"persisted: {node_id} says that it has entry {index}, which is not on its disk"
            )
    elif type(message) is RequestVoteReply and message.is_granted and not message.is_prevote:
        said = HardState(message.term, message.target)
        if node.promised != said:
            raise InvariantViolated(
                f"persisted: {node_id} votes for {message.target} in term {message.term}, and has "
                f"{node.promised!r} on its disk"
            )


def check_hard_state(node_id: NodeId, node: Node, now: HardState) -> None:
    """Raise `InvariantViolated` when a term fell, or a vote changed."""
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


def check_kept(
    node_id: NodeId,
    node: Node,
    state: RaftState,
    effects: Sequence[Effect],
    committed_terms: Sequence[int],
) -> None:
    """Compare a node after its first turn with what it had reported as stored in earlier lives.

    What it was writing when it crashed may have replaced entries from its first on; what it writes
    in this very turn does.
    """
    node.is_new_life = False
    writes = [effect for effect in effects if isinstance(effect, Persist)]
    _check_hard_state_kept(node_id, node, state.hard_state)
    covered = 0 if state.snapshot is None else state.snapshot.index
    if covered < node.covered:
        raise InvariantViolated(
            f"kept promise: {node_id} had stored a snapshot up to {node.covered}, and starts "
            f"with one up to {covered}"
        )
    overwritten = [write.entries[0].index for write in (*node.pending, *writes) if write.entries]
    kept = min([len(node.stored), *(index - 1 for index in overwritten)])
    log = state.log
    wanted = list(committed_terms[log.base_index : covered])
    if terms_of(log)[: len(wanted)] != wanted:
        raise InvariantViolated(
            f"log matching: {node_id} starts with a snapshot up to {covered}, and with a log of "
            f"terms {runs_of(terms_of(log))} behind {log.base_index}; committed are "
            f"{runs_of(wanted)}"
        )
    if node.is_unknown:
        node.is_unknown = False
    elif _is_void(node, state.log, kept):
        _check_void(node_id, state.log, covered, committed_terms)
    else:
        _check_log_kept(node_id, node, state.log, kept)
    node.pending.clear()
    if not any(write.hard_state for write in writes):
        node.promised = state.hard_state  # as it was read from the disk
    base = state.log.base_index
    node.stored = [ANY_TERM] * base + terms_of(state.log)[: state.log.stable_index - base]
    node.applied_index = node.covered = covered


def _check_hard_state_kept(node_id: NodeId, node: Node, now: HardState) -> None:
    promised = node.promised
    is_kept = now.current_term > promised.current_term or (
        now.current_term == promised.current_term and promised.voted_for in (None, now.voted_for)
    )
    if not is_kept:
        raise InvariantViolated(
            f"kept promise: {node_id} had stored {promised!r}, and starts with {now!r}"
        )


def _is_void(node: Node, log: RaftLog, kept: int) -> bool:
    """Return whether a log does not go on from the first `kept` entries that were stored."""
    base = log.base_index
    return base > kept or (base > 0 and node.stored[base - 1] not in (ANY_TERM, log.runs[0].term))


def _check_void(
    node_id: NodeId, log: RaftLog, covered: int, committed_terms: Sequence[int]
) -> None:
    """Check that a log begins anew where a snapshot ends, of what was committed."""
    base, term = log.base_index, log.runs[0].term
    if base != covered or committed_terms[base - 1 : base] != [term]:
        raise InvariantViolated(
            f"kept promise: {node_id} starts with a log behind entry {base} of term {term}, which "
            f"it had not stored, and a snapshot up to {covered}"
        )


def _check_log_kept(node_id: NodeId, node: Node, log: RaftLog, kept: int) -> None:
    """Compare a log with the first `kept` entries that were stored."""
    held, wanted = terms_of(log), node.stored[log.base_index : kept]
    if len(held) < len(wanted) or any(
        want not in (ANY_TERM, have) for want, have in zip(wanted, held, strict=False)
    ):
        raise InvariantViolated(
            f"kept promise: {node_id} had stored {kept} entries of terms {runs_of(wanted)}, and "
            f"starts with {log.last_index} of terms {runs_of(held)}"
        )


def check_stored(node_id: NodeId, node: Node, log: RaftLog) -> None:
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


def check_restored(
    node_id: NodeId, node: Node, effect: RestoreSnapshot, committed_terms: Sequence[int]
) -> None:
    """Check that a snapshot may be the state now, and note what becomes of the log."""
    snapshot = effect.snapshot
    index, term = snapshot.index, snapshot.term
    if index <= node.applied_index:
        raise InvariantViolated(
            f"a snapshot never rolls back: {node_id} has applied {node.applied_index} and "
            f"restores {index}"
        )
    if committed_terms[index - 1 : index] != [term]:
        raise InvariantViolated(
            f"state machine safety: {node_id} restores {index} of term {term}, and nobody knows "
            "that as committed"
        )
    node.applied_index = index
    if effect.keeps_log:
        return
    being_written = [write.entries[0].index for write in node.pending if write.entries]
    is_met = len(node.stored) >= index and node.stored[index - 1] == term
    if is_met and all(first > index for first in being_written):
        raise InvariantViolated(
            f"kept promise: {node_id} throws its log of {len(node.stored)} entries away, which "
            f"holds entry {index} of term {term}"
        )
    node.stored = [ANY_TERM] * index
    node.pending = deque(replace(write, entries=()) for write in node.pending)
