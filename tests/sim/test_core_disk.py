"""Disks of the core fidelity: logs that begin behind a snapshot, and snapshots written aside."""

from collections.abc import Callable
from random import Random
from typing import Any

from liferaft.raft.effects import Persist, ReadEntries
from liferaft.raft.types import Configuration, Entry, HardState, Snapshot
from liferaft.sim.core_disk import CoreDisk
from liferaft.sim.core_marks import no_marks
from liferaft.sim.core_shelf import StoredSnapshot
from liferaft.sim.scheduler import Scheduler
from tests.raft.harness import entries_of


class User:
    """One life of a node; remembers what it was told."""

    def __init__(self) -> None:
        self.marks: list[int] = []
        self.read: list[tuple[Entry, ...]] = []

    def stored(self, mark: int) -> None:
        self.marks.append(mark)

    def entries_read(self, first: int, entries: tuple[Entry, ...]) -> None:
        self.read.append(entries)

    def disk_failed(self) -> None:
        raise AssertionError("this disk is well")


class Bench:
    """A disk, and the time that passes on it."""

    def __init__(self, seed: int = 1) -> None:
        self.scheduler = Scheduler()
        self.scheduler.add_host(self)
        self.is_paused = False
        self.deferred: list[tuple[Callable[[Any], None], Any]] = []
        self.disk = CoreDisk(self.scheduler, 0, Random(seed), jitter=0.0, marks=no_marks())
        self.user = User()
        self.disk.open(self.user)

    def turn(self) -> None:
        pass

    def wait(self) -> None:
        self.scheduler.run(self.scheduler.now + 1.0)

    def restart(self) -> None:
        self.disk.crash()
        self.user = User()
        self.held = self.disk.open(self.user)


def snapshot_at(index: int, term: int) -> Snapshot:
    return Snapshot(index, term, Configuration(voters=("a",)))


def bench_with(terms: list[int], snapshot: Snapshot, *, seed: int = 1) -> Bench:
    """Return a disk that holds entries of these terms, and a snapshot."""
    bench = Bench(seed)
    bench.disk.append(Persist(1, HardState(9), entries_of(terms)))
    bench.disk.snapshots.write(StoredSnapshot(snapshot, b"state"), lambda _: None)
    bench.wait()
    return bench


def test_a_log_that_meets_the_snapshot_is_kept() -> None:
    bench = bench_with([1, 1, 2], snapshot_at(2, 1))
    bench.restart()

    assert (1, 3, snapshot_at(2, 1)) == (
        bench.held.log.first,
        bench.held.log.last,
        bench.held.stored and bench.held.stored.snapshot,
    )


def test_a_log_that_does_not_meet_the_snapshot_is_void_at_a_start() -> None:
    """Too short, or of another term there: a crash came between the snapshot and the reset."""
    for snapshot in (snapshot_at(5, 2), snapshot_at(2, 2)):
        bench = bench_with([1, 1, 2], snapshot)
        bench.restart()
        log = bench.held.log

        assert (snapshot.index + 1, snapshot.index, 2) == (log.first, log.last, log.prior_term)


def test_a_reset_is_written_in_its_order() -> None:
    bench = bench_with([1, 1, 2], snapshot_at(5, 2))
    bench.disk.reset(snapshot_at(5, 2))
    bench.disk.append(Persist(2, None, entries_of([3], first=6)))
    bench.wait()
    bench.restart()

    assert (6, 6, 2) == (bench.held.log.first, bench.held.log.last, bench.held.log.prior_term)


def test_what_was_compacted_is_gone_and_the_rest_is_read() -> None:
    bench = bench_with([1, 1, 2, 2], snapshot_at(3, 2))
    while bench.disk.base_index < 2:  # it may drop less than it is asked to
        bench.disk.compact(2)
    for request in (ReadEntries(1, 4, 1000), ReadEntries(3, 3, 1000)):
        bench.disk.read(request)
        bench.wait()

    assert [(), entries_of([2], first=3)] == bench.user.read


def test_a_crash_while_a_snapshot_is_written_leaves_the_old_one_or_the_whole_new_one() -> None:
    newest = set()
    for seed in range(20):
        bench = bench_with([1, 1, 2, 2], snapshot_at(2, 1), seed=seed)
        bench.disk.snapshots.write(StoredSnapshot(snapshot_at(4, 2), b"new"), lambda _: None)
        bench.restart()
        assert bench.held.stored is not None
        newest.add((bench.held.stored.snapshot.index, bench.held.stored.state))

    assert {(2, b"state"), (4, b"new")} == newest


def test_a_write_of_a_snapshot_that_fails_leaves_the_old_one() -> None:
    bench = bench_with([1, 1, 2, 2], snapshot_at(2, 1))
    told: list[bool] = []
    bench.disk.snapshots.is_failing = True
    bench.disk.snapshots.write(StoredSnapshot(snapshot_at(4, 2), b"new"), told.append)
    bench.wait()

    assert [False] == told
    assert bench.disk.snapshots.find(snapshot_at(4, 2)) is None
    assert b"state" == bench.disk.snapshots.find(snapshot_at(2, 1))


def test_the_last_two_snapshots_are_kept_by_what_they_cover() -> None:
    bench = bench_with([1, 1, 1, 1], snapshot_at(2, 1))
    for index in (4, 3):
        stored = StoredSnapshot(snapshot_at(index, 1), b"%d" % index)
        bench.disk.snapshots.write(stored, lambda _: None)
        bench.wait()

    assert [None, b"3", b"4"] == [
        bench.disk.snapshots.find(snapshot_at(index, 1)) for index in (2, 3, 4)
    ]
    assert bench.disk.snapshots.newest is not None
    assert 4 == bench.disk.snapshots.newest.snapshot.index


def test_a_snapshot_that_was_just_fetched_is_kept_beside_two_later_ones() -> None:
    """Whose fetches were given up just as they were stored."""
    bench = bench_with([1, 1, 1, 1], snapshot_at(3, 1))
    for index in (4, 2):
        stored = StoredSnapshot(snapshot_at(index, 1), b"%d" % index)
        bench.disk.snapshots.write(stored, lambda _: None)
        bench.wait()

    assert [b"2", b"state", b"4"] == [
        bench.disk.snapshots.find(snapshot_at(index, 1)) for index in (2, 3, 4)
    ]
