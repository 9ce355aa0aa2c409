"""One log on one disk for many groups of a process: they share each write and each sync.

A log in a log. The physical one is an ordinary write-ahead log (wal.py), from which come the
checksums, the torn tail that is cut and the damage that is refused, the writes in groups, and what
a full or failing disk does. Each of its entries, a *write*, is an append of one group, or something
else that changes what counts of a group (group_records.py). Each group has a `GroupLog`, which its
driver uses as if it had the disk to itself.

What a start makes of it: group_recovery.py. How the log stays short though its groups do not
compact at the same time: cleaning.py.

A failure ends all groups: what a failed sync has lost, nobody knows.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Self

from liferaft.errors import DamagedLog, DiskFailed, DiskFull, StorageError
from liferaft.raft.types import Entry, EntryId, HardState
from liferaft.storage.cleaning import Cleaner, Occupancy
from liferaft.storage.contents import Terms
from liferaft.storage.disk import Disk
from liferaft.storage.extents import Extents
from liferaft.storage.group_log import GroupLog
from liferaft.storage.group_records import NAME_BYTES_MAX, WriteKind, encode_write
from liferaft.storage.group_recovery import BEGINS_LATE, GroupContents, Replay
from liferaft.storage.ledger import Ledger
from liferaft.storage.recovery import Recovered, entries_that_fit
from liferaft.storage.segment import damaged, segment_numbers, segment_path
from liferaft.storage.shared_writes import Writes
from liferaft.storage.stored_log import LogStatistics
from liferaft.storage.wal import SEGMENT_BYTES, WriteAheadLog

GROUP_TAIL_BYTES = 64 * 1024
"""The default bound of the tail that `open` returns for each group: a thousand hold 64 MB."""

_ALL_BYTES = 2**62
"""No bound."""

_STEPS_PER_SEGMENT = 4
"""How finely is known how long the log is: it is dropped by whole segments."""


class SharedLog:
    """The logs of many groups in a directory. Use from one event loop."""

    def __init__(
        self,
        writes: Writes,
        contents: Mapping[str, GroupContents],
        *,
        segment_bytes: int,
        floor: int,
    ) -> None:
        self._writes = writes
        self._groups = {name: GroupLog(name, writes, each) for name, each in contents.items()}
        self._cleaner = Cleaner(writes, self._groups, segment_bytes=segment_bytes, floor=floor)
        self._cleaning: asyncio.Task[None] | None = None
        self._failure: StorageError | None = None
        self._is_closed = False
        self._on_failure: Callable[[StorageError], None]

    @classmethod
    async def open(
        cls,
        disk: Disk,
        directory: str,
        *,
        bases: Mapping[str, EntryId],
        segment_bytes: int = SEGMENT_BYTES,
        tail_bytes: int = GROUP_TAIL_BYTES,
        on_blocked: Callable[[DiskFull | None], None] | None = None,
    ) -> tuple[Self, Mapping[str, Recovered]]:
        """Return the log of a directory, made where absent, and what it holds of each group.

        `bases` are the last entries that the groups' newest stored snapshots cover, `EMPTY` where
        there is none: a group's log that does not hold it is void, and begins behind it. A group
        that the log does not know is empty, behind its base. One that has no base is told as it
        is, wherever it begins: its removal may not have been written. `tail_bytes` is for each
        group.
        `on_blocked` is told, on the loop, when writes begin to wait for space, with the reason, and
        when they go on, with None. Raises `DamagedLog` when acknowledged entries of any group may
        be missing: the node must not start. Raises `DiskFailed`. Call `start` next.
        """
        ledger = Ledger(step_bytes=segment_bytes // _STEPS_PER_SEGMENT)
        replay = Replay(tail_bytes=tail_bytes, ledger=ledger)
        wal, physical = await WriteAheadLog.open(
            disk,
            directory,
            base=None,
            segment_bytes=segment_bytes,
            tail_bytes=1,
            on_blocked=on_blocked,
            on_record=replay.take,
        )
        if physical.first > replay.floor + 1:
            raise await disk.run(lambda: _begins_late(disk, directory))
        contents = replay.contents(directory, bases)
        ledger.begin_at(replay.floor + 1)
        is_new = physical.hard_state == HardState()
        writes = Writes(wal, ledger, last=physical.last, is_new=is_new)
        log = cls(writes, contents, segment_bytes=segment_bytes, floor=replay.floor)
        wal.compact(replay.floor)
        recovered: dict[str, Recovered] = {}
        for name, each in contents.items():
            tail = each.tail
            if tail is None:
                tail = await log._read_tail(name, each.places, tail_bytes)
            recovered[name] = each.recovered(tail, physical.torn)
            if each.void_before is not None:
                log._groups[name].begin_anew(each.void_before)
        return log, recovered

    async def _read_tail(self, name: str, places: Extents, tail_bytes: int) -> tuple[Entry, ...]:
        size_bytes = tail_bytes
        while True:
            first = places.tail_first(size_bytes)
            entries = await self._groups[name].read(first, places.last, _ALL_BYTES)
            if first == places.first or sum(len(each.data) for each in entries) > tail_bytes:
                return entries_that_fit(entries, tail_bytes)
            # Writes count more than the data in them: further back there is more that fits.
            size_bytes *= 2

    def start(self, *, on_failure: Callable[[StorageError], None]) -> None:
        """Begin to write. `on_failure` is called on the loop, at most once, as that of each group.

        It says that nothing will be written any more.
        """
        self._on_failure = on_failure
        self._writes.start(self._fail)
        self._writes.let_go()
        self._cleaning = asyncio.get_running_loop().create_task(self._clean())

    def group(self, name: str) -> GroupLog:
        """Return the log of a group, a new and empty one if there is none."""
        group = self._groups.get(name)
        if group is None:
            if not 0 < len(name.encode()) <= NAME_BYTES_MAX:
                raise ValueError(f"the name of a group has 1 to {NAME_BYTES_MAX} bytes: {name!r}")
            group = self._groups[name] = GroupLog(name, self._writes, _nothing())
            if self._failure is not None:
                group.fail(self._failure)
            elif self._is_closed:
                group.close()
        return group

    def remove(self, name: str) -> None:
        """Forget a group for good; never blocks.

        Its log writes and reports nothing any more. Should this not have been written when the
        power fails, the group is there again; but never once a later group of that name was. Who
        gives the name away again, with another base, first awaits `wait_stored`.
        """
        group = self._groups.pop(name, None)
        if group is None:
            return
        group.remove()
        if self._failure is None and not self._is_closed:
            self._writes.write(encode_write(WriteKind.REMOVED, name.encode()), _ignore)
            self._writes.let_go()

    async def wait_stored(self) -> None:
        """Wait until all that was queued, removals too, is on stable storage.

        Raises `DiskFailed` when it will never be.
        """
        await self._writes.wait_stored()

    @property
    def blocked(self) -> DiskFull | None:
        """The full disk that writes wait for, None while there is space."""
        return self._writes.wal.blocked

    @property
    def is_blocked(self) -> bool:
        """Whether writes wait for space on the disk."""
        return self._writes.wal.is_blocked

    @property
    def written_bytes(self) -> int:
        """How much was written since the log was opened."""
        return self._writes.wal.written_bytes

    def statistics(self) -> LogStatistics:
        """Return the counts of the physical log so far.

        Its entries are the writes of the groups, an append of it what they wrote in one turn.
        """
        return self._writes.wal.statistics()

    def occupancy(self) -> Occupancy:
        """Return how much of the log counts."""
        return self._cleaner.occupancy()

    async def close(self) -> None:
        """Write what is queued and end, as `WriteAheadLog.close` does. May be called again."""
        self._is_closed = True
        for group in self._groups.values():
            group.close()
        try:
            if self._cleaning is not None:
                self._cleaning.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._cleaning
        finally:
            await self._writes.close()

    async def _clean(self) -> None:
        try:
            await self._cleaner.run()
        except StorageError as error:
            self._fail(error)
        except Exception as error:
            # Whatever ended it, a log that grows without bound is no log.
            self._fail(DiskFailed(f"the shared log has ended: {error!r}"))
            raise

    def _fail(self, error: StorageError) -> None:
        """End all groups, once."""
        if self._failure is not None:
            return
        self._failure = error
        self._writes.fail()
        for group in self._groups.values():
            group.fail(error)
        if self._cleaning is not None and self._cleaning is not asyncio.current_task():
            self._cleaning.cancel()
        asyncio.get_running_loop().call_soon(self._on_failure, error)


def _nothing() -> GroupContents:
    """Return what a new group holds."""
    return GroupContents(
        hard_state=HardState(),
        hard_state_write=0,
        terms=Terms(first=1, prior_term=0),
        places=Extents(first=1),
        configurations=(),
        tail=(),
    )


def _begins_late(disk: Disk, directory: str) -> DamagedLog:
    """Return the error for a log whose beginning was not dropped, and is missing."""
    path = segment_path(directory, segment_numbers(disk.names(directory))[0])
    return damaged(directory, path=path, offset=0, last=0, what=BEGINS_LATE)


def _ignore() -> None:
    """Stand in for the report of a write that nobody waits for."""
