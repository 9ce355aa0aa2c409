"""Segments as files: their names, how one is begun, and how records are written and read.

Every function here blocks, and runs only inside `Disk.run`. A segment is appended to by the process
that made it and by no later one: each start of the log begins a new segment, so that no byte which
an earlier life left behind lies where this one writes.
"""

from collections.abc import Sequence

import msgspec

from liferaft.errors import DamagedLog, DiskFailed
from liferaft.raft.types import Entry
from liferaft.storage.contents import Place
from liferaft.storage.disk import Disk, File
from liferaft.storage.records import (
    RECORD_HEADER_BYTES,
    FormatError,
    RecordHeader,
    SegmentHeader,
    checksum,
    decode_body,
    decode_entries,
    decode_record_header,
    encode_segment_header,
)

_SUFFIX = ".log"
_NEW_SUFFIX = ".new"
_DIGITS = 12


class Position(msgspec.Struct, frozen=True):
    """Where the next record goes, and the crc of the one before it."""

    segment: int
    offset: int
    crc: int


def segment_path(directory: str, number: int) -> str:
    """Return the path of a segment; the names sort as the numbers do."""
    return f"{directory}/{number:0{_DIGITS}d}{_SUFFIX}"


def segment_numbers(names: Sequence[str]) -> list[int]:
    """Return the numbers of the segments among the names of a directory, rising."""
    return sorted(
        int(stem)
        for name in names
        if name.endswith(_SUFFIX) and (stem := name.removesuffix(_SUFFIX)).isdecimal()
    )


def damaged(directory: str, *, path: str, offset: int, last: int, what: str) -> DamagedLog:
    """Return the error for damage at `offset` of a file; the log is sound up to index `last`."""
    return DamagedLog(
        f"{path} is damaged at offset {offset}: {what}. The log is whole up to index {last}, and"
        f" entries from {last + 1} on that were acknowledged may be lost. Do not start from it:"
        f" move {directory} away, and let the node rejoin from its peers as a new member"
    )


def sync(file: File, path: str) -> None:
    """Make the file durable, or end the log: raises `DiskFailed` whatever the system's reason.

    Even "no space" counts as failure here: after it nobody knows which of the pages written before
    are still going to reach the disk.
    """
    try:
        file.sync()
    except OSError as error:
        raise DiskFailed(f"{path} could not be synced: {error}") from error


def create_segment(disk: Disk, directory: str, header: SegmentHeader, size: int) -> File:
    """Begin a segment of `size` bytes and return it, durable with its name.

    It takes the place of one of that number which was begun and holds nothing. May be repeated
    after an `OSError`: what a failed attempt left behind is thrown away.
    """
    path = segment_path(directory, header.number)
    file = disk.open(path + _NEW_SUFFIX, create=True)
    try:
        file.truncate(0)
        file.allocate(size)
        file.write(0, encode_segment_header(header))
        sync(file, path)
        disk.rename(path + _NEW_SUFFIX, path)
        sync_directory(disk, directory)
    except BaseException:
        file.close()
        raise
    return file


def sync_directory(disk: Disk, directory: str) -> None:
    """Make the directory's names durable; raises `DiskFailed`, as `sync` does."""
    try:
        disk.sync_directory(directory)
    except OSError as error:
        raise DiskFailed(f"{directory} could not be synced: {error}") from error


def drop_segment(disk: Disk, directory: str, number: int) -> None:
    """Remove a segment for good. May be repeated after an `OSError`."""
    path = segment_path(directory, number)
    if disk.exists(path):
        disk.remove(path)
    sync_directory(disk, directory)


def write_record(file: File, path: str, offset: int, data: bytes) -> None:
    """Write a record and make it durable."""
    file.write(offset, data)
    sync(file, path)


def finish_segment(disk: Disk, directory: str, position: Position, opened: File | None) -> None:
    """Give back the space behind a segment's end, torn bytes included, and close its file.

    The cut needs no sync: the next segment's header, which is durable, says where this one ends.
    """
    file = disk.open(segment_path(directory, position.segment))
    try:
        file.truncate(position.offset)
    finally:
        file.close()
        if opened is not None:
            opened.close()


def check_record(header: RecordHeader | None, position: Position) -> RecordHeader | None:
    """Return the header when it is the one that belongs at `position`, else None."""
    if header is None:
        return None
    place = (header.segment, header.offset, header.previous_crc)
    return header if place == (position.segment, position.offset, position.crc) else None


def read_places(disk: Disk, directory: str, places: Sequence[Place]) -> list[Entry]:
    """Return the entries that the places name, without gap, their checksums proven.

    Raises `DamagedLog` when a record is not what was written, and `OSError`.
    """
    entries: list[Entry] = []
    file: File | None = None
    opened = 0
    try:
        for place in places:
            if file is None or place.segment != opened:
                if file is not None:
                    file.close()
                file = disk.open(segment_path(directory, place.segment))
                opened = place.segment
            record = _read_record(file, directory, place)
            skipped = place.first - record[0].index
            entries += record[skipped : skipped + place.last - place.first + 1]
            if entries[-1].index != place.last:
                raise _changed(directory, place, "the record holds other entries than it did")
    finally:
        if file is not None:
            file.close()
    return entries


def _read_record(file: File, directory: str, place: Place) -> list[Entry]:
    data = file.read(place.offset, place.length)
    header = decode_record_header(data)
    body = data[RECORD_HEADER_BYTES:]
    if (
        header is None
        or (header.segment, header.offset) != (place.segment, place.offset)
        or header.length != len(body)
        or checksum(body, seed=header.previous_crc) != header.crc
    ):
        raise _changed(directory, place, "the record's checksum does not fit")
    try:
        return decode_entries(decode_body(body))
    except FormatError as error:
        raise _changed(directory, place, str(error)) from error


def _changed(directory: str, place: Place, what: str) -> DamagedLog:
    """Return the error for a record that is not what was written or recovered."""
    path = segment_path(directory, place.segment)
    return damaged(directory, path=path, offset=place.offset, last=place.first - 1, what=what)
