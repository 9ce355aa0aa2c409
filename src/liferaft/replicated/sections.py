r"""The bytes of a snapshot, format version 1: a head, then sections without a gap. Pure functions.

    head      magic "LIFESNAP", version u32, checksum u32 of that
    section   kind u8, length u64 of the body, crc u32, checksum u32 of these three; then the body

All integers are little-endian, every checksum is CRC32C. A section's `crc` is that of its body.
Both it and the section's checksum are seeded with the checksum of the section before (of the head,
at the first): so sections form a chain, and one that is missing, doubled or out of its place is
found as surely as a flipped bit. The last section, and no other, is an `END`, whose body is empty.

The chunks in which a snapshot is read may end anywhere. Nothing is allocated for a length whose
checksum is wrong.
"""

import io
import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final

from liferaft.errors import DamagedSnapshot
from liferaft.storage.records import checksum

FORMAT_VERSION: Final = 1
_MAGIC: Final = b"LIFESNAP"
_HEAD: Final = struct.Struct("<8sI")
_SECTION: Final = struct.Struct("<BQI")
_CHECKSUM: Final = struct.Struct("<I")


class SectionKind(IntEnum):
    """What a section holds; its body is described in `snapshot`."""

    END = 0
    MACHINE = 1
    SESSIONS = 2
    OBJECT = 3
    PIECE = 4


def write_sections(sections: Iterable[tuple[SectionKind, bytes]]) -> Iterator[bytes]:
    """Yield a snapshot's bytes, as chunks: the sections, and the end, which is ours."""
    packed = _HEAD.pack(_MAGIC, FORMAT_VERSION)
    previous = checksum(packed)
    yield packed + _CHECKSUM.pack(previous)
    for kind, body in sections:
        assert kind != SectionKind.END, "the end is written here"
        header, following = _section_header(kind, body, previous)
        yield header
        yield body
        previous = following
    yield _section_header(SectionKind.END, b"", previous)[0]


def read_sections(chunks: Iterable[bytes]) -> Iterator[tuple[SectionKind, bytes]]:
    """Yield the sections but for the end; raises `DamagedSnapshot` unless all is whole.

    What was yielded counts only once the iterator has ended.
    """
    source = _Source(chunks)
    previous = _read_head(source)
    while True:
        packed = source.read(_SECTION.size)
        following = source.read_checksum()
        if following != checksum(packed, seed=previous):
            raise DamagedSnapshot(f"damage in a section's header before byte {source.position}")
        number, length, crc = _SECTION.unpack(packed)
        body = source.read(length)
        if crc != checksum(body, seed=previous):
            raise DamagedSnapshot(f"damage in a section that ends at byte {source.position}")
        previous = following
        kind = _kind_of(number)
        if kind == SectionKind.END:
            break
        yield kind, body
    if length or not source.is_at_end():
        raise DamagedSnapshot(f"more bytes than the snapshot's own, from byte {source.position} on")


def _section_header(kind: SectionKind, body: bytes, previous: int) -> tuple[bytes, int]:
    """Return a section's header and its checksum, which the next one is seeded with."""
    packed = _SECTION.pack(kind, len(body), checksum(body, seed=previous))
    following = checksum(packed, seed=previous)
    return packed + _CHECKSUM.pack(following), following


def _read_head(source: "_Source") -> int:
    packed = source.read(_HEAD.size)
    crc = source.read_checksum()
    magic, version = _HEAD.unpack(packed)
    if magic != _MAGIC or crc != checksum(packed):
        raise DamagedSnapshot("the bytes do not begin as a snapshot does")
    if version != FORMAT_VERSION:
        raise DamagedSnapshot(
            f"the snapshot has the format version {version}, and this program knows "
            f"{FORMAT_VERSION}: start the node with the version of liferaft that wrote it, or a "
            "newer one"
        )
    return crc


def _kind_of(number: int) -> SectionKind:
    try:
        return SectionKind(number)
    except ValueError:
        raise DamagedSnapshot(f"a section of the unknown kind {number}") from None


class _Source:
    """Bytes that come in chunks of any size. `position` is the number of those that were read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self.position = 0

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes."""
        # A BytesIO gives up what it collected without a copy of it.
        collected = io.BytesIO()
        missing = size
        while missing:
            if not self._rest and not self._next_chunk():
                raise DamagedSnapshot(
                    f"the snapshot ends at byte {self.position + size - missing}, in the middle"
                )
            taken = collected.write(self._rest[:missing])
            self._rest = self._rest[taken:]
            missing -= taken
        self.position += size
        return collected.getvalue()

    def read_checksum(self) -> int:
        """Return the next integer."""
        (found,) = _CHECKSUM.unpack(self.read(_CHECKSUM.size))
        return int(found)

    def is_at_end(self) -> bool:
        """Return whether nothing is left."""
        return not self._rest and not self._next_chunk()

    def _next_chunk(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._rest = memoryview(chunk)
                return True
        return False
