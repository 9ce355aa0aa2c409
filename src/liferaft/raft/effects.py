"""What a core wants done. The driver carries effects out in the order in which they are given.

Persist before you answer: a `Send` whose `after` is a mark leaves only when the `Persist` with that
mark (and so every earlier one) is on stable storage. A `Send` with `after` 0 may leave at once.
"""

from collections import deque

import msgspec

from liferaft.raft.log import RaftLog
from liferaft.raft.messages import Message
from liferaft.raft.types import Configuration, Entry, HardState, NodeId, Snapshot


class Persist(msgspec.Struct, frozen=True):
    """Write this, in the order of the marks, and report `Stored(mark)` when it is safe.

    `hard_state` is None when it did not change. `entries` follow each other without a gap; the
    first of them replaces whatever the log holds at its index and beyond.
    """

    mark: int
    hard_state: HardState | None
    entries: tuple[Entry, ...]


class Send(msgspec.Struct, frozen=True):
    """Give the message to its target, or lose it; but not before mark `after` is stored."""

    message: Message
    after: int = 0


class Apply(msgspec.Struct, frozen=True):
    """These entries are committed: apply them. Together the `Apply`s have no gap and no repeat."""

    entries: tuple[Entry, ...]


class ReadEntries(msgspec.Struct, frozen=True):
    """The core needs entries that it no longer holds: answer with `EntriesRead`.

    From `first` up to `last`, inclusive, as many as fit `bytes_max`, at least one.
    """

    first: int
    last: int
    bytes_max: int


class Accepted(msgspec.Struct, frozen=True):
    """The oldest unanswered `Proposed` is in the leader's log, from `first` on, in `term`.

    Whether it will be committed is not known yet: it is, when an entry with this index and this
    term is applied; it is not, when one with another term is.
    """

    term: int
    first: int
    count: int


class Rejected(msgspec.Struct, frozen=True):
    """The oldest unanswered `Proposed` was not appended; `leader` may know better, if it is known.

    `is_overloaded` says that this node leads, and that its queue of uncommitted entries is full.
    """

    leader: NodeId | None
    is_overloaded: bool = False


class ChangeAccepted(msgspec.Struct, frozen=True):
    """The first step of the change is in the log at `index`, and counts from now on.

    The change is done when a `ConfigurationChanged` that is not joint is committed behind it; it
    is void when the entry at `index` is taken back.
    """

    term: int
    index: int


class ChangeRejected(msgspec.Struct, frozen=True):
    """Nothing changes; `reason` is a sentence. `leader` may know better, if it is known."""

    leader: NodeId | None
    reason: str


class ConfigurationChanged(msgspec.Struct, frozen=True):
    """Another configuration counts, or the one that counts is committed now.

    A node that a committed one names as retired has been removed, and shall stop. One that is not
    named at all is on its way to the entry that does.
    """

    index: int
    configuration: Configuration
    is_committed: bool


class TransferEnded(msgspec.Struct, frozen=True):
    """The transfer to `target` is over: this node leads no more, or `problem` says why it does."""

    target: NodeId | None
    problem: str | None


class FetchSnapshot(msgspec.Struct, frozen=True):
    """Get this snapshot from `source`, store it, and step `SnapshotFetched` or `SnapshotLost`.

    It replaces every earlier fetch.
    """

    source: NodeId
    snapshot: Snapshot


class RestoreSnapshot(msgspec.Struct, frozen=True):
    """The fetched snapshot is the state now: what is applied next follows it.

    Unless `keeps_log`, the log is empty and begins behind the snapshot: whatever else it holds on
    disk is void. So it must be, too, when a node starts and finds it so.
    """

    snapshot: Snapshot
    keeps_log: bool


class Compact(msgspec.Struct, frozen=True):
    """The log up to `index` is no longer needed: the snapshot that is stored covers it."""

    index: int


class ReadReady(msgspec.Struct, frozen=True):
    """These reads may be answered once the state machine has applied everything up to `index`."""

    read_ids: tuple[int, ...]
    index: int


class ReadRejected(msgspec.Struct, frozen=True):
    """These reads cannot be answered here; `leader` may, if it is known."""

    read_ids: tuple[int, ...]
    leader: NodeId | None


class RoleChanged(msgspec.Struct, frozen=True):
    """The role, the term or the known leader is another than before."""

    role: str
    term: int
    leader: NodeId | None


Effect = (
    Persist
    | Send
    | Apply
    | ReadEntries
    | Accepted
    | Rejected
    | ReadReady
    | ReadRejected
    | RoleChanged
    | ChangeAccepted
    | ChangeRejected
    | ConfigurationChanged
    | TransferEnded
    | FetchSnapshot
    | RestoreSnapshot
    | Compact
)


class Outbox:
    """Collects effects, and knows what is stored: the one place for "persist before you answer".

    A message leaves at once only if the term and vote that it speaks for are on stable storage
    (trap 1), and, where it speaks for entries too, those as well. Marks only grow.
    """

    def __init__(self, stored: HardState) -> None:
        self._answers: list[Effect] = []
        self._messages: list[tuple[Message, bool]] = []
        self._last_mark = 0
        self._stored_mark = 0
        self._handed_hard_state = stored
        self._hard_state_mark = 0
        # The writes under way, and since when.
        self._writes: deque[tuple[int, float]] = deque()

    def answer(self, effect: Effect) -> None:
        """Queue what the driver must learn in the order of the events."""
        self._answers.append(effect)

    def send(self, message: Message, *, speaks_for_log: bool = False) -> None:
        """Queue a message; with `speaks_for_log` it leaves after all that the log holds by now."""
        self._messages.append((message, speaks_for_log))

    def stored(self, mark: int) -> None:
        """Learn that everything up to the `Persist` with this mark is on stable storage."""
        assert mark <= self._last_mark
        self._stored_mark = max(self._stored_mark, mark)
        while self._writes and self._writes[0][0] <= mark:
            self._writes.popleft()

    def written_since(self) -> float | None:
        """Return when the oldest write under way began, None when there is none."""
        return self._writes[0][1] if self._writes else None

    def is_stored(self, hard_state: HardState) -> bool:
        """Return whether this term and vote are on stable storage."""
        return self._hard_state_mark <= self._stored_mark and self._is_handed(hard_state)

    def take(self, hard_state: HardState, log: RaftLog, now: float) -> list[Effect]:
        """Return what was queued: the answers, one `Persist` for all that is new, the messages.

        A message that waits, waits for that `Persist`: what the disk then holds is what the core
        held after it wrote the message, or later, and no later state takes a promise back.
        """
        effects, self._answers = self._answers, []
        if log.handed_index != log.last_index or not self._is_handed(hard_state):
            self._persist(hard_state, log, effects)
            self._writes.append((self._last_mark, now))
        if not self._messages:
            return effects
        messages, self._messages = self._messages, []
        all_stored = self._last_mark if self._last_mark > self._stored_mark else 0
        term_stored = 0 if self.is_stored(hard_state) else all_stored
        effects += [
            Send(message, all_stored if speaks_for_log else term_stored)
            for message, speaks_for_log in messages
        ]
        return effects

    def _is_handed(self, hard_state: HardState) -> bool:
        return hard_state is self._handed_hard_state or hard_state == self._handed_hard_state

    def _persist(self, hard_state: HardState, log: RaftLog, effects: list[Effect]) -> None:
        is_changed = not self._is_handed(hard_state)
        mark = self._last_mark = self._last_mark + 1
        entries = log.hand_out(mark)
        if is_changed:
            self._handed_hard_state, self._hard_state_mark = hard_state, mark
        effects.append(Persist(mark, hard_state if is_changed else None, entries))
