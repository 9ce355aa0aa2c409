"""Reads of every kind while leaders are cut off, nodes stand still, and clocks are wrong.

What a client saw is judged by the checker, or by the bound that it asked for. Virtual time: a
seed's story is the same each time.
"""

import asyncio
from random import Random
from typing import Any, Final

import pytest

import liferaft
from liferaft.check.history import Operation
from liferaft.check.linearizability import Outcome, check
from liferaft.check.models import Register
from liferaft.errors import DeadlineExceeded, InvariantViolated, LiferaftError, OutcomeUnknown
from liferaft.rpc.views import Reads, Within
from liferaft.testing.simulated import SimulatedCluster

pytestmark = pytest.mark.slow

ERROR: Final = 0.1
"""The error of the clocks that leases are told of."""
BOUND: Final = 0.2


class Cell:
    """A number."""

    def __init__(self) -> None:
        self.value = 0

    def write(self, value: int) -> None:
        self.value = value

    @liferaft.query
    def read(self) -> int:
        return self.value


class Mark(Cell):
    """The largest number that was ever written: a write that comes late does not show."""

    def write(self, value: int) -> None:
        self.value = max(self.value, value)


class Clients:
    """Who writes larger and larger numbers, and who reads; and what they saw."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.history: list[Operation] = []
        self.is_over = False
        self._cluster = cluster
        self._last = 0

    async def write(self, cell: Any, name: str) -> None:
        """Write until it is over."""
        while not self.is_over:
            self._last = number = self._last + 1
            begun = self._cluster.now
            ended: float | None = None
            try:
                await cell.write(number)
                ended = self._cluster.now
            except LiferaftError as error:
                if not isinstance(error, (DeadlineExceeded, OutcomeUnknown)):
                    continue
            self.history.append(Operation(name, "write", number, None, begun, ended))
            await asyncio.sleep(0.01)

    async def read(self, cell: Any, name: str) -> None:
        """Read until it is over."""
        while not self.is_over:
            begun = self._cluster.now
            try:
                value = await cell.read()
            except LiferaftError:
                continue
            self.history.append(Operation(name, "read", None, value, begun, self._cluster.now))
            await asyncio.sleep(0.004)

    def check_linearizable(self) -> bool:
        """Return what the checker says of all that was seen."""
        verdict = check(Register(0), self.history, timeout=20.0)
        assert verdict.outcome is not Outcome.UNDECIDED
        return verdict.outcome is Outcome.LINEARIZABLE

    def largest_acknowledged(self, before: float) -> int:
        """Return the largest number whose write was answered before."""
        return max(
            (
                int(str(each.argument))
                for each in self.history
                if each.function == "write"
                if each.returned_at is not None and each.returned_at < before
            ),
            default=0,
        )


def run_at(cluster: SimulatedCluster, node_id: str, rate: float) -> None:
    cluster._on_loop(lambda: cluster.world.machines[node_id].clock.run_at(rate, true=cluster.now))


def isolated_leader(
    seed: int, reads: Reads, *, rate: float, lease_clock_error: float | None
) -> Clients:
    """Return what clients saw around a leader that was cut off, and whose clock has this rate.

    One of them reads at that leader for as long as it answers, others write to its successor.
    """
    with SimulatedCluster(Cell, seed=seed, lease_clock_error=lease_clock_error) as cluster:
        clients, draw = Clients(cluster), Random(f"{seed} isolated")

        async def story() -> None:
            leader = await cluster.wait_leader()
            others = [node_id for node_id in cluster.nodes if node_id != leader]
            run_at(cluster, leader, rate)
            reader = cluster.stub(Cell, reads=reads, nodes=[leader], timeout=1.0)
            writer = cluster.stub(Cell, nodes=[leader], timeout=1.0)
            tasks = [
                asyncio.ensure_future(clients.read(reader, "reader")),
                asyncio.ensure_future(clients.write(writer, "writer")),
            ]
            await asyncio.sleep(draw.uniform(0.5, 1.0))
            cluster.partition([leader])
            while cluster.leader in (leader, None):  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.001)
            successor = cluster.stub(Cell, nodes=others, timeout=1.0)
            tasks.append(asyncio.ensure_future(clients.write(successor, "second writer")))
            await asyncio.sleep(draw.uniform(1.0, 2.0))
            cluster.heal()
            run_at(cluster, leader, 1.0)
            await asyncio.sleep(1.0)
            clients.is_over = True
            await asyncio.gather(*tasks)

        cluster.run(story)
        return clients


SLOWEST: Final = 1 - ERROR + 0.001
"""The slowest clock of one node, beside those of the others, that the setting allows."""


@pytest.mark.parametrize("seed", range(20))
def test_a_deposed_leader_answers_nothing_by_lease(seed: int) -> None:
    """Its clock is as slow as the setting allows, and it has heard nothing of its successor."""
    clients = isolated_leader(seed, "lease", rate=SLOWEST, lease_clock_error=ERROR)

    assert clients.check_linearizable()


def test_a_clock_that_is_worse_than_the_setting_says_breaks_leases() -> None:
    """So the assumption is one: half of the pace, and a setting of a tenth."""

    def run_some() -> None:
        for seed in range(6):
            isolated_leader(seed, "lease", rate=0.5, lease_clock_error=ERROR)

    with pytest.raises(InvariantViolated, match=r"read: n\d is told to read at \d+, and"):
        run_some()


@pytest.mark.parametrize("reads", ["linearizable", "lease", "follower"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_without_the_setting_no_clock_breaks_anything(seed: int, rate: float, reads: Reads) -> None:
    assert isolated_leader(seed, reads, rate=rate, lease_clock_error=None).check_linearizable()


async def _disturb(cluster: SimulatedCluster, draw: Random, seconds: float) -> None:
    """Cut off, stop, pause and restart nodes, one after the other."""
    until = cluster.now + seconds
    while cluster.now < until:
        await asyncio.sleep(draw.uniform(0.0, 0.5))
        node_id = draw.choice(cluster.nodes)
        kind = draw.choice(("partition", "one way", "pause", "crash"))
        if kind == "partition":
            cluster.partition([node_id])
        elif kind == "one way":
            cluster.cut(*((other, node_id) for other in cluster.nodes if other != node_id))
        elif kind == "pause":
            cluster.pause(node_id)
        else:
            cluster.crash(node_id)
        await asyncio.sleep(draw.uniform(0.1, 1.2))
        cluster.heal()
        if kind == "pause":
            cluster.resume(node_id)
        if kind == "crash":
            await cluster.restart(node_id)


def disturbed(
    seed: int,
    reads: Reads,
    rates: tuple[float, ...],
    *,
    cell: type[Cell] = Cell,
    lease_clock_error: float | None = None,
) -> Clients:
    """Return what clients saw of a cluster under faults whose nodes' clocks have these rates.

    There is a reader at each node, which knows no other.
    """
    with SimulatedCluster(cell, seed=seed, lease_clock_error=lease_clock_error) as cluster:
        clients = Clients(cluster)

        async def story() -> None:
            await cluster.wait_leader()
            for node_id, rate in zip(cluster.nodes, rates, strict=True):
                run_at(cluster, node_id, rate)
            writer = cluster.stub(Cell, timeout=0.5)
            tasks = [asyncio.ensure_future(clients.write(writer, "writer"))]
            for node_id in cluster.nodes:
                reader = cluster.stub(Cell, reads=reads, nodes=[node_id], timeout=0.5)
                tasks.append(asyncio.ensure_future(clients.read(reader, node_id)))
            await _disturb(cluster, Random(f"{seed} disturbed"), 6.0)
            clients.is_over = True
            await asyncio.gather(*tasks)

        cluster.run(story)
        return clients


@pytest.mark.parametrize("reads", ["follower", "lease", "linearizable"])
@pytest.mark.parametrize("seed", range(6))
def test_linearizable_reads_are_so_under_faults(seed: int, reads: Reads) -> None:
    """Leases with clocks whose rates are as far apart as the setting allows."""
    draw = Random(f"{seed} rates")
    rates = tuple(draw.choice((SLOWEST, 1.0)) for _ in range(3))

    assert disturbed(seed, reads, rates, lease_clock_error=ERROR).check_linearizable()


def beyond(clients: Clients, bound: float) -> list[Operation]:
    """Return the reads that lack what was acknowledged so long before they were asked."""
    return [
        each
        for each in clients.history
        if each.function == "read"
        and int(str(each.result)) < clients.largest_acknowledged(each.invoked_at - bound)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_an_answer_is_never_older_than_its_bound_by_the_clock_of_its_node(seed: int) -> None:
    """Partitions, pauses, crashes and restarts; a clock that is slow makes its bound longer."""
    draw = Random(f"{seed} rates")
    rates = tuple(draw.choice((0.5, 1.0, 2.0)) for _ in range(3))
    clients = disturbed(seed, Within(BOUND), rates, cell=Mark)

    assert [] == beyond(clients, BOUND / min(rates))


def test_bounded_reads_are_old_within_their_bound_and_stale_ones_beyond() -> None:
    """So the test above tests something."""
    bounded = [disturbed(seed, Within(BOUND), (1.0, 1.0, 1.0), cell=Mark) for seed in range(3)]
    stale = [disturbed(seed, "stale", (1.0, 1.0, 1.0), cell=Mark) for seed in range(3)]

    assert any(beyond(clients, 0.0) for clients in bounded)
    assert any(beyond(clients, 2 * BOUND) for clients in stale)
