"""Helpers of the storage tests: a log that is open, and entries to fill it."""

import asyncio
from collections.abc import Callable

from liferaft.errors import StorageError
from liferaft.raft.types import Entry, EntryKind, HardState
from liferaft.storage.disk import Disk
from liferaft.storage.recovery import Recovered
from liferaft.storage.wal import WriteAheadLog

DIRECTORY = "/data"


def make_entries(first: int, last: int, *, term: int = 1, data_bytes: int = 20) -> list[Entry]:
    """Return entries whose data tells their term and index."""
    return [
        Entry(term, index, EntryKind.COMMAND, (b"%d/%d" % (term, index)).ljust(data_bytes))
        for index in range(first, last + 1)
    ]


class OpenLog:
    """A started log that remembers what it reported."""

    def __init__(self, log: WriteAheadLog, recovered: Recovered) -> None:
        self.log = log
        self.recovered = recovered
        self.stored: list[int] = []
        self.failures: list[StorageError] = []
        self.mark = 0
        self._changed = asyncio.Event()
        log.start(on_stored=self._on_stored, on_failure=self._on_failure)

    def _on_stored(self, mark: int) -> None:
        self.stored.append(mark)
        self._changed.set()

    def _on_failure(self, error: StorageError) -> None:
        self.failures.append(error)
        self._changed.set()

    def append(self, entries: list[Entry], hard_state: HardState | None = None) -> int:
        """Queue an append under the next mark and return that."""
        self.mark += 1
        self.log.append(self.mark, hard_state, entries)
        return self.mark

    async def wait_stored(self) -> None:
        """Wait until everything that was appended is reported as stored."""
        await self._wait(lambda: bool(self.stored) and self.stored[-1] == self.mark)

    async def wait_failed(self) -> None:
        """Wait until the log has reported its failure."""
        await self._wait(lambda: bool(self.failures))

    async def _wait(self, is_reached: Callable[[], bool]) -> None:
        while not is_reached():
            self._changed.clear()
            await self._changed.wait()

    async def store(self, entries: list[Entry], hard_state: HardState | None = None) -> None:
        """Append, and wait until it is stored."""
        self.append(entries, hard_state)
        await self.wait_stored()

    async def read_all(self) -> list[Entry]:
        """Return everything that is stored, read in pieces."""
        entries: list[Entry] = []
        index = self.recovered.first
        while piece := await self.log.read(index, 2**40, 100):
            entries += piece
            index = entries[-1].index + 1
        return entries


async def open_log(disk: Disk, directory: str = DIRECTORY, *, segment_bytes: int = 4096) -> OpenLog:
    """Open and start the log of a directory."""
    log, recovered = await WriteAheadLog.open(disk, directory, segment_bytes=segment_bytes)
    return OpenLog(log, recovered)


async def read_log(disk: Disk, directory: str = DIRECTORY) -> tuple[Recovered, list[Entry]]:
    """Open a log, return what it holds, and close it."""
    opened = await open_log(disk, directory)
    entries = await opened.read_all()
    await opened.log.close()
    return opened.recovered, entries
