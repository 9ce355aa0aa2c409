"""A disk as one life of a node sees it: when that life has ended, it does nothing any more.

In a simulation a crashed node's tasks still run to their end. A process that is gone cannot write;
this sees to it that neither can they.
"""

import errno
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from typing_extensions import override

from liferaft.storage.disk import Disk, File, ResultT
from liferaft.storage.faulty import FaultyDisk


class Mount(Disk):
    """One life's view of a `FaultyDisk`. All work goes through `run`, so that alone is guarded."""

    def __init__(self, disk: FaultyDisk) -> None:
        self._disk = disk
        self._life = disk.life

    @override
    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        return await self._disk.run(self._guarded(work))

    @override
    async def run_beside(self, work: Callable[[], ResultT]) -> ResultT:
        return await self._disk.run_beside(self._guarded(work))

    @override
    async def get_ready_aside(self) -> None:
        """Do nothing: there is no process to copy."""

    @override
    def write_aside(
        self, chunks: Iterable[bytes], write: Callable[[Iterable[bytes]], bytes]
    ) -> Awaitable[bytes]:
        return self._disk.run(self._guarded(partial(write, list(chunks))))

    def _guarded(self, work: Callable[[], ResultT]) -> Callable[[], ResultT]:
        def guarded() -> ResultT:
            if self._life != self._disk.life:
                raise OSError(errno.EIO, "the machine has crashed")
            return work()

        return guarded

    @override
    def open(self, path: str, *, create: bool = False) -> File:
        return self._disk.open(path, create=create)

    @override
    def exists(self, path: str) -> bool:
        return self._disk.exists(path)

    @override
    def names(self, directory: str) -> list[str]:
        return self._disk.names(directory)

    @override
    def make_directory(self, path: str) -> None:
        self._disk.make_directory(path)

    @override
    def rename(self, source: str, target: str) -> None:
        self._disk.rename(source, target)

    @override
    def remove(self, path: str) -> None:
        self._disk.remove(path)

    @override
    def sync_directory(self, path: str) -> None:
        self._disk.sync_directory(path)

    @override
    def lock(self, path: str) -> Callable[[], None]:
        return self._disk.lock(path)
