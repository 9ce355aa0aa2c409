"""Snapshots of nodes at run time: taken, fetched, restored, and what goes wrong on the way."""

import asyncio
import logging
from random import Random

import pytest

from liferaft.cluster.envelope import Introduction
from liferaft.cluster.introductions import Introductions
from liferaft.cluster.peers import Peers
from liferaft.cluster.recovering import go_on_alone
from liferaft.cluster.snapshot_policy import SnapshotPolicy, checked_policy
from liferaft.cluster.snapshot_source import PIECE_BYTES, SnapshotShelf
from liferaft.cluster.snapshotting import TAKE_AGAIN_AFTER, Position, Snapshots
from liferaft.errors import ConfigurationError, DamagedLog
from liferaft.link.memory import MemoryNetwork
from liferaft.raft.events import Event
from liferaft.raft.types import Configuration
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.segment import segment_numbers
from liferaft.storage.snapshots import newest_proven, open_snapshots, snapshot_directory
from tests.cluster.counting import Appended, Counting

pytestmark = pytest.mark.looptime


def snapshot_index(cluster: Counting, node_id: str) -> int:
    newest = newest_proven(cluster.disks[node_id], "/data")
    return 0 if newest is None else newest.head.index


async def test_every_node_takes_snapshots_and_drops_its_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = Counting()
    await cluster.start()
    await cluster.write(300)
    await cluster.wait_equal()
    await asyncio.sleep(1)
    indexes = [snapshot_index(cluster, node_id) for node_id in cluster.peers]
    firsts = [segment_numbers(disk.names("/data"))[0] for disk in cluster.disks.values()]
    await cluster.stop()

    assert all(index >= 270 for index in indexes)
    assert all(first > 1 for first in firsts)
    assert not caplog.records


async def test_a_node_starts_with_its_newest_snapshot_and_applies_the_rest() -> None:
    cluster = Counting(1)
    await cluster.start()
    await cluster.write(50)
    lines = cluster.machines["n1"].lines
    await cluster.stop()
    await cluster.start()
    await cluster.write(1)
    restored = cluster.machines["n1"]
    await cluster.stop()

    assert snapshot_index(cluster, "n1") >= 40
    assert restored.prepared == 1
    assert [*lines, b"x" * 10] == restored.lines


async def test_a_follower_that_is_far_behind_is_sent_a_snapshot() -> None:
    cluster = Counting()
    await cluster.start()
    await cluster.write(5)
    await cluster.stop("n3")
    await cluster.write(200)
    await cluster.start("n3")
    await cluster.wait_equal()
    await cluster.write(3)
    await cluster.wait_equal()
    prepared = cluster.machines["n3"].prepared
    await cluster.stop()
    await cluster.start()
    await cluster.write(1)
    await cluster.wait_equal()
    await cluster.stop()

    assert prepared == 1
    assert len(cluster.machines["n3"].lines) == 209


async def test_a_snapshot_goes_on_to_be_fetched_where_a_lost_node_left_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In pieces, so slowly that the node stops in the middle; what has come is not asked again."""
    asked: list[int] = []
    is_half_fetched = asyncio.Event()
    real = SnapshotShelf.read

    async def read(self: SnapshotShelf, cluster_id: str, *place: int) -> bytes | None:
        asked.append(place[2])
        if len(asked) == 3:
            is_half_fetched.set()
        return await real(self, cluster_id, *place)

    monkeypatch.setattr(SnapshotShelf, "read", read)
    size_bytes = PIECE_BYTES // 3 + 1000
    policy = SnapshotPolicy(entries=10, log_bytes=2**30, ratio=0, fetch_bytes_per_second=100_000)
    cluster = Counting(policy=policy)
    await cluster.start()
    await cluster.stop("n3")
    # What does not compress, so that the file has many pieces.
    noise = Random(1)
    for _ in range(25):
        await cluster.write(1, data=noise.randbytes(size_bytes))
    await cluster.start("n3")
    await is_half_fetched.wait()
    await cluster.stop("n3")
    fetched = [
        name
        for name in cluster.disks["n3"].names(snapshot_directory("/data"))
        if name.endswith(".fetched")
    ]
    asked.clear()
    await cluster.start("n3")
    await cluster.wait_equal()
    await cluster.stop()

    assert len(fetched) == 1
    assert min(asked) > 0


async def test_a_full_disk_takes_no_snapshot_until_there_is_space(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = Counting(1, policy=SnapshotPolicy(entries=20, ratio=0))
    await cluster.start()
    await cluster.write(10)
    disk = cluster.disks["n1"]
    assert isinstance(disk, FaultyDisk)
    disk.capacity_bytes = sum(len(disk.content(path)) for path in disk.paths()) + 50
    await cluster.write(15)
    await asyncio.sleep(1)
    messages = [record.getMessage() for record in caplog.records]
    caplog.clear()
    disk.capacity_bytes = None
    await asyncio.sleep(TAKE_AGAIN_AFTER)
    await cluster.write(1)
    await asyncio.sleep(1)
    index = snapshot_index(cluster, "n1")
    await cluster.stop()

    assert [each for each in messages if "no snapshot could be taken" in each]
    assert index >= 25


async def test_a_snapshot_that_is_damaged_on_its_way_is_fetched_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    real = SnapshotShelf.read

    async def flip(self: SnapshotShelf, cluster_id: str, *place: int) -> bytes | None:
        nonlocal reads
        piece = await real(self, cluster_id, *place)
        reads += 1
        return piece if reads > 1 or piece is None else piece[:-1] + bytes([piece[-1] ^ 1])

    monkeypatch.setattr(SnapshotShelf, "read", flip)
    cluster = Counting()
    await cluster.start()
    await cluster.stop("n3")
    await cluster.write(200)
    with caplog.at_level(logging.WARNING):
        await cluster.start("n3")
        await cluster.wait_equal()
    await cluster.stop()

    assert [each for each in caplog.records if "damaged" in each.getMessage()]
    assert reads >= 2


async def test_a_snapshot_that_rotted_under_its_node_is_replaced() -> None:
    """The leader offers it, and cannot know, until it is read."""
    cluster = Counting(policy=SnapshotPolicy(entries=50))
    await cluster.start()
    await cluster.stop("n3")
    await cluster.write(110)
    await asyncio.sleep(1)
    leader = (await cluster.leader()).config.node_id
    disk = cluster.disks[leader]
    names = disk.names(snapshot_directory("/data"))
    disk.open(f"{snapshot_directory('/data')}/{names[-1]}").write(60, b"damage")
    await cluster.start("n3")
    await cluster.wait_equal()
    after = disk.names(snapshot_directory("/data"))
    await cluster.stop()

    assert f"{names[-1]}.damaged" in after


async def test_who_speaks_of_another_cluster_gets_no_snapshot() -> None:
    disk = FaultyDisk(Random(1))
    shelf = SnapshotShelf(await open_snapshots(disk, "/data", "blue"), "blue")

    assert await shelf.read("green", 1, 1, 0, 10) is None
    assert await shelf.read("blue", 1, 1, -1, 10) is None
    assert await shelf.read("blue", 1, 1, 0, 0) is None


async def test_a_damaged_snapshot_costs_nothing_while_there_is_the_one_before() -> None:
    cluster = Counting(1)
    await cluster.start()
    await cluster.write(100)
    await asyncio.sleep(1)
    lines = cluster.machines["n1"].lines
    await cluster.stop()
    disk = cluster.disks["n1"]
    newest = newest_proven(disk, "/data")
    assert newest is not None
    names = disk.names(snapshot_directory("/data"))
    disk.open(f"{snapshot_directory('/data')}/{names[-1]}").write(60, b"damage")
    await cluster.start()
    await cluster.write(1)
    restored = cluster.machines["n1"].lines
    await cluster.stop()

    assert [*lines, b"x" * 10] == restored


async def test_a_damaged_snapshot_that_the_log_does_not_reach_ends_the_start() -> None:
    """As one that was fetched, where the disk was full before the log behind it was begun."""
    cluster = Counting(1)
    await cluster.start()
    await cluster.write(100)
    await asyncio.sleep(1)
    await cluster.stop()
    disk = cluster.disks["n1"]
    store = await open_snapshots(disk, "/data", cluster_id_of(cluster))
    newest = store.newest
    assert newest is not None
    fetched = await store.take(1000, 9, newest.configuration, store.state(newest))
    disk.open(store.path(fetched)).write(60, b"damage")

    for _ in range(2):
        with pytest.raises(DamagedLog, match="covered all up to entry 1000 of term 9"):
            await cluster.start()
    await go_on_alone(disk, "/data", "what is left")

    (await open_snapshots(disk, "/data", "what is left")).check_reached(lambda *_: False)


def cluster_id_of(cluster: Counting) -> str:
    newest = newest_proven(cluster.disks["n1"], "/data")
    assert newest is not None
    return newest.head.cluster_id


async def test_no_snapshot_is_taken_that_names_no_members() -> None:
    """A node that was added applies entries from before the first that says who takes part."""
    disk = FaultyDisk(Random(1))
    store = await open_snapshots(disk, "/data", "blue")
    members = [Configuration(())]
    posted: list[Event] = []
    network = MemoryNetwork()
    introductions = Introductions("n1", Introduction())
    peers = Peers("blue", {}, network=network, random=Random(1), introductions=introductions)
    snapshots = Snapshots(
        store,
        Appended(),
        disk=disk,
        cluster_id="blue",
        policy=SnapshotPolicy(entries=1),
        reach=peers.reach_snapshots,
        post=posted.append,
        position=lambda: Position(10, 1, members[0]),
    )
    snapshots.after_turn(10, 1000)
    await asyncio.sleep(1)
    before = store.newest
    members[0] = Configuration(("n1",))
    snapshots.after_turn(10, 1000)
    await asyncio.sleep(1)
    await snapshots.stop()

    assert before is None
    assert store.newest is not None
    assert len(posted) == 1


def test_the_policy_waits_for_entries_or_bytes_and_never_writes_more_than_the_log_grew() -> None:
    policy = SnapshotPolicy(entries=100, log_bytes=1000, ratio=2.0)

    assert not policy.is_due(99, 999, 0)
    assert policy.is_due(100, 10, 0)
    assert policy.is_due(1, 1000, 0)
    assert not policy.is_due(1000, 1999, 1000)
    assert policy.is_due(1000, 2000, 1000)


@pytest.mark.parametrize(
    "policy",
    [
        SnapshotPolicy(entries=0),
        SnapshotPolicy(log_bytes=0),
        SnapshotPolicy(ratio=-1.0),
        SnapshotPolicy(ratio=float("nan")),
        SnapshotPolicy(fetch_bytes_per_second=0),
    ],
)
def test_a_policy_that_cannot_be_is_refused(policy: SnapshotPolicy) -> None:
    with pytest.raises(ConfigurationError):
        checked_policy(policy)
