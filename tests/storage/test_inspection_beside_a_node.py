"""What `liferaft wal` sees in the directory of a node that runs, and makes and drops files."""

import errno
from collections.abc import Callable
from random import Random

import pytest

from liferaft.errors import DiskFailed
from liferaft.raft.types import HardState
from liferaft.storage.disk import File
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.inspection import LOOKS_MAX, Inspection, inspect, inspect_running
from liferaft.storage.segment import segment_numbers
from liferaft.storage.snapshots import open_snapshots
from tests.storage.logs import DIRECTORY, make_entries, open_log
from tests.storage.test_inspection import NODE, THREE, make_directory

pytestmark = pytest.mark.looptime


class DiskOfANode(FaultyDisk):
    """A disk on which something happens whenever a look opens a file."""

    def __init__(self) -> None:
        super().__init__(Random(1))
        self.on_open: Callable[[int], None] = lambda _: None
        self.opened = 0

    def open(self, path: str, *, create: bool = False) -> File:
        self.opened += 1
        self.on_open(self.opened)
        return super().open(path, create=create)

    def change_at(self, moment: int, other: FaultyDisk) -> None:
        """Hold what another disk holds, from the nth opening on."""
        self.on_open = lambda at: self.become(other) if at == moment else None

    def become(self, other: FaultyDisk) -> None:
        """Hold what another disk holds."""
        for path in {*self.paths()} - {*other.paths()}:
            self.remove(path)
        for path in other.paths():
            self.make_directory(path.rpartition("/")[0])
            file = super().open(path, create=True)
            file.truncate(0)
            file.write(0, other.content(path))


async def directory_after(
    entries: int, *, snapshots: tuple[int, ...] = (), is_compacted: bool = True
) -> FaultyDisk:
    """Return a disk with the directory of a node that took snapshots up to these entries."""
    disk = FaultyDisk(Random(1))
    await make_directory(disk)
    store = await open_snapshots(disk, DIRECTORY, NODE.cluster_id)
    opened = await open_log(disk, segment_bytes=300)
    for index in range(1, entries + 1):
        await opened.store(make_entries(index, index), HardState(1, "n1"))
    for index in snapshots:
        await store.take(index, 1, THREE, iter([b"milk"]))
    if is_compacted:
        opened.log.compact(store.covered)
    await opened.log.close()
    return disk


def told(inspection: Inspection) -> tuple[object, ...]:
    """Return what is printed of an inspection."""
    log = inspection.hard_state, inspection.first, inspection.last, inspection.runs
    return inspection.owner, inspection.snapshot, log, inspection.segments, inspection.error


def look(disk: FaultyDisk) -> Inspection:
    """Look beside the node, without waiting between two looks."""
    return inspect_running(disk, DIRECTORY, pause=lambda _: None)


def opened_by_a_look(disk: FaultyDisk) -> int:
    copy = DiskOfANode()
    copy.become(disk)
    inspect(copy, DIRECTORY)
    return copy.opened


async def assert_that_every_change_is_seen(before: FaultyDisk, after: FaultyDisk) -> None:
    seen = told(inspect(after, DIRECTORY))
    moments = opened_by_a_look(before)
    for moment in range(1, moments + 1):
        disk = DiskOfANode()
        disk.become(before)
        disk.change_at(moment, after)

        assert told(look(disk)) == seen
        assert disk.opened > opened_by_a_look(after)
    assert moments > 10


def segments(disk: FaultyDisk) -> list[int]:
    return segment_numbers(disk.names(DIRECTORY))


async def test_a_segment_that_is_begun_during_a_look_is_seen() -> None:
    before, after = await directory_after(20), await directory_after(30)

    assert segments(before) == segments(after)[: len(segments(before))] != segments(after)
    await assert_that_every_change_is_seen(before, after)


async def test_segments_that_are_dropped_during_a_look_are_not_missed() -> None:
    before, after = await directory_after(20), await directory_after(30, snapshots=(29, 30))

    assert segments(before)[0] == 1 < segments(after)[0]
    await assert_that_every_change_is_seen(before, after)


async def test_snapshots_that_are_replaced_during_a_look_are_not_missed() -> None:
    before = await directory_after(20, snapshots=(1, 2), is_compacted=False)
    after = await directory_after(20, snapshots=(3, 4), is_compacted=False)

    assert before.names(DIRECTORY) == after.names(DIRECTORY)
    await assert_that_every_change_is_seen(before, after)


async def test_a_directory_in_which_nothing_comes_or_goes_is_looked_at_once() -> None:
    quiet = await directory_after(20, snapshots=(19, 20))
    disk = DiskOfANode()
    disk.become(quiet)

    assert told(look(disk)) == told(inspect(quiet, DIRECTORY))
    assert disk.opened == opened_by_a_look(quiet)


async def test_what_goes_wrong_once_is_looked_at_again_though_no_file_came_or_went() -> None:
    quiet = await directory_after(20)
    for reads in range(1, 20):
        disk = DiskOfANode()
        disk.become(quiet)
        disk.on_open = lambda at, nth=reads, d=disk: (  # type: ignore[misc] # a default binds it
            d.fail("read", errno.EIO) if at == nth else None
        )

        assert told(look(disk)) == told(inspect(quiet, DIRECTORY))


async def test_what_stays_wrong_is_said() -> None:
    disk = DiskOfANode()
    disk.become(await directory_after(20))
    disk.fail("read", errno.EIO, count=1_000_000)
    with pytest.raises(DiskFailed):
        look(disk)


async def test_what_is_damaged_is_said_after_all_looks() -> None:
    disk, pauses = DiskOfANode(), list[float]()
    disk.become(await directory_after(20))
    disk.flip(f"{DIRECTORY}/000000000001.log", 100)
    expected = told(inspect(disk, DIRECTORY))
    before = disk.opened
    found = inspect_running(disk, DIRECTORY, pause=pauses.append)

    assert found.error is not None
    assert str(expected) == str(told(found))
    assert disk.opened == before + LOOKS_MAX * before
    assert sorted(pauses) == pauses
    assert sum(pauses) < 2.0


async def test_where_files_never_cease_to_come_the_looks_do() -> None:
    quiet = await directory_after(20)
    disk = DiskOfANode()
    disk.become(quiet)
    disk.on_open = lambda at: FaultyDisk.open(disk, f"{DIRECTORY}/new-{at}", create=True).close()

    assert told(look(disk)) == told(inspect(quiet, DIRECTORY))
    assert disk.opened == LOOKS_MAX * opened_by_a_look(quiet)
