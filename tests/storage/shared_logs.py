"""Helpers of the shared log's tests: one that is open, and its groups, which remember reports."""

import asyncio
from collections.abc import Mapping

from liferaft.errors import StorageError
from liferaft.raft.types import Entry, EntryId, HardState
from liferaft.storage.contents import EMPTY
from liferaft.storage.disk import Disk
from liferaft.storage.group_log import GroupLog
from liferaft.storage.recovery import Recovered
from liferaft.storage.shared_log import GROUP_TAIL_BYTES, SharedLog
from tests.storage.logs import DIRECTORY

NOTHING = Recovered(HardState(), 1, 0, (), (), None)


class OpenGroup:
    """A started group that remembers what it reported."""

    def __init__(self, log: GroupLog, recovered: Recovered) -> None:
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
        while not self.stored or self.stored[-1] != self.mark:
            self._changed.clear()
            await self._changed.wait()

    async def wait_failed(self) -> None:
        """Wait until the group was told that the log has failed."""
        while not self.failures:
            self._changed.clear()
            await self._changed.wait()

    async def store(self, entries: list[Entry], hard_state: HardState | None = None) -> None:
        """Append, and wait until it is stored."""
        self.append(entries, hard_state)
        await self.wait_stored()

    async def read_all(self, first: int | None = None) -> list[Entry]:
        """Return everything from `first` on, or from where the log began, read in pieces."""
        entries: list[Entry] = []
        index = first or self.recovered.first
        while piece := await self.log.read(index, 2**40, 100):
            entries += piece
            index = entries[-1].index + 1
        return entries


class OpenShared:
    """A started shared log."""

    def __init__(self, log: SharedLog, recovered: Mapping[str, Recovered]) -> None:
        self.log = log
        self.recovered = recovered
        self.groups: dict[str, OpenGroup] = {}
        self.failures: list[StorageError] = []
        log.start(on_failure=self.failures.append)
        for name in recovered:
            self.group(name)

    def group(self, name: str) -> OpenGroup:
        """Return a group of it, started."""
        if name not in self.groups:
            found = self.recovered.get(name, NOTHING)
            self.groups[name] = OpenGroup(self.log.group(name), found)
        return self.groups[name]

    def remove(self, name: str) -> None:
        """Remove a group; the next one of its name is new."""
        self.log.remove(name)
        self.groups.pop(name, None)
        self.recovered = {each: found for each, found in self.recovered.items() if each != name}

    def bury(self) -> None:
        """End the tasks of a process that is no more, so that they never write again."""
        for task in (self.log._writes.wal._writer, self.log._cleaning):
            assert task is not None
            task.cancel()


async def open_shared(
    disk: Disk,
    bases: Mapping[str, EntryId] | None = None,
    *,
    segment_bytes: int = 4096,
    tail_bytes: int = GROUP_TAIL_BYTES,
) -> OpenShared:
    """Open and start the shared log of the directory."""
    log, recovered = await SharedLog.open(
        disk, DIRECTORY, bases=bases or {}, segment_bytes=segment_bytes, tail_bytes=tail_bytes
    )
    return OpenShared(log, recovered)


async def read_shared(
    disk: Disk, bases: Mapping[str, EntryId] | None = None
) -> dict[str, tuple[HardState, list[Entry]]]:
    """Open a shared log, return what each group holds behind its base, and close it."""
    opened = await open_shared(disk, bases)
    found = {
        name: (group.recovered.hard_state, await group.read_all())
        for name, group in opened.groups.items()
    }
    await opened.log.close()
    covered = {name: (bases or {}).get(name, EMPTY).index for name in found}
    return {
        name: (hard_state, [each for each in entries if each.index > covered[name]])
        for name, (hard_state, entries) in found.items()
    }
