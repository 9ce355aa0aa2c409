"""A replica whose state is another one is found while it runs, and ends; equal ones are left alone.

The clusters are simulated ones: the nodes that ship, in virtual time.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from liferaft.cluster.divergence import (
    COMPARISON_OBJECT,
    KEPT,
    READY_AFTER,
    Comparison,
    ReplicaComparison,
)
from liferaft.cluster.judgement import ReplicaDigest
from liferaft.cluster.node import Node
from liferaft.errors import ConfigurationError, InvariantViolated, ReplicaDiverged, Unreachable
from liferaft.raft.types import Configuration, NodeId
from liferaft.replicated.machine import query
from liferaft.sim.loop import run_simulated
from liferaft.sim.nodes import ONLY
from liferaft.sim.settings import Settings
from liferaft.storage.faulty import FaultyDisk
from liferaft.testing.simulated import SimulatedCluster
from tests.cluster.counting import Counting, Waiting

INTERVAL = 2.0
FOUND_WITHIN = 3 * INTERVAL
"""The next point may be skipped, and the others must have been told."""

THREE = Configuration(voters=("n1", "n2", "n3"))


def _digest(index: int, lines: str) -> ReplicaDigest:
    return ReplicaDigest(index, {"Book.lines": lines}, None)


# Whole clusters.


ODD: list[object] = []
"""The replicas that do what they like."""

CHANCE = Random(1)


def _is_odd(replica: object) -> bool:
    return any(replica is each for each in ODD)


class Register:
    """Keeps numbers. The replicas in `ODD` keep others, as if they drew them themselves."""

    def __init__(self) -> None:
        self._numbers: dict[int, float] = {}

    def add(self, number: int) -> None:
        is_odd = _is_odd(self)
        self._numbers[number] = CHANCE.random() if is_odd else 0.5

    def tell(self, number: int) -> float:
        is_odd = _is_odd(self)
        return CHANCE.random() if is_odd else number

    @query
    def numbers(self) -> dict[int, float]:
        return self._numbers


@pytest.fixture(autouse=True)
def _nobody_is_odd() -> Iterator[None]:
    yield
    ODD.clear()


def _settings(interval: float = INTERVAL) -> Settings:
    return Settings(compare_interval=interval)


async def _write(stub: Any, seconds: float, cluster: SimulatedCluster) -> None:
    number, until = 0, cluster.now + seconds
    while cluster.now < until:
        number += 1
        await stub.add(number)
        await asyncio.sleep(0.1)


def _compared(cluster: SimulatedCluster) -> list[int]:
    world = cluster.world
    return [world.parts(each)[ONLY].status().compared_index for each in sorted(world.nodes)]


@pytest.mark.parametrize("is_leader", [True, False])
def test_the_odd_one_ends_and_the_others_go_on(
    is_leader: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when it leads: then another one does."""
    odd: list[NodeId] = []
    down: list[NodeId] = []
    written: list[int] = []

    async def story(cluster: SimulatedCluster) -> None:
        stub = cluster.stub(Register)
        await stub.add(0)
        leader = await cluster.wait_leader()
        odd.append(next(each for each in cluster.nodes if (each == leader) is is_leader))
        ODD.append(cluster.replica(odd[0]))
        await _write(stub, FOUND_WITHIN, cluster)
        down.extend(cluster.down)
        await stub.add(-1)
        written.append(len(await stub.numbers()))

    with (
        pytest.raises(
            InvariantViolated,
            match=r"majority: Register\._numbers differs .*liferaft member replace",
        ),
        SimulatedCluster(Register, settings=_settings(), seed=3) as cluster,
    ):
        cluster.run(lambda: story(cluster))

    assert odd == down
    assert written[0] > 2
    assert f"node {odd[0]} ends" in caplog.text
    others = [each for each in ("n1", "n2", "n3") if each not in odd]
    assert any(f"node {each}: the replicas differ" in caplog.text for each in others)


def test_where_no_majority_agrees_everybody_ends() -> None:
    """A command that draws its own numbers: there is no right state, so none is served."""
    down: list[NodeId] = []

    async def story(cluster: SimulatedCluster) -> None:
        ODD.extend(cluster.replica(each) for each in cluster.nodes)
        stub = cluster.stub(Register, timeout=1.0)
        writing = asyncio.create_task(_write(stub, 60.0, cluster))
        while len(cluster.down) < len(cluster.nodes) and cluster.now < 60.0:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        down.extend(cluster.down)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)

    with (
        pytest.raises(
            InvariantViolated,
            match=r"equal replicas: .*no majority has the same state: Register\._numbers differs",
        ),
        SimulatedCluster(Register, settings=_settings(), seed=3) as cluster,
    ):
        cluster.run(lambda: story(cluster))

    assert ["n1", "n2", "n3"] == down


def test_answers_that_differ_are_reported_and_nobody_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The state is the same, and no client ever gets a second answer to one call."""
    with SimulatedCluster(Register, settings=_settings(), seed=3) as cluster:

        async def story() -> None:
            stub = cluster.stub(Register)
            ODD.append(cluster.replica("n2"))
            for number in range(80):
                await stub.tell(number)
                await asyncio.sleep(0.1)

        cluster.run(story)
        assert [] == cluster.down

    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert told
    assert all("node n2: its state" in each and "not all answers" in each for each in told)


def test_equal_replicas_are_left_alone_and_say_how_far_they_were_compared(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with SimulatedCluster(Register, settings=_settings(), seed=3) as cluster:

        async def story() -> None:
            stub = cluster.stub(Register)
            await _write(stub, 5.0, cluster)
            leader = await cluster.wait_leader()
            cluster.crash(leader)
            await _write(stub, 5.0, cluster)
            await cluster.restart(leader)
            await _write(stub, 5.0, cluster)

        cluster.run(story)
        assert [] == cluster.down
        assert all(index > 100 for index in _compared(cluster))

    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_node_of_an_older_program_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """It has no such object, and tells nobody of its state."""
    with SimulatedCluster(Register, settings=_settings(), seed=3) as cluster:

        async def story() -> None:
            old = cluster.world.nodes["n3"]
            assert isinstance(old, Node)
            assert old._server is not None
            del old._server.dispatchers[COMPARISON_OBJECT]
            await old.member.comparison.stop()
            await _write(cluster.stub(Register), 10.0, cluster)

        cluster.run(story)
        assert [] == cluster.down
        first, second, third = _compared(cluster)

    assert first > 50
    assert second > 50
    assert 0 == third
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_with_an_interval_of_nothing_nobody_compares() -> None:
    with SimulatedCluster(Register, settings=_settings(0.0), seed=3) as cluster:

        async def story() -> None:
            stub = cluster.stub(Register)
            ODD.append(cluster.replica("n2"))
            await _write(stub, 10.0, cluster)

        cluster.run(story)
        assert [0, 0, 0] == _compared(cluster)


def test_a_node_that_ends_answers_nothing_from_that_moment_on() -> None:
    """Not only once whoever runs it has stopped it."""

    async def story() -> None:
        cluster = Counting(1)
        await cluster.start()
        node = await cluster.leader()
        driver, reason = node.driver, ReplicaDiverged("its state is another one")
        waiting = Waiting()
        driver.fail(reason)
        driver.propose(b"x", waiting)
        assert None is await waiting.outcome
        assert driver.is_stopped
        assert reason is node.failure
        await cluster.stop()

    run_simulated(story)


# One node among others that are played.


class Machine:
    """A state machine of one word."""

    def __init__(self) -> None:
        self.state = b"right"
        self.error: ConfigurationError | None = None
        self.point: Callable[[int, int | None], None] | None = None

    def watch(self, interval: float, on_point: Callable[[int, int | None], None]) -> None:
        assert INTERVAL == interval
        self.point = on_point

    def digest_pieces(self) -> Iterator[tuple[str, bytes]]:
        if self.error is not None:
            raise self.error
        yield "Book.lines", self.state

    def reach(self, index: int) -> None:
        assert self.point is not None
        self.point(index, None)


class Others:
    """What stands for the other nodes: who is there is told whatever it is asked."""

    def __init__(self, *names: NodeId) -> None:
        self.names = set(names)
        self.told: list[tuple[NodeId, NodeId, int]] = []
        self.answer: Callable[[ReplicaDigest], ReplicaDigest | None] = lambda digest: digest

    @asynccontextmanager
    async def reach(self, node_id: NodeId) -> AsyncIterator[ReplicaComparison]:
        if node_id not in self.names:
            raise Unreachable("it is down")
        yield Other(self, node_id)


class Other:
    """One of them, as who is connected to it sees it."""

    def __init__(self, others: Others, node_id: NodeId) -> None:
        self._others = others
        self._node_id = node_id

    async def compare(
        self, cluster_id: str, node_id: NodeId, digest: ReplicaDigest
    ) -> ReplicaDigest | None:
        assert "c" == cluster_id
        self._others.told.append((self._node_id, node_id, digest.index))
        return self._others.answer(digest)


class PreparedDisk(FaultyDisk):
    """A disk that knows when it was told to get ready for a copy of the process."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.ready_at: list[float] = []

    async def get_ready_aside(self) -> None:
        self.ready_at.append(asyncio.get_running_loop().time())


class Seat:
    """A node's comparison, with all that it needs."""

    def __init__(self, others: Others) -> None:
        self.machine = Machine()
        self.disk = PreparedDisk(Random(1))
        self.failures: list[ReplicaDiverged] = []
        self.others = others
        self.comparison = Comparison(
            "n1",
            "c",
            self.machine,
            interval=INTERVAL,
            disk=self.disk,
            reach=others.reach,
            configuration=lambda: THREE,
            on_diverged=self._fail,
        )
        self.on_failure: Callable[[], None] = lambda: None

    def _fail(self, error: ReplicaDiverged) -> None:
        self.failures.append(error)
        self.on_failure()


def test_who_is_down_is_told_when_it_is_back() -> None:
    """Until then nothing is decided, though the one that answers has another state."""

    async def story() -> None:
        seat = Seat(Others("n2"))
        seat.others.answer = lambda digest: _digest(digest.index, "other")
        seat.machine.reach(5)
        await asyncio.sleep(10.0)
        assert [] == seat.failures
        seat.others.names.add("n3")
        await asyncio.sleep(10.0)
        assert 1 == len(seat.failures)
        assert ("n3", "n1", 5) in seat.others.told
        await seat.comparison.stop()

    run_simulated(story)


def test_a_copy_is_prepared_shortly_before_each_point() -> None:
    """So the node stands still for a moment only when it is due. Without points there is one."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        seat = Seat(Others("n2", "n3"))
        await asyncio.sleep(10 * INTERVAL)
        assert [begin + READY_AFTER * INTERVAL] == seat.disk.ready_at
        for index in range(1, 4):
            seat.machine.reach(index)
            point = loop.time()
            await asyncio.sleep(INTERVAL)
            assert [point + READY_AFTER * INTERVAL] == seat.disk.ready_at[index:]
        seat.machine.reach(4)
        await asyncio.sleep((READY_AFTER - 0.1) * INTERVAL)
        seat.machine.reach(5)
        await asyncio.sleep(INTERVAL)
        assert 5 == len(seat.disk.ready_at)
        seat.machine.reach(6)
        await seat.comparison.stop()
        await asyncio.sleep(INTERVAL)
        assert 5 == len(seat.disk.ready_at)

    run_simulated(story)


def test_who_comes_to_the_point_later_tells_it_then() -> None:
    async def story() -> None:
        seat = Seat(Others("n2", "n3"))
        seat.others.answer = lambda _: None
        seat.machine.reach(5)
        await asyncio.sleep(60.0)
        assert 2 == len(seat.others.told)
        for node_id in ("n2", "n3"):
            found = await seat.comparison.compare("c", node_id, _digest(5, "other"))
            assert found is not None
            assert 5 == found.index
        await asyncio.sleep(0.1)
        assert 1 == len(seat.failures)
        await seat.comparison.stop()

    run_simulated(story)


def test_nobody_ends_before_each_of_the_others_was_told() -> None:
    """Or those that are left would wait for the word of one that ended."""

    async def story() -> None:
        seat = Seat(Others("n2", "n3"))
        seat.others.answer = lambda digest: _digest(digest.index, "other")
        told_then: list[int] = []
        seat.on_failure = lambda: told_then.append(len(seat.others.told))
        for node_id in ("n2", "n3"):
            await seat.comparison.compare("c", node_id, _digest(5, "other"))
        seat.machine.reach(5)
        await asyncio.sleep(1.0)
        assert [2] == told_then
        await seat.comparison.stop()

    run_simulated(story)


def test_strangers_are_not_listened_to() -> None:
    async def story() -> None:
        seat = Seat(Others())
        seat.machine.reach(5)
        await asyncio.sleep(1.0)
        assert await seat.comparison.compare("other", "n2", _digest(5, "x")) is None
        for node_id in ("n8", "n9", "n1"):
            await seat.comparison.compare("c", node_id, _digest(5, "x"))
        await asyncio.sleep(20.0)
        assert [] == seat.failures
        assert ["n1"] == list(seat.comparison.told)
        assert "x" != seat.comparison.told["n1"][5].parts["Book.lines"]
        await seat.comparison.stop()

    run_simulated(story)


def test_an_old_log_is_not_compared_point_by_point() -> None:
    async def story() -> None:
        seat = Seat(Others("n2", "n3"))
        for index in range(1, 50):
            seat.machine.reach(index)
            await asyncio.sleep(0.01)
        assert 2 == len(seat.others.told)
        await asyncio.sleep(INTERVAL)
        seat.machine.reach(50)
        await asyncio.sleep(0.1)
        assert 50 == seat.comparison.compared_index
        await seat.comparison.stop()

    run_simulated(story)


def test_no_more_than_some_digests_of_a_node_are_remembered() -> None:
    async def story() -> None:
        seat = Seat(Others())
        for index in range(1, 2 * KEPT):
            await seat.comparison.compare("c", "n2", _digest(index, "x"))
        assert KEPT == len(seat.comparison.told["n2"])
        await seat.comparison.stop()

    run_simulated(story)


def test_a_state_that_cannot_be_encoded_is_reported_and_the_node_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        seat = Seat(Others("n2", "n3"))
        seat.machine.error = ConfigurationError("no type for it")
        seat.machine.reach(5)
        await asyncio.sleep(1.0)
        assert [] == seat.others.told
        await seat.comparison.stop()

    run_simulated(story)
    assert "cannot be compared with the other nodes'" in caplog.text
