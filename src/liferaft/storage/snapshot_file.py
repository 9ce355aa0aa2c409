r"""The bytes of a snapshot's file.

    magic "LIFESNAP", version u32, length u32 of the head
    head      JSON: whose state it is, up to which entry, and who took part then
    state     a zstd stream (RFC 8878) of what the state machine gave
    checksum  u32: CRC32C of all that precedes it

All integers are little-endian. The same bytes lie at every node that has the snapshot, travel from
one to the other, and are what a backup is: whoever holds a file can prove that it is whole. What
the state's own bytes mean is the state machine's business.
"""

import struct
from collections.abc import Iterable, Iterator

import msgspec
import zstandard

from liferaft.errors import DamagedSnapshot, DataDirectoryError
from liferaft.raft.types import Configuration, Snapshot
from liferaft.storage.disk import Disk, File
from liferaft.storage.records import checksum
from liferaft.storage.segment import sync

MAGIC = b"LIFESNAP"
VERSION = 1

_PRELUDE = struct.Struct("<8sII")
_CHECKSUM = struct.Struct("<I")
_HEAD_BYTES_MAX = 1024 * 1024
_LEVEL = 3
_SLICE_BYTES = 1024 * 1024
SYNC_BYTES = 16 * 1024 * 1024
"""Written between two syncs, so that no sync of the log has to wait for much more than that."""


class SnapshotHead(msgspec.Struct, frozen=True):
    """What a snapshot's file says of itself: the state up to the entry `index`, of `term`."""

    cluster_id: str
    index: int
    term: int
    configuration: Configuration


class SnapshotContent(msgspec.Struct, frozen=True):
    """A file that was proven to be whole: its head, and what the others need to prove it too."""

    head: SnapshotHead
    size_bytes: int
    checksum: int

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot as the core knows it."""
        head = self.head
        return Snapshot(head.index, head.term, head.configuration, self.size_bytes, self.checksum)


class _Writer:
    """Writes to a file from its beginning on, and keeps the checksum of all of it."""

    def __init__(self, file: File, path: str) -> None:
        self._file = file
        self._path = path
        self.size_bytes = 0
        self.checksum = 0
        self._synced_bytes = 0

    def write(self, data: bytes) -> None:
        self._file.write(self.size_bytes, data)
        self.checksum = checksum(data, seed=self.checksum)
        self.size_bytes += len(data)
        if self.size_bytes - self._synced_bytes >= SYNC_BYTES:
            self.sync()

    def sync(self) -> None:
        sync(self._file, self._path)
        self._synced_bytes = self.size_bytes


def write_snapshot(
    disk: Disk, path: str, head: SnapshotHead, state: Iterable[bytes]
) -> SnapshotContent:
    """Write the file and make it durable, but not its name; blocking. Raises `OSError`."""
    file = disk.open(path, create=True)
    try:
        file.truncate(0)
        writer = _Writer(file, path)
        encoded = msgspec.json.encode(head)
        writer.write(_PRELUDE.pack(MAGIC, VERSION, len(encoded)) + encoded)
        compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        for chunk in _slices(state):
            if data := compressor.compress(chunk):
                writer.write(data)
        writer.write(compressor.flush())
        found = writer.checksum
        writer.write(_CHECKSUM.pack(found))
        writer.sync()
        return SnapshotContent(head, writer.size_bytes, found)
    finally:
        file.close()


def _slices(chunks: Iterable[bytes]) -> Iterator[memoryview]:
    for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), _SLICE_BYTES):
            yield view[start : start + _SLICE_BYTES]


def read_head(file: File, path: str) -> tuple[SnapshotHead, int]:
    """Return the head and where the state begins; nothing is proven yet. Blocking.

    Raises `DamagedSnapshot` where there is none, `DataDirectoryError` where it is of a version that
    this program does not know, and `OSError`.
    """
    prelude = file.read(0, _PRELUDE.size)
    if len(prelude) < _PRELUDE.size:
        raise damaged(path, "it is too short")
    magic, version, length = _PRELUDE.unpack(prelude)
    if magic != MAGIC:
        raise DamagedSnapshot(f"{path} is no snapshot of liferaft: it begins otherwise")
    if version != VERSION:
        raise DataDirectoryError(
            f"{path} has format version {version}, and this program knows {VERSION}: use the"
            " program that it is from"
        )
    if length > _HEAD_BYTES_MAX:
        raise damaged(path, "its head cannot be so long")
    try:
        head = msgspec.json.decode(file.read(_PRELUDE.size, length), type=SnapshotHead)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise damaged(path, f"its head cannot be read ({error})") from error
    return head, _PRELUDE.size + length


def proven(disk: Disk, path: str) -> SnapshotContent:
    """Return the content of a file that is whole; blocking.

    Raises `DamagedSnapshot` where the file is not what was written, `DataDirectoryError` where it
    is of a version that this program does not know, and `OSError`.
    """
    file = disk.open(path)
    try:
        head, _ = read_head(file, path)
        size = file.size()
        end = size - _CHECKSUM.size
        found = 0
        for offset in range(0, end, _SLICE_BYTES):
            found = checksum(file.read(offset, min(_SLICE_BYTES, end - offset)), seed=found)
        if file.read(end, _CHECKSUM.size) != _CHECKSUM.pack(found):
            raise damaged(path, "its checksum does not fit")
        return SnapshotContent(head, size, found)
    finally:
        file.close()


def read_state(disk: Disk, path: str) -> Iterator[bytes]:
    """Give the state as it was written, in pieces; blocking. The file has been proven before.

    Raises `DamagedSnapshot` and `OSError`.
    """
    file = disk.open(path)
    try:
        _, start = read_head(file, path)
        end = file.size() - _CHECKSUM.size
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        for offset in range(start, end, _SLICE_BYTES):
            piece = decompressor.decompress(file.read(offset, min(_SLICE_BYTES, end - offset)))
            if piece:
                yield piece
        if not decompressor.eof:
            raise damaged(path, "its state ends too early")
    except zstandard.ZstdError as error:
        raise damaged(path, f"its state cannot be unpacked ({error})") from error
    finally:
        file.close()


def damaged(path: str, what: str) -> DamagedSnapshot:
    """Return the error for a file that is not what was written."""
    return DamagedSnapshot(f"{path} is damaged: {what}. Take another copy of it")
