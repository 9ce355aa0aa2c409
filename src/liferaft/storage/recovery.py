"""What a log holds when it is opened: everything that was ever reported as stored, or an error.

Segments are read in order, each record's checksum proven, chained to the one before. Where the
chain ends, three things can have happened, and they are told apart so:

- Nothing but zeros follows: the log was closed, or stopped between two writes.
- Bytes follow, and none of them is the intact header of a record made for that very place: the
  last write was torn. It was never reported as stored, so it is cut and told (`TornTail`).
- An intact record follows, or a later segment whose header says that this one went further: a
  write begins only after the sync of the one before it, so what is missing here was synced and
  possibly acknowledged. That is damage, and the log is refused (`DamagedLog`).

So every record proves that all before it was synced, and the log writes an empty one, a seal, when
it has been idle for a moment, when it starts and when it closes. One window remains: when the last
record is damaged after its sync, and the node stops before the next record or the seal behind it
is durable, then no byte on this disk says that it had been whole, and it is cut as torn. It lasts
as long as the pause before a seal (`wal.SEAL_AFTER`), and only a second write before each
acknowledgement could close it. Removing the newest segments by hand is not noticed either.

A log that does not hold the entry at which the newest snapshot ends is void: either it was about
to begin anew behind that snapshot, which came from elsewhere, or the snapshot is the node's own and
went further than what the disk held of the log. Then the next segment begins it anew.

The last record found is written again, as it was, and synced before it is reported: after a crash
of the process alone it may have been read from the system's cache, and a sync that failed before
the crash may have left it there as if it were on the disk.

Terms and the hard state are checked as the writer checked them: they never fall.

`examine` reads as a start does, and changes nothing: it goes as far as the log is whole, and tells
of the first damage instead of raising it.
"""

from collections.abc import Callable, Sequence

import msgspec

from liferaft.errors import DamagedLog, DataDirectoryError, DiskFailed
from liferaft.raft.types import CONFIGURATION, Entry, EntryId, HardState, TermRun
from liferaft.storage.compaction import LiveSegments
from liferaft.storage.contents import EMPTY, Place, Places, Terms
from liferaft.storage.disk import Disk
from liferaft.storage.records import (
    RECORD_HEADER_BYTES,
    RECORD_MAGIC,
    SEGMENT_HEADER_BYTES,
    Body,
    FormatError,
    SegmentHeader,
    checksum,
    decode_body,
    decode_entries,
    decode_record_header,
    decode_segment_header,
)
from liferaft.storage.segment import (
    Position,
    check_record,
    damaged,
    read_places,
    segment_numbers,
    segment_path,
    sync,
    sync_directory,
)


class TornTail(msgspec.Struct, frozen=True):
    """A last write that was not whole, and was cut: nothing in it had been reported as stored.

    It began at `offset` of the file `path` and left up to `length` bytes; the log is whole up to
    index `last`.
    """

    path: str
    offset: int
    length: int
    last: int


class Recovered(msgspec.Struct, frozen=True):
    """What an opened log holds: entries `first` up to `last`, their terms, and the last of them.

    `last` is `first - 1` when there is none; `prior_term` is the term of the entry before `first`.
    `tail` ends with entry `last` and holds as many as fit `tail_bytes`, at least one unless the log
    is empty.
    """

    hard_state: HardState
    first: int
    last: int
    runs: tuple[TermRun, ...]
    tail: tuple[Entry, ...]
    torn: TornTail | None
    configurations: tuple[Entry, ...] = ()
    prior_term: int = 0


class Recovery(msgspec.Struct):
    """`Recovered`, and what the log needs to go on: with `void_before` it begins anew there."""

    recovered: Recovered
    terms: Terms
    places: Places
    position: Position
    segments: LiveSegments
    void_before: EntryId | None


class Damage(msgspec.Struct, frozen=True):
    """Where a log stops to be what was written: at `offset` of a segment, which may be missing."""

    segment: int
    offset: int
    what: str


class Examined(msgspec.Struct, frozen=True):
    """What a log holds up to its first damage, or its end. Of a refused record it holds nothing.

    `position` is where the last whole record ends; segment 0 when there is no whole segment.
    """

    hard_state: HardState
    terms: Terms
    places: Places
    position: Position
    torn: TornTail | None
    damage: Damage | None

    def error(self, directory: str) -> DamagedLog | None:
        """Return what a start from it raises for the damage, None when there is none."""
        return None if self.damage is None else _error(directory, self.damage, self.terms.last)


OnRecord = Callable[[Body, Position, int], None]
"""Gets each whole record: its body, where it begins, its length. May raise `FormatError`."""


def hard_state_follows(earlier: HardState, later: HardState) -> bool:
    """Return whether a hard state may follow: terms never fall, a vote is never taken back."""
    if later.current_term != earlier.current_term:
        return later.current_term > earlier.current_term
    return earlier.voted_for is None or earlier.voted_for == later.voted_for


def recover(
    disk: Disk,
    directory: str,
    *,
    base: EntryId | None,
    tail_bytes: int,
    on_record: OnRecord | None = None,
) -> Recovery:
    """Read the log of a directory; blocking. See the module's docstring.

    `base` is the last entry that a snapshot covers: a log may begin up to there, no later; with
    None, anywhere. `on_record` gets each whole record, in order. Raises
    `DamagedLog`, `DataDirectoryError` for an unknown format version, and `DiskFailed`.
    """
    try:
        return _Reader(disk, directory, base, on_record).read_all(tail_bytes)
    except (DamagedLog, DiskFailed, DataDirectoryError):
        raise
    except OSError as error:
        raise DiskFailed(f"the log in {directory} could not be read: {error}") from error


def examine(
    disk: Disk, directory: str, *, base: EntryId | None, on_record: OnRecord | None = None
) -> Examined:
    """Read a log as `recover` does, as far as it is whole; blocking, and changes nothing.

    Raises `DataDirectoryError` for an unknown format version, and `OSError`.
    """
    return _Reader(disk, directory, base, on_record).examine()


class _Damaged(Exception):
    """Damage was found. Never leaves the module."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(damage)
        self.damage = damage


class _Reader:
    """One pass over all segments."""

    def __init__(
        self,
        disk: Disk,
        directory: str,
        base: EntryId | None,
        on_record: OnRecord | None = None,
    ) -> None:
        self._disk = disk
        self._directory = directory
        # Where the caller says nothing, the log begins where its first segment does.
        self._begins_anywhere = base is None
        self._base = base or EMPTY
        self._on_record = on_record
        self._hard_state = HardState()
        self._segments: list[SegmentHeader] = []
        self._strays: list[int] = []
        self._begin_behind(self._base)
        self._position = Position(segment=0, offset=0, crc=0)
        self._torn: TornTail | None = None
        # The bytes of the last record found, or of a segment's header, and where they lie.
        self._newest: tuple[int, bytes] | None = None
        self._newest_before: tuple[int, bytes] | None = None

    def read_all(self, tail_bytes: int) -> Recovery:
        damage = self.examine().error(self._directory)
        if damage is not None:
            raise damage
        void_before = self._leave_empty_segment()
        self._write_newest_again()
        if not self._holds(self._base):
            void_before = self._base
            self._begin_behind(self._base)
        recovered = Recovered(
            hard_state=at_least(self._hard_state, self._base.term),
            first=self._terms.first,
            last=self._terms.last,
            runs=self._terms.runs,
            tail=self._read_tail(tail_bytes),
            torn=self._torn,
            configurations=tuple(self._configurations),
            prior_term=self._terms.prior_term,
        )
        return Recovery(
            recovered,
            self._terms,
            self._places,
            self._position,
            LiveSegments(self._segments, self._strays),
            void_before,
        )

    def _leave_empty_segment(self) -> EntryId | None:
        """Let the newest segment be made anew, under its number, if it holds no record.

        Returns behind what it shall begin the log anew, as it did before. A failed sync may have
        left its name in the cache alone, where no later sync reaches it. What it vouches for was
        checked, and will be vouched for by the one in its place.
        """
        if not self._segments or self._position.offset > SEGMENT_HEADER_BYTES:
            return None
        last = self._segments.pop()
        self._position = Position(last.number - 1, last.previous_end, last.previous_crc)
        self._newest = self._newest_before
        return EntryId(last.prior_term, last.first - 1) if last.begins_anew else None

    def _begin_behind(self, base: EntryId) -> None:
        """Hold no entry, and expect the one behind `base` next."""
        self._terms = Terms(first=base.index + 1, prior_term=base.term)
        self._places = Places(first=base.index + 1)
        self._configurations: list[Entry] = []

    def _holds(self, base: EntryId) -> bool:
        terms = self._terms
        is_within = terms.first - 1 <= base.index <= terms.last
        return is_within and terms.term_at(base.index) == base.term

    def examine(self) -> Examined:
        """Take everything up to the first damage."""
        headers, damage = self._read_headers()
        self._segments = headers
        try:
            for header, following in zip(headers, [*headers[1:], None], strict=False):
                self._read_segment(header, following)
            self._check_hard_state(headers)
        except _Damaged as earlier:
            damage = earlier.damage
        return Examined(
            self._hard_state, self._terms, self._places, self._position, self._torn, damage
        )

    def _read_headers(self) -> tuple[list[SegmentHeader], Damage | None]:
        """Return the headers of all segments, in order, up to a gap or one that is damaged."""
        numbers = segment_numbers(self._disk.names(self._directory))
        headers: list[SegmentHeader] = []
        try:
            for number in numbers:
                expected = headers[-1].number + 1 if headers else 1
                can_be_torn = number == numbers[-1] and number == expected
                header = self._read_header(number, can_be_torn=can_be_torn)
                if header is None:
                    continue
                if number != expected:
                    # What a snapshot covers is dropped, the last of its segments first.
                    is_covered = 0 < self._base.index >= header.first - 1
                    may_be_dropped = is_covered or self._begins_anywhere
                    if not may_be_dropped and (headers or self._base.index == 0):
                        return headers, Damage(expected, 0, "the file is missing")
                    self._strays += [each.number for each in headers]
                    headers.clear()
                if not headers:
                    self._begin_with(header)
                headers.append(header)
        except _Damaged as damaged:
            return headers, damaged.damage
        return headers, None

    def _check_hard_state(self, headers: Sequence[SegmentHeader]) -> None:
        """Make sure that what the first segments told, and were dropped, was told again."""
        if headers and headers[0].number > 1 and self._hard_state == HardState():
            what = "its first record, which tells the term and the vote, is missing"
            raise _Damaged(Damage(headers[0].number, 0, what))

    def _begin_with(self, header: SegmentHeader) -> None:
        if self._begins_anywhere:
            self._base = EntryId(header.prior_term, header.first - 1)
        elif header.first > self._base.index + 1:
            raise _Damaged(Damage(header.number, 0, "the segments before this one are missing"))
        self._begin_behind(EntryId(header.prior_term, header.first - 1))
        self._position = Position(header.number, header.previous_end, header.previous_crc)

    def _read_header(self, number: int, *, can_be_torn: bool) -> SegmentHeader | None:
        """Return a segment's header, None when making the newest segment was never finished."""
        path = segment_path(self._directory, number)
        data = self._read_file(number, SEGMENT_HEADER_BYTES)
        try:
            header = decode_segment_header(data)
        except FormatError as error:
            raise DataDirectoryError(f"{path} has {error}: use the program it is from") from error
        if header is not None and header.number == number:
            return header
        # A segment is made durable before its first record, so one that holds a record had a
        # header.
        whole = self._read_file(number)
        if not can_be_torn or find_record(whole, segment=number, start=0) is not None:
            raise _Damaged(Damage(number, 0, "the segment's header does not fit its checksum"))
        if length := len(whole.rstrip(b"\0")):
            self._torn = TornTail(path, 0, length, 0)
        return None

    def _read_segment(self, header: SegmentHeader, following: SegmentHeader | None) -> None:
        """Take all records of a segment, and check that it ends where it must."""
        data = self._read_file(header.number)
        self._newest_before, self._newest = self._newest, (0, data[:SEGMENT_HEADER_BYTES])
        self._position = Position(header.number, SEGMENT_HEADER_BYTES, header.previous_crc)
        if header.begins_anew:
            self._begin_behind(EntryId(header.prior_term, header.first - 1))
        end = len(data) if following is None else following.previous_end
        while self._position.offset < end and self._read_record(data):
            pass
        position = self._position
        if following is None:
            self._check_tail(data)
        elif (position.offset, position.crc) != (following.previous_end, following.previous_crc):
            raise _Damaged(Damage(header.number, position.offset, "a record is not what it was"))
        if self._torn is not None:
            self._torn = msgspec.structs.replace(self._torn, last=self._terms.last)

    def _read_record(self, data: bytes) -> bool:
        """Take the record at the position and step behind it; return False when there is none."""
        position = self._position
        header = check_record(decode_record_header(data, position.offset), position)
        if header is None:
            return False
        start = position.offset + RECORD_HEADER_BYTES
        stop = start + header.length
        body = data[start:stop]
        if len(body) != header.length or checksum(body, seed=position.crc) != header.crc:
            return False
        try:
            self._take(decode_body(body), stop - position.offset)
        except FormatError as error:
            raise _Damaged(Damage(position.segment, position.offset, str(error))) from error
        self._newest = (position.offset, data[position.offset : stop])
        self._position = Position(position.segment, stop, header.crc)
        return True

    def _take(self, body: Body, length: int) -> None:
        # Checked before anything is taken, so that of a refused record nothing stays behind. The
        # runs of one body follow each other, their terms rise: decode_body has seen to that.
        hard_state = body.hard_state or self._hard_state
        if not hard_state_follows(self._hard_state, hard_state):
            raise FormatError("the hard state goes back")
        if body.runs:
            if not self._terms.can_append(first=body.runs[0].first, term=body.runs[0].term):
                raise FormatError("its entries do not follow those before it")
            if body.runs[-1].term > hard_state.current_term:
                raise FormatError("its entries are of a later term than the node")
        if self._on_record is not None:
            self._on_record(body, self._position, length)
        self._hard_state = hard_state
        for run in body.runs:
            self._terms.append(term=run.term, first=run.first, last=run.first + run.count - 1)
        if body.runs:
            place = Place(
                first=body.runs[0].first,
                last=self._terms.last,
                segment=self._position.segment,
                offset=self._position.offset,
                length=length,
            )
            self._places.append(place)
            # The core cannot ask for the entries that say who takes part one by one.
            first = body.runs[0].first
            self._configurations = [each for each in self._configurations if each.index < first]
            self._configurations += configurations_of(body)

    def _check_tail(self, data: bytes) -> None:
        """Tell a torn tail from damage at the end of the newest segment."""
        position = self._position
        is_header_whole = check_record(decode_record_header(data, position.offset), position)
        start = position.offset + (1 if is_header_whole else 0)
        found = find_record(data, segment=position.segment, start=start)
        if found is not None:
            what = f"a record is not what it was, and one written after it lies at {found}"
            raise _Damaged(Damage(position.segment, position.offset, what))
        if length := len(data.rstrip(b"\0")) - position.offset:
            path = segment_path(self._directory, position.segment)
            if length > 0:
                self._torn = TornTail(path, position.offset, length, self._terms.last)

    def _write_newest_again(self) -> None:
        if self._newest is None:
            return
        path = segment_path(self._directory, self._position.segment)
        file = self._disk.open(path)
        try:
            file.write(*self._newest)
            sync(file, path)
        finally:
            file.close()
        sync_directory(self._disk, self._directory)

    def _read_tail(self, tail_bytes: int) -> tuple[Entry, ...]:
        places = self._places.tail(tail_bytes)
        entries = read_places(self._disk, self._directory, places)
        return entries_that_fit(entries, tail_bytes)

    def _read_file(self, number: int, length: int | None = None) -> bytes:
        file = self._disk.open(segment_path(self._directory, number))
        try:
            return file.read(0, file.size() if length is None else length)
        finally:
            file.close()


def configurations_of(body: Body) -> list[Entry]:
    """Return the entries of a body that say who takes part; raises `FormatError`."""
    kinds = (body.data[run.start : run.start + run.count] for run in body.runs)
    if not any(CONFIGURATION in each for each in kinds):
        return []
    return [each for each in decode_entries(body) if each.kind == CONFIGURATION]


def at_least(hard_state: HardState, term: int) -> HardState:
    """Return the hard state, in `term` at least: what a snapshot holds was committed in its term.

    Where that term was never stored, no vote was given in it either.
    """
    return hard_state if hard_state.current_term >= term else HardState(term)


def _error(directory: str, damage: Damage, last: int) -> DamagedLog:
    path = segment_path(directory, damage.segment)
    return damaged(directory, path=path, offset=damage.offset, last=last, what=damage.what)


def entries_that_fit(entries: Sequence[Entry], bytes_max: int) -> tuple[Entry, ...]:
    """Return the last entries whose data fits `bytes_max`, at least one if there is one."""
    total = 0
    for count, entry in enumerate(reversed(entries)):
        total += len(entry.data)
        if total > bytes_max and count > 0:
            return tuple(entries[len(entries) - count :])
    return tuple(entries)


def find_record(data: bytes, *, segment: int, start: int) -> int | None:
    """Return where the next intact record header lies that was made for its very place."""
    position = data.find(RECORD_MAGIC, start)
    while position >= 0:
        header = decode_record_header(data, position)
        if header is not None and (header.segment, header.offset) == (segment, position):
            return position
        position = data.find(RECORD_MAGIC, position + 1)
    return None
