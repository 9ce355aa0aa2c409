"""The snapshots of a node: whole or not there, two of them kept, and fetched in pieces."""

import asyncio
import errno
from collections.abc import Iterator
from random import Random

import pytest

from liferaft.errors import DamagedLog, DamagedSnapshot, DataDirectoryError, DiskFailed
from liferaft.raft.log import LogSummary, RaftLog
from liferaft.raft.types import Configuration, EntryId, Snapshot, TermRun
from liferaft.storage.contents import EMPTY
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.snapshot_file import SYNC_BYTES
from liferaft.storage.snapshots import (
    KEPT_AFTER_READ,
    SnapshotStore,
    newest_proven,
    open_snapshots,
    snapshot_directory,
)
from tests.storage.logs import DIRECTORY

pytestmark = pytest.mark.looptime

THREE = Configuration(("n1", "n2", "n3"))
STATE = [b"milk" * 1000, b"", b"bread" * 1000]


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk(Random(1))


async def open_store(disk: FaultyDisk, directory: str = DIRECTORY) -> SnapshotStore:
    return await open_snapshots(disk, directory, "blue")


async def take(store: SnapshotStore, index: int, state: list[bytes] = STATE) -> Snapshot:
    return await store.take(index, 1, THREE, iter(state))


def files(disk: FaultyDisk, directory: str = DIRECTORY) -> list[str]:
    return disk.names(snapshot_directory(directory))


async def copy(source: SnapshotStore, target: SnapshotStore, snapshot: Snapshot, stop: int) -> None:
    """Fetch a snapshot in small pieces, from where the target has come up to `stop`."""
    offset = await target.fetched_bytes(snapshot)
    while offset < stop:
        piece = await source.read(snapshot.index, snapshot.term, offset, min(10, stop - offset))
        assert piece
        await target.add_fetched(snapshot, offset, piece)
        offset += len(piece)


async def test_a_directory_without_snapshots_has_none(disk: FaultyDisk) -> None:
    store = await open_store(disk)

    assert (None, EMPTY, 0) == (store.newest, store.base, store.covered)
    assert newest_proven(disk, DIRECTORY) is None


async def test_what_was_taken_is_there_after_the_power_failed(disk: FaultyDisk) -> None:
    store = await open_store(disk)
    taken = await take(store, 7)
    disk.crash()
    again = await open_store(disk)

    assert taken == again.newest == Snapshot(7, 1, THREE, taken.size_bytes, taken.checksum)
    assert EntryId(1, 7) == again.base
    assert b"".join(STATE) == b"".join(again.state(taken))
    assert taken.size_bytes < 1000, "it is compressed"


@pytest.mark.parametrize("seed", range(20))
async def test_trap_36_the_name_of_what_was_taken_survives_the_power_too(seed: int) -> None:
    """The core forgets the log that a snapshot covers as soon as it is told of it."""
    disk = FaultyDisk(Random(seed))
    taken = await take(await open_store(disk), 7)
    disk.crash()

    assert taken == (await open_store(disk)).newest


async def test_the_state_is_the_one_of_the_moment_at_which_it_was_asked_for(
    disk: FaultyDisk,
) -> None:
    """Even where the disk has other work, and the state goes on meanwhile."""
    store = await open_store(disk)
    state = [b"then"]
    others = [asyncio.create_task(disk.run(lambda: None)) for _ in range(5)]
    await asyncio.sleep(0)
    taking = asyncio.create_task(store.take(7, 1, THREE, (each for each in state)))
    await asyncio.sleep(0)
    state[0] = b"now"
    taken = await taking
    await asyncio.gather(*others)

    assert b"then" == b"".join(store.state(taken))


@pytest.mark.parametrize("seed", range(30))
async def test_a_crash_while_a_snapshot_is_taken_leaves_the_one_before(seed: int) -> None:
    random = Random(seed)
    disk = FaultyDisk(Random(seed))
    store = await open_store(disk)
    first = await take(store, 7)
    taking = asyncio.create_task(take(store, 9, [bytes([seed]) * 5000]))
    await asyncio.sleep(random.uniform(0, 0.004))
    is_done = taking.done()
    disk.crash()
    await asyncio.gather(taking, return_exceptions=True)
    again = await open_store(disk)
    newest = again.newest

    assert newest is not None
    assert newest.index == 9 or (newest == first and not is_done)
    b"".join(again.state(newest))
    assert all(name.endswith(".snapshot") for name in files(disk))


async def test_the_last_two_are_kept_with_the_log_behind_the_older(disk: FaultyDisk) -> None:
    store = await open_store(disk)
    covered = []
    for index in (3, 5, 8):
        await take(store, index)
        covered.append(store.covered)

    assert [0, 3, 5] == covered
    assert len(files(disk)) == 2
    assert (await open_store(disk)).covered == 5


async def test_a_damaged_snapshot_is_put_aside_and_the_older_one_counts(disk: FaultyDisk) -> None:
    store = await open_store(disk)
    older = await take(store, 3)
    newer = await take(store, 5)
    disk.open(store.path(newer)).write(newer.size_bytes // 2, b"\xff\xfe\xfd")
    seen = newest_proven(disk, DIRECTORY)
    again = await open_store(disk)

    assert seen is not None
    assert older == seen.snapshot == again.newest
    assert [name for name in files(disk) if name.endswith(".damaged")]


def log_up_to(last: int, *, term: int = 1, of_last: int | None = None) -> RaftLog:
    """Return a log of one term, but for its last entry if that is `of_last` another."""
    runs = [TermRun(term, 1)] if last else []
    if of_last is not None:
        runs.append(TermRun(of_last, last))
    return RaftLog(LogSummary(last=last, runs=tuple(runs)))


async def test_where_the_log_has_what_a_damaged_snapshot_covered_nothing_is_lost(
    disk: FaultyDisk,
) -> None:
    store = await open_store(disk)
    store.check_reached(log_up_to(0).has)
    await take(store, 3)
    newer = await take(store, 5)
    disk.open(store.path(newer)).write(newer.size_bytes // 2, b"\xff\xfe\xfd")
    again = await open_store(disk)

    again.check_reached(log_up_to(5).has)
    again.check_reached(log_up_to(6, of_last=2).has)


@pytest.mark.parametrize(
    "log", [log_up_to(4), log_up_to(5, of_last=2), log_up_to(0), log_up_to(9, term=2)]
)
async def test_where_the_log_lacks_what_a_damaged_snapshot_covered_nobody_starts(
    disk: FaultyDisk, log: RaftLog
) -> None:
    """A fetched snapshot is vouched for when it is stored: the log behind it may not be begun."""
    store = await open_store(disk)
    await take(store, 3)
    newer = await take(store, 5)
    disk.open(store.path(newer)).write(newer.size_bytes // 2, b"\xff\xfe\xfd")
    for _ in range(2):  # it has been put aside before the second time
        again = await open_store(disk)
        with pytest.raises(DamagedLog, match="covered all up to entry 5 of term 1"):
            again.check_reached(log.has)
    await take(again, 8)

    (await open_store(disk)).check_reached(log.has)


@pytest.mark.parametrize("offset", [0, 9, 13, 30, 80, 120, -5, -1])
async def test_no_byte_of_a_snapshot_can_change_unseen(disk: FaultyDisk, offset: int) -> None:
    store = await open_store(disk)
    taken = await take(store, 3)
    path = store.path(taken)
    data = bytearray(disk.content(path))
    data[offset] ^= 0x40
    disk.open(path).write(0, bytes(data))

    try:
        again = await open_store(disk)
    except DataDirectoryError:
        assert offset == 9, "the version"
    else:
        assert again.newest is None


async def test_a_snapshot_of_another_cluster_is_refused(disk: FaultyDisk) -> None:
    await take(await open_store(disk), 3)

    with pytest.raises(DataDirectoryError, match=r"of cluster blue, not of green.*restore"):
        await open_snapshots(disk, DIRECTORY, "green")


async def test_a_full_disk_takes_no_snapshot_and_leaves_nothing(disk: FaultyDisk) -> None:
    store = await open_store(disk)
    disk.capacity_bytes = 100
    with pytest.raises(OSError, match="space") as caught:
        await take(store, 3)
    disk.capacity_bytes = None
    await take(store, 4)

    assert caught.value.errno == errno.ENOSPC
    assert len(files(disk)) == 1


async def test_a_state_that_cannot_be_told_is_no_snapshot(disk: FaultyDisk) -> None:
    def state() -> Iterator[bytes]:
        yield b"half"
        raise ValueError("an integer too large for MessagePack")

    store = await open_store(disk)
    with pytest.raises(ValueError, match="too large"):
        await store.take(3, 1, THREE, state())

    assert store.newest is None


# Fetching.


async def test_a_snapshot_is_fetched_in_pieces_and_over_restarts(disk: FaultyDisk) -> None:
    source = await open_store(disk)
    target = await open_store(disk, "/other")
    taken = await take(source, 7)
    await copy(source, target, taken, taken.size_bytes // 2)
    disk.kill()
    target = await open_store(disk, "/other")
    already = await target.fetched_bytes(taken)
    await copy(source, target, taken, taken.size_bytes)
    await target.prove_fetched(taken)
    fetched = b"".join(target.fetched_state(taken))
    await target.keep_fetched(taken)
    disk.crash()
    again = await open_store(disk, "/other")

    assert already == taken.size_bytes // 2
    assert taken == again.newest
    assert b"".join(STATE) == fetched == b"".join(again.state(taken))


async def test_what_was_fetched_and_is_not_what_was_offered_is_thrown_away(
    disk: FaultyDisk,
) -> None:
    source = await open_store(disk)
    target = await open_store(disk, "/other")
    taken = await take(source, 7)
    await target.add_fetched(taken, 0, b"\0" * taken.size_bytes)
    with pytest.raises(DamagedSnapshot):
        await target.prove_fetched(taken)
    left = await target.fetched_bytes(taken)
    other = Snapshot(8, 1, THREE, taken.size_bytes, taken.checksum)
    await target.add_fetched(other, 0, disk.content(source.path(taken)))
    with pytest.raises(DamagedSnapshot, match="another snapshot"):
        await target.prove_fetched(other)

    assert left == 0
    assert target.newest is None


@pytest.mark.parametrize("seed", range(10))
async def test_what_was_fetched_is_thrown_away_when_its_sync_fails(seed: int) -> None:
    """A later sync would succeed, and say nothing of what the first did not bring to the disk."""
    disk = FaultyDisk(Random(seed))
    store, source = await open_store(disk), await open_store(disk, "source")
    taken = await take(source, 7)
    await copy(source, store, taken, taken.size_bytes)
    disk.fail("sync", errno.EIO)
    with pytest.raises(DiskFailed):
        await store.keep_fetched(taken)
    assert 0 == await store.fetched_bytes(taken)

    await copy(source, store, taken, taken.size_bytes)
    await store.prove_fetched(taken)
    await store.keep_fetched(taken)
    disk.crash()

    assert taken == (await open_store(disk)).newest


async def test_a_piece_whose_sync_fails_takes_all_that_was_fetched_along(disk: FaultyDisk) -> None:
    store = await open_store(disk)
    snapshot = Snapshot(7, 1, THREE, size_bytes=2 * SYNC_BYTES, checksum=1)
    await store.add_fetched(snapshot, 0, b"first")
    disk.fail("sync", errno.EIO)
    with pytest.raises(DiskFailed):
        await store.add_fetched(snapshot, 5, bytes(SYNC_BYTES))

    assert 0 == await store.fetched_bytes(snapshot)


async def test_a_piece_that_comes_twice_is_written_once(disk: FaultyDisk) -> None:
    source = await open_store(disk)
    target = await open_store(disk, "/other")
    taken = await take(source, 7)
    await copy(source, target, taken, 100)
    await target.add_fetched(taken, 50, disk.content(source.path(taken))[50:100])
    await copy(source, target, taken, taken.size_bytes)
    await target.prove_fetched(taken)
    await target.keep_fetched(taken)

    assert target.newest == taken


async def test_a_newer_snapshot_clears_away_what_was_fetched_of_older_ones(
    disk: FaultyDisk,
) -> None:
    source = await open_store(disk)
    target = await open_store(disk, "/other")
    taken = await take(source, 7)
    await copy(source, target, taken, 50)
    await take(target, 9)

    assert len(files(disk, "/other")) == 1


async def test_what_was_just_kept_stays_where_later_ones_are_of_which_nobody_was_told(
    disk: FaultyDisk,
) -> None:
    """The fetch of each of those was given up for another just as it was kept."""
    store, source = await open_store(disk), await open_store(disk, "source")
    for index in (30, 40):
        await take(store, index)
    offered = await take(source, 20)
    await copy(source, store, offered, offered.size_bytes)
    await store.keep_fetched(offered)

    assert b"".join(STATE) == b"".join(store.state(offered))
    assert 3 == len(files(disk))
    await take(store, 50)
    assert (40, 50, 2) == (store.covered, store.base.index, len(files(disk)))


async def test_a_snapshot_that_stays_because_it_is_read_keeps_no_log(disk: FaultyDisk) -> None:
    """A node that fetched one had the log of half a minute stay with it (MIT 4C, unreliable)."""
    store = await open_store(disk)
    await take(store, 1)
    await store.read(1, 1, 0, 10)
    for index in (3, 5, 7):
        await take(store, index)

    assert 3 == len(files(disk))
    assert 5 == store.covered


async def test_a_snapshot_that_is_read_stays_for_a_while(disk: FaultyDisk) -> None:
    """Trap 33: a peer that fetches slowly must not be sent from snapshot to snapshot."""
    store = await open_store(disk)
    first = await take(store, 1)
    await take(store, 2)
    await store.read(1, 1, 0, 10)
    await take(store, 3)
    piece = await store.read(1, 1, 10, 10)
    await asyncio.sleep(KEPT_AFTER_READ + 1)
    await take(store, 4)

    assert first.index == 1
    assert piece is not None
    assert await store.read(1, 1, 20, 10) is None
    assert len(files(disk)) == 2
