"""What a start makes of the shared log's writes: the log of each group, or an error.

The writes are taken one after the other, as the physical log is read (recovery.py), so that only
one record's data is in memory at a time. Its beginning may have been dropped. So what is seen of a
group at first can be a part of its log, with holes, and is never anything else than what the log
held at that moment: whatever voids or replaces an entry is written behind it. A hole is filled when
the copy of what lay there comes, for an older write is dropped only once nothing in it counts; a
hole that is left must lie below what the group's snapshot covers, or entries are missing.

A group's log that does not hold the entry at which its newest snapshot ends is void, as that of a
node with a log of its own would be, and has to begin anew behind it before anything else.
"""

from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from liferaft.errors import DamagedLog
from liferaft.raft.types import Entry, EntryId, HardState
from liferaft.storage.contents import Terms
from liferaft.storage.extents import Extents
from liferaft.storage.group_records import OF_A_GROUP, GroupWrite, WriteKind, decode_write
from liferaft.storage.ledger import Ledger, size_of
from liferaft.storage.records import Body, FormatError, decode_entries
from liferaft.storage.recovery import (
    Recovered,
    TornTail,
    at_least,
    configurations_of,
    entries_that_fit,
    hard_state_follows,
)
from liferaft.storage.segment import Position

BEGINS_LATE = "the segments before it are missing, and nothing says that they could be dropped"
"""What is wrong with a log that begins behind its newest floor."""


class GroupContents(msgspec.Struct):
    """What a group holds, for its log to go on: with `void_before` it must begin anew there."""

    hard_state: HardState
    hard_state_write: int
    terms: Terms
    places: Extents
    configurations: tuple[Entry, ...]
    tail: tuple[Entry, ...] | None
    void_before: EntryId | None = None

    def recovered(self, tail: Sequence[Entry], torn: TornTail | None) -> Recovered:
        """Return what the group's core needs to know."""
        return Recovered(
            hard_state=self.hard_state,
            first=self.terms.first,
            last=self.terms.last,
            runs=self.terms.runs,
            tail=tuple(tail),
            torn=torn,
            configurations=self.configurations,
            prior_term=self.terms.prior_term,
        )


class _Piece(msgspec.Struct):
    """The entries `first` up to `last` of a write's body, which is decoded only if it is needed."""

    first: int
    last: int
    body: Body
    data_bytes: int


class _Tail:
    """The last entries of a log: as many as fill `bytes_max`, where there are, and a few more."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._pieces: deque[_Piece] = deque()

    def cut(self, first: int) -> None:
        """Forget everything from `first` on."""
        while self._pieces and self._pieces[-1].last >= first:
            if self._pieces[-1].first < first:
                self._pieces[-1].last = first - 1
            else:
                self._bytes -= self._pieces.pop().data_bytes

    def add(self, body: Body, first: int, last: int) -> None:
        """Take a body's entries, which the log ends with; some of them may be there already."""
        if self._pieces:
            held = self._pieces[-1].last
            if held + 1 < first:
                self.cut(0)
            first = max(first, held + 1) if self._pieces else first
        if first > last:
            return
        data_bytes = sum(run.stop - run.start - 5 * run.count for run in body.runs)
        self._pieces.append(_Piece(first, last, body, data_bytes))
        self._bytes += data_bytes
        while self._bytes - self._pieces[0].data_bytes > self._bytes_max:
            self._bytes -= self._pieces.popleft().data_bytes

    def whole(self, first: int) -> tuple[Entry, ...] | None:
        """Return them, None when there may be more that fit in a log that begins at `first`."""
        entries: list[Entry] = []
        for piece in self._pieces:
            skipped = piece.body.runs[0].first
            all_of_it = decode_entries(piece.body)
            entries += all_of_it[piece.first - skipped : piece.last - skipped + 1]
        data_bytes = sum([len(entry.data) for entry in entries])
        if entries and entries[0].index > first and data_bytes < self._bytes_max:
            return None
        entries = [entry for entry in entries if entry.index >= first]
        return entries_that_fit(entries, self._bytes_max)


class _Group:
    """What was seen of one group so far."""

    def __init__(self, tail_bytes: int) -> None:
        self._hard_state = HardState()
        self._hard_state_write = 0
        self._places = Extents(first=1)
        # By index, one below the entries included where it was told; 0 is not known.
        self._terms = Extents(first=1)
        self._configurations: list[Entry] = []
        self._tail = _Tail(tail_bytes)

    def take(self, write: GroupWrite, number: int, size_bytes: int) -> None:
        """Take a write; raises `FormatError` when it cannot follow those before."""
        if write.kind is WriteKind.BEGUN_ANEW:
            self._begin_behind(write.entry)
        elif write.kind is WriteKind.COMPACTED:
            self._compact(write.entry)
        hard_state = write.body.hard_state
        if hard_state is not None:
            if not hard_state_follows(self._hard_state, hard_state):
                raise FormatError(f"the hard state of group {write.group} goes back")
            self._hard_state, self._hard_state_write = hard_state, number
        if write.body.runs:
            self._take_entries(write, number, size_bytes)

    def _begin_behind(self, base: EntryId) -> None:
        self._places = Extents(first=base.index + 1)
        self._terms = Extents(first=base.index + 1)
        self._take_term(base)
        self._configurations.clear()
        self._tail.cut(0)

    def _compact(self, covered: EntryId) -> None:
        self._places.begin_at(covered.index + 1)
        self._terms.begin_at(covered.index)
        self._take_term(covered)

    def _take_term(self, entry: EntryId) -> None:
        """Remember the term of an entry that is not seen itself."""
        if entry.index and not self._terms.at(entry.index):
            self._terms.put(entry.index, entry.index, entry.term)

    def _take_entries(self, write: GroupWrite, number: int, size_bytes: int) -> None:
        is_copy = write.kind is WriteKind.COPIED
        body = write.body
        first, last = body.runs[0].first, body.runs[-1].first + body.runs[-1].count - 1
        self._check_terms(write, is_copy=is_copy)
        if not is_copy:
            self._terms.cut(first)
            self._tail.cut(first)
        self._take_term(write.entry)
        for run in body.runs:
            self._terms.put(run.first, run.first + run.count - 1, run.term)
        (self._places.put if is_copy else self._places.append)(first, last, number, size_bytes)
        self._take_configurations(configurations_of(body), first, last if is_copy else None)
        if last == self._places.last:
            self._tail.add(body, first, last)

    def _take_configurations(self, found: list[Entry], first: int, last: int | None) -> None:
        """Let them replace those from `first` on, up to `last` if there is one."""
        kept = self._configurations
        behind = [] if last is None else [each for each in kept if each.index > last]
        self._configurations = [*(each for each in kept if each.index < first), *found, *behind]

    def _check_terms(self, write: GroupWrite, *, is_copy: bool) -> None:
        """Make sure that the entry before is the one that was held, and that a copy is one."""
        if self._terms.at(write.entry.index) not in (0, write.entry.term):
            raise FormatError(f"entries of group {write.group} do not follow those before them")
        for run in write.body.runs if is_copy else ():
            for extent in self._terms.runs(run.first):
                if extent.first >= run.first + run.count:
                    break
                if extent.value not in (0, run.term):
                    raise FormatError(f"a copy of entries that group {write.group} does not hold")

    def own_base(self, floor: int) -> EntryId:
        """Return the entry behind which the log begins."""
        first = self._places.behind_holes(floor)
        return EntryId(self._terms.at(first - 1), first - 1)

    def contents(self, base: EntryId, floor: int) -> GroupContents:
        """Return what the group holds in writes above `floor`.

        The others may be dropped at any moment. Raises `FormatError` when a part is missing.
        """
        places = self._places
        first = places.behind_holes(floor)
        is_within = first - 1 <= base.index <= places.last
        if first > base.index + 1:
            raise FormatError(f"entries {base.index + 1} to {first - 1} are missing")
        places.begin_at(first)
        terms = Terms(first=first, prior_term=self._terms.at(first - 1))
        for extent in self._terms.runs(first):
            terms.append(term=extent.value, first=extent.first, last=extent.last)
        void_before = None
        if not is_within or terms.term_at(base.index) != base.term:
            if terms.last >= terms.first:
                void_before = base
            self._begin_behind(base)
            places, terms = self._places, Terms(first=base.index + 1, prior_term=base.term)
        if terms.term_at(terms.last) > max(self._hard_state.current_term, base.term):
            raise FormatError("its entries are of a later term than its hard state")
        return GroupContents(
            hard_state=at_least(self._hard_state, base.term),
            hard_state_write=self._hard_state_write,
            terms=terms,
            places=places,
            configurations=tuple(e for e in self._configurations if e.index >= terms.first),
            tail=self._tail.whole(terms.first),
            void_before=void_before,
        )


class Replay:
    """All groups, as their writes are read one after the other. `last` is the newest write."""

    def __init__(self, *, tail_bytes: int, ledger: Ledger) -> None:
        self.last = 0
        self.floor = 0
        self._tail_bytes = tail_bytes
        self._ledger = ledger
        self._groups: dict[str, _Group] = {}

    def take(self, body: Body, _position: Position, _length: int) -> None:
        """Take a record of the physical log; raises `FormatError` for what is no group's."""
        for entry in decode_entries(body):
            if entry.kind != OF_A_GROUP:
                raise FormatError("an entry that is no group's: this is no shared log")
            self._take(decode_write(entry.data), entry.index, size_of(entry.data))
            self._ledger.add(entry.index, size_of(entry.data))
            self.last = entry.index

    def _take(self, write: GroupWrite, number: int, size_bytes: int) -> None:
        if write.kind is WriteKind.FLOOR:
            self.floor = write.entry.index
        elif write.kind is WriteKind.REMOVED:
            self._groups.pop(write.group, None)
        else:
            group = self._groups.get(write.group)
            if group is None:
                group = self._groups[write.group] = _Group(self._tail_bytes)
            group.take(write, number, size_bytes)

    def contents(self, directory: str, bases: Mapping[str, EntryId]) -> dict[str, GroupContents]:
        """Return what each group holds; raises `DamagedLog` when one lacks entries."""
        found: dict[str, GroupContents] = {}
        for name in {**self._groups, **bases}:
            group = self._groups.get(name) or _Group(self._tail_bytes)
            try:
                base = bases[name] if name in bases else group.own_base(self.floor)
                found[name] = group.contents(base, self.floor)
            except FormatError as error:
                raise DamagedLog(
                    f"the log in {directory} does not hold all of group {name}: {error}. What was"
                    f" acknowledged may be lost. Do not start from it: move {directory} away, and"
                    " let the node rejoin from its peers as a new member"
                ) from error
        return found
