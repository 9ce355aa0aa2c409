"""One node's disk at the granularity of `Persist`: what storage/wal.py promises, and its failures.

Writes take time. All that waits when a write begins is written with it, as the real log does. A
crash keeps any prefix of what was not reported as stored yet; after a failed sync nothing is
reported any more and the node must end.

The log may begin behind a snapshot (core_shelf.py has those). When a snapshot was installed that
the log does not meet, the log is void: that is written as everything else is, in its order, and
found out at the next start when a crash came first.
"""

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

import msgspec

from liferaft.raft.effects import Persist, ReadEntries
from liferaft.raft.log import LogSummary
from liferaft.raft.types import CONFIGURATION, Entry, HardState, Snapshot, TermRun
from liferaft.sim.core_marks import Marks
from liferaft.sim.core_shelf import SnapshotShelf, StoredSnapshot
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


class Reset(msgspec.Struct, frozen=True):
    """The log is void and begins behind this; `mark` is that of the write before it."""

    mark: int
    snapshot: Snapshot


class Contents(msgspec.Struct, frozen=True):
    """What a disk holds when a node starts."""

    hard_state: HardState
    log: LogSummary
    stored: StoredSnapshot | None


class CoreDisk:
    """Term, vote, log and snapshots of one node; they outlive its crashes.

    `log` begins behind the entry at `base_index`, which was of `base_term`.
    """

    def __init__(
        self, scheduler: Scheduler, host: int, random: Random, *, jitter: float, marks: Marks
    ) -> None:
        self.latency_max = LATENCY_MAX
        self.is_sync_failing = False
        self.is_read_failing = False
        self.hard_state = HardState()
        self.log: Final[list[Entry]] = []
        self.base_index = self.base_term = 0
        self.snapshots: Final = SnapshotShelf(scheduler, host, random, self, marks)
        self._scheduler = scheduler
        self._host = host
        self._draw: Final[Callable[[], float]] = random.random
        self._random = random
        self._jitter = jitter
        self._marks = marks
        self._user: DiskUser | None = None
        self._stuck = 0
        self._life = 0
        self._queue: list[Persist | Reset] = []
        self._last_mark = 0
        self._writing = 0
        self._is_due = False
        self._reads: list[ReadEntries] = []

    @property
    def last_index(self) -> int:
        """The last entry of the log, or the one before its first."""
        return self.base_index + len(self.log)

    @property
    def is_stuck(self) -> bool:
        """Whether no write ends at present."""
        return self._stuck > 0

    def open(self, user: DiskUser) -> Contents:
        """Begin a life: return what is stored. Of the last entries, some are given at once."""
        assert not self._queue, "the life before has ended"
        self._user = user
        self._last_mark = 0
        stored = self.snapshots.newest
        if stored is not None and not self._meets(stored.snapshot):
            self._marks["log void at a start"] += 1
            self._reset(stored.snapshot)
        log = self.log
        kept = self._random.choice((0, 1, 8, len(log)))
        summary = LogSummary(
            first=self.base_index + 1,
            last=self.last_index,
            runs=_runs(log),
            tail=tuple(log[max(len(log) - kept, 0) :]),
            prior_term=self.base_term,
            configurations=tuple(e for e in log if e.kind == CONFIGURATION),
        )
        return Contents(self.hard_state, summary, stored)

    def append(self, write: Persist) -> None:
        """Queue a write."""
        self._last_mark = write.mark
        self._queue.append(write)
        if not self._writing:
            self._begin()

    def reset(self, snapshot: Snapshot) -> None:
        """Let the log be void, and begin behind a snapshot, once what is queued is written."""
        self._queue.append(Reset(self._last_mark, snapshot))
        if not self._writing:
            self._begin()

    def compact(self, index: int) -> None:
        """Drop entries up to `index`, or some of them: the real log drops whole files."""
        assert index <= self.last_index, "only what is stored is compacted"
        self._marks["log compacted"] += 1
        if self._draw() < 0.5:
            index = self._random.randint(self.base_index, max(index, self.base_index))
        if index > self.base_index:
            self.base_term = self.log[index - self.base_index - 1].term
            del self.log[: index - self.base_index]
            self.base_index = index

    def is_writing(self, index: int) -> bool:
        """Return whether an entry at `index` or above is queued and not reported as stored."""
        return any(
            isinstance(write, Persist) and write.entries and write.entries[-1].index >= index
            for write in self._queue
        )

    def read(self, request: ReadEntries) -> None:
        """Read entries; what is not written yet is waited for."""
        at = self._scheduler.now + READ_LATENCY * (1 + self._draw())
        self._scheduler.at(at, self._host, self._read, (self._life, request))

    def crash(self) -> None:
        """End a life: of what was not reported as stored, any prefix is there afterwards."""
        queue, self._queue = self._queue, []
        self._life += 1
        self.snapshots.crash()
        self._writing, self._is_due, self._reads = 0, False, []
        self._user = None
        self.is_sync_failing = self.is_read_failing = False
        if not queue:
            return
        kept = 0 if self._draw() < 0.5 else self._random.randint(0, len(queue))
        self._marks["writes lost in a crash" if kept < len(queue) else "no write lost"] += 1
        if any(isinstance(write, Reset) for write in queue[kept:]):
            self._marks["log not reset before a crash"] += 1
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
        self.snapshots.calm()
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

    def _store(self, write: Persist | Reset) -> None:
        # For a Struct's class, a negative isinstance costs four times as much as this.
        if type(write) is not Persist:
            assert isinstance(write, Reset)
            self._reset(write.snapshot)
            return
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.entries:
            place = write.entries[0].index - self.base_index - 1
            assert 0 <= place <= len(self.log)
            self.log[place:] = write.entries

    def _reset(self, snapshot: Snapshot) -> None:
        self.log.clear()
        self.base_index, self.base_term = snapshot.index, snapshot.term

    def _meets(self, snapshot: Snapshot) -> bool:
        """Return whether the log holds the entry that a snapshot ends with, or begins behind it."""
        place = snapshot.index - self.base_index
        if place <= 0:  # a log that begins later still is for the core to refuse
            return place < 0 or self.base_term == snapshot.term
        return place <= len(self.log) and self.log[place - 1].term == snapshot.term

    def _read(self, of_life: tuple[int, ReadEntries]) -> None:
        life, request = of_life
        if life != self._life:
            return
        assert self._user is not None
        if self.is_read_failing:
            self._marks["read failed"] += 1
            self._user.disk_failed()
        elif request.first > self.last_index and self._queue:
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
        base_index = self.base_index
        if request.first <= base_index:
            return ()
        for entry in self.log[request.first - base_index - 1 : request.last - base_index]:
            size_bytes += len(entry.data)
            if found and (size_bytes > request.bytes_max or self._draw() < 0.1):
                break
            found.append(entry)
        return tuple(found)


def _runs(log: list[Entry]) -> tuple[TermRun, ...]:
    """Return the runs of terms; the first begins with the first entry."""
    runs: list[TermRun] = []
    term = 0
    for entry in log:
        if entry.term != term:
            term = entry.term
            runs.append(TermRun(term, entry.index))
    return tuple(runs)
