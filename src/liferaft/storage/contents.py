"""What the log holds at present: the terms of its entries, and where on disk they lie. Pure.

`Terms` follows what was appended, `Places` what was written; both shrink only when an append
replaces a suffix. Places are kept as columns of integers, 32 bytes a record, because a log of many
small records has millions of them.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import msgspec

from liferaft.errors import InvariantViolated
from liferaft.raft.types import Entry, EntryId, TermRun

EMPTY = EntryId(0, 0)
"""Where the empty log ends, and what is covered while there is no snapshot."""


class Terms:
    """The terms of the entries `first` up to `last`, as runs.

    `first` is the lowest index held; `last` is `first - 1` while the log is empty. `prior_term` is
    the term of the entry before `first`, 0 at the empty prefix.
    """

    def __init__(self, *, first: int, prior_term: int) -> None:
        self.first = first
        self.last = first - 1
        self._prior_term = prior_term
        self._runs: list[TermRun] = []

    @property
    def prior_term(self) -> int:
        """The term of the entry before `first`."""
        return self._prior_term

    @property
    def runs(self) -> tuple[TermRun, ...]:
        """The runs, in the order of the log."""
        return tuple(self._runs)

    def term_at(self, index: int) -> int:
        """Return the term of the entry at `index`, which lies from `first - 1` up to `last`."""
        assert self.first - 1 <= index <= self.last
        if self._runs and self._runs[-1].first <= index:
            return self._runs[-1].term
        for run in reversed(self._runs):
            if run.first <= index:
                return run.term
        return self._prior_term

    def can_append(self, *, first: int, term: int) -> bool:
        """Return whether an entry may follow the one before it: no gap, and no falling term."""
        return self.first <= first <= self.last + 1 and self.term_at(first - 1) <= term

    def append(self, *, term: int, first: int, last: int) -> None:
        """Let `first` up to `last`, of one term, replace everything from `first` on."""
        assert self.can_append(first=first, term=term)
        assert first <= last
        while self._runs and self._runs[-1].first >= first:
            self._runs.pop()
        if not self._runs or self._runs[-1].term != term:
            self._runs.append(TermRun(term, first))
        self.last = last

    def take(self, entries: Sequence[Entry]) -> EntryId:
        """Append entries, which replace everything from the first on; return the one before them.

        Raises `InvariantViolated` when they leave a gap, or their terms fall.
        """
        index = first = entries[0].index
        term = entries[0].term
        if not self.can_append(first=first, term=term):
            raise InvariantViolated(
                f"entry {first} of term {term} does not fit a log that holds"
                f" {self.first} to {self.last}"
            )
        before = EntryId(self.term_at(first - 1), first - 1)
        for entry in entries:
            if entry.index != index or entry.term < term:
                raise InvariantViolated(f"entry {entry.index} follows entry {index - 1}")
            if entry.term > term:
                self.append(term=term, first=first, last=index - 1)
                first, term = index, entry.term
            index += 1
        self.append(term=term, first=first, last=index - 1)
        return before

    def begin_at(self, first: int) -> None:
        """Forget the entries below `first`."""
        assert self.first <= first <= self.last + 1
        self._prior_term = self.term_at(first - 1)
        while len(self._runs) > 1 and self._runs[1].first <= first:
            self._runs.pop(0)
        if first > self.last:
            self._runs.clear()
        elif self._runs and self._runs[0].first < first:
            self._runs[0] = TermRun(self._runs[0].term, first)
        self.first = first


class Place(msgspec.Struct, frozen=True):
    """A record that holds the entries `first` up to `last` (it may hold more, since replaced).

    `offset` and `length` are of the whole record in its segment, header included, in bytes.
    """

    first: int
    last: int
    segment: int
    offset: int
    length: int


class Places:
    """Where each entry's record lies. `last` is the highest index written."""

    def __init__(self, *, first: int) -> None:
        self.last = first - 1
        self._firsts = array("Q")
        self._segments = array("Q")
        self._offsets = array("Q")
        self._lengths = array("Q")

    def append(self, place: Place) -> None:
        """Let the record's entries replace everything from its first on."""
        position = bisect_right(self._firsts, place.first - 1)
        for column, value in (
            (self._firsts, place.first),
            (self._segments, place.segment),
            (self._offsets, place.offset),
            (self._lengths, place.length),
        ):
            del column[position:]
            column.append(value)
        self.last = place.last

    def begin_at(self, first: int) -> None:
        """Forget the entries below `first`, which begins a record unless nothing is left."""
        position = bisect_right(self._firsts, first - 1)
        for column in (self._firsts, self._segments, self._offsets, self._lengths):
            del column[:position]

    def first_from(self, segment: int) -> int:
        """Return the lowest index that a record in `segment` or behind it holds."""
        position = bisect_left(self._segments, segment)
        return self._firsts[position] if position < len(self._firsts) else self.last + 1

    def between(self, first: int, last: int, bytes_max: int) -> list[Place]:
        """Return the records that hold entries from `first` on, in order, at least one.

        Stops at `last`, or when the records after the first are longer than `bytes_max` together:
        more would not fit an answer of that size.
        """
        position = bisect_right(self._firsts, first) - 1
        assert position >= 0
        assert first <= self.last
        places: list[Place] = []
        collected_bytes = 0
        while position < len(self._firsts) and self._firsts[position] <= last:
            place = self._place(position)
            places.append(place)
            collected_bytes += place.length if len(places) > 1 else 0
            if collected_bytes > bytes_max:
                break
            position += 1
        return places

    def tail(self, bytes_max: int) -> list[Place]:
        """Return the last records, as many as are needed to hold `bytes_max` if there are."""
        position = len(self._firsts)
        collected_bytes = 0
        while position > 0 and collected_bytes < bytes_max:
            position -= 1
            collected_bytes += self._lengths[position]
        return [self._place(position) for position in range(position, len(self._firsts))]

    def _place(self, position: int) -> Place:
        is_last = position + 1 == len(self._firsts)
        return Place(
            first=self._firsts[position],
            last=self.last if is_last else self._firsts[position + 1] - 1,
            segment=self._segments[position],
            offset=self._offsets[position],
            length=self._lengths[position],
        )
