"""The log of one group, as its driver sees it: a part of the shared log that looks like a whole.

It keeps the promises that wal.py keeps, for one group. Invariants, checked before anything is
queued (`InvariantViolated`): marks rise; indexes have no gap; terms never fall; no entry is of a
later term than the hard state appended with or before it; the hard state never goes back.

Fields that only grow: the mark that is stored, the hard state's term, the epoch.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from liferaft.errors import DamagedLog, DiskFull, InvariantViolated, StorageError
from liferaft.raft.types import Entry, EntryId, HardState
from liferaft.storage.contents import EMPTY, Terms
from liferaft.storage.extents import Extent, Extents
from liferaft.storage.group_records import WriteKind, decode_write, encode_write
from liferaft.storage.group_recovery import GroupContents
from liferaft.storage.ledger import WRITE_BYTES, size_of
from liferaft.storage.records import (
    FormatError,
    decode_entries,
    encode_entries,
    encode_hard_state,
)
from liferaft.storage.recovery import hard_state_follows
from liferaft.storage.shared_writes import Writes
from liferaft.storage.wal import first_that_fit


class GroupLog:
    """A group's log; `SharedLog.group` makes it. Use from the loop of the shared log."""

    def __init__(self, name: str, writes: Writes, contents: GroupContents) -> None:
        self.name = name
        self._name = name.encode()
        self._writes = writes
        # What was appended, written or not.
        self._mark = 0
        self._hard_state = contents.hard_state
        self._hard_state_write = contents.hard_state_write
        self._terms = contents.terms
        self._places = contents.places
        self._epoch = 0
        # What is written and synced.
        self._last_written = contents.terms.last
        self._written_bytes = 0
        self._stored_mark = 0
        self._told_mark = 0
        self._failure: StorageError | None = None
        self._is_closed = False
        self._is_removed = False
        self._is_started = False
        self._on_stored: Callable[[int], None]
        self._on_failure: Callable[[StorageError], None]

    # What the driver uses.

    def start(
        self, *, on_stored: Callable[[int], None], on_failure: Callable[[StorageError], None]
    ) -> None:
        """Tell what is stored from now on, and at most once that nothing will be any more.

        Both are called on the loop, never from inside a method of the log.
        """
        assert not self._is_started
        self._is_started = True
        self._on_stored = on_stored
        self._on_failure = on_failure
        if self._stored_mark:
            asyncio.get_running_loop().call_soon(self._tell)
        if self._failure is not None:
            asyncio.get_running_loop().call_soon(on_failure, self._failure)

    def append(self, mark: int, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Queue a write; never blocks. The first entry replaces the log from its index on.

        Marks rise. After a failure, the end of the shared log or the group's removal, nothing is
        written and nothing reported.
        """
        before = self._check(mark, hard_state, entries)
        if self._is_closed:
            return
        if hard_state is None and not entries:
            self._writes.write_nothing(partial(self._stored, mark, self._terms.last, 0))
            return
        items = encode_entries(entries)
        if hard_state is not None:
            items = encode_hard_state(hard_state) + items
        data = encode_write(WriteKind.APPENDED, self._name, before, items)
        on_stored = partial(self._stored, mark, self._terms.last, len(data))
        number = self._writes.write(data, on_stored)
        if hard_state is not None:
            self._hard_state_write = number
        if entries:
            if entries[0].index <= self._places.last:
                self._epoch += 1
            self._places.append(entries[0].index, entries[-1].index, number, size_of(data))

    def begin_anew(self, base: EntryId) -> None:
        """Make void what the log holds, and let it begin behind `base`; never blocks.

        A snapshot up to there must be on stable storage: a start from it finds the log void too,
        should this not have been written.
        """
        if base.term > self._hard_state.current_term:
            raise InvariantViolated(
                f"the log of group {self.name} is to begin behind {base}, at {self._hard_state}"
            )
        self._terms = Terms(first=base.index + 1, prior_term=base.term)
        self._places = Extents(first=base.index + 1)
        self._epoch += 1
        if not self._is_closed:
            data = encode_write(WriteKind.BEGUN_ANEW, self._name, base)
            self._writes.write(data, partial(self._stored, 0, base.index, len(data)))

    def compact(self, covered: int) -> None:
        """Let go of the entries up to `covered`, which a stored snapshot covers. Never blocks."""
        first = min(covered, self._terms.last) + 1
        if first <= self._terms.first:
            return
        self._terms.begin_at(first)
        self._places.begin_at(first)
        if not self._is_closed:
            # So that they do not count after a restart either, and are never copied again.
            entry = EntryId(self._terms.prior_term, first - 1)
            data = encode_write(WriteKind.COMPACTED, self._name, entry)
            self._writes.write(data, partial(self._stored, 0, self._terms.last, len(data)))
            self._writes.let_go()

    async def read(self, first: int, last: int, bytes_max: int) -> tuple[Entry, ...]:
        """Return entries from `first` up to `last`, as fit `bytes_max`, at least one.

        It may be fewer than would fit. What was appended but is not written yet is waited for.
        Empty when the log does not hold `first`: it was replaced, or lies below the log's
        beginning. Raises `DamagedLog` when the disk does not return what was written, and
        `DiskFailed`.
        """
        assert 1 <= first <= last
        places: list[Extent] = []
        while self._places.first <= first <= self._places.last:
            before = places
            places = self._places.between(first, min(last, self._places.last), bytes_max)
            if places == before:
                raise self._changed(places[0], "the write is gone")
            found = await self._writes.read(sorted({place.value for place in places}))
            if found is not None:
                entries = [entry for each in places for entry in self._entries(each, found)]
                return first_that_fit(entries, bytes_max)
            # A write was dropped meanwhile: its entries were copied, or do not count any more.
        return ()

    @property
    def last_written(self) -> int:
        """The highest index that is on stable storage, but for what replaces it now."""
        return self._last_written

    @property
    def written_bytes(self) -> int:
        """How much of this group was written since the log was opened."""
        return self._written_bytes

    @property
    def blocked(self) -> DiskFull | None:
        """The full disk that writes wait for, None while there is space."""
        return self._writes.wal.blocked

    @property
    def is_blocked(self) -> bool:
        """Whether writes wait for space on the disk."""
        return self._writes.wal.is_blocked

    def _check(self, mark: int, hard_state: HardState | None, entries: Sequence[Entry]) -> EntryId:
        """Hold the append against the module's invariants, and remember it.

        Returns the entry before the first.
        """
        if mark <= self._mark:
            raise InvariantViolated(
                f"mark {mark} of group {self.name} was appended after mark {self._mark}"
            )
        self._mark = mark
        if hard_state is not None:
            if not hard_state_follows(self._hard_state, hard_state):
                raise InvariantViolated(
                    f"{hard_state} of group {self.name} was appended after {self._hard_state}"
                )
            self._hard_state = hard_state
        if not entries:
            return EMPTY
        try:
            before = self._terms.take(entries)
        except InvariantViolated as error:
            raise InvariantViolated(f"group {self.name}: {error}") from error
        if entries[-1].term > self._hard_state.current_term:
            raise InvariantViolated(
                f"entry {entries[-1].index} of term {entries[-1].term} of group {self.name} before"
                f" {self._hard_state}"
            )
        return before

    def _entries(self, place: Extent, found: dict[int, bytes]) -> list[Entry]:
        """Return the entries of a place from its write; raises `DamagedLog` if it is another's."""
        try:
            write = decode_write(found[place.value])
            entries = decode_entries(write.body)
        except FormatError as error:
            raise self._changed(place, str(error)) from error
        if write.group != self.name or write.kind not in (WriteKind.APPENDED, WriteKind.COPIED):
            raise self._changed(place, "it is of another group")
        skipped = place.first - write.entry.index - 1
        entries = entries[skipped : skipped + place.last - place.first + 1]
        if not entries or (entries[0].index, entries[-1].index) != (place.first, place.last):
            raise self._changed(place, "it holds other entries than it did")
        return entries

    def _changed(self, place: Extent, what: str) -> DamagedLog:
        return DamagedLog(
            f"write {place.value} of the log does not hold entries {place.first} to {place.last} of"
            f" group {self.name} any more: {what}"
        )

    # Its place in the shared log.

    @property
    def live_bytes(self) -> int:
        """How much of the shared log is there for this group, about."""
        hard_state_bytes = WRITE_BYTES + len(self._name) if self._hard_state_write else 0
        return self._places.size_bytes + hard_state_bytes

    def needs_below(self, number: int) -> bool:
        """Return whether a write below that number still counts."""
        lowest = self._places.lowest_value()
        return 0 < self._hard_state_write < number or (lowest is not None and lowest < number)

    async def copy_below(self, number: int, bytes_max: int) -> int:
        """Write again a piece of what still counts in writes below that number.

        Returns how many bytes that were. Raises `DamagedLog` and `DiskFailed`.
        """
        copied_bytes = 0
        if 0 < self._hard_state_write < number:
            items = encode_hard_state(self._hard_state)
            data = encode_write(WriteKind.APPENDED, self._name, EMPTY, items)
            self._hard_state_write = self._writes.write(data, _ignore)
            copied_bytes += size_of(data)
        piece = self._places.below(number, bytes_max=bytes_max)
        if piece is None:
            return copied_bytes
        epoch = self._epoch
        entries = await self.read(*piece, bytes_max)
        if epoch != self._epoch or not entries or self._places.first > entries[0].index:
            # What was read may not be what the log holds now. It is looked at again.
            return copied_bytes
        first, last = entries[0].index, entries[-1].index
        before = EntryId(self._terms.term_at(first - 1), first - 1)
        items = encode_entries(entries)
        data = encode_write(WriteKind.COPIED, self._name, before, items)
        self._places.put(first, last, self._writes.write(data, _ignore), size_of(data))
        return copied_bytes + size_of(data)

    def close(self) -> None:
        """Write nothing more; what is queued is still reported."""
        self._is_closed = True

    def remove(self) -> None:
        """Hold nothing, write nothing and report nothing more."""
        self._is_closed = self._is_removed = True
        self._hard_state_write = 0
        self._terms = Terms(first=1, prior_term=0)
        self._places = Extents(first=1)
        self._epoch += 1

    def fail(self, error: StorageError) -> None:
        """Tell that nothing will be written any more."""
        self._is_closed = True
        self._failure = error
        if self._is_started and not self._is_removed:
            asyncio.get_running_loop().call_soon(self._on_failure, error)

    def _stored(self, mark: int, last: int, written_bytes: int) -> None:
        self._last_written = last
        self._written_bytes += written_bytes
        if mark:
            if self._stored_mark == self._told_mark and self._is_started:
                asyncio.get_running_loop().call_soon(self._tell)
            self._stored_mark = mark

    def _tell(self) -> None:
        """Report once what one sync made stable."""
        if self._stored_mark > self._told_mark and not self._is_removed:
            self._told_mark = self._stored_mark
            self._on_stored(self._stored_mark)


def _ignore() -> None:
    """Stand in for the report of a write that nobody waits for."""
