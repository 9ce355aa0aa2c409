"""What can happen to a core. Each is one immutable value; `RaftCore.step` takes one at a time."""

import msgspec

from liferaft.raft.messages import Message
from liferaft.raft.types import Entry


class Received(msgspec.Struct, frozen=True):
    """A message arrived from a peer."""

    message: Message


class TimePassed(msgspec.Struct, frozen=True):
    """The deadline that the core named may have been reached; early or late is harmless."""


class Proposed(msgspec.Struct, frozen=True):
    """Clients want these commands in the log, in this order.

    Answered at once, in the order of the `Proposed` events, by `Accepted` or `Rejected`.
    """

    commands: tuple[bytes, ...]


class ReadAsked(msgspec.Struct, frozen=True):
    """A client wants a linearizable read; `read_id` is the driver's own number for it."""

    read_id: int


class Stored(msgspec.Struct, frozen=True):
    """Everything up to and including the `Persist` with this mark is on stable storage."""

    mark: int


class EntriesRead(msgspec.Struct, frozen=True):
    """The answer to `ReadEntries`: as many entries from `first` on as fit its bound, at least one.

    The entries are what the log on disk held when it was read; the core checks them against the
    terms that it knows, and drops what was overwritten since.
    """

    first: int
    entries: tuple[Entry, ...]


Event = Received | TimePassed | Proposed | ReadAsked | Stored | EntriesRead
