"""The nouns of Raft: terms, indexes, entries, configurations and what must survive a crash.

A term or an index is an `int`. Index 0 is the empty prefix; the first entry has index 1.
"""

from enum import IntEnum

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


class Configuration(msgspec.Struct, frozen=True):
    """Who takes part. Each tuple is sorted, without repeats.

    `voters_outgoing` is empty except in the joint phase of a change (section 6), when every
    decision needs a majority of `voters` and one of `voters_outgoing`. Learners receive the log
    and do not count.
    """

    voters: tuple[NodeId, ...]
    voters_outgoing: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()


class TermRun(msgspec.Struct, frozen=True, array_like=True):
    """Entries `first` up to the next run's first, all written in `term`."""

    term: int
    first: int
