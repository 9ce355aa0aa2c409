"""What lies in a data directory, told without changing it: for `liferaft wal`.

Every function here blocks and only reads. A log is read as a start reads it (recovery.py), and its
entries are decoded too, so what passes here is what a node can read back. Where it is damaged,
everything before the damage is told, and of what lies behind it as much as can be seen.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import msgspec
from msgspec.structs import replace

from liferaft.errors import DamagedLog, DataDirectoryError, DiskFailed, StorageError
from liferaft.raft.types import Configuration, Entry, EntryId, HardState, Snapshot, TermRun
from liferaft.storage.contents import EMPTY
from liferaft.storage.directory import Identity, no_directory, read_identity
from liferaft.storage.disk import Disk
from liferaft.storage.group_records import OF_A_GROUP
from liferaft.storage.group_recovery import BEGINS_LATE, Replay
from liferaft.storage.ledger import Ledger
from liferaft.storage.records import (
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Body,
    FormatError,
    RecordHeader,
    checksum,
    decode_body,
    decode_entries,
    decode_record_header,
    decode_segment_header,
)
from liferaft.storage.recovery import Damage, Examined, TornTail, examine, find_record
from liferaft.storage.segment import Position, read_places, segment_numbers, segment_path
from liferaft.storage.snapshots import newest_proven, snapshot_directory

LOOKS_MAX: Final = 10
"""How often a directory is looked at that a node is changing, or that seems to be damaged."""

_PAUSE_FIRST: Final = 0.01
_PAUSE_MAX: Final = 0.2
"""Seconds between two looks; each time twice as many, up to these: together some 1.2."""

_READ_BYTES = 1024 * 1024


class SeenRun(msgspec.Struct, frozen=True):
    """Entries `first` up to `last` of one term, in one record."""

    term: int
    first: int
    last: int


class SeenRecord(msgspec.Struct, frozen=True):
    """A record of the log: where it lies, `length` bytes with its header, and what it holds.

    One that is not whole has an intact header and another body than was written, so what it held
    is not known.
    """

    segment: int
    offset: int
    length: int
    hard_state: HardState | None
    runs: tuple[SeenRun, ...]
    is_whole: bool = True

    @property
    def is_seal(self) -> bool:
        """Whether it is there only to prove that what precedes it was synced."""
        return self.is_whole and self.hard_state is None and not self.runs


class SeenSegment(msgspec.Struct):
    """A file of the log, and its records up to the damage; `first` is 0 when they hold no entry.

    `end` is the offset where the last of them ends.
    """

    number: int
    size_bytes: int
    end: int = 0
    records: int = 0
    seals: int = 0
    first: int = 0
    last: int = 0

    def add(self, record: SeenRecord) -> None:
        """Count a record."""
        self.end = record.offset + record.length
        self.records += 1
        self.seals += record.is_seal
        if record.runs:
            self.first = min(self.first or record.runs[0].first, record.runs[0].first)
            self.last = max(self.last, record.runs[-1].last)


class Owner(msgspec.Struct, frozen=True):
    """Whose a directory is, and the configuration that the node was first started with."""

    identity: Identity
    configuration: Configuration


class SeenGroup(msgspec.Struct, frozen=True):
    """What a shared log holds of one group: entries `first` up to `last`, its term and vote."""

    name: str
    first: int
    last: int
    hard_state: HardState


class Inspection(msgspec.Struct, frozen=True):
    """What a directory holds: its newest whole snapshot, its log up to the first damage.

    `owner` is the error that a start would raise where nothing says whose the directory is. Of a
    log that groups share there are `groups`, whose snapshots and owners are told elsewhere; then
    its entries are their writes. Else that is None.
    """

    directory: str
    owner: Owner | DataDirectoryError
    examined: Examined
    segments: tuple[SeenSegment, ...]
    snapshot: Snapshot | None
    groups: tuple[SeenGroup, ...] | None = None

    @property
    def hard_state(self) -> HardState:
        """The last term and vote."""
        return self.examined.hard_state

    @property
    def first(self) -> int:
        """The lowest index that is held, or would be."""
        return self.examined.terms.first

    @property
    def last(self) -> int:
        """The highest index that is held, `first - 1` when there is none."""
        return self.examined.terms.last

    @property
    def runs(self) -> tuple[TermRun, ...]:
        """The terms of the entries."""
        return self.examined.terms.runs

    @property
    def torn(self) -> TornTail | None:
        """A last write that was not whole, which the next start cuts: no damage."""
        return self.examined.torn

    @property
    def damage(self) -> Damage | None:
        """Where the log stops to be whole."""
        return self.examined.damage

    @property
    def error(self) -> DamagedLog | None:
        """Why no node can start from this directory; None when all that lies in it is whole."""
        damage = self.examined.error(self.directory)
        if damage is None and self.groups is None and isinstance(self.owner, DataDirectoryError):
            return DamagedLog(str(self.owner))
        return damage


class Beyond(msgspec.Struct, frozen=True):
    """What can be seen behind a damage, none of it certain to be all.

    `last` is the highest index that anything tells of, 0 when nothing does; `hard_state` the latest
    that is told, None when it is the one before the damage.
    """

    last: int
    hard_state: HardState | None


def inspect(
    disk: Disk, directory: str, *, on_record: Callable[[SeenRecord], None] | None = None
) -> Inspection:
    """Return what a directory holds; `on_record` gets each whole record, in order.

    Raises `DataDirectoryError` when it is no data directory or has a format version that this
    program does not know, and `DiskFailed` when it cannot be read.
    """
    segments: dict[int, SeenSegment] = {}
    look_at = partial(_look_at, disk, directory, segments)
    replay: Replay | None = None

    def take(body: Body, position: Position, length: int) -> None:
        # A body's lengths are proven only by decoding them, which a start leaves for later.
        decode_entries(body)
        record = _seen(body, segment=position.segment, offset=position.offset, length=length)
        look_at(record.segment).add(record)
        if replay is not None:
            replay.take(body, position, length)
        if on_record is not None:
            on_record(record)

    try:
        for number in segment_numbers(disk.names(directory)):
            look_at(number)
        newest = newest_proven(disk, directory)
        snapshot = None if newest is None else newest.snapshot
        base = EMPTY if snapshot is None else EntryId(snapshot.term, snapshot.index)
        if _is_shared(disk, directory):
            replay = Replay(tail_bytes=0, ledger=Ledger(step_bytes=_READ_BYTES))
        examined = examine(disk, directory, base=base if replay is None else None, on_record=take)
        owner = _owner(disk, directory, has_log=bool(segments))
    except DataDirectoryError:
        raise
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise no_directory(directory, error) from error
    except OSError as error:
        raise unreadable(directory, error) from error
    groups = None
    if replay is not None:
        examined, groups = _of_groups(replay, examined, directory, min(segments))
    return Inspection(directory, owner, examined, tuple(segments.values()), snapshot, groups)


def _look_at(
    disk: Disk, directory: str, segments: dict[int, SeenSegment], number: int
) -> SeenSegment:
    """Return a segment that is seen already, or is now."""
    if number not in segments:
        segments[number] = SeenSegment(number, _size(disk, directory, number))
    return segments[number]


def inspect_running(
    disk: Disk, directory: str, *, pause: Callable[[float], None] = time.sleep
) -> Inspection:
    """Return what a directory holds in which a node may be writing.

    A node makes files, cuts and drops others, and where it did so meanwhile, what was seen fits
    together no more. So all of it is looked at again, up to `LOOKS_MAX` times, where files came or
    went, or something seems to be wrong: what is damaged stays so. Raises as `inspect` does.
    """
    seconds = _PAUSE_FIRST
    for _ in range(LOOKS_MAX - 1):
        before = _file_names(disk, directory)
        with contextlib.suppress(StorageError):
            inspection = inspect(disk, directory)
            if inspection.error is None and _file_names(disk, directory) == before:
                return inspection
        pause(seconds)
        seconds = min(2 * seconds, _PAUSE_MAX)
    return inspect(disk, directory)


def _file_names(disk: Disk, directory: str) -> list[str]:
    snapshots = snapshot_directory(directory)
    return disk.names(directory) + (disk.names(snapshots) if disk.exists(snapshots) else [])


class _Found(Exception):
    """The first entry of a log. Never leaves the module."""


def _is_shared(disk: Disk, directory: str) -> bool:
    """Return whether the first entry that can be read is a write of a group."""

    def look(body: Body, _position: Position, _length: int) -> None:
        if body.runs:
            raise _Found(*decode_entries(body)[:1])

    try:
        examine(disk, directory, base=None, on_record=look)
    except _Found as found:
        (entry,) = found.args
        return bool(entry.kind == OF_A_GROUP)
    return False


def _of_groups(
    replay: Replay, examined: Examined, directory: str, first_segment: int
) -> tuple[Examined, tuple[SeenGroup, ...]]:
    """Return what a shared log holds, as a start sees it."""
    if examined.damage is None and examined.terms.first > replay.floor + 1:
        examined = replace(examined, damage=Damage(first_segment, 0, BEGINS_LATE))
    try:
        contents = replay.contents(directory, {})
    except DamagedLog:
        if examined.damage is None:
            raise
        # What would make sense of it may lie behind the damage.
        contents = {}
    return examined, tuple(
        SeenGroup(name, each.terms.first, each.terms.last, each.hard_state)
        for name, each in sorted(contents.items())
    )


def _owner(disk: Disk, directory: str, *, has_log: bool) -> Owner | DataDirectoryError:
    try:
        return Owner(*read_identity(disk, directory))
    except DataDirectoryError as error:
        if not has_log:
            raise
        return error


def unreadable(directory: str, error: OSError) -> DiskFailed:
    """Return the error for a disk that does not give back what lies on it."""
    return DiskFailed(
        f"the log in {directory} could not be read: {error}. Copy the directory to a sound disk, as"
        " far as it can be read, and look at the copy"
    )


def read_entries(disk: Disk, inspection: Inspection, first: int, last: int) -> Iterator[Entry]:
    """Give the entries from `first` up to `last` that the log holds, in order.

    Raises `DamagedLog` when the log has changed since it was inspected, and `OSError`.
    """
    first, last = max(first, inspection.first), min(last, inspection.last)
    while first <= last:
        places = inspection.examined.places.between(first, last, _READ_BYTES)
        for entry in read_places(disk, inspection.directory, places):
            if first <= entry.index <= last:
                yield entry
        first = places[-1].last + 1


def records_beyond(disk: Disk, inspection: Inspection) -> Iterator[SeenRecord]:
    """Give the records behind the last whole one before the damage that can still be made out.

    A record counts when its header is intact and names its very place. Whether it is whole, its own
    checksum tells; what it was chained to is not asked. Raises `OSError`.
    """
    end = inspection.examined.position
    for segment in inspection.segments:
        if segment.number < end.segment:
            continue
        data = _content(disk, inspection.directory, segment.number)
        start = end.offset if segment.number == end.segment else 0
        while (found := find_record(data, segment=segment.number, start=start)) is not None:
            header = decode_record_header(data, found)
            assert header is not None
            yield _seen_at(data, header)
            start = found + RECORD_HEADER_BYTES


def look_beyond(disk: Disk, inspection: Inspection) -> Beyond:
    """Return what can be seen behind the damage: what a cut before it would lose, at least.

    Raises `DiskFailed`.
    """
    last, known = 0, inspection.hard_state
    hard_state = known
    try:
        for record in records_beyond(disk, inspection):
            if record.runs:
                last = max(last, record.runs[-1].last)
            seen = record.hard_state
            if seen is not None and seen.current_term >= hard_state.current_term:
                hard_state = seen
        for segment in inspection.segments:
            last = max(last, _promised(disk, inspection, segment.number))
    except OSError as error:
        raise unreadable(inspection.directory, error) from error
    return Beyond(last, None if hard_state == known else hard_state)


def _promised(disk: Disk, inspection: Inspection, number: int) -> int:
    """Return the last index that was synced before a segment behind the damage was made."""
    if number <= inspection.examined.position.segment:
        return 0
    try:
        data = _content(disk, inspection.directory, number, SEGMENT_HEADER_BYTES)
        header = decode_segment_header(data)
    except FormatError:
        return 0
    return header.first - 1 if header is not None and header.number == number else 0


def _seen(body: Body, *, segment: int, offset: int, length: int) -> SeenRecord:
    runs = tuple(SeenRun(run.term, run.first, run.first + run.count - 1) for run in body.runs)
    return SeenRecord(segment, offset, length, body.hard_state, runs)


def _seen_at(data: bytes, header: RecordHeader) -> SeenRecord:
    start = header.offset + RECORD_HEADER_BYTES
    packed = data[start : start + header.length]
    length = RECORD_HEADER_BYTES + len(packed)
    if len(packed) == header.length and checksum(packed, seed=header.previous_crc) == header.crc:
        try:
            body = decode_body(packed)
        except FormatError:
            pass
        else:
            return _seen(body, segment=header.segment, offset=header.offset, length=length)
    return SeenRecord(header.segment, header.offset, length, None, (), is_whole=False)


def _content(disk: Disk, directory: str, number: int, length: int | None = None) -> bytes:
    file = disk.open(segment_path(directory, number))
    try:
        return file.read(0, file.size() if length is None else length)
    finally:
        file.close()


def _size(disk: Disk, directory: str, number: int) -> int:
    file = disk.open(segment_path(directory, number))
    try:
        return file.size()
    finally:
        file.close()
