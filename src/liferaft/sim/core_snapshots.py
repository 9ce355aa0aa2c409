"""What one life of a node does with snapshots: takes, stores, fetches and restores them.

A snapshot is taken every so many applied entries, drawn anew each time; by some nodes so seldom
that their logs are nearly whole. Fetching goes in chunks,
one asked for after the other; one that does not come is asked for again, from where it stopped, and
so it goes on after a crash, and with another source that has the very same snapshot.
"""

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from liferaft.raft.core import RaftCore
from liferaft.raft.effects import FetchSnapshot
from liferaft.raft.events import Event, SnapshotFetched, SnapshotLost, SnapshotStored
from liferaft.raft.types import Snapshot
from liferaft.sim.core_machine import RegisterMachine
from liferaft.sim.core_shelf import StoredSnapshot

if TYPE_CHECKING:
    from liferaft.sim.core_host import Machine, Surroundings

FETCH_TIMEOUT: Final = 0.05
"""Seconds until a chunk is asked for again."""

TRIES_MAX: Final = 6
"""So many chunks in a row that do not come, and the snapshot is lost."""

NEVER: Final = 2**62


class Owner(Protocol):
    """The life of a node whose snapshots these are."""

    events: list[Event]
    applied_index: int
    registers: RegisterMachine

    @property
    def core(self) -> RaftCore:
        """What says of which term and members a snapshot is."""


@dataclass(slots=True)
class _Fetch:
    """What is fetched. `attempt` is that of the chunk asked for last; 0 once all are here."""

    effect: FetchSnapshot
    state: bytearray
    attempt: int = 0
    tries: int = 0


@dataclass(slots=True)
class _Chunk:
    """An answer: a piece of the state, None when the source does not have the snapshot."""

    attempt: int
    piece: bytes | None


class Snapshots:
    """`due_at` is the index at which the next snapshot is taken."""

    def __init__(self, machine: "Machine", around: "Surroundings", owner: Owner) -> None:
        self.due_at = NEVER
        self._machine = machine
        self._around = around
        self._owner = owner
        self._shelf = machine.disk.snapshots
        self._random = machine.snapshot_random
        self._pace = around.pace
        self._every = machine.snapshot_every
        self._marks = around.marks
        self._is_over = False
        self._is_taking = False
        self._fetch: _Fetch | None = None
        self._attempts = 0
        self._put_off()

    def end(self) -> None:
        """End with the life; what is on the disk stays."""
        self._is_over = True

    # Taking.

    def take(self) -> None:
        """Take a snapshot of what is applied now, unless one is being written."""
        self._put_off()
        if self._is_taking:
            return
        core, index = self._owner.core, self._owner.applied_index
        configuration = core.configuration_at(index)
        if not configuration.voters:
            return  # a node that was added does not know yet whose members it has applied so far
        self._is_taking = True
        state = self._owner.registers.encoded()
        snapshot = Snapshot(
            index,
            core.term_at(index),
            configuration,
            size_bytes=len(state),
            checksum=zlib.crc32(state),
        )
        self._around.watcher.saw_snapshot(self._machine, snapshot, state)
        self._shelf.write(StoredSnapshot(snapshot, state), lambda ok: self._taken(snapshot, ok))

    def _taken(self, snapshot: Snapshot, is_stored: bool) -> None:
        self._is_taking = False
        if is_stored:
            self._marks["snapshot taken"] += 1
            self._owner.events.append(SnapshotStored(snapshot))

    def _put_off(self) -> None:
        if self._every:
            distance = self._random.randint(self._every // 2, self._every * 2)
            self.due_at = self._owner.applied_index + distance

    # Restoring.

    def recover(self, stored: StoredSnapshot) -> None:
        """Begin a life with what the disk has."""
        self._restore(stored.snapshot, stored.state)

    def restore(self, snapshot: Snapshot) -> None:
        """Make a snapshot that was fetched the state."""
        state = self._shelf.find(snapshot)
        assert state is not None, "what was fetched is on the disk"
        self._marks["snapshot installed"] += 1
        self._restore(snapshot, state)

    def _restore(self, snapshot: Snapshot, state: bytes) -> None:
        owner = self._owner
        owner.registers.restore(state)
        owner.applied_index = snapshot.index
        self._around.watcher.saw_snapshot(self._machine, snapshot, owner.registers.encoded())
        self._put_off()

    # Fetching.

    def fetch(self, effect: FetchSnapshot) -> None:
        """Get a snapshot, chunk by chunk, instead of whatever was being fetched."""
        if self._fetch is not None:
            self._marks["snapshot fetch replaced"] += 1
        partial = self._shelf.partial
        state = bytearray()
        if partial is not None and partial.snapshot == effect.snapshot:
            state += partial.state
            self._marks["snapshot fetch resumed"] += bool(state)
        self._fetch = _Fetch(effect, state)
        self._go_on(self._fetch)

    def _go_on(self, fetch: _Fetch) -> None:
        snapshot, state = fetch.effect.snapshot, bytes(fetch.state)
        self._shelf.partial = StoredSnapshot(snapshot, state)
        if len(state) < snapshot.size_bytes:
            self._ask(fetch)
            return
        fetch.attempt = 0
        self._shelf.partial = None
        if zlib.crc32(state) != snapshot.checksum:
            self._lose(fetch)
            return
        self._shelf.write(StoredSnapshot(snapshot, state), lambda ok: self._fetched(fetch, ok))

    def _ask(self, fetch: _Fetch) -> None:
        self._attempts += 1
        fetch.attempt = attempt = self._attempts
        effect, offset = fetch.effect, len(fetch.state)
        around, here = self._around, self._machine.number
        source = around.machines[around.number_of[effect.source]]
        size = 1 + effect.snapshot.size_bytes // self._random.randint(1, self._pace.chunks_max)

        def serve(_: None) -> None:
            if source.process is None:
                return
            state = source.disk.snapshots.find(effect.snapshot)
            piece = None if state is None else state[offset : offset + size]
            around.network.carry(source.number, here, self._answered, _Chunk(attempt, piece))

        around.network.carry(here, source.number, serve, None)
        scheduler = around.scheduler
        scheduler.at(scheduler.now + FETCH_TIMEOUT, here, self._timed_out, attempt)

    def _answered(self, chunk: _Chunk) -> None:
        fetch = self._fetch
        if self._is_over or fetch is None or chunk.attempt != fetch.attempt:
            return
        if chunk.piece is None:
            self._marks["snapshot to fetch was gone"] += 1
            self._shelf.partial = None
            self._lose(fetch)
            return
        if fetch.tries and fetch.state:
            self._marks["snapshot fetch resumed"] += 1
        fetch.tries = 0
        fetch.state += chunk.piece
        self._go_on(fetch)

    def _timed_out(self, attempt: int) -> None:
        fetch = self._fetch
        if self._is_over or fetch is None or attempt != fetch.attempt:
            return
        fetch.tries += 1
        if fetch.tries < TRIES_MAX:
            self._ask(fetch)
        else:
            self._lose(fetch)

    def _fetched(self, fetch: _Fetch, is_stored: bool) -> None:
        if fetch is not self._fetch:
            self._marks["snapshot fetch outlived its wish"] += 1
            return  # another is wanted; this one stays on the disk, and no harm is done
        self._fetch = None
        snapshot = fetch.effect.snapshot
        if is_stored:
            is_late = snapshot.index <= self._owner.core.commit_index
            self._marks["snapshot of no use any more"] += is_late
            self._owner.events.append(SnapshotFetched(snapshot))
        else:
            self._owner.events.append(SnapshotLost(snapshot))

    def _lose(self, fetch: _Fetch) -> None:
        self._fetch = None
        self._marks["snapshot fetch lost"] += 1
        self._owner.events.append(SnapshotLost(fetch.effect.snapshot))
