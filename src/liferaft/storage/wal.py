"""The write-ahead log: entries and hard state, appended in groups, one sync for each group.

`append` only queues. One task takes everything that waits, makes one record of it, writes it and
syncs it, reports it as stored, and takes what has gathered meanwhile: batches are made by what is
waiting, never by a timer. See records.py for the bytes and recovery.py for what a start makes of
them.

Invariants, checked before anything is queued (`InvariantViolated`): marks rise; indexes have no
gap; terms never fall; no entry is of a later term than the hard state appended with or before it;
the hard state never goes back.

Fields that only grow: the mark that is stored, the hard state's term.

What a snapshot covers is dropped, whole segments at a time; and where a snapshot that came from
elsewhere makes all of it void, the log begins anew behind that.

When the disk is full, writes wait and are tried again; nothing is lost and nothing is reported as
stored meanwhile. When anything else fails, the log is finished: nothing is written any more, and
no sync is ever tried again.
"""

import asyncio
import contextlib
import errno
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self

from msgspec.structs import replace

from liferaft.errors import DiskFailed, DiskFull, InvariantViolated, StorageError
from liferaft.raft.types import Entry, EntryId, HardState
from liferaft.storage.contents import EMPTY, Terms
from liferaft.storage.disk import Disk, ResultT
from liferaft.storage.groups import Group
from liferaft.storage.recovery import (
    OnRecord,
    Recovered,
    Recovery,
    hard_state_follows,
    recover,
)
from liferaft.storage.segment import (
    read_places,
)
from liferaft.storage.stored_log import LogStatistics, StoredLog

SEGMENT_BYTES = 64 * 1024 * 1024
"""The default size of a segment: making one costs two syncs, once in some 200,000 small entries."""

TAIL_BYTES = 4 * 1024 * 1024
"""The default bound of the tail that `open` returns: what the core keeps in memory anyway."""

RETRY_FULL_AFTER = 0.25
"""Seconds between two tries on a full disk: soon for whoever waits, and no load while full."""

SEAL_AFTER = 0.25
"""Seconds without a write before the last record is sealed: one more small write per pause.

Much shorter would double the writes of a node under light load; longer would widen the window of
which recovery.py tells.
"""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class _ClosedWhileFull(Exception):
    """The log is closing, and the disk is still full. Never leaves this module."""


class WriteAheadLog:
    """A log in a directory. Use from one event loop; one log per directory, see directory.py."""

    def __init__(
        self, disk: Disk, directory: str, recovery: Recovery, *, segment_bytes: int
    ) -> None:
        self._disk = disk
        self._directory = directory
        # What was appended, written or not.
        self._mark = 0
        self._hard_state = recovery.recovered.hard_state
        self._terms = recovery.terms
        self._queue: deque[Group] = deque()
        self._resets = 0
        # What is written and synced.
        self._stored = StoredLog(
            disk, directory, recovery, segment_bytes=segment_bytes, carry_out=self._try
        )
        self._covered = 0
        self._failure: StorageError | None = None
        self._blocked: DiskFull | None = None
        # How callers and the writer wake each other.
        self._writer: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[bool] | None = None
        self._written: list[asyncio.Future[None]] = []
        self._is_closing = False
        self._on_stored: Callable[[int], None] = _ignore
        self._on_failure: Callable[[StorageError], None] = _ignore
        self._on_blocked: Callable[[DiskFull | None], None] = _ignore

    @classmethod
    async def open(
        cls,
        disk: Disk,
        directory: str,
        *,
        base: EntryId | None = EMPTY,
        segment_bytes: int = SEGMENT_BYTES,
        tail_bytes: int = TAIL_BYTES,
        on_blocked: Callable[[DiskFull | None], None] | None = None,
        on_record: OnRecord | None = None,
    ) -> tuple[Self, Recovered]:
        """Return the log of a directory, made where absent, and what it holds.

        `base` is the last entry that a snapshot covers: a log that does not hold it is void, and
        begins behind it. With None it may begin anywhere, and the caller knows what may be missing.
        `on_blocked` is told, on the loop,
        when writes begin to wait for space, with the reason, and when they go on, with None.
        `on_record` gets each record that is found, in order, away from the loop.
        Raises `DamagedLog` when acknowledged entries may be missing: the node must not start.
        Raises `DiskFailed`. Call `start` next.
        """

        def work() -> Recovery:
            disk.make_directory(directory)
            return recover(disk, directory, base=base, tail_bytes=tail_bytes, on_record=on_record)

        recovery = await disk.run(work)
        log = cls(disk, directory, recovery, segment_bytes=segment_bytes)
        log._on_blocked = on_blocked or _ignore
        return log, recovery.recovered

    def start(
        self, *, on_stored: Callable[[int], None], on_failure: Callable[[StorageError], None]
    ) -> None:
        """Begin to write. Both are called on the loop, never from inside a method of the log.

        `on_stored(mark)` says that everything up to that append is on stable storage, and
        `on_failure`, at most once, that nothing will be written any more.
        """
        assert self._writer is None
        self._on_stored = on_stored
        self._on_failure = on_failure
        self._writer = asyncio.get_running_loop().create_task(self._write_all())

    def append(self, mark: int, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Queue a write; never blocks. The first entry replaces the log from its index on.

        Marks rise. After a failure or `close`, nothing is written and nothing reported.
        """
        self._check(mark, hard_state, entries)
        if self._failure is not None or self._is_closing:
            return
        if not self._queue or self._queue[-1].is_full:
            self._queue.append(Group())
        self._queue[-1].add(mark, hard_state, entries)
        if self._blocked is None:  # A full disk is tried at its own pace.
            self._wake_writer()

    def begin_anew(self, base: EntryId) -> None:
        """Make void what the log holds, and let it begin behind `base`; never blocks.

        A snapshot up to there must be on stable storage: a start from it finds the log void too,
        should this not have been written.
        """
        if base.term > self._hard_state.current_term:
            raise InvariantViolated(f"the log is to begin behind {base}, at {self._hard_state}")
        self._terms = Terms(first=base.index + 1, prior_term=base.term)
        if self._failure is not None or self._is_closing:
            return
        self._queue.append(Group(base))
        self._resets += 1
        if self._blocked is None:
            self._wake_writer()

    def compact(self, covered: int) -> None:
        """Drop segments that hold nothing above `covered`, which a stored snapshot covers.

        Never blocks. What is needed to read the rest is kept, so the log may begin below.
        """
        if covered > self._covered:
            self._covered = covered
            self._wake_writer()

    def _check(self, mark: int, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Hold the append against the module's invariants, and remember it."""
        if mark <= self._mark:
            raise InvariantViolated(f"mark {mark} was appended after mark {self._mark}")
        self._mark = mark
        if hard_state is not None:
            if not hard_state_follows(self._hard_state, hard_state):
                raise InvariantViolated(f"{hard_state} was appended after {self._hard_state}")
            self._hard_state = hard_state
        if not entries:
            return
        self._terms.take(entries)
        term = entries[-1].term
        if term > self._hard_state.current_term:
            raise InvariantViolated(
                f"entry {entries[-1].index} of term {term} before {self._hard_state}"
            )

    async def read(self, first: int, last: int, bytes_max: int) -> tuple[Entry, ...]:
        """Return entries from `first` up to `last`, as fit `bytes_max`, at least one.

        It may be fewer than would fit, for records are counted with their headers. What was
        appended but is not written yet is waited for. Empty when the log does not hold `first`: it
        was replaced, or lies below the log's beginning. Raises `DamagedLog` when the disk does not
        return what was written, and `DiskFailed`.
        """
        assert 1 <= first <= last
        while self._resets or self._stored.places.last < first <= self._terms.last:
            await self._next_write()
        if not self._terms.first <= first <= self._stored.places.last:
            return ()
        places = self._stored.places.between(first, min(last, self._stored.places.last), bytes_max)
        try:
            read = partial(read_places, self._disk, self._directory, places)
            entries = await self._disk.run(read)
        except StorageError:
            raise
        except OSError as error:
            raise DiskFailed(f"entry {first} could not be read: {error}") from error
        assert entries[0].index <= first <= entries[-1].index
        wanted = entries[first - entries[0].index : last + 1 - entries[0].index]
        return first_that_fit(wanted, bytes_max)

    async def _next_write(self) -> None:
        if self._failure is not None or self._is_closing or self._writer is None:
            raise DiskFailed("the entry was never written, for the log has ended")
        written = asyncio.get_running_loop().create_future()
        self._written.append(written)
        await written

    @property
    def blocked(self) -> DiskFull | None:
        """The full disk that writes wait for, None while there is space."""
        return self._blocked

    @property
    def is_blocked(self) -> bool:
        """Whether writes wait for space on the disk."""
        return self._blocked is not None

    @property
    def last_written(self) -> int:
        """The highest index that is on stable storage, but for what replaces it now."""
        return self._stored.places.last

    @property
    def written_bytes(self) -> int:
        """How much was written since the log was opened."""
        return self._stored.statistics.written_bytes

    def statistics(self) -> LogStatistics:
        """Return the counts so far."""
        return replace(
            self._stored.statistics,
            queued=sum(group.appends for group in self._queue),
            blocked_by=None if self._blocked is None else str(self._blocked),
        )

    async def close(self) -> None:
        """Write what is queued, seal the log and end. May be called again.

        On a disk that is full, one more try is made; what then is still queued was never reported
        as stored, and is dropped.
        """
        self._is_closing = True
        self._wake_writer()
        if self._writer is not None:
            await self._writer

    def _wake_writer(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(True)

    # The writer: one task, from `start` to `close`.

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await self._stored.begin()
            while group := await self._next_group():
                await self._store(group)
                if group.mark:
                    loop.call_soon(self._on_stored, group.mark)
        except DiskFailed as error:
            self._failure = error
            loop.call_soon(self._on_failure, error)
        except _ClosedWhileFull:
            self._failure = self._blocked
        except Exception as error:
            # Whatever ended the writer, the node must not believe that it still writes.
            self._failure = DiskFailed(f"the log in {self._directory} has ended: {error!r}")
            loop.call_soon(self._on_failure, self._failure)
            raise
        finally:
            self._is_closing = True
            self._queue.clear()
            self._tell_readers()
            # All that was reported is synced, so a close that fails loses nothing.
            with contextlib.suppress(OSError):
                await self._stored.close()

    async def _store(self, group: Group) -> None:
        if group.base is not None:
            await self._stored.begin_segment(group.base)
        await self._stored.write(group)
        self._resets -= group.base is not None
        self._tell_readers()

    async def _next_group(self) -> Group | None:
        """Wait for the next group; an empty one is a seal. None when the log is to end."""
        await self._stored.drop(self._covered, self._terms)
        while not self._queue:
            if self._is_closing:
                return None if self._stored.is_sealed else Group()
            if await self._is_idle(None if self._stored.is_sealed else SEAL_AFTER):
                return Group()
            await self._stored.drop(self._covered, self._terms)
        return self._queue.popleft()

    async def _is_idle(self, seconds: float | None) -> bool:
        """Wait until there is something to do, or return True after that many seconds."""
        loop = asyncio.get_running_loop()
        wake = self._wake = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _wake_up, wake)
        try:
            return not await wake
        finally:
            self._wake = None
            if timer is not None:
                timer.cancel()

    def _tell_readers(self) -> None:
        waiting, self._written = self._written, []
        for written in waiting:
            if not written.done():
                written.set_result(None)

    async def _try(self, work: Callable[[], ResultT]) -> ResultT:
        """Carry out `work` until it succeeds or fails for another reason than a full disk.

        All that is given here can be repeated from its beginning: it writes the same bytes to the
        same place, and nothing has been synced in between.
        """
        while True:
            try:
                result = await self._disk.run(work)
            except DiskFailed:
                raise
            except OSError as error:
                if error.errno not in _FULL:
                    raise DiskFailed(f"{self._directory} could not be written: {error}") from error
                if self._blocked is None:
                    self._set_blocked(
                        DiskFull(
                            f"no space is left for the log in {self._directory}: nothing is lost,"
                            " and writes go on by themselves when there is space again"
                        )
                    )
                if self._is_closing:
                    raise _ClosedWhileFull from error
                await self._is_idle(RETRY_FULL_AFTER)
            else:
                if self._blocked is not None:
                    self._set_blocked(None)
                return result

    def _set_blocked(self, blocked: DiskFull | None) -> None:
        self._blocked = blocked
        asyncio.get_running_loop().call_soon(self._on_blocked, blocked)


def _wake_up(wake: asyncio.Future[bool]) -> None:
    """End a wait whose time has passed, with False: nobody had anything to do."""
    if not wake.done():
        wake.set_result(False)


def _ignore(_: object) -> None:
    """Stand in for the callbacks until `start` is given them."""


def first_that_fit(entries: Sequence[Entry], bytes_max: int) -> tuple[Entry, ...]:
    """Return the first entries whose data fits `bytes_max`, at least one."""
    total = 0
    for count, entry in enumerate(entries):
        total += len(entry.data)
        if total > bytes_max and count > 0:
            return tuple(entries[:count])
    return tuple(entries)
