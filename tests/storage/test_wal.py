"""The log as its driver sees it: appends, reports, reads, and what a bad disk does to them."""

import asyncio
import errno
from collections.abc import Callable
from random import Random

import pytest

from liferaft.errors import DamagedLog, DiskFailed, DiskFull, InvariantViolated
from liferaft.raft.types import Entry, EntryId, HardState, TermRun
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.groups import GROUP_BYTES_MAX
from liferaft.storage.recovery import Recovered
from liferaft.storage.segment import segment_path
from liferaft.storage.wal import (
    RETRY_FULL_AFTER,
    SEAL_AFTER,
    WriteAheadLog,
)
from tests.storage.logs import DIRECTORY, OpenLog, make_entries, open_log, read_log

pytestmark = pytest.mark.looptime

FIRST = HardState(1, "n1")


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk(Random(1))


async def test_an_empty_directory_holds_an_empty_log(disk: FaultyDisk) -> None:
    opened = await open_log(disk)
    await opened.log.close()

    assert Recovered(HardState(), 1, 0, (), (), None) == opened.recovered


async def test_what_was_stored_is_there_after_a_restart(disk: FaultyDisk) -> None:
    opened = await open_log(disk)
    await opened.store([*make_entries(1, 3), *make_entries(4, 5, term=2)], HardState(2, "n3"))
    await opened.log.close()
    disk.crash()
    recovered, entries = await read_log(disk)

    assert HardState(2, "n3") == recovered.hard_state
    assert (1, 5) == (recovered.first, recovered.last)
    assert (TermRun(1, 1), TermRun(2, 4)) == recovered.runs
    assert [*make_entries(1, 3), *make_entries(4, 5, term=2)] == list(recovered.tail) == entries


async def test_what_waits_while_a_write_is_under_way_shares_the_next_sync(
    disk: FaultyDisk,
) -> None:
    """DESIGN section 9: batches are made by what is waiting."""
    opened = await open_log(disk)
    await opened.store([], FIRST)
    syncs = disk.syncs
    opened.append(make_entries(1, 1))
    await asyncio.sleep(0)
    for index in range(2, 100):
        opened.append(make_entries(index, index))
    await opened.wait_stored()
    groups_after = disk.syncs - syncs
    await opened.log.close()

    assert 2 == groups_after
    assert [1, 2, 100] == opened.stored


async def test_nothing_is_reported_as_stored_before_its_sync(disk: FaultyDisk) -> None:
    opened = await open_log(disk)
    await opened.store([], FIRST)
    disk.stick()
    opened.append(make_entries(1, 1))
    await asyncio.sleep(60)
    while_stuck = list(opened.stored)
    disk.unstick()
    await opened.wait_stored()
    await opened.log.close()

    assert [1] == while_stuck
    assert [1, 2] == opened.stored


async def test_a_group_is_bounded(disk: FaultyDisk) -> None:
    opened = await open_log(disk)
    await opened.store([], FIRST)
    for index in range(1, 5):
        opened.append(make_entries(index, index, data_bytes=GROUP_BYTES_MAX // 2))
    await opened.wait_stored()
    await opened.log.close()

    assert [1, 3, 5] == opened.stored


async def test_an_append_replaces_the_log_from_its_first_index_on(disk: FaultyDisk) -> None:
    """Figure 2, AppendEntries, step 3: whether the conflict is queued, written, or both."""
    opened = await open_log(disk)
    await opened.store(make_entries(1, 10), FIRST)
    opened.append(make_entries(8, 12, term=2), HardState(2))
    opened.append(make_entries(11, 11, term=3), HardState(3))
    opened.append(make_entries(5, 6, term=4), HardState(4))
    await opened.wait_stored()
    before = await opened.read_all()
    await opened.log.close()
    recovered, after = await read_log(disk)

    assert [*make_entries(1, 4), *make_entries(5, 6, term=4)] == before == after
    assert (TermRun(1, 1), TermRun(4, 5)) == recovered.runs


async def test_a_log_rolls_over_many_segments(disk: FaultyDisk) -> None:
    opened = await open_log(disk, segment_bytes=500)
    for index in range(1, 60, 3):
        await opened.store(make_entries(index, index + 2), FIRST)
    before = await opened.read_all()
    segments = opened.log.statistics().segments
    await opened.log.close()
    recovered, after = await read_log(disk)

    assert segments > 5
    assert make_entries(1, 60) == before == after
    assert FIRST == recovered.hard_state


async def test_every_segment_tells_the_hard_state(disk: FaultyDisk) -> None:
    """So that the segments before it can be dropped once a snapshot covers them."""
    opened = await open_log(disk, segment_bytes=300)
    await opened.store([], FIRST)
    for index in range(1, 21):
        await opened.store(make_entries(index, index))
    last = opened.log.statistics().segments
    await opened.log.close()
    for number in range(1, last):
        disk.remove(segment_path(DIRECTORY, number))
    _, recovered = await WriteAheadLog.open(disk, DIRECTORY, base=EntryId(1, 20))

    assert last > 3
    assert FIRST == recovered.hard_state
    assert (20, TermRun(1, recovered.first)) == (recovered.last, *recovered.runs)


async def test_an_entry_larger_than_a_segment_is_kept(disk: FaultyDisk) -> None:
    opened = await open_log(disk, segment_bytes=300)
    await opened.store(make_entries(1, 1), FIRST)
    await opened.store(make_entries(2, 2, data_bytes=5000))
    await opened.store(make_entries(3, 3))
    await opened.log.close()
    _, entries = await read_log(disk)

    assert [1, 2, 3] == [entry.index for entry in entries]
    assert make_entries(2, 2, data_bytes=5000) == entries[1:2]


async def test_read_returns_what_fits_and_at_least_one_entry(disk: FaultyDisk) -> None:
    """Trap 18: at least one entry always fits a batch."""
    opened = await open_log(disk, segment_bytes=300)
    for index in range(1, 21):
        await opened.store(make_entries(index, index), FIRST)
    one = await opened.log.read(7, 20, 1)
    some = await opened.log.read(7, 20, 100)
    up_to_last = await opened.log.read(7, 9, 10_000)
    beyond = await opened.log.read(21, 22, 10_000)
    await opened.log.close()

    assert make_entries(7, 7) == list(one)
    assert make_entries(7, 6 + len(some)) == list(some)
    assert 1 < len(some) <= 5
    assert make_entries(7, 9) == list(up_to_last)
    assert () == beyond


async def test_read_waits_for_what_is_not_written_yet(disk: FaultyDisk) -> None:
    opened = await open_log(disk)
    opened.append(make_entries(1, 2), FIRST)
    entries = await opened.log.read(2, 2, 100)
    await opened.log.close()

    assert make_entries(2, 2) == list(entries)


async def test_read_proves_the_checksum(disk: FaultyDisk) -> None:
    opened = await open_log(disk)
    await opened.store(make_entries(1, 2), FIRST)
    path = segment_path(DIRECTORY, 1)
    disk.flip(path, disk.content(path).index(b"1/2"))
    with pytest.raises(DamagedLog, match="index 0"):
        await opened.log.read(1, 2, 100)
    await opened.log.close()


async def test_a_read_that_fails_says_so(disk: FaultyDisk) -> None:
    opened = await open_log(disk)
    await opened.store(make_entries(1, 2), FIRST)
    disk.fail("read", errno.EIO)
    with pytest.raises(DiskFailed, match="entry 1"):
        await opened.log.read(1, 2, 100)
    await opened.log.close()


async def test_a_failed_sync_ends_the_log_and_is_never_tried_again(disk: FaultyDisk) -> None:
    """Trap 35: what fsync reported failed may be gone though a later one succeeds."""
    opened = await open_log(disk)
    await opened.store(make_entries(1, 1), FIRST)
    disk.fail("sync", errno.EIO)
    opened.append(make_entries(2, 2))
    await opened.wait_failed()
    writes, syncs = disk.writes, disk.syncs
    opened.append(make_entries(3, 3))
    await asyncio.sleep(60)
    queued = opened.log.statistics().queued
    with pytest.raises(DiskFailed, match="never written"):
        await opened.log.read(2, 2, 100)
    await opened.log.close()

    assert [1] == opened.stored
    assert [DiskFailed] == [type(error) for error in opened.failures]
    assert (writes, syncs, 0) == (disk.writes, disk.syncs, queued)


async def test_a_sync_that_finds_no_space_ends_the_log_too(disk: FaultyDisk) -> None:
    """After a failed sync nobody knows which pages are lost, whatever the system's reason."""
    opened = await open_log(disk)
    await opened.store([], FIRST)
    disk.fail("sync", errno.ENOSPC)
    opened.append(make_entries(1, 1))
    await opened.wait_failed()
    await opened.log.close()

    assert [DiskFailed] == [type(error) for error in opened.failures]


async def test_whatever_ends_the_writer_is_told(
    disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node must not believe that a log whose writer is gone still writes."""

    def misbehave(path: str) -> None:
        raise ZeroDivisionError

    opened = await open_log(disk)
    monkeypatch.setattr(disk, "sync_directory", misbehave)
    await opened.wait_failed()
    with pytest.raises(ZeroDivisionError):
        await opened.log.close()

    assert [DiskFailed] == [type(error) for error in opened.failures]


async def test_a_failed_write_ends_the_log(disk: FaultyDisk) -> None:
    opened = await open_log(disk)
    await opened.store([], FIRST)
    disk.fail("write", errno.EIO)
    opened.append(make_entries(1, 1))
    await opened.wait_failed()
    await opened.log.close()

    assert [1] == opened.stored


async def test_a_full_disk_stops_writes_and_loses_nothing(disk: FaultyDisk) -> None:
    opened = await open_log(disk, segment_bytes=500)
    await opened.store(make_entries(1, 3), FIRST)
    disk.capacity_bytes = 600
    for index in range(4, 40):
        opened.append(make_entries(index, index))
    await asyncio.sleep(60)
    blocked, told = opened.log.blocked, opened.log.statistics().blocked_by
    stored_while_full = list(opened.stored)
    disk.capacity_bytes = None
    await opened.wait_stored()
    entries = await opened.read_all()
    await opened.log.close()

    assert isinstance(blocked, DiskFull)
    assert str(blocked) == told
    assert [1] == stored_while_full
    assert [] == opened.failures
    assert not opened.log.is_blocked
    assert make_entries(1, 39) == entries


async def test_it_is_told_once_that_a_disk_is_full_and_once_that_writes_go_on(
    disk: FaultyDisk,
) -> None:
    told: list[DiskFull | None] = []
    log, recovered = await WriteAheadLog.open(
        disk, DIRECTORY, segment_bytes=300, on_blocked=told.append
    )
    opened = OpenLog(log, recovered)
    await opened.store([], FIRST)
    disk.capacity_bytes = 0
    opened.append(make_entries(1, 1, data_bytes=300))
    await asyncio.sleep(60)
    told_while_full = list(told)
    disk.capacity_bytes = None
    await opened.wait_stored()
    await log.close()

    assert [DiskFull] == [type(reason) for reason in told_while_full]
    assert [None] == told[1:]


async def test_a_full_disk_is_tried_at_its_own_pace(disk: FaultyDisk) -> None:
    opened = await open_log(disk, segment_bytes=300)
    await opened.store([], FIRST)
    disk.capacity_bytes = 0
    opened.append(make_entries(1, 1, data_bytes=300))
    await asyncio.sleep(1)
    writes = disk.writes
    for index in range(2, 102):
        opened.append(make_entries(index, index))
        await asyncio.sleep(RETRY_FULL_AFTER / 25)
    tries = disk.writes - writes
    disk.capacity_bytes = None
    await opened.wait_stored()
    await opened.log.close()

    # Each try is a truncation and an allocation; four pauses passed.
    assert 4 <= tries <= 10


async def test_a_log_can_start_on_a_full_disk(disk: FaultyDisk) -> None:
    disk.capacity_bytes = 0
    opened = await open_log(disk)
    opened.append(make_entries(1, 1), FIRST)
    await asyncio.sleep(60)
    is_blocked = opened.log.is_blocked
    disk.capacity_bytes = None
    await opened.wait_stored()
    await opened.log.close()

    assert is_blocked


async def test_close_on_a_full_disk_gives_up_what_was_never_reported(disk: FaultyDisk) -> None:
    opened = await open_log(disk, segment_bytes=300)
    await opened.store(make_entries(1, 1), FIRST)
    disk.capacity_bytes = 0
    opened.append(make_entries(2, 2, data_bytes=400))
    await asyncio.sleep(60)
    await opened.log.close()
    disk.capacity_bytes = None
    _, entries = await read_log(disk)

    assert [1] == opened.stored
    assert make_entries(1, 1) == entries


async def test_an_idle_log_seals_its_last_record_once(disk: FaultyDisk) -> None:
    """Trap 37: the seal is what tells a damaged last entry from a torn write."""
    opened = await open_log(disk)
    await opened.store(make_entries(1, 1), FIRST)
    writes = opened.log.statistics().writes
    await asyncio.sleep(SEAL_AFTER * 10)
    seals = opened.log.statistics().writes - writes
    await opened.log.close()

    assert 1 == seals
    assert writes + 1 == opened.log.statistics().writes


async def test_close_writes_what_is_queued(disk: FaultyDisk) -> None:
    opened = await open_log(disk)
    opened.append(make_entries(1, 5), FIRST)
    await opened.log.close()
    await opened.log.close()
    opened.append(make_entries(6, 6))
    disk.crash()
    _, entries = await read_log(disk)

    assert [1] == opened.stored
    assert make_entries(1, 5) == entries


def _hole(opened: OpenLog) -> None:
    opened.append(make_entries(3, 3))


def _hole_inside(opened: OpenLog) -> None:
    opened.append([*make_entries(2, 2), *make_entries(4, 4)])


def _falling_term(opened: OpenLog) -> None:
    opened.append([Entry(1, 2, 0, b"")], HardState(2))
    opened.append([Entry(2, 3, 0, b"")])
    opened.append([Entry(1, 4, 0, b"")])


def _falling_term_inside(opened: OpenLog) -> None:
    opened.append([Entry(2, 2, 0, b""), Entry(1, 3, 0, b"")], HardState(2))


def _entry_of_a_later_term(opened: OpenLog) -> None:
    opened.append(make_entries(2, 2, term=2))


def _hard_state_back(opened: OpenLog) -> None:
    opened.append([], HardState(0))


def _vote_changed(opened: OpenLog) -> None:
    opened.append([], HardState(1, "n2"))


def _vote_taken_back(opened: OpenLog) -> None:
    opened.append([], HardState(1, None))


def _mark_repeated(opened: OpenLog) -> None:
    opened.log.append(1, None, [])


@pytest.mark.parametrize(
    "mistake",
    [
        _hole,
        _hole_inside,
        _falling_term,
        _falling_term_inside,
        _entry_of_a_later_term,
        _hard_state_back,
        _vote_changed,
        _vote_taken_back,
        _mark_repeated,
    ],
)
async def test_a_broken_promise_never_reaches_the_disk(
    disk: FaultyDisk, mistake: Callable[[OpenLog], None]
) -> None:
    """Traps 1 and 39, and the log's own order."""
    opened = await open_log(disk)
    await opened.store(make_entries(1, 1), FIRST)
    with pytest.raises(InvariantViolated):
        mistake(opened)
    await opened.log.close()
