"""What ties the core to disk, peers and state machine: one driver alone, on a disk that obeys."""

import asyncio
import errno
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest

from liferaft.cluster.applying import SLICE
from liferaft.cluster.driver import Driver, Rest
from liferaft.cluster.envelope import Introduction
from liferaft.cluster.introductions import Introductions
from liferaft.cluster.peers import Peers
from liferaft.cluster.snapshot_policy import SnapshotPolicy
from liferaft.cluster.snapshotting import Snapshots
from liferaft.errors import DiskFailed, LiferaftError
from liferaft.link.memory import MemoryNetwork
from liferaft.raft.config import RaftConfig
from liferaft.raft.core import RaftCore
from liferaft.raft.events import Event, Received
from liferaft.raft.log import LogSummary
from liferaft.raft.messages import AppendEntries, Message, RequestVote, RequestVoteReply
from liferaft.raft.types import Configuration, Entry, EntryKind, HardState, NodeId
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.snapshots import SnapshotStore
from liferaft.storage.wal import WriteAheadLog
from tests.cluster.counting import Appended

DISK_SECONDS = 1.0
PATIENT = RaftConfig(election_timeout=100.0, heartbeat_interval=10.0)


class Machine(Appended):
    """A state machine that remembers, and fails at one command."""

    def __init__(self, fails_at: bytes = b"") -> None:
        super().__init__()
        self.applied: list[bytes] = []
        self._fails_at = fails_at

    def apply(self, entry: Entry) -> bytes:
        if entry.data == self._fails_at:
            raise ZeroDivisionError("a bug of ours")
        self.applied.append(entry.data)
        return b"done"


class Client:
    """Who waits for a command."""

    def __init__(self) -> None:
        self.learned: list[object] = []

    def applied(self, outcome: bytes) -> None:
        self.learned.append(outcome)

    def lost(self, leader: NodeId | None) -> None:
        self.learned.append(("lost", leader))

    def rejected(self, leader: NodeId | None, *, is_overloaded: bool) -> None:
        self.learned.append(("rejected", leader))


class World:
    """A driver and all that is around it."""

    def __init__(self, machine: Machine, disk: FaultyDisk) -> None:
        self.machine = machine
        self.disk = disk
        self.delivered: list[Message] = []
        self.failures: list[LiferaftError] = []
        self.driver: Driver

    def deliver(self, target: NodeId, messages: tuple[Message, ...]) -> None:
        self.delivered += messages


@asynccontextmanager
async def driven(
    *voters: NodeId,
    machine: Machine | None = None,
    config: RaftConfig = PATIENT,
    rest: Rest | None = None,
    work_clock: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[World]:
    disk = FaultyDisk(Random(1), latency=lambda: DISK_SECONDS)
    world = World(machine or Machine(), disk)
    log, _ = await WriteAheadLog.open(disk, "/data")
    core = RaftCore(
        "a",
        config,
        Configuration(voters=voters),
        HardState(),
        LogSummary(),
        now=asyncio.get_running_loop().time(),
        random=Random(1),
    )
    world.driver = Driver(
        core=core,
        log=log,
        machine=world.machine,
        deliver=world.deliver,
        snapshots=lambda post, position: Snapshots(
            SnapshotStore(disk, "/data", "blue"),
            world.machine,
            disk=disk,
            cluster_id="blue",
            policy=SnapshotPolicy(),
            reach=Peers(
                "blue",
                {},
                network=MemoryNetwork(),
                random=Random(1),
                introductions=Introductions("a", Introduction()),
            ).reach_snapshots,
            post=post,
            position=position,
        ),
        on_failure=world.failures.append,
        rest=rest,
        work_clock=work_clock,
    )
    world.driver.start()
    yield world
    await world.driver.stop()
    await log.close()


def append(*data: bytes, term: int = 1) -> AppendEntries:
    """Return a no-op and these commands, all committed, from the leader of a term."""
    entries = [Entry(term, 1, EntryKind.NOOP, b"")]
    entries += [Entry(term, index, EntryKind.COMMAND, each) for index, each in enumerate(data, 2)]
    return AppendEntries(term, "b", "a", 0, 0, tuple(entries), len(entries), 1)


@pytest.mark.looptime
async def test_trap_1_a_vote_leaves_the_node_after_the_sync() -> None:
    async with driven("a", "b", "c") as world:
        await asyncio.sleep(10 * DISK_SECONDS)
        world.driver.post(Received(RequestVote(5, "b", "a", 0, 0)))
        await asyncio.sleep(DISK_SECONDS / 2)
        assert [] == world.delivered
        await asyncio.sleep(2 * DISK_SECONDS)

    assert [RequestVoteReply(5, "a", "b", is_granted=True)] == world.delivered


@pytest.mark.looptime
async def test_trap_21_the_no_op_is_not_for_the_state_machine() -> None:
    async with driven("a", "b", "c") as world:
        world.driver.post(Received(append(b"x")))
        await asyncio.sleep(DISK_SECONDS)

    assert ([b"x"], 2) == (world.machine.applied, world.driver.applied_index)


@pytest.mark.looptime
async def test_trap_35_a_sync_that_fails_ends_the_node() -> None:
    """It says nothing more: what it acknowledged may be gone, and it cannot know."""
    async with driven("a", "b", "c") as world:
        await asyncio.sleep(10 * DISK_SECONDS)
        world.disk.fail("sync", errno.EIO)
        world.driver.post(Received(RequestVote(5, "b", "a", 0, 0)))
        await asyncio.sleep(10 * DISK_SECONDS)
        world.driver.post(Received(RequestVote(6, "c", "a", 0, 0)))
        await asyncio.sleep(10 * DISK_SECONDS)

    assert [DiskFailed] == [type(failure) for failure in world.failures]
    assert [] == world.delivered


@pytest.mark.looptime
async def test_trap_40_who_waits_learns_at_once_that_its_node_leads_no_more() -> None:
    """And not only when another entry is applied at its index, which may never be."""
    client = Client()
    async with driven("a", "b", "c") as world:
        await asyncio.sleep(10 * DISK_SECONDS)
        await become_leader(world)
        world.driver.propose(b"x", client)
        await asyncio.sleep(DISK_SECONDS)
        world.driver.post(Received(AppendEntries(9, "b", "a", 0, 0, (), 0, 1)))
        await asyncio.sleep(DISK_SECONDS)
        learned = list(client.learned)

    assert [("lost", "b")] == learned


@pytest.mark.looptime
async def test_between_two_slices_of_what_there_is_to_apply_others_have_their_turn() -> None:
    """Heartbeats, above all: or a leader that has much to apply would be taken for dead."""
    commands = [b"%d" % number for number in range(20)]
    ticks = itertools.count(step=SLICE)
    async with driven("a", "b", "c", work_clock=lambda: next(ticks)) as world:
        world.driver.post(Received(append(*commands)))
        seen = set()
        for _ in range(100):
            seen.add(len(world.machine.applied))
            await asyncio.sleep(0)
        await asyncio.sleep(DISK_SECONDS)

    assert len(commands) <= len(seen)
    assert (commands, 21) == (world.machine.applied, world.driver.applied_index)


class Asleep:
    """Lets a group rest whatever happens, and notes when it hears of entries left to apply."""

    def __init__(self) -> None:
        self.busy: list[bool] = []

    def vouchers(self) -> Sequence[Event]:
        return ()

    def is_resting(self, events: Sequence[Event], *, is_busy: bool) -> bool:
        del events
        self.busy.append(is_busy)
        return True

    def overdue(self, again: Callable[[], None]) -> Event | None:
        del again
        return None

    def wake_at(self, deadline: float) -> float:
        return deadline


@pytest.mark.looptime
async def test_what_is_left_to_apply_is_applied_though_nothing_else_wakes_the_group() -> None:
    """The rest is told of it, so that no group rests meanwhile."""
    commands = [b"%d" % number for number in range(20)]
    ticks, rest = itertools.count(step=SLICE), Asleep()
    async with driven("a", "b", "c", rest=rest, work_clock=lambda: next(ticks)) as world:
        world.driver.post(Received(append(*commands)))
        await asyncio.sleep(2 * DISK_SECONDS)

    assert commands == world.machine.applied
    assert len(commands) - 1 <= sum(rest.busy)
    assert not rest.busy[-1]


async def become_leader(world: World) -> None:
    """Let the node campaign, and win by the vote of b."""
    await asyncio.sleep(2 * PATIENT.election_timeout)
    for is_prevote in (True, False):
        world.driver.post(
            Received(RequestVoteReply(1, "b", "a", is_granted=True, is_prevote=is_prevote))
        )
        await asyncio.sleep(2 * DISK_SECONDS)
    assert "leader" == world.driver.core.role


@pytest.mark.looptime
async def test_trap_47_an_exception_in_apply_ends_the_node_and_skips_no_entry() -> None:
    """Not one of a user's method, which is a result, but of what runs the methods."""
    async with driven("a", "b", "c", machine=Machine(fails_at=b"x")) as world:
        world.driver.post(Received(append(b"w", b"x", b"y")))
        await asyncio.sleep(DISK_SECONDS)
        world.driver.post(Received(append(b"w", b"x", b"y")))
        await asyncio.sleep(DISK_SECONDS)

    assert [b"w"] == world.machine.applied
    assert ["the node ends: ZeroDivisionError: a bug of ours"] == [str(f) for f in world.failures]
