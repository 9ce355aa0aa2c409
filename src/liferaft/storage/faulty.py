"""A disk in memory that does what real disks do at their worst, from a seed.

It implements `Disk` for tests and for the simulator. It is as strict as POSIX allows: what was not
synced may be lost, in any part and in any order; a new name may be lost until its directory is
synced; a sync that failed leaves data in the cache that never reaches the platter.

`run` carries its work out at once, then lets time pass on the event loop before it returns; until
then, the work counts as being under way, and a crash may strike between any two of its steps. Work
that is given meanwhile waits its turn.

Directories are durable as soon as they are made: losing one would lose all that is in it, which
tests nothing about the log.
"""

import asyncio
import errno
import os
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import pairwise
from typing import Literal

from typing_extensions import override

from liferaft.errors import DataDirectoryError
from liferaft.storage.disk import Disk, File, ResultT, read_fully, reject, resolve

Operation = Literal["read", "write", "sync"]

DEFAULT_LATENCY = 0.001
"""Seconds that a piece of work takes unless told otherwise: a quick disk's sync."""


class _Inode:
    """A file's content: as it reads now, and as it would read after the power failed."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.durable = bytearray()


class _Write:
    """A change of a file that is not synced yet: `data` at `offset`.

    As with all changes, a sync of its `owner`, the file or directory, makes it durable.
    """

    def __init__(self, inode: _Inode, offset: int, data: bytes) -> None:
        self.inode = self.owner = inode
        self.offset = offset
        self.data = data


class _Resize:
    """A change of a file's length that is not synced yet."""

    def __init__(self, inode: _Inode, size: int) -> None:
        self.inode = self.owner = inode
        self.size = size


class _Naming:
    """A change of names in a directory that is not synced yet; None removes a name."""

    def __init__(self, directory: str, names: dict[str, _Inode | None]) -> None:
        self.owner = directory
        self.names = names


class _Sync:
    """A sync that succeeded: what was changed before it, in that file or directory, is durable."""

    def __init__(self, target: _Inode | str) -> None:
        self.target = target


_Change = _Write | _Resize | _Naming
_Work = Callable[[], None]


class FaultyFile(File):
    """A handle on a file of a `FaultyDisk`; dead after a crash."""

    def __init__(self, disk: "FaultyDisk", inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode
        self._life = disk.life
        self._is_open = True

    def _use(self, operation: Operation | None = None) -> None:
        if not self._is_open or self._life != self._disk.life:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if operation is not None:
            self._disk.take_fault(operation)

    @override
    def size(self) -> int:
        self._use()
        return len(self._inode.content)

    @override
    def read(self, offset: int, length: int) -> bytes:
        self._use("read")
        return read_fully(self._read_some, offset, length)

    def _read_some(self, length: int, offset: int) -> bytes:
        length = self._disk.draw_read_length(length)
        return bytes(self._inode.content[offset : offset + length])

    @override
    def write(self, offset: int, data: bytes) -> None:
        self._use("write")
        # A disk that fills up takes what fits before it refuses the rest; what lies within the
        # file has its room already.
        room = max(0, self._disk.room_bytes()) + len(self._inode.content) - offset
        taken = data[: max(0, room)]
        self._disk.change(_Write(self._inode, offset, taken))
        if len(taken) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @override
    def truncate(self, size: int) -> None:
        self._use("write")
        self._disk.change(_Resize(self._inode, size))

    @override
    def allocate(self, size: int) -> None:
        self._use("write")
        missing = size - len(self._inode.content)
        if missing > self._disk.room_bytes():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if missing > 0:
            self._disk.change(_Resize(self._inode, size))

    @override
    def sync(self) -> None:
        self._use()
        self._disk.sync_inode(self._inode)

    @override
    def close(self) -> None:
        self._is_open = False


class FaultyDisk(Disk):
    """A `Disk` in memory; see the module's docstring. Hand it to a new log to restart a node.

    `latency` gives the seconds that a piece of work takes; `capacity_bytes` bounds the sum of all
    files' sizes, None for no bound; `has_short_reads` lets the system return less than it was
    asked for. All may be set at any time. The others count.
    """

    def __init__(
        self,
        random: random.Random,
        *,
        latency: Callable[[], float] = lambda: DEFAULT_LATENCY,
        capacity_bytes: int | None = None,
    ) -> None:
        self.latency = latency
        self.capacity_bytes = capacity_bytes
        self.has_short_reads = False
        self.writes = 0
        self.syncs = 0
        self.short_reads = 0
        self.failures = 0
        self.lost_changes = 0
        self.torn_writes = 0
        self.life = 0
        self._random = random
        self._directories = {""}
        self._names: dict[str, _Inode] = {}
        self._durable_names: dict[str, _Inode] = {}
        self._locked: list[str] = []
        self._faults: dict[Operation, tuple[int, int]] = {}
        # Everything that is not durable, in the order in which it was done; from `_under_way` on,
        # it belongs to work whose time has not passed yet.
        self._journal: list[_Change | _Sync] = []
        self._under_way: int | None = None
        self._waiting: deque[_Work] = deque()
        self._aborts: list[Callable[[], None]] = []
        self._is_stuck = False
        self._stuck: list[_Work] = []

    # The contract.

    @override
    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultT] = loop.create_future()
        life = self.life

        def begin() -> None:
            self._under_way = len(self._journal)
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  the caller raises it, whatever it is
                end = partial(reject, future, error)
            else:
                end = partial(resolve, future, result)
            loop.call_later(self.latency(), self._end, life, end)

        crashed = OSError(errno.EIO, "the machine has crashed")
        self._aborts.append(partial(reject, future, crashed))
        if self._under_way is None:
            begin()
        else:
            self._waiting.append(begin)
        return await future

    @override
    async def run_beside(self, work: Callable[[], ResultT]) -> ResultT:
        """Wait in the one queue that there is: a disk has one head."""
        return await self.run(work)

    @override
    async def get_ready_aside(self) -> None:
        """Do nothing: there is no process to copy."""

    @override
    def write_aside(
        self, chunks: Iterable[bytes], write: Callable[[Iterable[bytes]], bytes]
    ) -> Awaitable[bytes]:
        return self.run(partial(write, list(chunks)))

    def _end(self, life: int, end: Callable[[], None]) -> None:
        """Let the work under way come to its end, and the next one begin."""
        if life != self.life:
            return
        if self._is_stuck:
            self._stuck.append(lambda: self._end(life, end))
            return
        self._under_way = None
        self._settle()
        self._aborts.pop(0)
        end()
        if self._waiting:
            self._waiting.popleft()()

    @override
    def open(self, path: str, *, create: bool = False) -> File:
        inode = self._names.get(path)
        if inode is None:
            if not create or not self.exists(_parent(path)):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            inode = _Inode()
            self.change(_Naming(_parent(path), {path: inode}))
        return FaultyFile(self, inode)

    @override
    def exists(self, path: str) -> bool:
        return path in self._names or path in self._directories

    @override
    def names(self, directory: str) -> list[str]:
        inside = [*self._names, *sorted(self._directories)]
        return sorted({path.rpartition("/")[2] for path in inside if _parent(path) == directory})

    @override
    def make_directory(self, path: str) -> None:
        while path not in self._directories:
            self._directories.add(path)
            path = _parent(path)

    @override
    def rename(self, source: str, target: str) -> None:
        inode = self._named(source)
        self.change(_Naming(_parent(target), {source: None, target: inode}))

    @override
    def remove(self, path: str) -> None:
        self._named(path)
        self.change(_Naming(_parent(path), {path: None}))

    @override
    def sync_directory(self, path: str) -> None:
        self._sync(path)

    @override
    def lock(self, path: str) -> Callable[[], None]:
        if path in self._locked:
            raise DataDirectoryError(f"{_parent(path)} is in use by another process")
        self._locked.append(path)
        life = self.life

        def unlock() -> None:
            if life == self.life:
                self._locked.remove(path)

        return unlock

    # What tests and the simulator do to it.

    def fail(self, operation: Operation, error: int, *, count: int = 1) -> None:
        """Let the next `count` operations of a kind fail with `error` (`errno.EIO`, ...)."""
        self._faults[operation] = (error, count)

    def heal(self) -> None:
        """Let every operation succeed again; what is stuck goes on."""
        self._faults.clear()
        self.unstick()

    def stick(self) -> None:
        """Let no work come to an end until `unstick`: a device that has stopped to answer."""
        self._is_stuck = True

    def unstick(self) -> None:
        """Let work come to its end again."""
        self._is_stuck = False
        stuck, self._stuck = self._stuck, []
        for end in stuck:
            end()

    def flip(self, path: str, offset: int, mask: int = 1) -> None:
        """Change the bits of one byte, in the cache and on the platter: bit rot."""
        inode = self._named(path)
        for content in (inode.content, inode.durable):
            if offset < len(content):
                content[offset] ^= mask

    def overwrite(self, path: str, offset: int, data: bytes) -> Callable[[], None]:
        """Put other bytes into a file, in the cache and on the platter: a block gone astray.

        What is returned puts back what was there.
        """
        inode = self._named(path)
        before = bytes(inode.durable[offset : offset + len(data)])
        _replace(inode, offset, data)
        return partial(_replace, inode, offset, before)

    def forget(self, path: str) -> Callable[[], None]:
        """Lose a name that was durable: a damaged directory; what is returned finds it again."""
        inode = self._named(path)
        del self._names[path]
        self._durable_names.pop(path, None)

        def find() -> None:
            self._names[path] = self._durable_names[path] = inode

        return find

    def move(self, source: str, target: str) -> None:
        """Give a file another name, at once and durably: a repair from outside."""
        inode = self._named(source)
        for names in (self._names, self._durable_names):
            names.pop(source, None)
            names[target] = inode

    def image(self) -> dict[str, bytes]:
        """Return what is on the platter: the durable content of every durable name."""
        return {path: bytes(inode.durable) for path, inode in self._durable_names.items()}

    def restore(self, image: dict[str, bytes]) -> None:
        """Replace all that is on the disk by an image; only between two lives of its user."""
        self.crash()
        self._names.clear()
        for path, content in image.items():
            inode = self._names[path] = _Inode()
            inode.content[:] = inode.durable[:] = content
        self._durable_names = dict(self._names)

    def paths(self) -> list[str]:
        """Return the sorted paths of all files."""
        return sorted(self._names)

    def content(self, path: str) -> bytes:
        """Return a file's content as it reads now."""
        return bytes(self._named(path).content)

    def kill(self) -> None:
        """End the process that uses the disk: handles die, locks fall, the cache stays.

        Work that is under way comes to its end; what waits is never begun.
        """
        self._end_life()
        self._settle()

    def crash(self) -> None:
        """Let the power fail: what was not synced is lost, kept or torn, as the seed decides."""
        if self._under_way is not None:
            issued = self._random.randint(self._under_way, len(self._journal))
            del self._journal[issued:]
        self._end_life()
        self._settle()
        for change in self._unsynced():
            self._lose(change)
        self._journal.clear()
        self._names = dict(self._durable_names)
        for inode in self._names.values():
            inode.content[:] = inode.durable

    # How it works inside.

    def take_fault(self, operation: Operation) -> None:
        """Count an operation, and raise what was ordered for it; for `FaultyFile`."""
        if operation == "write":
            self.writes += 1
        elif operation == "sync":
            self.syncs += 1
        error, count = self._faults.get(operation, (0, 0))
        if count > 0:
            self._faults[operation] = (error, count - 1)
            self.failures += 1
            raise OSError(error, os.strerror(error))

    def draw_read_length(self, length: int) -> int:
        """Return how many bytes one read of the system brings, at most `length`, at least one."""
        if not self.has_short_reads or length < 2 or self._random.random() < 0.5:
            return length
        self.short_reads += 1
        return self._random.randint(1, length - 1)

    def used_bytes(self) -> int:
        """Return the sum of all files' sizes."""
        return sum(len(inode.content) for inode in self._names.values())

    def room_bytes(self) -> int:
        """Return how many bytes still fit."""
        return 2**62 if self.capacity_bytes is None else self.capacity_bytes - self.used_bytes()

    def change(self, change: _Change) -> None:
        """Do it in the cache; on the platter when it is synced, or as luck has it."""
        self._journal.append(change)
        if isinstance(change, _Naming):
            _name(self._names, change)
        else:
            _apply(change.inode.content, change)

    def sync_inode(self, inode: _Inode) -> None:
        """Make a file's content durable once the work under way has come to its end."""
        self._sync(inode)

    def _sync(self, target: _Inode | str) -> None:
        try:
            self.take_fault("sync")
        except OSError:
            # The system reports a failed write-back once and drops the pages from its list: they
            # read as before, and no later sync will write them.
            self._settle_before_failure(target)
            raise
        self._journal.append(_Sync(target))
        if self._under_way is None:
            self._settle()

    def _settle_before_failure(self, target: _Inode | str) -> None:
        for change in self._unsynced():
            if change.owner == target:
                self._journal.remove(change)
                self._lose(change)

    def _settle(self) -> None:
        """Carry out the syncs in the journal; what no sync covers stays in it."""
        pending: list[_Change] = []
        for each in self._journal:
            if not isinstance(each, _Sync):
                pending.append(each)
                continue
            changes, pending = pending, []
            for change in changes:
                if change.owner == each.target:
                    self._make_durable(change)
                else:
                    pending.append(change)
        self._journal = [*pending]

    def _unsynced(self) -> list[_Change]:
        return [each for each in self._journal if not isinstance(each, _Sync)]

    def _make_durable(self, change: _Change) -> None:
        if isinstance(change, _Naming):
            _name(self._durable_names, change)
        else:
            _apply(change.inode.durable, change)

    def _lose(self, change: _Change) -> None:
        """Let a change that was never synced reach the platter wholly, not at all, or in part."""
        fate = self._random.choice(("kept", "lost", "torn"))
        self.lost_changes += fate == "lost"
        self.torn_writes += fate == "torn" and isinstance(change, _Write)
        if fate == "kept" or (fate == "torn" and not isinstance(change, _Write)):
            self._make_durable(change)
        elif fate == "torn" and isinstance(change, _Write):
            for part in self._tear(change):
                self._make_durable(part)

    def _tear(self, write: _Write) -> list[_Write]:
        """Return some parts of a write, cut at any byte: pages reach the platter in any order."""
        length = len(write.data)
        cuts = sorted(self._random.randint(0, length) for _ in range(self._random.randint(1, 3)))
        bounds = [0, *cuts, length]
        return [
            _Write(write.inode, write.offset + start, write.data[start:stop])
            for start, stop in pairwise(bounds)
            if self._random.random() < 0.5
        ]

    def _end_life(self) -> None:
        self.life += 1
        self._under_way = None
        self._locked.clear()
        self._waiting.clear()
        self._stuck.clear()
        aborts, self._aborts = self._aborts, []
        for abort in aborts:
            abort()

    def _named(self, path: str) -> _Inode:
        inode = self._names.get(path)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return inode


def _replace(inode: _Inode, offset: int, data: bytes) -> None:
    """Change bytes where they are, without making the file longer."""
    for content in (inode.content, inode.durable):
        stop = min(offset + len(data), len(content))
        content[offset:stop] = data[: max(0, stop - offset)]


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _name(names: dict[str, _Inode], change: _Naming) -> None:
    for path, inode in change.names.items():
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode


def _apply(content: bytearray, change: _Write | _Resize) -> None:
    if isinstance(change, _Resize):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    if not change.data:
        return
    # A write beyond the end leaves zeros between.
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data
