"""What of a write-ahead log is on stable storage, and how more gets there.

A group of appends becomes one record of the newest segment, or of a new one; what a snapshot covers
is dropped, whole segments at a time. The work on the disk goes through `carry_out`, which decides
when to try again. Nothing here knows who waits for what: see wal.py.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import msgspec
from msgspec.structs import replace

from liferaft.raft.types import EntryId
from liferaft.storage.contents import Place, Places, Terms
from liferaft.storage.disk import Disk, File, ResultT
from liferaft.storage.groups import Group
from liferaft.storage.records import (
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    encode_entries,
    encode_hard_state,
    encode_record,
)
from liferaft.storage.recovery import Recovery
from liferaft.storage.segment import (
    Position,
    create_segment,
    drop_segment,
    finish_segment,
    segment_path,
    write_record,
)


class LogStatistics(msgspec.Struct, frozen=True):
    """Counts of what was written since the log was opened; sizes in bytes, times in seconds.

    `groups` counts what was written for appends, `writes` also seals and new segments' headers;
    `queued` is how many appends wait.
    `last_write_seconds` is how long the last write and its sync took, its wait for the disk's
    thread included. `blocked_by` is the sentence of the `DiskFull` that writes wait for, if any.
    """

    appends: int = 0
    entries: int = 0
    groups: int = 0
    writes: int = 0
    syncs: int = 0
    written_bytes: int = 0
    segments: int = 0
    queued: int = 0
    last_write_seconds: float = 0.0
    blocked_by: str | None = None


class CarryOut(Protocol):
    """Carries out work that can be repeated from its beginning, until it succeeds or must end."""

    def __call__(self, work: Callable[[], ResultT], /) -> Awaitable[ResultT]:
        """Return what the work returns; raises `DiskFailed`."""


class StoredLog:
    """The part of a log that was written and synced.

    `places` tells where its entries are, `position` where the next record goes, and `is_sealed`
    whether the last record vouches for all before it and brings nothing itself.
    """

    def __init__(
        self,
        disk: Disk,
        directory: str,
        recovery: Recovery,
        *,
        segment_bytes: int,
        carry_out: CarryOut,
    ) -> None:
        assert segment_bytes > SEGMENT_HEADER_BYTES
        self.places = recovery.places
        self.position = recovery.position
        self.is_sealed = False
        self.statistics = LogStatistics()
        self._disk = disk
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._carry_out = carry_out
        self._hard_state = recovery.recovered.hard_state
        self._last_term = recovery.terms.term_at(recovery.terms.last)
        self._segments = recovery.segments
        self._void_before = recovery.void_before
        self._file: File | None = None

    async def begin(self) -> None:
        """Begin a segment behind what was recovered, with a seal: that is proven by now."""
        await self.begin_segment(self._void_before)
        await self.write(Group())

    async def write(self, group: Group) -> None:
        """Write a group as one record and make it durable."""
        body = encode_entries(group.entries)
        if group.hard_state is not None:
            body = encode_hard_state(group.hard_state) + body
        if self._is_full_with(len(body)):
            await self.begin_segment()
        if self.position.offset == SEGMENT_HEADER_BYTES and group.hard_state is None:
            # Each segment tells the hard state, so that those before it can be dropped.
            body = encode_hard_state(self._hard_state) + body
        position = self.position
        data, crc = encode_record(
            body, segment=position.segment, offset=position.offset, previous_crc=position.crc
        )
        assert self._file is not None
        path = segment_path(self._directory, position.segment)
        started = asyncio.get_running_loop().time()
        await self._carry_out(partial(write_record, self._file, path, position.offset, data))
        self.position = Position(position.segment, position.offset + len(data), crc)
        self._take_note(group, position, len(data), asyncio.get_running_loop().time() - started)

    def _take_note(
        self, group: Group, position: Position, record_bytes: int, seconds: float
    ) -> None:
        """Remember that a group is on stable storage, and where."""
        self.is_sealed = not group.mark
        if group.hard_state is not None:
            self._hard_state = group.hard_state
        if group.entries:
            self._last_term = group.entries[-1].term
            place = Place(
                first=group.entries[0].index,
                last=group.entries[-1].index,
                segment=position.segment,
                offset=position.offset,
                length=record_bytes,
            )
            self.places.append(place)
        counts = self.statistics
        self.statistics = replace(
            counts,
            appends=counts.appends + group.appends,
            entries=counts.entries + len(group.entries),
            groups=counts.groups + (1 if group.mark else 0),
            writes=counts.writes + 1,
            syncs=counts.syncs + 1,
            written_bytes=counts.written_bytes + record_bytes,
            last_write_seconds=seconds,
        )

    def _is_full_with(self, body_bytes: int) -> bool:
        """Return whether a record does not fit; one that fits no segment gets one alone."""
        offset = self.position.offset
        end = offset + RECORD_HEADER_BYTES + body_bytes
        return offset > SEGMENT_HEADER_BYTES and end > self._segment_bytes

    async def begin_segment(self, base: EntryId | None = None) -> None:
        """Begin a new segment, whose header vouches for the end of the one before it.

        With `base`, all entries before are void, and the log goes on behind that.
        """
        position = self.position
        begins_anew = base is not None
        end = base or EntryId(self._last_term, self.places.last)
        header = SegmentHeader(
            number=position.segment + 1,
            first=end.index + 1,
            prior_term=end.term,
            previous_end=position.offset,
            previous_crc=position.crc,
            begins_anew=begins_anew,
        )
        create = partial(create_segment, self._disk, self._directory, header, self._segment_bytes)
        file = await self._carry_out(create)
        old, self._file = self._file, file
        self._segments.add(header)
        if begins_anew:
            self.places = Places(first=header.first)
            self._last_term = header.prior_term
        self.position = Position(header.number, SEGMENT_HEADER_BYTES, position.crc)
        counts = self.statistics
        self.statistics = replace(
            counts,
            writes=counts.writes + 1,
            syncs=counts.syncs + 1,
            written_bytes=counts.written_bytes + SEGMENT_HEADER_BYTES,
            segments=counts.segments + 1,
        )
        if position.segment > 0:
            await self._carry_out(
                partial(finish_segment, self._disk, self._directory, position, old)
            )

    async def drop(self, covered: int, terms: Terms) -> None:
        """Remove what a snapshot covers, the last of it first, and let `terms` begin behind it.

        Once that is gone, for good, nothing before it counts: a start finds the log to begin behind
        the gap. In the other order, an interruption could leave a segment as the first in which
        older entries were replaced.
        """
        header = self._segments.beginning(covered, self.places)
        if header is not None:
            if terms.first < header.first:
                terms.begin_at(header.first)
            self.places.begin_at(header.first)
        for number in self._segments.superfluous(header):
            await self._carry_out(partial(drop_segment, self._disk, self._directory, number))
            self._segments.dropped(number)

    async def close(self) -> None:
        """Close the newest segment; raises `OSError`."""
        if self._file is not None:
            await self._disk.run(self._file.close)
