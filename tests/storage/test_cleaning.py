"""How long the shared log becomes: a constant times what counts, whoever writes or does not."""

import asyncio
from random import Random

import pytest

from liferaft.errors import DamagedLog, DiskFailed, InvariantViolated
from liferaft.raft.types import EntryId, HardState
from liferaft.storage.contents import EMPTY
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.segment import segment_numbers, segment_path
from liferaft.storage.wal import SEAL_AFTER
from tests.storage.logs import DIRECTORY, make_entries
from tests.storage.shared_logs import OpenGroup, OpenShared, open_shared

pytestmark = pytest.mark.looptime

FIRST = HardState(1, "n1")
SEGMENT_BYTES = 2000


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk(Random(1))


def log_bytes(disk: FaultyDisk) -> int:
    return sum(len(disk.content(path)) for path in disk.paths())


async def idle() -> None:
    """Let the log do whatever it has to do beside its writes."""
    await asyncio.sleep(2 * SEAL_AFTER)


async def write_and_compact(group: OpenGroup, count: int, *, kept: int = 5) -> None:
    """Let a busy group write, and take a snapshot of nearly all of it each time."""
    first = group.log.last_written + 1
    for index in range(first, first + count):
        await group.store(make_entries(index, index), FIRST)
        group.log.compact(index - kept)


async def test_cold_groups_do_not_keep_the_log_of_a_busy_one(
    disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liferaft.storage.cleaning.GROUPS_AT_ONCE", 4)
    opened = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
    cold = [opened.group(f"cold{number}") for number in range(10)]
    for group in cold:
        await group.store(make_entries(1, 3), HardState(3, "n2"))
    voted = opened.group("voted")
    await voted.store([], HardState(7, "n3"))
    most_bytes = 0
    for _ in range(20):
        await write_and_compact(opened.group("busy"), 50)
        most_bytes = max(most_bytes, log_bytes(disk))
    await idle()
    occupancy = opened.log.occupancy()
    entries = [await group.read_all() for group in cold]
    await opened.log.close()
    disk.crash()
    again = await open_shared(disk, {group.log.name: EMPTY for group in cold})
    found = [await again.group(group.log.name).read_all() for group in cold]
    await again.log.close()

    assert most_bytes < 2 * (2 * occupancy.live_bytes + 4 * SEGMENT_BYTES), "it stays short"
    assert opened.log.written_bytes > 5 * most_bytes, "though much was written"
    assert segment_numbers(disk.names(DIRECTORY))[0] > 20
    assert occupancy.copied_bytes > 0
    assert occupancy.floor > 0
    assert [make_entries(1, 3)] * 10 == entries == found
    assert all(again.recovered[each.log.name].hard_state == HardState(3, "n2") for each in cold)
    assert HardState(7, "n3") == again.recovered["voted"].hard_state


async def test_a_large_group_is_copied_in_pieces_and_stays_whole(
    disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is larger than all the rest, so it moves rarely, and others write between its pieces."""
    monkeypatch.setattr("liferaft.storage.cleaning.COPY_BYTES", 8000)
    opened = await open_shared(disk, segment_bytes=4000)
    large = opened.group("large")
    for index in range(1, 201, 10):
        await large.store(make_entries(index, index + 9, data_bytes=200), FIRST)
    busy = opened.group("busy")
    await busy.store([], FIRST)
    last = 0
    while opened.log.occupancy().copied_bytes < 100_000:
        last += 1
        await busy.store(make_entries(last, last, data_bytes=2000))
        busy.log.compact(last)
    occupancy = opened.log.occupancy()
    entries = await large.read_all(1)
    await opened.log.close()
    disk.crash()
    again = await open_shared(disk, {"large": EMPTY, "busy": EntryId(1, last)})
    found = await again.group("large").read_all()
    await again.log.close()

    assert occupancy.held_bytes < 3 * occupancy.live_bytes + 4 * 4000
    assert make_entries(1, 200, data_bytes=200) == entries == found


async def test_a_log_that_is_short_enough_is_left_alone(disk: FaultyDisk) -> None:
    opened = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
    await opened.group("a").store(make_entries(1, 100), FIRST)
    await opened.group("b").store(make_entries(1, 100), FIRST)
    await idle()
    occupancy = opened.log.occupancy()
    await opened.log.close()

    assert (0, 0) == (occupancy.copied_bytes, occupancy.floor)


async def test_a_log_becomes_shorter_when_nobody_writes_any_more(disk: FaultyDisk) -> None:
    """A snapshot that makes most of it superfluous is enough."""
    opened = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
    group, other = opened.group("a"), opened.group("b")
    await other.store(make_entries(1, 200), FIRST)
    for index in range(1, 200):
        await group.store(make_entries(index, index), FIRST)
    before_bytes = log_bytes(disk)
    group.log.compact(199)
    opened.remove("b")
    await idle()
    after_bytes = log_bytes(disk)
    await opened.log.close()

    assert after_bytes < before_bytes / 3


async def test_what_a_snapshot_covers_does_not_count_after_a_restart(disk: FaultyDisk) -> None:
    """Or it would be copied, life after life, and the log of cold groups would only grow."""
    opened = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
    cold = opened.group("cold")
    await cold.store(make_entries(1, 30, data_bytes=100), FIRST)
    cold.log.compact(28)
    await opened.log.wait_stored()
    live_bytes = cold.log.live_bytes
    disk.crash()
    opened.bury()
    again = await open_shared(disk, {"cold": EntryId(1, 28)}, segment_bytes=SEGMENT_BYTES)
    live_bytes_again = again.group("cold").log.live_bytes
    await again.log.close()

    assert live_bytes == live_bytes_again < 600
    assert (29, 30, 1) == (
        again.recovered["cold"].first,
        again.recovered["cold"].last,
        again.recovered["cold"].prior_term,
    )


async def test_many_lives_leave_a_short_log(disk: FaultyDisk) -> None:
    most_bytes = 0
    for _ in range(15):
        opened = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
        for number in range(3):
            if not opened.group(f"cold{number}").log.last_written:
                await opened.group(f"cold{number}").store(make_entries(1, 3), FIRST)
        busy = opened.group("busy")
        for index in range(busy.recovered.last + 1, busy.recovered.last + 40):
            await busy.store(make_entries(index, index, data_bytes=50), FIRST)
            busy.log.compact(index - 2)
        await idle()
        most_bytes = max(most_bytes, log_bytes(disk))
        await opened.log.close()

    assert most_bytes < 8 * SEGMENT_BYTES


async def shortened(disk: FaultyDisk) -> OpenShared:
    """Return a log whose beginning was dropped, and which has grown since."""
    opened = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
    await opened.group("cold").store(make_entries(1, 3), FIRST)
    await write_and_compact(opened.group("busy"), 300)
    await idle()
    assert opened.log.occupancy().floor > 0
    return opened


async def test_a_segment_that_is_lost_behind_the_floor_is_missed(disk: FaultyDisk) -> None:
    """It is told from those that were dropped by the newest floor that is left."""
    opened = await shortened(disk)
    await opened.log.close()
    there = segment_numbers(disk.names(DIRECTORY))
    lost = there[:-1]
    refused = 0
    for number in lost:
        path = segment_path(DIRECTORY, number)
        find = disk.forget(path)
        with pytest.raises(DamagedLog, match="segments before it are missing"):
            await open_shared(disk, segment_bytes=SEGMENT_BYTES)
        refused += 1
        find()
    again = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
    found = await again.group("cold").read_all()
    await again.log.close()

    assert refused == len(lost) >= 2
    assert make_entries(1, 3) == found


async def test_a_read_goes_on_when_what_it_reads_is_copied_and_dropped(disk: FaultyDisk) -> None:
    opened = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
    cold = opened.group("cold")
    for index in range(1, 4):
        await cold.store(make_entries(index, index), FIRST)
    disk.latency = lambda: 0.2
    reads = asyncio.gather(*(cold.log.read(1, 3, 1000) for _ in range(20)))
    await asyncio.sleep(0)
    disk.latency = lambda: 0.001
    await write_and_compact(opened.group("busy"), 300)
    found = await reads
    await opened.log.close()

    assert [tuple(make_entries(1, 3))] * 20 == found


async def test_bit_rot_in_what_is_to_be_copied_ends_the_log(disk: FaultyDisk) -> None:
    """What was reported as stored cannot be given back: the node has to know."""
    opened = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
    cold, busy = opened.group("cold"), opened.group("busy")
    await cold.store(make_entries(1, 3), FIRST)
    path = segment_path(DIRECTORY, 1)
    disk.flip(path, disk.content(path).index(b"1/2"))
    await busy.store([], FIRST)
    index = 0
    while not cold.failures:
        index += 1
        busy.append(make_entries(index, index))
        busy.log.compact(index - 1)
        await asyncio.sleep(0.005)
    with pytest.raises(DiskFailed, match="never was"):
        await opened.log.wait_stored()
    await opened.log.close()

    assert [DamagedLog] == [type(each) for each in opened.failures]
    assert [DamagedLog] == [type(each) for each in busy.failures]


async def test_what_still_counts_is_never_dropped(disk: FaultyDisk) -> None:
    """Whatever the cleaning believes it has copied."""
    opened = await open_shared(disk)
    await opened.group("a").store(make_entries(1, 3), FIRST)
    with pytest.raises(InvariantViolated, match="group a still needs a write below 2"):
        await opened.log._cleaner._drop_below(2)
    await opened.log.close()


async def test_a_write_that_is_gone_though_it_counts_is_damage(disk: FaultyDisk) -> None:
    opened = await shortened(disk)
    group = opened.group("cold")
    group.log._places.put(1, 1, 1)
    with pytest.raises(DamagedLog, match="of group cold any more: the write is gone"):
        await group.log.read(1, 1, 1000)
    await opened.log.close()


async def test_a_log_that_has_failed_tells_it_once(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    group = opened.group("a")
    await group.store([], FIRST)
    opened.log._fail(DiskFailed("first"))
    opened.log._fail(DiskFailed("second"))
    await group.wait_failed()
    await opened.log.close()

    assert ["first"] == [str(each) for each in opened.failures]
    assert ["first"] == [str(each) for each in group.failures]


async def test_whatever_ends_the_cleaning_is_told(
    disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node must not believe in a log that grows without bound."""

    def misbehave() -> None:
        raise ZeroDivisionError

    opened = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
    group = opened.group("a")
    await group.store([], FIRST)
    await idle()
    monkeypatch.setattr(opened.log._cleaner, "_target", misbehave)
    group.append(make_entries(1, 2))
    group.log.compact(1)
    await group.wait_failed()
    with pytest.raises(ZeroDivisionError):
        await opened.log.close()

    assert [DiskFailed] == [type(each) for each in opened.failures]


async def test_a_log_that_is_too_long_at_the_start_becomes_shorter_at_once(
    disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
    monkeypatch.setattr(opened.log._cleaner, "_target", lambda: None)
    await write_and_compact(opened.group("busy"), 200)
    await opened.log.close()
    long_bytes = log_bytes(disk)
    again = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
    await idle()
    await again.log.close()

    assert log_bytes(disk) < long_bytes / 2


async def test_what_was_to_be_dropped_when_the_process_ended_is_dropped_by_the_next(
    disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The floor was written, and the segments are still there."""
    opened = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
    monkeypatch.setattr(opened.log._writes.wal, "compact", lambda _: None)
    await write_and_compact(opened.group("busy"), 200)
    await idle()
    assert opened.log.occupancy().floor > 0
    await opened.log.close()
    before = segment_numbers(disk.names(DIRECTORY))
    again = await open_shared(disk, segment_bytes=SEGMENT_BYTES)
    await idle()
    await again.log.close()

    assert 1 == before[0] < segment_numbers(disk.names(DIRECTORY))[0]
    assert again.log.occupancy().floor == opened.log.occupancy().floor
