"""What a core wants done. The driver carries effects out in the order in which they are given.

Persist before you answer: a `Send` whose `after` is a mark leaves only when the `Persist` with that
mark (and so every earlier one) is on stable storage. A `Send` with `after` 0 may leave at once.
"""

import msgspec

from liferaft.raft.messages import Message
from liferaft.raft.types import Entry, HardState, NodeId


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
)
