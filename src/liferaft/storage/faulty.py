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
from typing import Final, Literal

from typing_extensions import override

from liferaft.errors import DataDirectoryError
from liferaft.storage.disk import Disk, File, ResultT, read_fully, reject, resolve
from liferaft.storage.platter import Inode, Naming, Platter, Resize, Write

Operation = Literal["read", "write", "sync"]

DEFAULT_LATENCY = 0.001
"""Seconds that a piece of work takes unless told otherwise: a quick disk's sync."""


_Work = Callable[[], None]


class FaultyFile(File):
    """A handle on a file of a `FaultyDisk`; dead after a crash."""

    def __init__(self, disk: "FaultyDisk", inode: Inode) -> None:
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
        self._disk.platter.change(Write(self._inode, offset, taken))
        if len(taken) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @override
    def truncate(self, size: int) -> None:
        self._use("write")
        self._disk.platter.change(Resize(self._inode, size))

    @override
    def allocate(self, size: int) -> None:
        self._use("write")
        missing = size - len(self._inode.content)
        if missing > self._disk.room_bytes():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if missing > 0:
            self._disk.platter.change(Resize(self._inode, size))

    @override
    def sync(self) -> None:
        self._use()
        self._disk.sync(self._inode)

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
        self.life = 0
        self.platter: Final = Platter(random)
        self._random = random
        self._directories = {""}
        self._locked: list[str] = []
        self._faults: dict[Operation, tuple[int, int]] = {}
        self._waiting: deque[_Work] = deque()
        self._aborts: list[Callable[[], None]] = []
        self._is_stuck = False
        self._stuck: list[_Work] = []
        self._awaiting_writes: list[asyncio.Future[None]] = []

    # The contract.

    @override
    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultT] = loop.create_future()
        life = self.life

        def begin() -> None:
            self.platter.begin_work()
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  the caller raises it, whatever it is
                end = partial(reject, future, error)
            else:
                end = partial(resolve, future, result)
            if self._awaiting_writes and self.platter.is_writing:
                self._tell_of_write()
            loop.call_later(self.latency(), self._end, life, end)

        crashed = OSError(errno.EIO, "the machine has crashed")
        self._aborts.append(partial(reject, future, crashed))
        if not self.platter.is_at_work:
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
        self.platter.end_work()
        self._aborts.pop(0)
        end()
        if self._waiting:
            self._waiting.popleft()()

    @override
    def open(self, path: str, *, create: bool = False) -> File:
        inode = self.platter.names.get(path)
        if inode is None:
            if not create or not self.exists(_parent(path)):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            inode = Inode()
            self.platter.change(Naming(_parent(path), {path: inode}))
        return FaultyFile(self, inode)

    @override
    def exists(self, path: str) -> bool:
        return path in self.platter.names or path in self._directories

    @override
    def names(self, directory: str) -> list[str]:
        inside = [*self.platter.names, *sorted(self._directories)]
        return sorted({path.rpartition("/")[2] for path in inside if _parent(path) == directory})

    @override
    def make_directory(self, path: str) -> None:
        while path not in self._directories:
            self._directories.add(path)
            path = _parent(path)

    @override
    def rename(self, source: str, target: str) -> None:
        inode = self.platter.named(source)
        self.platter.change(Naming(_parent(target), {source: None, target: inode}))

    @override
    def remove(self, path: str) -> None:
        self.platter.named(path)
        self.platter.change(Naming(_parent(path), {path: None}))

    @override
    def sync_directory(self, path: str) -> None:
        self.sync(path)

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

    async def wait_for_write(self) -> None:
        """Wait until work is under way that changes something."""
        if not self.platter.is_writing:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._awaiting_writes.append(future)
            await future

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
        inode = self.platter.named(path)
        for content in (inode.content, inode.durable):
            if offset < len(content):
                content[offset] ^= mask

    def overwrite(self, path: str, offset: int, data: bytes) -> Callable[[], None]:
        """Put other bytes into a file, in the cache and on the platter: a block gone astray.

        What is returned puts back what was there.
        """
        inode = self.platter.named(path)
        before = bytes(inode.durable[offset : offset + len(data)])
        inode.replace(offset, data)
        return partial(inode.replace, offset, before)

    def forget(self, path: str) -> Callable[[], None]:
        """Lose a name that was durable: a damaged directory; what is returned finds it again."""
        return self.platter.forget(path)

    def move(self, source: str, target: str) -> None:
        """Give a file another name, at once and durably: a repair from outside."""
        self.platter.move(source, target)

    def image(self) -> dict[str, bytes]:
        """Return what is on the platter: the durable content of every durable name."""
        return self.platter.image()

    def restore(self, image: dict[str, bytes]) -> None:
        """Replace all that is on the disk by an image; only between two lives of its user."""
        self.crash()
        self.platter.restore(image)

    def paths(self) -> list[str]:
        """Return the sorted paths of all files."""
        return sorted(self.platter.names)

    def content(self, path: str) -> bytes:
        """Return a file's content as it reads now."""
        return bytes(self.platter.named(path).content)

    def kill(self) -> None:
        """End the process that uses the disk: handles die, locks fall, the cache stays.

        Work that is under way comes to its end; what waits is never begun.
        """
        self._end_life()
        self.platter.end_work()

    def crash(self) -> None:
        """Let the power fail: what was not synced is lost, kept or torn, as the seed decides."""
        self.platter.stop_work()
        self._end_life()
        self.platter.lose_power()

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
        return self.platter.used_bytes()

    def room_bytes(self) -> int:
        """Return how many bytes still fit."""
        return 2**62 if self.capacity_bytes is None else self.capacity_bytes - self.used_bytes()

    def sync(self, target: Inode | str) -> None:
        """Make a file or directory durable once the work under way has come to its end."""
        try:
            self.take_fault("sync")
        except OSError:
            self.platter.fail_sync(target)
            raise
        self.platter.sync(target)

    def _tell_of_write(self) -> None:
        awaiting, self._awaiting_writes = self._awaiting_writes, []
        for future in awaiting:
            resolve(future, None)

    def _end_life(self) -> None:
        self.life += 1
        self._locked.clear()
        self._waiting.clear()
        self._stuck.clear()
        aborts, self._aborts = self._aborts, []
        for abort in aborts:
            abort()


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
