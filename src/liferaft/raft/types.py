"""The nouns of Raft: terms, indexes, entries, configurations and what must survive a crash.

A term or an index is an `int`. Index 0 is the empty prefix; the first entry has index 1.
"""

from enum import IntEnum
from typing import Final

import msgspec

NodeId = str
"""The name of a node, unique in its cluster for ever: a name is never given to another disk."""


class EntryKind(IntEnum):
    """What an entry's data means, and to whom."""

    COMMAND = 0
    """For the state machine."""
    NOOP = 1
    """The first entry of a term: lets a leader commit what came before. Nobody else sees it."""
    CONFIGURATION = 2
    """A `Configuration`, encoded; counts from when it is appended (section 6)."""


COMMAND: Final = int(EntryKind.COMMAND)
NOOP: Final = int(EntryKind.NOOP)
CONFIGURATION: Final = int(EntryKind.CONFIGURATION)
"""The kinds as entries carry them: in Python 3.11 a member's look-up costs as much as a call."""


class EntryId(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A position in the log together with the term that wrote it; orders as section 5.4.1 does."""

    term: int
    index: int


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One entry of the log. `data` is encoded once, by whoever proposed it, and never again."""

    term: int
    index: int
    kind: int
    data: bytes


class HardState(msgspec.Struct, frozen=True, array_like=True):
    """What Figure 2 calls persistent state, beside the log: on stable storage before any answer."""

    current_term: int = 0
    voted_for: NodeId | None = None


class Promotion(msgspec.Struct, frozen=True, array_like=True):
    """A learner that becomes a voter once it has caught up, in the place of `replaces` if named."""

    node: NodeId
    replaces: NodeId = ""


class Configuration(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who takes part. Each tuple is sorted, without repeats.

    `voters_outgoing` is empty except in the joint phase of a change (section 6), when every
    decision needs a majority of `voters` and one of `voters_outgoing`. Learners receive the log
    and do not count; `learners_next` are outgoing voters that learn when the joint phase ends.
    `promotions` are what the leader still has to do for some learners.

    `priorities` say who should lead, the highest first; who is not named has 0. `addresses` and
    `disks`, of some nodes each, and `level` are carried for the driver. `retired` are the members
    that were removed: their names are used up, because a disk that lost its vote must not pass for
    the one that gave it.
    """

    voters: tuple[NodeId, ...]
    voters_outgoing: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()
    learners_next: tuple[NodeId, ...] = ()
    promotions: tuple[Promotion, ...] = ()
    priorities: tuple[tuple[NodeId, int], ...] = ()
    addresses: tuple[tuple[NodeId, str], ...] = ()
    retired: tuple[NodeId, ...] = ()
    disks: tuple[tuple[NodeId, str], ...] = ()
    level: int = 0


class Snapshot(msgspec.Struct, frozen=True):
    """What is known of a snapshot: it holds all that the log says up to `index`.

    `configuration` is the one in force there. `size_bytes` and `checksum` are of the file, for
    whoever fetches it.
    """

    index: int
    term: int
    configuration: Configuration
    size_bytes: int = 0
    checksum: int = 0


class TermRun(msgspec.Struct, frozen=True, array_like=True):
    """Entries `first` up to the next run's first, all written in `term`."""

    term: int
    first: int
