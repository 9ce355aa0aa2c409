"""Every transition of a run as one JSON object a line, in causal order, for tools from outside.

A line is written for each event that a node handled, with the node's state right after it, and for
each message and entry that then left it: so what a line speaks of was caused by lines before it.

    name   what happened: "InitState", "ReceiveRequestVote", "BecomeLeader", "Commit", ...
    nid    whose state it is; term, vote, commit, role, log (its last index), conf are that state
    msg    for messages: type, term, from, to, entries, logTerm, index, commit, vote, reject, round
    time   virtual seconds

A pre-vote asks for no vote and gives none: its messages are "PreVote" and "PreVoteReply", in `name`
as well. `round` is the leader's round of heartbeats, of a ReadIndex and its answer the number of
the read, 0 where there is none. An InstallSnapshot names the snapshot's last entry by logTerm and
index; its answer is a reject when the snapshot cannot be had.

Where nodes host many groups, each is one for each group, named GROUP/NODE.

The field names follow those of etcd's trace of its Raft, so that what validates those can be
taught to read these.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Effect, Persist, Send
from liferaft.raft.events import Event, Proposed, ReadAsked, Received, Stored, TimePassed
from liferaft.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
)
from liferaft.raft.types import NodeId


class TracedMessage(msgspec.Struct, frozen=True, rename={"source": "from", "target": "to"}):
    """A message. `entries` is how many it carries."""

    type: str
    term: int
    source: NodeId
    target: NodeId
    entries: int = 0
    logTerm: int = 0  # noqa: N815 - the names of the format
    index: int = 0
    commit: int = 0
    vote: NodeId | None = None
    reject: bool = False
    round: int = 0


class Transition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line."""

    name: str
    nid: NodeId
    time: float
    term: int
    vote: NodeId | None
    commit: int
    role: str
    log: int
    conf: tuple[tuple[NodeId, ...], tuple[NodeId, ...]]
    msg: TracedMessage | None = None


class TransitionRecorder:
    """Sees every turn, and inside of it every event; `emit` gets each transition."""

    def __init__(self, emit: Callable[[Transition], None]) -> None:
        self._emit = emit
        self._now: Callable[[], float] = lambda: 0.0
        self._cores: dict[NodeId, RaftCore] = {}
        self._last: dict[NodeId, tuple[str, int, int]] = {}

    def born(self, node_id: NodeId, core: RaftCore, now: Callable[[], float]) -> None:
        """Follow a core from now on: each of its steps becomes a line."""
        self._now = now
        name = "Restart" if node_id in self._cores else "InitState"
        self._cores[node_id] = core
        self._write(name, node_id, core)
        step = core.step

        def traced(event: Event, now: float) -> None:
            step(event, now)
            self._stepped(node_id, core, event)

        core.step = traced  # type: ignore[method-assign] # this one core is looked at more closely

    def turn(
        self,
        node_id: NodeId,
        now: float,
        core: RaftCore,
        events: Sequence[Event],
        effects: Sequence[Effect],
    ) -> None:
        """Write what left the node at the end of a turn."""
        del now, events
        for effect in effects:
            if isinstance(effect, Send):
                message = _within(node_id, traced_message(effect.message))
                self._write(f"Send{message.type}", node_id, core, message)
            elif isinstance(effect, Persist):
                self._write("Persist", node_id, core)

    def _stepped(self, node_id: NodeId, core: RaftCore, event: Event) -> None:
        if isinstance(event, Received):
            message = _within(node_id, traced_message(event.message))
            self._write(f"Receive{message.type}", node_id, core, message)
        else:
            self._write(_NAMES.get(type(event), type(event).__name__), node_id, core)
        role, term, commit = core.role, core.current_term, core.commit_index
        before = self._last.get(node_id)
        self._last[node_id] = (role, term, commit)
        if before is None or (role, term) != before[:2]:
            self._write(_BECOME[role], node_id, core)
        if before is not None and commit > before[2]:
            self._write("Commit", node_id, core)

    def _write(
        self, name: str, node_id: NodeId, core: RaftCore, message: TracedMessage | None = None
    ) -> None:
        state = core.state
        configuration = state.configuration
        if name in ("InitState", "Restart"):
            self._last[node_id] = (core.role, core.current_term, core.commit_index)
        self._emit(
            Transition(
                name=name,
                nid=node_id,
                time=round(self._now(), 9),
                term=core.current_term,
                vote=_named(node_id, state.hard_state.voted_for),
                commit=core.commit_index,
                role=core.role,
                log=core.last_index,
                conf=(
                    _all_named(node_id, configuration.voters),
                    _all_named(node_id, configuration.voters_outgoing),
                ),
                msg=message,
            )
        )


def _named(seen_by: NodeId, node_id: NodeId | None) -> NodeId | None:
    """Return how another node of the group of `seen_by` is named."""
    return None if node_id is None else _all_named(seen_by, (node_id,))[0]


def _all_named(seen_by: NodeId, node_ids: tuple[NodeId, ...]) -> tuple[NodeId, ...]:
    group, slash, _ = seen_by.rpartition("/")
    return tuple(f"{group}{slash}{node_id}" for node_id in node_ids)


def _within(seen_by: NodeId, message: TracedMessage) -> TracedMessage:
    """Return the message with its ends named as `seen_by` is."""
    source, target = _all_named(seen_by, (message.source, message.target))
    vote = _named(seen_by, message.vote)
    return msgspec.structs.replace(message, source=source, target=target, vote=vote)


def traced_message(message: Message) -> TracedMessage:
    """Return what a line tells of a message."""
    common = (type_of(message), message.term, message.source, message.target)
    if isinstance(message, RequestVote):
        return TracedMessage(
            *common,
            logTerm=message.last_log_term,
            index=message.last_log_index,
            vote=None if message.is_prevote else message.source,
        )
    if isinstance(message, RequestVoteReply):
        is_vote = message.is_granted and not message.is_prevote
        vote = message.target if is_vote else None
        return TracedMessage(*common, vote=vote, reject=not message.is_granted)
    if isinstance(message, AppendEntries):
        return TracedMessage(
            *common,
            entries=len(message.entries),
            logTerm=message.prev_log_term,
            index=message.prev_log_index,
            commit=message.leader_commit,
            round=message.round,
        )
    if not isinstance(message, AppendEntriesReply):
        return _traced_rest(message, common)
    if message.is_success:
        return TracedMessage(*common, index=message.match_index, round=message.round)
    return TracedMessage(
        *common,
        index=message.rejected_index,
        logTerm=message.conflict_term,
        reject=True,
        round=message.round,
    )


def _traced_rest(message: Message, common: tuple[str, int, NodeId, NodeId]) -> TracedMessage:
    """Return the line of what concerns snapshots, transfers and reads on followers."""
    if isinstance(message, InstallSnapshot):
        snapshot = message.snapshot
        return TracedMessage(
            *common, index=snapshot.index, logTerm=snapshot.term, round=message.round
        )
    if isinstance(message, InstallSnapshotReply):
        is_failed, match_index = message.is_failed, message.match_index
        return TracedMessage(*common, index=match_index, reject=is_failed, round=message.round)
    if isinstance(message, ReadIndex | ReadIndexReply):
        return TracedMessage(*common, round=message.read)
    return TracedMessage(*common)


def type_of(message: Message) -> str:
    """Return the message's type as a line names it."""
    if isinstance(message, RequestVote) and message.is_prevote:
        return "PreVote"
    if isinstance(message, RequestVoteReply) and message.is_prevote:
        return "PreVoteReply"
    return type(message).__name__


_NAMES: Final[dict[type[Event], str]] = {
    TimePassed: "Timeout",
    Proposed: "ClientRequest",
    ReadAsked: "ReadRequest",
    Stored: "Stored",
}
_BECOME: Final = {
    "follower": "BecomeFollower",
    "pre-candidate": "BecomePreCandidate",
    "candidate": "BecomeCandidate",
    "leader": "BecomeLeader",
}
