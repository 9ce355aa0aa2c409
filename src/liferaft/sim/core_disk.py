"""One node's disk at the granularity of `Persist`: what storage/wal.py promises, and its failures.

Writes take time. All that waits when a write begins is written with it, as the real log does. A
crash keeps any prefix of what was not reported as stored yet; after a failed sync nothing is
reported any more and the node must end.
"""

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from liferaft.raft.effects import Persist, ReadEntries
from liferaft.raft.log import LogSummary
from liferaft.raft.types import Entry, HardState, TermRun
from liferaft.sim.core_marks import Marks
from liferaft.sim.scheduler import Scheduler

LATENCY: Final = 0.0008
LATENCY_MAX: Final = 0.0015
"""Seconds that a write and its sync take, as a rule and at most, on a disk that is well."""

READ_LATENCY: Final = 0.0005


class DiskUser(Protocol):
    """Who writes: one life of a node."""

    def stored(self, mark: int) -> None:
        """Learn that everything up to this mark is on stable storage."""

    def entries_read(self, first: int, entries: tuple[Entry, ...]) -> None:
        """Take what was asked for."""

    def disk_failed(self) -> None:
        """Learn that nothing will be written any more."""


class CoreDisk:
    """Term, vote and log of one node; they outlive its crashes."""

    def __init__(
        self, scheduler: Scheduler, host: int, random: Random, *, jitter: float, marks: Marks
    ) -> None:
        self.latency_max = LATENCY_MAX
        self.is_sync_failing = False
        self.is_read_failing = False
        self.hard_state = HardState()
        self.log: Final[list[Entry]] = []
        self._scheduler = scheduler
        self._host = host
        self._draw: Final[Callable[[], float]] = random.random
        self._random = random
        self._jitter = jitter
        self._marks = marks
        self._user: DiskUser | None = None
        self._stuck = 0
        self._life = 0
        self._queue: list[Persist] = []
        self._writing = 0
        self._is_due = False
        self._reads: list[ReadEntries] = []

    def open(self, user: DiskUser) -> tuple[HardState, LogSummary]:
        """Begin a life: return what is stored. Of the last entries, some are given at once."""
        assert not self._queue, "the life before has ended"
        self._user = user
        log = self.log
        kept = self._random.choice((0, 1, 8, len(log)))
        tail = tuple(log[max(len(log) - kept, 0) :])
        return self.hard_state, LogSummary(first=1, last=len(log), runs=_runs(log), tail=tail)

    def append(self, write: Persist) -> None:
        """Queue a write."""
        self._queue.append(write)
        if not self._writing:
            self._begin()

    def is_writing(self, index: int) -> bool:
        """Return whether an entry at `index` or above is queued and not reported as stored."""
        return any(write.entries and write.entries[-1].index >= index for write in self._queue)

    def read(self, request: ReadEntries) -> None:
        """Read entries; what is not written yet is waited for."""
        at = self._scheduler.now + READ_LATENCY * (1 + self._draw())
        self._scheduler.at(at, self._host, self._read, (self._life, request))

    def crash(self) -> None:
        """End a life: of what was not reported as stored, any prefix is there afterwards."""
        queue, self._queue = self._queue, []
        self._life += 1
        self._writing, self._is_due, self._reads = 0, False, []
        self._user = None
        self.is_sync_failing = self.is_read_failing = False
        if not queue:
            return
        kept = 0 if self._draw() < 0.5 else self._random.randint(0, len(queue))
        self._marks["writes lost in a crash" if kept < len(queue) else "no write lost"] += 1
        if kept:
            self._marks["unreported write survived a crash"] += 1
        for write in queue[:kept]:
            self._store(write)

    def stick(self) -> None:
        """Let no write end until `release` was called as often."""
        self._stuck += 1

    def be_quick(self) -> None:
        """Let writes take no longer than at the beginning."""
        self.latency_max = LATENCY_MAX

    def calm(self) -> None:
        """Undo every fault."""
        self.be_quick()
        self.is_sync_failing = self.is_read_failing = False
        self._stuck = 1
        self.release()

    def release(self) -> None:
        """Let writes end again, once nobody holds them any more."""
        self._stuck -= 1
        if self._is_due and not self._stuck:
            self._is_due = False
            self._scheduler.at(self._scheduler.now, self._host, self._written, self._life)

    def _begin(self) -> None:
        self._writing = len(self._queue)
        if self._writing > 1:
            self._marks["several writes with one sync"] += 1
        draw, latency = self._draw, LATENCY
        if self.latency_max > LATENCY_MAX or draw() < self._jitter:
            latency = self.latency_max * draw()
        self._scheduler.at(self._scheduler.now + latency, self._host, self._written, self._life)

    def _written(self, life: int) -> None:
        if life != self._life:
            return
        if self._stuck:
            self._is_due = True
            return
        assert self._user is not None
        if self.is_sync_failing:
            self._marks["sync failed"] += 1
            self._user.disk_failed()
            return
        done = self._queue[: self._writing]
        del self._queue[: self._writing]
        self._writing = 0
        for write in done:
            self._store(write)
        self._user.stored(done[-1].mark)
        if self._queue:
            self._begin()
        reads, self._reads = self._reads, []
        for request in reads:
            self.read(request)

    def _store(self, write: Persist) -> None:
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.entries:
            first = write.entries[0].index
            assert first <= len(self.log) + 1
            self.log[first - 1 :] = write.entries

    def _read(self, of_life: tuple[int, ReadEntries]) -> None:
        life, request = of_life
        if life != self._life:
            return
        assert self._user is not None
        if self.is_read_failing:
            self._marks["read failed"] += 1
            self._user.disk_failed()
        elif request.first > len(self.log) and self._queue:
            self._marks["a read waited for a write"] += 1
            self._reads.append(request)
        else:
            entries = self._that_fit(request)
            self._marks["entries read from disk" if entries else "entries to read were gone"] += 1
            self._user.entries_read(request.first, entries)

    def _that_fit(self, request: ReadEntries) -> tuple[Entry, ...]:
        """Return as many as fit, at least one, and now and then fewer: the real log may too."""
        size_bytes = 0
        found: list[Entry] = []
        for entry in self.log[request.first - 1 : request.last]:
            size_bytes += len(entry.data)
            if found and (size_bytes > request.bytes_max or self._draw() < 0.1):
                break
            found.append(entry)
        return tuple(found)


def _runs(log: list[Entry]) -> tuple[TermRun, ...]:
    runs: list[TermRun] = []
    term = 0
    for entry in log:
        if entry.term != term:
            term = entry.term
            runs.append(TermRun(term, entry.index))
    return tuple(runs)
