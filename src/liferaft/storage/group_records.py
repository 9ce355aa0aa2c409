"""What a write of the shared log holds, as bytes: pure functions, no disk.

Many groups share one log, and each of their appends is one entry of it, the *write*, of a kind that
no group's own entries have. The index of that entry is the write's number. Its data is a head, then
the items of records.py as a log of one group holds them. All integers are little-endian:

    head   kind u8, term u64, index u64, length u8 of the group's name, the name in UTF-8
    then   the items of a record's body: at most one hard state, then runs of entries

`term` and `index` name an entry of the group. The kinds:

    1 appended    entries, a hard state, or both; the first entry replaces the group's log from its
                  index on. The named entry is the one before the first.
    2 copied      entries that the group's log holds already, written again so that older writes
                  can be dropped. The named entry is the one before the first.
    3 begun anew  all entries of the group before this write are void, of the hard state nothing is;
                  its log goes on behind the named entry
    4 compacted   the entries up to the named one do not count any more: a snapshot covers them
    5 removed     nothing of the group counts any more
    6 floor       nothing counts in the writes up to `index`; the name is empty
"""

import struct
from enum import IntEnum

import msgspec

from liferaft.raft.types import EntryId
from liferaft.storage.contents import EMPTY
from liferaft.storage.records import Body, FormatError, decode_body

OF_A_GROUP = 64
"""The kind of the shared log's entries: far from those of a group's own."""

NAME_BYTES_MAX = 255
"""What the length field of a name can say."""

_HEAD = struct.Struct("<BQQB")


class WriteKind(IntEnum):
    """What a write means; see the module's docstring."""

    APPENDED = 1
    COPIED = 2
    BEGUN_ANEW = 3
    COMPACTED = 4
    REMOVED = 5
    FLOOR = 6


class GroupWrite(msgspec.Struct, frozen=True):
    """A write, decoded but for its entries; `entry` is the one that its head names."""

    kind: WriteKind
    group: str
    entry: EntryId
    body: Body


def encode_write(kind: WriteKind, name: bytes, entry: EntryId = EMPTY, items: bytes = b"") -> bytes:
    """Return a write's data; `name` is the group's, encoded."""
    return _HEAD.pack(kind, entry.term, entry.index, len(name)) + name + items


def decode_write(data: bytes) -> GroupWrite:
    """Return what a write's data says; raises `FormatError`."""
    if len(data) < _HEAD.size:
        raise FormatError("half a head of a group's write")
    kind, term, index, name_bytes = _HEAD.unpack_from(data)
    stop = _HEAD.size + name_bytes
    if len(data) < stop:
        raise FormatError("half a name of a group")
    try:
        known = WriteKind(kind)
    except ValueError as error:
        raise FormatError(f"a write of kind {kind}, which this program does not know") from error
    try:
        group = data[_HEAD.size : stop].decode()
    except UnicodeDecodeError as error:
        raise FormatError("a group whose name is none") from error
    body = decode_body(data[stop:])
    if body.runs and (body.runs[0].first != index + 1 or body.runs[0].term < term):
        raise FormatError("entries of a group that do not follow the one before them")
    return GroupWrite(known, group, EntryId(term, index), body)
