r"""The bytes of the log: pure functions, no disk.

A segment is a file: a segment header, then records without a gap, then zeros. A record is what one
write carries, so it is whole or it does not count: a header, then a body of items. All integers
are little-endian; every checksum is CRC32C.

    segment header   magic "LIFERAFT", version u32, number u64, first u64, prior_term u64,
                     previous_end u64, previous_crc u32, checksum u32 of all that
    record header    magic "\xb1REC", length u32 of the body, previous_crc u32, crc u32,
                     segment u64, offset u64, checksum u32 of all that
    item             kind u8, length u32 of what follows
      1 hard state   current_term u64, then voted_for in UTF-8, empty for nobody
      2 run          term u64, first u64, count u32, then columns: kinds u8 * count,
                     data lengths u32 * count, the data of all entries

A record's `crc` is the checksum of its body, seeded with `previous_crc`, the crc of the record
before (of the segment before, at a segment's head), so records form a chain across all segments. A
record names its own place, so one that an earlier life of the file left behind, or that a client
stored as data, is never taken for a record of the log. The entries of a record follow each other;
the first of them replaces what earlier records hold at its index and beyond. A record with an
empty body is a seal: nothing but the proof that what precedes it was synced.

A segment's version says what the log before it is worth. One of version 1 continues it. One of
version 2 begins it anew, behind a snapshot: all entries before are void, of the hard state nothing
is. So a log is of version 2 only where one was needed, and an older program refuses it by name.

Entry data is written as the bytes it came as. Nothing here is ever rewritten in place with other
bytes.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import google_crc32c
import msgspec

from liferaft.raft.types import Entry, HardState

VERSION_CONTINUES = 1
VERSION_BEGINS_ANEW = 2
"""The two versions of a segment; see the module's docstring."""

SEGMENT_MAGIC = b"LIFERAFT"
RECORD_MAGIC = b"\xb1REC"

_SEGMENT = struct.Struct("<8sIQQQQI")
_RECORD = struct.Struct("<4sIIIQQ")
_CHECKSUM = struct.Struct("<I")
_ITEM = struct.Struct("<BI")
_HARD_STATE = struct.Struct("<Q")
_RUN = struct.Struct("<QQI")

SEGMENT_HEADER_BYTES = _SEGMENT.size + _CHECKSUM.size
RECORD_HEADER_BYTES = _RECORD.size + _CHECKSUM.size
BODY_BYTES_MAX = 2**32 - 1
"""What the length field of a record can say."""

_ITEM_HARD_STATE = 1
_ITEM_RUN = 2

_term_of = attrgetter("term")


class FormatError(Exception):
    """Bytes whose checksum is right do not follow the format. Never leaves the package."""


class SegmentHeader(msgspec.Struct, frozen=True):
    """The head of a segment.

    `first` is the index of the entry that would come next when the segment was made, `prior_term`
    the term of the entry before it (0 at the empty prefix). `previous_end` and `previous_crc` say
    where the segment before ends, in bytes, and the crc of its last record: all of that was synced
    before this segment was made. With `begins_anew` the entries of the segments before are void.
    """

    number: int
    first: int
    prior_term: int
    previous_end: int
    previous_crc: int
    begins_anew: bool = False


class RecordHeader(msgspec.Struct, frozen=True):
    """The head of a record; see the module's docstring. `length` is the body's, in bytes."""

    length: int
    previous_crc: int
    crc: int
    segment: int
    offset: int


class Run(msgspec.Struct, frozen=True):
    """Entries of one term in a record's body; `start` is where their columns begin."""

    term: int
    first: int
    count: int
    start: int
    stop: int


class Body(msgspec.Struct, frozen=True):
    """What a record holds: its hard state, if any, and its runs of entries, in order."""

    data: bytes
    hard_state: HardState | None
    runs: tuple[Run, ...]


def checksum(data: bytes, *, seed: int = 0) -> int:
    """Return the CRC32C of `data`, continued from `seed`: the one place that knows which."""
    crc: int = google_crc32c.extend(seed, data)
    return crc


def encode_segment_header(header: SegmentHeader) -> bytes:
    """Return the first `SEGMENT_HEADER_BYTES` of a segment."""
    packed = _SEGMENT.pack(
        SEGMENT_MAGIC,
        VERSION_BEGINS_ANEW if header.begins_anew else VERSION_CONTINUES,
        header.number,
        header.first,
        header.prior_term,
        header.previous_end,
        header.previous_crc,
    )
    return packed + _CHECKSUM.pack(checksum(packed))


def decode_segment_header(data: bytes) -> SegmentHeader | None:
    """Return the header at the beginning of `data`, None when there is no whole one.

    Raises `FormatError` when it is whole but of a version that this code does not know.
    """
    packed = data[: _SEGMENT.size]
    if not _has_checksum(data, packed, _SEGMENT.size):
        return None
    magic, version, number, first, prior_term, previous_end, previous_crc = _SEGMENT.unpack(packed)
    if magic != SEGMENT_MAGIC:
        return None
    if version not in (VERSION_CONTINUES, VERSION_BEGINS_ANEW):
        raise FormatError(
            f"format version {version}, and this program knows those up to {VERSION_BEGINS_ANEW}"
        )
    begins_anew = version == VERSION_BEGINS_ANEW
    return SegmentHeader(number, first, prior_term, previous_end, previous_crc, begins_anew)


def encode_record(
    body: bytes, *, segment: int, offset: int, previous_crc: int
) -> tuple[bytes, int]:
    """Return a record's bytes for exactly that place, and its crc for the record that follows."""
    assert len(body) <= BODY_BYTES_MAX
    crc = checksum(body, seed=previous_crc)
    packed = _RECORD.pack(RECORD_MAGIC, len(body), previous_crc, crc, segment, offset)
    return b"".join((packed, _CHECKSUM.pack(checksum(packed)), body)), crc


def decode_record_header(data: bytes, position: int = 0) -> RecordHeader | None:
    """Return the record header at `position` in `data`, None when there is no whole one."""
    packed = data[position : position + _RECORD.size]
    if not _has_checksum(data, packed, position + _RECORD.size):
        return None
    magic, length, previous_crc, crc, segment, offset = _RECORD.unpack(packed)
    if magic != RECORD_MAGIC:
        return None
    return RecordHeader(length, previous_crc, crc, segment, offset)


def _has_checksum(data: bytes, packed: bytes, position: int) -> bool:
    if len(data) < position + _CHECKSUM.size:
        return False
    return _CHECKSUM.pack(checksum(packed)) == data[position : position + _CHECKSUM.size]


def encode_hard_state(hard_state: HardState) -> bytes:
    """Return the item that holds a hard state."""
    assert hard_state.voted_for != "", "an empty name stands for no vote"
    vote = (hard_state.voted_for or "").encode()
    payload_bytes = _HARD_STATE.size + len(vote)
    packed = _ITEM.pack(_ITEM_HARD_STATE, payload_bytes) + _HARD_STATE.pack(hard_state.current_term)
    return packed + vote


def encode_entries(entries: Sequence[Entry]) -> bytes:
    """Return the items that hold entries which follow each other, one for each run of a term."""
    parts: list[bytes] = []
    for term, group in groupby(entries, _term_of):
        run = list(group)
        data = [entry.data for entry in run]
        lengths = list(map(len, data))
        columns_bytes = len(run) * 5 + sum(lengths)
        parts += (
            _ITEM.pack(_ITEM_RUN, _RUN.size + columns_bytes),
            _RUN.pack(term, run[0].index, len(run)),
            bytes([entry.kind for entry in run]),
            struct.pack(f"<{len(run)}I", *lengths),
        )
        parts += data
    return b"".join(parts)


def decode_body(data: bytes) -> Body:
    """Return the items of a body, entries not yet decoded; raises `FormatError`.

    Checks what the writer promised: one hard state at most, entries that follow each other, terms
    that never fall.
    """
    hard_state = None
    runs: list[Run] = []
    for kind, start, stop in _items(data):
        if kind == _ITEM_HARD_STATE and hard_state is None:
            hard_state = _decode_hard_state(data, start, stop)
        elif kind == _ITEM_RUN:
            runs.append(_decode_run(data, start, stop, runs[-1] if runs else None))
        else:
            raise FormatError(f"an item of kind {kind} where none can be")
    return Body(data, hard_state, tuple(runs))


def _items(data: bytes) -> Iterator[tuple[int, int, int]]:
    position = 0
    while position < len(data):
        start = position + _ITEM.size
        if start > len(data):
            raise FormatError("half an item")
        kind, length = _ITEM.unpack_from(data, position)
        position = start + length
        if position > len(data):
            raise FormatError("an item longer than its record")
        yield kind, start, position


def _decode_hard_state(data: bytes, start: int, stop: int) -> HardState:
    if stop - start < _HARD_STATE.size:
        raise FormatError("half a hard state")
    (current_term,) = _HARD_STATE.unpack_from(data, start)
    vote = data[start + _HARD_STATE.size : stop]
    try:
        return HardState(current_term, vote.decode() or None)
    except UnicodeDecodeError as error:
        raise FormatError("a vote for what is no name") from error


def _decode_run(data: bytes, start: int, stop: int, previous: Run | None) -> Run:
    if stop - start < _RUN.size:
        raise FormatError("half a run of entries")
    term, first, count = _RUN.unpack_from(data, start)
    columns = start + _RUN.size
    if count == 0 or columns + count * 5 > stop:
        raise FormatError("a run of entries whose count cannot be")
    if previous is not None and (first != previous.first + previous.count or term <= previous.term):
        raise FormatError("entries that do not follow each other")
    return Run(term, first, count, columns, stop)


def decode_entries(body: Body) -> list[Entry]:
    """Return all entries of a body; raises `FormatError` when the lengths do not add up."""
    entries: list[Entry] = []
    data = body.data
    for run in body.runs:
        kinds = data[run.start : run.start + run.count]
        position = run.start + run.count * 5
        lengths = struct.unpack_from(f"<{run.count}I", data, run.start + run.count)
        if position + sum(lengths) != run.stop:
            raise FormatError("entries that do not fill their run")
        for index, (kind, length) in enumerate(zip(kinds, lengths, strict=True), run.first):
            entries.append(Entry(run.term, index, kind, data[position : position + length]))
            position += length
    return entries
