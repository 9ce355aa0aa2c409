"""The snapshots on one node's disk: written aside, put in place whole, the last two kept.

A write takes time, longer for a larger state or a slow disk. It can fail, which harms nothing. A
crash leaves what was there before; a snapshot that was in place already, and not reported yet, may
be there as well. Of a snapshot that was being fetched any prefix is left.
"""

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

import msgspec

from liferaft.raft.types import Snapshot
from liferaft.sim.core_marks import Marks
from liferaft.sim.scheduler import Scheduler

KEPT: Final = 2
"""How many snapshots stay: an older one can still be fetched by who was offered it."""

WRITE_LATENCY: Final = 0.002

STUCK_LATENCY: Final = 0.02
"""Seconds until a disk that is stuck is looked at again."""


class SnapshotPace(msgspec.Struct, frozen=True):
    """How often snapshots are taken, and how long they take.

    `every` is in applied entries, 0 for never. `bytes_per_second` may be so low that the small
    states of a simulation take as long as large ones do in earnest. `chunks_max` is in how many
    pieces one is fetched at most.
    """

    every: int = 0
    bytes_per_second: int = 200_000
    chunks_max: int = 4


class StoredSnapshot(msgspec.Struct, frozen=True):
    """A snapshot and the state that it is of, encoded."""

    snapshot: Snapshot
    state: bytes


class DiskHealth(Protocol):
    """How the disk is that the snapshots are on."""

    latency_max: float

    @property
    def is_stuck(self) -> bool:
        """Whether no write ends at present."""


class SnapshotShelf:
    """What outlives the node's crashes. `partial` is what was fetched of a snapshot so far.

    While `is_failing` is set, every write fails; each takes `delay` seconds more.
    """

    def __init__(
        self, scheduler: Scheduler, host: int, random: Random, health: DiskHealth, marks: Marks
    ) -> None:
        self.is_failing = False
        self.delay = 0.0
        self.pace = SnapshotPace()
        self.partial: StoredSnapshot | None = None
        self._held: list[StoredSnapshot] = []
        self._scheduler = scheduler
        self._host = host
        self._random = random
        self._health = health
        self._marks = marks
        self._life = 0
        self._writing: list[tuple[StoredSnapshot, Callable[[bool], None]]] = []

    @property
    def newest(self) -> StoredSnapshot | None:
        """The one that covers most, None when there is none."""
        return self._held[-1] if self._held else None

    def find(self, snapshot: Snapshot) -> bytes | None:
        """Return the state of a snapshot, None when it is not here, or not any more."""
        return next((held.state for held in self._held if held.snapshot == snapshot), None)

    def write(self, stored: StoredSnapshot, done: Callable[[bool], None]) -> None:
        """Store a snapshot, and tell whether that went well; nothing is told after a crash."""
        self._writing.append((stored, done))
        seconds = WRITE_LATENCY + self.delay + len(stored.state) / self.pace.bytes_per_second
        seconds += self._health.latency_max * self._random.random()
        self._look_after(seconds)

    def calm(self) -> None:
        """Undo every fault."""
        self.is_failing, self.delay = False, 0.0

    def crash(self) -> None:
        """End a life: a write under way is lost, unless the snapshot is in place already."""
        self._life += 1
        writing, self._writing = self._writing, []
        for stored, _ in writing:
            if self._random.random() < 0.4:
                self._marks["snapshot survived a crash, unreported"] += 1
                self._put(stored)
            else:
                self._marks["snapshot lost in a crash"] += 1
        if self.partial is not None:
            kept = self._random.randint(0, len(self.partial.state))
            self.partial = StoredSnapshot(self.partial.snapshot, self.partial.state[:kept])

    def _look_after(self, seconds: float) -> None:
        at = self._scheduler.now + seconds
        self._scheduler.at(at, self._host, self._written, self._life)

    def _written(self, life: int) -> None:
        if life != self._life:
            return
        if self._health.is_stuck:
            self._look_after(STUCK_LATENCY)
            return
        stored, done = self._writing.pop(0)
        if self.is_failing:
            self._marks["snapshot write failed"] += 1
            done(False)
            return
        self._put(stored)
        done(True)

    def _put(self, stored: StoredSnapshot) -> None:
        index = stored.snapshot.index
        self._held = [held for held in self._held if held.snapshot.index != index]
        self._held.append(stored)
        self._held.sort(key=lambda held: held.snapshot.index)
        # Later ones may be here that were fetched, and not wanted any more when they were.
        self._held = [held for held in self._held[:-KEPT] if held is stored] + self._held[-KEPT:]
