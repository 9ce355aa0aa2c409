"""The snapshots of one node: the newest two, and one that is being fetched.

A snapshot is written aside, synced and renamed, and its directory synced, before anybody is told of
it. Two are kept, with the log behind the older one, so that damage to the newest loses nothing.
Where that log does not reach what the damaged one covered, as behind one that was fetched, a start
is refused.
What is fetched gathers in a file of its own, which survives lost links and restarts, and counts for
nothing until the whole of it was proven.

Every method that waits may be cancelled: what it had begun is thrown away, or gone on with later.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import msgspec

from liferaft.errors import (
    DamagedLog,
    DamagedSnapshot,
    DataDirectoryError,
    DiskFailed,
    StorageError,
)
from liferaft.raft.types import Configuration, EntryId, Snapshot
from liferaft.storage.contents import EMPTY
from liferaft.storage.disk import Disk, File
from liferaft.storage.segment import sync, sync_directory
from liferaft.storage.snapshot_file import (
    SYNC_BYTES,
    SnapshotContent,
    SnapshotHead,
    proven,
    read_state,
    write_snapshot,
)

KEPT = 2

KEPT_AFTER_READ = 30.0
"""Seconds: a snapshot that a peer fetches stays, however many are taken meanwhile."""

_DIRECTORY = "snapshots"
_SUFFIX = ".snapshot"
_NEW_SUFFIX = ".new"
_FETCHED_SUFFIX = ".fetched"
_DAMAGED_SUFFIX = ".damaged"
_DIGITS = 20

_log = logging.getLogger("liferaft.storage")


def snapshot_directory(directory: str) -> str:
    """Return where a data directory keeps its snapshots."""
    return f"{directory}/{_DIRECTORY}"


def snapshot_name(snapshot: Snapshot | SnapshotHead) -> str:
    """Return the name of a snapshot's file; the names sort as the snapshots do."""
    return f"{snapshot.index:0{_DIGITS}d}-{snapshot.term:0{_DIGITS}d}{_SUFFIX}"


class SnapshotStore:
    """The snapshots in a data directory. Use from one event loop.

    `on_damaged` is called when one that is kept turns out to be damaged, and is put aside.
    """

    def __init__(self, disk: Disk, directory: str, cluster_id: str) -> None:
        self._disk = disk
        self._directory = snapshot_directory(directory)
        self._cluster_id = cluster_id
        self._kept: list[Snapshot] = []
        self._read_at: dict[str, float] = {}
        # The last entry that any damaged one covered.
        self._damaged = EMPTY
        self.on_damaged: Callable[[], object] = _nothing

    def find(self) -> None:
        """Look at what there is, once; blocking. See `open_snapshots`."""
        if not self._disk.exists(self._directory):
            return  # it is made with the first snapshot
        for name in self._disk.names(self._directory):
            path = f"{self._directory}/{name}"
            if name.endswith(_NEW_SUFFIX):
                self._disk.remove(path)
            elif name.endswith(_DAMAGED_SUFFIX):
                self._note_damaged(name)
            elif name.endswith(_SUFFIX):
                try:
                    content = proven(self._disk, path)
                except DamagedSnapshot as error:
                    _log.error("a snapshot is put aside: %s", error)
                    self._disk.rename(path, path + _DAMAGED_SUFFIX)
                    self._note_damaged(name)
                else:
                    self._check_owner(path, content.head)
                    self._kept.append(content.snapshot)
        # A rename may have been seen but not synced when the process that made it ended.
        sync_directory(self._disk, self._directory)

    def _note_damaged(self, name: str) -> None:
        index, _, term = name.partition(_SUFFIX)[0].partition("-")
        covered = EntryId(int(term), int(index))
        if covered.index > self._damaged.index:
            self._damaged = covered

    def check_reached(self, log_has: Callable[[int, int], bool]) -> None:
        """Make sure that snapshot and log hold what a damaged snapshot covered.

        Whoever stored that one may have said that it has all of it, before the log behind it was
        begun: where the disk is full, long before. `log_has` tells whether the log holds the entry
        of an index and term. Raises `DamagedLog` where they do not.
        """
        lost = self._damaged
        if lost.index > self.base.index and not log_has(lost.index, lost.term):
            raise DamagedLog(
                f"a snapshot in {self._directory} is damaged that covered all up to entry"
                f" {lost.index} of term {lost.term}, and the log ends, or has others, before it:"
                " what was acknowledged may be lost. Do not start from it: move the data directory"
                " away, and let the node rejoin from its peers as a new member"
            )

    def _check_owner(self, path: str, head: SnapshotHead) -> None:
        if head.cluster_id != self._cluster_id:
            raise DataDirectoryError(
                f"{path} is of cluster {head.cluster_id}, not of {self._cluster_id}: to make a"
                " cluster of a snapshot, use `liferaft snapshot restore`"
            )

    @property
    def newest(self) -> Snapshot | None:
        """The newest snapshot, None while there is none."""
        return self._kept[-1] if self._kept else None

    @property
    def base(self) -> EntryId:
        """The last entry that the newest snapshot covers."""
        newest = self.newest
        return EMPTY if newest is None else EntryId(newest.term, newest.index)

    @property
    def covered(self) -> int:
        """The log up to here is needed for no snapshot: 0 while there is only one.

        One that stays because it was read of late is nothing to begin with, so it needs no log.
        """
        return self._kept[-KEPT].index if len(self._kept) >= KEPT else 0

    async def take(
        self, index: int, term: int, configuration: Configuration, state: Iterable[bytes]
    ) -> Snapshot:
        """Store the state as it is when this is called, which holds all up to that entry.

        Raises `OSError`, of which `StorageError` is one, and whatever `state` raises.
        """
        head = SnapshotHead(self._cluster_id, index, term, configuration)
        path = f"{self._directory}/{snapshot_name(head)}"
        written = self._disk.write_aside(state, partial(_write, self._disk, path, head))
        try:
            content = msgspec.msgpack.decode(await written, type=SnapshotContent)
        except Exception:
            # Where the disk is full, half a snapshot is in the way of the log.
            await self._disk.run_beside(partial(_remove, self._disk, path + _NEW_SUFFIX))
            raise
        await self._keep(path + _NEW_SUFFIX, content.snapshot)
        return content.snapshot

    def state(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Give the state of a snapshot that is kept, in pieces; blocking."""
        return read_state(self._disk, self.path(snapshot))

    def path(self, snapshot: Snapshot) -> str:
        """Return the file of a snapshot that is kept."""
        return f"{self._directory}/{snapshot_name(snapshot)}"

    async def read(self, index: int, term: int, offset: int, length: int) -> bytes | None:
        """Return a part of the file of a snapshot; None when it is not kept any more.

        Who begins to read gets a file that was proven again: it may have lain there for long.
        Raises `OSError`.
        """
        kept = {EntryId(each.term, each.index): each for each in self._kept}
        found = kept.get(EntryId(term, index))
        if found is None:
            return None
        path = self.path(found)
        self._read_at[path] = asyncio.get_running_loop().time()
        if offset == 0 and not await self._is_whole(found):
            return None
        return await self._disk.run_beside(partial(_read, self._disk, path, offset, length))

    async def _is_whole(self, snapshot: Snapshot) -> bool:
        """Return whether a file is what was written; put it aside if not."""
        path = self.path(snapshot)
        try:
            await self._disk.run_beside(partial(proven, self._disk, path))
        except DamagedSnapshot as error:
            _log.error("a snapshot is put aside: %s", error)
            self._kept = [each for each in self._kept if each != snapshot]
            await self._disk.run(partial(self._disk.rename, path, path + _DAMAGED_SUFFIX))
            self.on_damaged()
            return False
        return True

    # Fetching.

    async def fetched_bytes(self, snapshot: Snapshot) -> int:
        """Return how much of a snapshot's file is here already. Raises `OSError`."""
        return await self._disk.run_beside(partial(_size, self._disk, self._fetched_path(snapshot)))

    async def add_fetched(self, snapshot: Snapshot, offset: int, data: bytes) -> None:
        """Add what follows `offset`, up to where the file has come. Raises `OSError`."""
        path = self._fetched_path(snapshot)
        await self._disk.run_beside(partial(_write_at, self._disk, path, offset, data))

    async def prove_fetched(self, snapshot: Snapshot) -> None:
        """Prove that the file which was fetched is the snapshot's.

        Raises `DamagedSnapshot` when it is another than was to be fetched, which throws it away,
        and `OSError`.
        """
        path = self._fetched_path(snapshot)
        try:
            await self._disk.run_beside(partial(self._check_fetched, path, snapshot))
        except DamagedSnapshot:
            await self._disk.run_beside(partial(self._disk.remove, path))
            raise

    def fetched_state(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Give the state of a snapshot whose fetched file was proven, in pieces; blocking."""
        return read_state(self._disk, self._fetched_path(snapshot))

    async def keep_fetched(self, snapshot: Snapshot) -> None:
        """Keep the file that was fetched, and proven, as one of this node's snapshots."""
        await self._keep(self._fetched_path(snapshot), snapshot)

    def _check_fetched(self, path: str, snapshot: Snapshot) -> None:
        content = proven(self._disk, path)
        if content.snapshot != snapshot or content.head.cluster_id != self._cluster_id:
            raise DamagedSnapshot(f"{path} holds another snapshot than {snapshot}")

    def _fetched_path(self, snapshot: Snapshot) -> str:
        name = f"{snapshot_name(snapshot)}-{snapshot.checksum:08x}{_FETCHED_SUFFIX}"
        return f"{self._directory}/{name}"

    # Keeping.

    async def _keep(self, path: str, snapshot: Snapshot) -> None:
        """Give the file its name, and let the oldest go, but not this one.

        Later ones may be here of which nobody was told: the wish for them ended as they were kept.
        """
        await self._disk.run(partial(self._name, path, snapshot))
        others = [each for each in self._kept if self.path(each) != self.path(snapshot)]
        kept = sorted([*others, snapshot], key=lambda each: (each.index, each.term))
        old = [each for each in kept[:-KEPT] if each is not snapshot and not self._is_read(each)]
        self._kept = [each for each in kept if each not in old]
        for each in old:
            self._read_at.pop(self.path(each), None)
            await self._disk.run(partial(self._disk.remove, self.path(each)))

    def _is_read(self, snapshot: Snapshot) -> bool:
        read_at = self._read_at.get(self.path(snapshot))
        now = asyncio.get_running_loop().time()
        return read_at is not None and now - read_at < KEPT_AFTER_READ

    def _name(self, path: str, snapshot: Snapshot) -> None:
        """Make the file durable under its name, and clear away what was fetched and is older."""
        file = self._disk.open(path)
        try:
            _sync_or_remove(self._disk, file, path)
        finally:
            file.close()
        self._disk.rename(path, self.path(snapshot))
        sync_directory(self._disk, self._directory)
        for name in self._disk.names(self._directory):
            if name.endswith(_FETCHED_SUFFIX) and name < snapshot_name(snapshot):
                self._disk.remove(f"{self._directory}/{name}")


def _nothing() -> None:
    """Stand in where nobody wants to know."""


def _write(disk: Disk, path: str, head: SnapshotHead, state: Iterable[bytes]) -> bytes:
    disk.make_directory(path.rpartition("/")[0])
    return msgspec.msgpack.encode(write_snapshot(disk, path + _NEW_SUFFIX, head, state))


def _read(disk: Disk, path: str, offset: int, length: int) -> bytes:
    file = disk.open(path)
    try:
        return file.read(offset, length)
    finally:
        file.close()


def _remove(disk: Disk, path: str) -> None:
    if disk.exists(path):
        disk.remove(path)


def _size(disk: Disk, path: str) -> int:
    if not disk.exists(path):
        return 0
    file = disk.open(path)
    try:
        return file.size()
    finally:
        file.close()


def _write_at(disk: Disk, path: str, offset: int, data: bytes) -> None:
    disk.make_directory(path.rpartition("/")[0])
    file = disk.open(path, create=True)
    try:
        file.truncate(offset)
        file.write(offset, data)
        if offset // SYNC_BYTES != (offset + len(data)) // SYNC_BYTES:
            _sync_or_remove(disk, file, path)
    finally:
        file.close()


def _sync_or_remove(disk: Disk, file: File, path: str) -> None:
    """Make a file durable, or throw it away; raises `DiskFailed`.

    What was fetched is gone on with after an error. Of a file whose sync failed nobody knows how
    much is on the disk, and a later sync would say nothing of it.
    """
    try:
        sync(file, path)
    except DiskFailed:
        disk.remove(path)
        raise


async def open_snapshots(disk: Disk, directory: str, cluster_id: str) -> SnapshotStore:
    """Return the snapshots of a data directory, each of them proven.

    One that is damaged is told of and put aside: with an older one and the log, nothing may be
    missing. Raises `DataDirectoryError` where one is another cluster's, or of a version that this
    program does not know, and `DiskFailed`.
    """
    store = SnapshotStore(disk, directory, cluster_id)
    try:
        await disk.run(store.find)
    except StorageError:
        raise
    except OSError as error:
        raise DiskFailed(f"the snapshots in {directory} could not be read: {error}") from error
    return store


def newest_proven(disk: Disk, directory: str) -> SnapshotContent | None:
    """Return the newest snapshot of a data directory that is whole; blocking, changes nothing.

    Raises `DataDirectoryError` for one of an unknown version, and `OSError`.
    """
    place = snapshot_directory(directory)
    names = disk.names(place) if disk.exists(place) else []
    for name in reversed([each for each in names if each.endswith(_SUFFIX)]):
        with contextlib.suppress(DamagedSnapshot):
            return proven(disk, f"{place}/{name}")
    return None


def remove_damaged(disk: Disk, directory: str) -> None:
    """Remove the damaged snapshots that were put aside; blocking. Raises `OSError`."""
    place = snapshot_directory(directory)
    for name in disk.names(place) if disk.exists(place) else []:
        if name.endswith(_DAMAGED_SUFFIX):
            disk.remove(f"{place}/{name}")


async def remove_snapshots(disk: Disk, directory: str) -> None:
    """Remove all snapshots of a data directory, that of a group which is hosted no more.

    Raises `DiskFailed`.
    """
    place = snapshot_directory(directory)
    try:
        await disk.run(lambda: _remove_all(disk, place))
    except OSError as error:
        raise DiskFailed(f"the snapshots in {directory} could not be removed: {error}") from error


def _remove_all(disk: Disk, directory: str) -> None:
    if disk.exists(directory):
        for name in disk.names(directory):
            disk.remove(f"{directory}/{name}")
        disk.sync_directory(directory)
