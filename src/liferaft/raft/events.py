"""What can happen to a core. Each is one immutable value; `RaftCore.step` takes one at a time."""

import msgspec

from liferaft.raft.messages import Message
from liferaft.raft.types import Configuration, Entry, NodeId, Snapshot


class Received(msgspec.Struct, frozen=True):
    """A message arrived from a peer."""

    message: Message


class TimePassed(msgspec.Struct, frozen=True):
    """The deadline that the core named may have been reached; early or late is harmless."""


class PeerAlive(msgspec.Struct, frozen=True):
    """That node was alive at `at`, and had not given up its part in this group's `term`.

    For groups that rest: stepped before the event that wakes one, in place of the heartbeats that
    were not sent. Of the leader, for a follower; of each follower, for the leader. `at` is by this
    node's clock, and no later than what it tells of: when the sign of life was asked for, or, where
    it was not asked for, came.
    """

    peer: NodeId
    term: int
    at: float


class Proposed(msgspec.Struct, frozen=True):
    """Clients want these commands in the log, in this order.

    Answered at once, in the order of the `Proposed` events, by `Accepted` or `Rejected`.
    """

    commands: tuple[bytes, ...]


class ReadAsked(msgspec.Struct, frozen=True):
    """A client wants a linearizable read; `read_id` is the driver's own number for it.

    With `may_use_lease` a leader answers by its lease where the settings allow leases, which is as
    good as the clocks are. With `may_follow` a follower asks its leader, and answers itself.
    """

    read_id: int
    may_use_lease: bool = False
    may_follow: bool = False


class ChangeAsked(msgspec.Struct, frozen=True):
    """The cluster shall have the members of `target`, which is not joint (section 6).

    Answered at once by `ChangeAccepted` or `ChangeRejected`; the rest is the leader's to do. What
    `target` says of `retired` names does not count.
    """

    target: Configuration


class TransferAsked(msgspec.Struct, frozen=True):
    """Somebody else shall lead: `target`, or whoever is best. Answered by `TransferEnded`."""

    target: NodeId | None = None


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


class SnapshotStored(msgspec.Struct, frozen=True):
    """A snapshot of this node's own state, up to what it has applied, is on stable storage.

    None is to be taken while `RaftCore.configuration_at` names no voters: a node that was added to
    a cluster may apply much before it comes to the entry that tells the members. The core makes no
    use of such a one.
    """

    snapshot: Snapshot


class SnapshotFetched(msgspec.Struct, frozen=True):
    """The snapshot that a `FetchSnapshot` named is here, whole, proven and on stable storage."""

    snapshot: Snapshot


class SnapshotLost(msgspec.Struct, frozen=True):
    """The snapshot that a `FetchSnapshot` named cannot be had: the leader may offer another."""

    snapshot: Snapshot


Event = (
    Received
    | TimePassed
    | PeerAlive
    | Proposed
    | ReadAsked
    | ChangeAsked
    | TransferAsked
    | Stored
    | EntriesRead
    | SnapshotStored
    | SnapshotFetched
    | SnapshotLost
)
