"""What should happen sometimes: named branches, rare ones, and how often a run came by them.

A simulation that never sees a follower with a longer log, or a read that is rejected because its
leader stepped down, proves nothing about them. So each such branch has a mark here, and a campaign
tells which were never hit. Marks are seen from outside, in the events and effects of each turn and
in the state before and after it: the product has no hook for them.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from liferaft.raft.core import RaftCore
from liferaft.raft.effects import (
    Accepted,
    Apply,
    Effect,
    Persist,
    ReadEntries,
    ReadReady,
    ReadRejected,
    Rejected,
    Send,
)
from liferaft.raft.events import EntriesRead, Event, Received, Stored
from liferaft.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Message,
    RequestVote,
    RequestVoteReply,
)
from liferaft.raft.state import Leader
from liferaft.raft.types import NodeId
from liferaft.sim import snapshot_marks
from liferaft.sim.members import MEMBER_MARKS
from liferaft.sim.programs import UPGRADE_MARKS
from liferaft.sim.rests import GROUP_MARKS

if TYPE_CHECKING:
    from liferaft.sim.world import World

MARKS: Final = (
    # Elections.
    "a vote is granted",
    "a vote is refused",
    "a pre-vote is granted",
    "a pre-vote is refused",
    "a vote request of an earlier term",
    "a vote request of a later term to a leader",
    "a vote reply of an earlier term",
    "a vote reply when the campaign is over",
    "a vote request from a shorter or older log",
    "a pre-candidate becomes a candidate",
    "a pre-candidate gives way to a leader",
    "a pre-candidate tries again",
    "a candidate wins",
    "a candidate gives way to a leader",
    "a candidate's time runs out",
    "a leader meets a later term",
    "a leader loses its quorum",
    "a follower adopts a later term",
    "a term is skipped",
    "two nodes lead at once, in different terms",
    "a leader is elected again",
    "a leader finds entries of earlier terms that are not committed",
    # Replication.
    "AppendEntries of an earlier term",
    "AppendEntries that brings nothing new",
    "AppendEntries that brings some new entries",
    "AppendEntries beyond the end of the log",
    "AppendEntries whose previous entry is of another term",
    "AppendEntries that overlaps what is committed",
    "AppendEntries with many entries",
    "entries of an earlier term are sent",
    "a follower's log is longer than its leader's",
    "one entry is truncated",
    "many entries are truncated",
    "entries are truncated that were stored",
    "a rejection rewinds",
    "a rejection rewinds over several terms",
    "a rejection is old news",
    "a success is old news",
    "several messages are in flight to one follower",
    "a follower is far behind",
    "entries are read back from the disk",
    "what was read back was overwritten meanwhile",
    "a leader commits entries of an earlier term through its own",
    "a commit covers several entries",
    "a follower learns of a commit by a heartbeat",
    "a follower knows of a commit before it has the entries",
    # Disk and effects.
    "a vote or term is persisted alone",
    "entries are persisted alone",
    "a term and entries are persisted together",
    "a message waits for the disk",
    "a write completes for entries that were overwritten since",
    "a write completes after its term was over",
    "entries are applied in several pieces",
    # Snapshots.
    *snapshot_marks.SNAPSHOT_MARKS,
    # Clients.
    "several commands are proposed at once",
    "a command is turned away, and a leader is known",
    "a command is turned away, and no leader is known",
    "a read is confirmed",
    "several reads share a round",
    "a read waits for the state machine",
    "a read is turned away because its leader stepped down",
    "a read is turned away by a follower",
    "a call times out",
    "a call's outcome is unknown",
    "no host is reached in time",
    "a session expires",
    "a call is refused",
    # Lives.
    "a node starts with entries of a term that is not its own",
    "a node refuses a damaged disk",
    "a node starts on a damaged disk and is not harmed",
    "a node ends because its disk failed",
    "a node ends before it has started",
    "a node starts after it lost everything",
    "a node that is stopped has handed over",
    "replicas that run find each other equal",
)
"""Every mark, in the order in which a summary tells them."""

_MANY: Final = 10
_FAR: Final = 50


class _Writes(msgspec.Struct):
    """What is known of one life's writes, by their marks.

    `overwriting` is that of the write that replaces entries whose own is under way; 0 for none.
    """

    newest: int = 0
    overwriting: int = 0


class _Before(msgspec.Struct, frozen=True):
    """What a turn is compared with."""

    role: object
    role_name: str
    term: int
    commit_index: int
    last_index: int
    stable_index: int
    last_term: int
    writes: _Writes


class Marks:
    """Counts how often each mark was hit."""

    def __init__(self) -> None:
        self._hits: Counter[str] = Counter()
        self._before: dict[NodeId, _Before] = {}
        self._led: dict[NodeId, int] = {}
        self._world: World | None = None

    def watch(self, world: "World") -> None:
        """Look at all nodes together, too."""
        self._world = world
        world.marks = self

    def hit(self, mark: str) -> None:
        """Count a mark that only its place can see; it must be one of `MARKS`."""
        assert mark in _KNOWN, mark
        self._hits[mark] += 1

    def counts(self) -> dict[str, int]:
        """Return how often each mark was hit, those never hit left out."""
        known = (*MARKS, *MEMBER_MARKS, *UPGRADE_MARKS, *GROUP_MARKS)
        return {mark: self._hits[mark] for mark in known if self._hits[mark]}

    def born(self, node_id: NodeId, core: RaftCore, now: Callable[[], float]) -> None:
        """Look at a node before its first turn."""
        del now
        before = self._before[node_id] = _observe(core, _Writes())
        if before.last_term < before.term and before.last_index:
            self.hit("a node starts with entries of a term that is not its own")

    def turn(
        self,
        node_id: NodeId,
        now: float,
        core: RaftCore,
        events: Sequence[Event],
        effects: Sequence[Effect],
    ) -> None:
        """Look at one turn of one node."""
        del now
        before = self._before[node_id]
        for event in events:
            look = _EVENTS.get(type(event))
            if look is not None:
                look(self, before, core, event)
        for effect in effects:
            look = _EFFECTS.get(type(effect))
            if look is not None:
                look(self, before, core, effect)
        after = _observe(core, before.writes)
        self._compare(node_id, before, after, core)
        self._before[node_id] = after

    # Events.

    def _received(self, before: _Before, core: RaftCore, event: Received) -> None:
        look = _RECEIVED.get(type(event.message))
        if look is not None:
            look(self, before, core, event.message)

    def _vote_request(self, before: _Before, core: RaftCore, request: RequestVote) -> None:
        if request.term < before.term:
            self.hit("a vote request of an earlier term")
        elif request.term > before.term and before.role_name == "leader":
            self.hit("a vote request of a later term to a leader")
        asked = (request.last_log_term, request.last_log_index)
        if asked < (before.last_term, before.last_index):
            self.hit("a vote request from a shorter or older log")
        del core

    def _vote_reply(self, before: _Before, core: RaftCore, reply: RequestVoteReply) -> None:
        kind = "a pre-vote" if reply.is_prevote else "a vote"
        self.hit(f"{kind} is {'granted' if reply.is_granted else 'refused'}")
        if reply.term < before.term:
            self.hit("a vote reply of an earlier term")
        elif before.role_name not in ("candidate", "pre-candidate"):
            self.hit("a vote reply when the campaign is over")
        del core

    def _append_entries(self, before: _Before, core: RaftCore, message: AppendEntries) -> None:
        if message.term < before.term:
            self.hit("AppendEntries of an earlier term")
            return
        last = message.prev_log_index + len(message.entries)
        if message.prev_log_index > before.last_index:
            self.hit("AppendEntries beyond the end of the log")
        elif _term_at(core, message.prev_log_index) not in (None, message.prev_log_term):
            self.hit("AppendEntries whose previous entry is of another term")
        elif message.entries:
            self._new_entries(before, message, last)
        elif before.last_index > last:
            self.hit("a follower's log is longer than its leader's")
        if message.leader_commit > last:
            self.hit("a follower knows of a commit before it has the entries")
        if not message.entries and core.commit_index > before.commit_index:
            self.hit("a follower learns of a commit by a heartbeat")

    def _new_entries(self, before: _Before, message: AppendEntries, last: int) -> None:
        if last <= before.last_index:
            self.hit("AppendEntries that brings nothing new")
        elif message.prev_log_index < before.last_index:
            self.hit("AppendEntries that brings some new entries")
        if message.prev_log_index < before.commit_index:
            self.hit("AppendEntries that overlaps what is committed")
        if len(message.entries) >= _MANY:
            self.hit("AppendEntries with many entries")

    def _append_reply(self, before: _Before, core: RaftCore, reply: AppendEntriesReply) -> None:
        role = core.state.role
        if not isinstance(role, Leader) or role is not before.role:
            return
        progress = role.progress.get(reply.source)
        if progress is None:
            return
        if reply.is_success:
            if reply.match_index < progress.match_index:
                self.hit("a success is old news")
        elif progress.next_index <= reply.rejected_index:
            self.hit("a rejection rewinds")
            rejected_term = _term_at(core, min(reply.rejected_index, core.last_index))
            common_term = _term_at(core, progress.next_index - 1)
            if rejected_term and (common_term or rejected_term) < rejected_term - 1:
                self.hit("a rejection rewinds over several terms")
        else:
            self.hit("a rejection is old news")
        if before.last_index - progress.match_index > _FAR:
            self.hit("a follower is far behind")

    def _entries_read(self, _before: _Before, core: RaftCore, event: EntriesRead) -> None:
        log = core.state.log
        if any(not log.has(entry.index, entry.term) for entry in event.entries[-1:]):
            self.hit("what was read back was overwritten meanwhile")

    def _stored(self, before: _Before, core: RaftCore, event: Stored) -> None:
        if event.mark < before.writes.overwriting:
            self.hit("a write completes for entries that were overwritten since")
        before.writes.overwriting = 0
        stable_index = core.state.log.stable_index
        if core.current_term > before.last_term and stable_index > before.stable_index:
            self.hit("a write completes after its term was over")

    # Effects.

    def _persist(self, before: _Before, _core: RaftCore, effect: Persist) -> None:
        before.writes.newest = effect.mark
        if effect.hard_state is None:
            self.hit("entries are persisted alone")
        elif effect.entries:
            self.hit("a term and entries are persisted together")
        else:
            self.hit("a vote or term is persisted alone")

    def _send(self, before: _Before, core: RaftCore, effect: Send) -> None:
        if effect.after:
            self.hit("a message waits for the disk")
        look = _SENT.get(type(effect.message))
        if look is not None:
            look(self, before, core, effect.message)

    def _entries_sent(self, _before: _Before, core: RaftCore, message: AppendEntries) -> None:
        if not message.entries:
            return
        if message.entries[0].term < message.term:
            self.hit("entries of an earlier term are sent")
        role = core.state.role
        if isinstance(role, Leader):
            progress = role.progress.get(message.target)
            if progress is not None and len(progress.inflight) > 1:
                self.hit("several messages are in flight to one follower")

    def _apply(self, before: _Before, core: RaftCore, effect: Apply) -> None:
        if effect.entries[-1].index < core.commit_index:
            self.hit("entries are applied in several pieces")
        if core.commit_index - before.commit_index > 1:
            self.hit("a commit covers several entries")

    def _read_entries(self, _before: _Before, _core: RaftCore, _effect: ReadEntries) -> None:
        self.hit("entries are read back from the disk")

    def _accepted(self, _before: _Before, _core: RaftCore, effect: Accepted) -> None:
        if effect.count > 1:
            self.hit("several commands are proposed at once")

    def _rejected(self, _before: _Before, _core: RaftCore, effect: Rejected) -> None:
        known = "no leader" if effect.leader is None else "a leader"
        self.hit(f"a command is turned away, and {known} is known")

    def _read_ready(self, _before: _Before, core: RaftCore, effect: ReadReady) -> None:
        self.hit("a read is confirmed")
        if len(effect.read_ids) > 1:
            self.hit("several reads share a round")
        if effect.index > core.state.last_applied:
            self.hit("a read waits for the state machine")

    def _read_rejected(self, before: _Before, _core: RaftCore, _effect: ReadRejected) -> None:
        if before.role_name == "leader":
            self.hit("a read is turned away because its leader stepped down")
        else:
            self.hit("a read is turned away by a follower")

    # One turn and the next.

    def _compare(self, node_id: NodeId, before: _Before, after: _Before, core: RaftCore) -> None:
        if after.term > before.term + 1:
            self.hit("a term is skipped")
        if before.role is not after.role:
            self._role_changed(node_id, before, after, core)
        # Two logs whose last entries are the same are the same.
        is_same = after.last_index == before.last_index and after.last_term == before.last_term
        if not is_same and (
            after.last_index < before.last_index
            or _term_at(core, before.last_index) not in (None, before.last_term)
        ):
            self._truncated(before, core)
        if before.role_name == after.role_name == "leader" and (
            before.commit_index < after.commit_index
            and (_term_at(core, before.commit_index + 1) or core.current_term) < core.current_term
        ):
            self.hit("a leader commits entries of an earlier term through its own")

    def _role_changed(
        self, node_id: NodeId, before: _Before, after: _Before, core: RaftCore
    ) -> None:
        has_leader = core.leader is not None
        change = (before.role_name, after.role_name)
        if change == ("pre-candidate", "candidate"):
            self.hit("a pre-candidate becomes a candidate")
        elif change == ("pre-candidate", "pre-candidate"):
            self.hit("a pre-candidate tries again")
        elif change == ("pre-candidate", "follower") and has_leader:
            self.hit("a pre-candidate gives way to a leader")
        elif change == ("candidate", "follower") and has_leader:
            self.hit("a candidate gives way to a leader")
        elif change == ("candidate", "pre-candidate"):
            self.hit("a candidate's time runs out")
        elif change == ("leader", "follower"):
            is_deposed = after.term > before.term
            self.hit("a leader meets a later term" if is_deposed else "a leader loses its quorum")
        elif change == ("follower", "follower") and after.term > before.term:
            self.hit("a follower adopts a later term")
        if after.role_name == "leader" and before.role_name != "leader":
            self._elected(node_id, before, core)

    def _elected(self, node_id: NodeId, before: _Before, core: RaftCore) -> None:
        self.hit("a candidate wins")
        if node_id in self._led:
            self.hit("a leader is elected again")
        self._led[node_id] = core.current_term
        if before.last_index > before.commit_index:
            self.hit("a leader finds entries of earlier terms that are not committed")
        group = node_id.rpartition("/")[0]
        cores = {} if self._world is None else self._world.cores(group)
        if sum(other.role == "leader" for other in cores.values()) > 1:
            self.hit("two nodes lead at once, in different terms")

    def _truncated(self, before: _Before, core: RaftCore) -> None:
        log = core.state.log
        first = before.last_index
        while first > core.commit_index and not log.has(first - 1, before.last_term):
            first -= 1
            if before.last_index - first > _MANY:
                break
        is_many = before.last_index - first >= 1
        self.hit("many entries are truncated" if is_many else "one entry is truncated")
        if before.stable_index >= first:
            self.hit("entries are truncated that were stored")
        if before.stable_index < before.last_index:
            before.writes.overwriting = before.writes.newest


def _term_at(core: RaftCore, index: int) -> int | None:
    """Return the term of an entry, None where the log does not hold it."""
    log = core.state.log
    return core.term_at(index) if log.base_index <= index <= log.last_index else None


def _observe(core: RaftCore, writes: _Writes) -> _Before:
    state = core.state
    log = state.log
    return _Before(
        role=state.role,
        role_name=state.role.name,
        term=state.hard_state.current_term,
        commit_index=state.commit_index,
        last_index=log.last_index,
        stable_index=log.stable_index,
        last_term=log.last_term,
        writes=writes,
    )


_KNOWN: Final = frozenset((*MARKS, *MEMBER_MARKS, *UPGRADE_MARKS, *GROUP_MARKS))


def _hits(look: snapshot_marks.Look) -> Callable[..., None]:
    def hit_if_any(marks: Marks, _before: _Before, _core: RaftCore, seen: object) -> None:
        mark = look(seen)
        if mark is not None:
            marks.hit(mark)

    return hit_if_any


_EVENTS: Final[Mapping[type, Callable[..., None]]] = {
    Received: Marks._received,  # noqa: SLF001 - the class's own table
    EntriesRead: Marks._entries_read,  # noqa: SLF001
    Stored: Marks._stored,  # noqa: SLF001
    **{kind: _hits(look) for kind, look in snapshot_marks.OF_EVENTS.items()},
}
_RECEIVED: Final[Mapping[type[Message], Callable[..., None]]] = {
    RequestVote: Marks._vote_request,  # noqa: SLF001
    RequestVoteReply: Marks._vote_reply,  # noqa: SLF001
    AppendEntries: Marks._append_entries,  # noqa: SLF001
    AppendEntriesReply: Marks._append_reply,  # noqa: SLF001
    **{kind: _hits(look) for kind, look in snapshot_marks.OF_RECEIVED.items()},
}
_EFFECTS: Final[Mapping[type[Effect], Callable[..., None]]] = {
    Persist: Marks._persist,  # noqa: SLF001
    Send: Marks._send,  # noqa: SLF001
    Apply: Marks._apply,  # noqa: SLF001
    ReadEntries: Marks._read_entries,  # noqa: SLF001
    Accepted: Marks._accepted,  # noqa: SLF001
    Rejected: Marks._rejected,  # noqa: SLF001
    ReadReady: Marks._read_ready,  # noqa: SLF001
    ReadRejected: Marks._read_rejected,  # noqa: SLF001
    **{kind: _hits(look) for kind, look in snapshot_marks.OF_EFFECTS.items()},
}
_SENT: Final[Mapping[type[Message], Callable[..., None]]] = {
    AppendEntries: Marks._entries_sent,  # noqa: SLF001
    **{kind: _hits(look) for kind, look in snapshot_marks.OF_SENT.items()},
}
