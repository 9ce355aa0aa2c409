"""The log as the core sees it: the terms of all of it, and a bounded tail of its entries.

It never touches the disk. What it no longer holds, the core asks back by an effect and puts into
the window. Three indexes tell how far the disk is; each only grows but for a truncation:

    base_index <= stable_index <= handed_index <= last_index

- `base_index`: the entry before the first; 0, or what a snapshot covers.
- `stable_index`: the log up to here is on stable storage. Only this may be acknowledged.
- `handed_index`: up to here the log was given out in a `Persist`.
- `last_index`: the last entry, stored or not.

Invariants: runs rise in both term and index; the tail ends at `last_index` and holds at least all
that is not stable; the window holds only entries that the log still has.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate, pairwise

import msgspec

from liferaft.errors import InvariantViolated
from liferaft.raft.types import Entry, EntryId, TermRun

ENTRY_OVERHEAD_BYTES = 32
"""Added to an entry's data wherever entries are measured, so that empty ones have a bound too."""

_TRIM_STEPS = 32
"""The part of the tail that is forgotten at once. To free an entry is to write to its memory, which
stalls the node for long if there is much of it and a copy of the process shares it (a snapshot)."""


class LogSummary(msgspec.Struct, frozen=True):
    """What is read from disk at the start: the terms of all entries, and the last few entries.

    `first` is above 1 once a snapshot replaced what was before; `prior_term` is then the term of
    the entry before `first`. `last` is `first - 1` when the log is empty. `tail` ends at `last`,
    and may be empty. `configurations` are the entries of that kind, in order.
    """

    first: int = 1
    last: int = 0
    runs: tuple[TermRun, ...] = ()
    tail: tuple[Entry, ...] = ()
    prior_term: int = 0
    configurations: tuple[Entry, ...] = ()


class Piece(msgspec.Struct, frozen=True):
    """Some entries that follow each other, and their size. Never empty."""

    entries: tuple[Entry, ...]
    size_bytes: int


class RaftLog:
    """Figure 2's log[]. Index 0 is the empty prefix, its term 0."""

    def __init__(self, summary: LogSummary) -> None:
        _check(summary)
        self.base_index = summary.first - 1
        self.last_index = self.handed_index = self.stable_index = summary.last
        self._run_firsts = [self.base_index]
        self._run_terms = [summary.prior_term]
        for run in summary.runs:
            self._begin_run(run.term, run.first)
        self._tail_first = summary.last - len(summary.tail) + 1
        self._tail: list[Entry] = list(summary.tail)
        self._trimmed_bytes = 0
        self._ends: list[int] = list(accumulate(map(entry_bytes, summary.tail)))
        self._window: tuple[Entry, ...] = ()
        self._in_flight: deque[tuple[int, int]] = deque()

    @property
    def last_term(self) -> int:
        """The term of the last entry."""
        return self._run_terms[-1]

    @property
    def first_held(self) -> int:
        """The first index of the tail; everything below is on disk alone."""
        return self._tail_first

    @property
    def tail_bytes(self) -> int:
        """How much of memory the tail's entries take."""
        return self._end_bytes - self._trimmed_bytes

    @property
    def runs(self) -> tuple[TermRun, ...]:
        """The runs of terms, the base as the first of them."""
        return tuple(map(TermRun, self._run_terms, self._run_firsts))

    @property
    def _end_bytes(self) -> int:
        return self._ends[-1] if self._ends else self._trimmed_bytes

    def term_at(self, index: int) -> int:
        """Return the term of the entry at `index`, from the base up to the last."""
        assert self.base_index <= index <= self.last_index
        if index >= self._run_firsts[-1]:
            return self._run_terms[-1]
        return self._run_terms[bisect_right(self._run_firsts, index) - 1]

    def has(self, index: int, term: int) -> bool:
        """Return whether the log holds the entry of that index and term, and so all before it.

        Source: Figure 3, Log Matching.
        """
        return self.base_index <= index <= self.last_index and self.term_at(index) == term

    def is_behind(self, last_log: EntryId) -> bool:
        """Return whether a log that ends at `last_log` is at least as up-to-date as this one.

        The later last term wins; of equal terms, the longer log (section 5.4.1).
        """
        return EntryId(self.last_term, self.last_index) <= last_log

    def last_at_or_below(self, index: int, term: int) -> EntryId:
        """Return the last entry whose index is not above `index` and whose term not above `term`.

        Below all terms held it is the base. How both sides skip whole terms that cannot match
        (section 5.3, "the protocol can be optimized").
        """
        position = bisect_right(self._run_terms, term)
        if position == 0:
            return EntryId(self._run_terms[0], self.base_index)
        is_last_run = position == len(self._run_terms)
        end = self.last_index if is_last_run else self._run_firsts[position] - 1
        found = max(min(index, end), self.base_index)
        return EntryId(self.term_at(found), found)

    def append(self, entries: Sequence[Entry]) -> None:
        """Append entries that follow the last one; terms never fall."""
        if entries[0].index != self.last_index + 1 or entries[0].term < self.last_term:
            raise InvariantViolated(
                f"{entries[0].index} of term {entries[0].term} cannot follow "
                f"{self.last_index} of term {self.last_term}"
            )
        if entries[-1].term != self.last_term:
            for entry in entries:
                self._begin_run(entry.term, entry.index)
        sizes = accumulate(map(entry_bytes, entries), initial=self._end_bytes)
        next(sizes)
        self._ends.extend(sizes)
        self._tail.extend(entries)
        self.last_index = entries[-1].index

    def truncate_from(self, index: int, *, commit_index: int) -> None:
        """Drop the entry at `index` and all that follow it; never a committed one (Figure 3)."""
        if index <= commit_index:
            raise InvariantViolated(f"{index} is to be dropped, {commit_index} is committed")
        assert self.base_index < index <= self.last_index
        while self._run_firsts[-1] >= index:
            self._run_firsts.pop()
            self._run_terms.pop()
        kept = max(index - self._tail_first, 0)
        del self._tail[kept:], self._ends[kept:]
        self._tail_first = min(self._tail_first, index)
        if self._window and self._window[-1].index >= index:
            self._window = ()
        self.last_index = index - 1
        self.handed_index = min(self.handed_index, self.last_index)
        self.stable_index = min(self.stable_index, self.last_index)
        # A write under way may still complete; the entries above were overwritten since, and its
        # completion must not be taken for theirs.
        self._in_flight = deque(
            (mark, min(last, self.last_index)) for mark, last in self._in_flight
        )

    def compact(self, index: int) -> None:
        """Let the log begin behind `index`, which a stored snapshot covers."""
        assert self.base_index <= index <= self.stable_index
        term = self.term_at(index)
        kept = bisect_right(self._run_firsts, index)
        self._run_firsts = [index, *self._run_firsts[kept:]]
        self._run_terms = [term, *self._run_terms[kept:]]
        self.base_index = index
        self._drop_from_tail(index - self._tail_first + 1)
        if self._window and self._window[0].index <= index:
            self._window = ()

    def reset(self, index: int, term: int) -> None:
        """Hold nothing any more, and begin behind the entry at `index`, which was of `term`."""
        self.base_index = self.stable_index = self.handed_index = self.last_index = index
        self._run_firsts, self._run_terms = [index], [term]
        self._tail_first = index + 1
        self._tail, self._ends, self._trimmed_bytes = [], [], 0
        self._window = ()
        self._in_flight.clear()

    def hand_out(self, mark: int) -> tuple[Entry, ...]:
        """Return what no `Persist` carried yet, to be written under `mark`; may be empty."""
        if self.handed_index == self.last_index:
            return ()
        entries = tuple(self._tail[self.handed_index + 1 - self._tail_first :])
        self.handed_index = self.last_index
        self._in_flight.append((mark, self.last_index))
        return entries

    def stored(self, mark: int) -> None:
        """Learn that everything up to the `Persist` with this mark is on stable storage."""
        while self._in_flight and self._in_flight[0][0] <= mark:
            _, last = self._in_flight.popleft()
            self.stable_index = max(self.stable_index, last)
        assert self.stable_index <= self.handed_index

    def piece(self, first: int, last: int, bytes_max: int) -> Piece | None:
        """Return entries from `first` up to `last`, as many as fit, at least one.

        None when memory does not hold `first` any more: it must be read from disk.
        """
        assert self.base_index < first <= last <= self.last_index
        offset = first - self._tail_first
        if offset < 0:
            return self._window_piece(first, last, bytes_max)
        before = self._ends[offset - 1] if offset else self._trimmed_bytes
        limit = last - self._tail_first + 1
        stop = max(bisect_right(self._ends, before + bytes_max, offset, limit), offset + 1)
        return Piece(tuple(self._tail[offset:stop]), self._ends[stop - 1] - before)

    def _window_piece(self, first: int, last: int, bytes_max: int) -> Piece | None:
        if not self._window or not self._window[0].index <= first <= self._window[-1].index:
            return None
        offset = first - self._window[0].index
        candidates = self._window[offset : offset + last - first + 1]
        ends = list(accumulate(map(entry_bytes, candidates)))
        count = max(bisect_right(ends, bytes_max), 1)
        return Piece(candidates[:count], ends[count - 1])

    def fill_window(self, entries: Sequence[Entry]) -> None:
        """Keep what was read from disk, up to the first entry that was overwritten since."""
        fitting = 0
        for entry in entries:
            if not self.has(entry.index, entry.term):
                break
            fitting += 1
        self._window = tuple(entries[:fitting])

    def trim(self, up_to: int, tail_bytes_max: int) -> None:
        """Forget entries up to `up_to` when the tail is too large, a little more than needed.

        What is not on stable storage stays, or it could not be read back.
        """
        ends = self._ends
        if not ends or ends[-1] - self._trimmed_bytes <= tail_bytes_max:
            return
        enough = self._end_bytes - (tail_bytes_max - tail_bytes_max // _TRIM_STEPS)
        count = min(
            bisect_left(self._ends, enough) + 1,
            min(up_to, self.stable_index) - self._tail_first + 1,
        )
        self._drop_from_tail(count)

    def _drop_from_tail(self, count: int) -> None:
        if count > 0:
            self._trimmed_bytes = self._ends[count - 1]
            del self._tail[:count], self._ends[:count]
            self._tail_first += count

    def _begin_run(self, term: int, first: int) -> None:
        if term < self._run_terms[-1]:
            raise InvariantViolated(f"the term falls to {term} at {first}")
        if term > self._run_terms[-1]:
            self._run_terms.append(term)
            self._run_firsts.append(first)


def entry_bytes(entry: Entry) -> int:
    """Return what the entry counts for wherever sizes are bounded."""
    return len(entry.data) + ENTRY_OVERHEAD_BYTES


def _check(summary: LogSummary) -> None:
    """Raise `InvariantViolated` when what was read from disk cannot be a log."""
    firsts = [run.first for run in summary.runs]
    indexes = [entry.index for entry in summary.tail]
    is_sound = (
        summary.first >= 1
        and summary.last >= summary.first - 1
        and firsts[:1] == ([summary.first] if summary.last >= summary.first else [])
        and all(before < after for before, after in pairwise(firsts))
        and firsts[-1:] <= [summary.last]
        and indexes == list(range(summary.last - len(indexes) + 1, summary.last + 1))
        and len(indexes) <= summary.last - summary.first + 1
    )
    if not is_sound:
        raise InvariantViolated(f"this is no log: {summary.first} to {summary.last}, {firsts}")
