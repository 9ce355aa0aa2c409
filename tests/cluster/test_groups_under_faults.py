"""Many groups on nodes that crash, stand still and lose each other, over links that leak.

Every turn of every group is held against Raft's promises (tests/cluster/many.py). At the end, what
was acknowledged is there, once; all replicas are equal; and when nobody uses them any more, the
groups fall silent again and stay so.
"""

import asyncio
from random import Random

import pytest

from liferaft.sim.loop import running_loop
from liferaft.sim.network import Conditions
from tests.cluster.counting import Waiting
from tests.cluster.many import NODES, Many, failures, simulated

GROUPS = tuple(f"g{number}" for number in range(6))
SECONDS = 20.0

FOUL = Conditions(loss=0.1, duplicate=0.1, reorder=0.2, delay_max=0.03)


class Story:
    """A cluster, its clients, and what goes wrong."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.cluster = Many(GROUPS, seed=seed)
        self.acknowledged: dict[str, list[bytes]] = {group: [] for group in GROUPS}
        self.faults: list[str] = []
        self._number = 0
        self._is_over = False

    async def tell(self) -> None:
        """Run all of it."""
        cluster = self.cluster
        await cluster.start()
        clients = [asyncio.create_task(self._write(group)) for group in GROUPS]
        until = running_loop().true_time + SECONDS
        while running_loop().true_time < until:
            fault = self.random.choice(
                [self._crash, self._pause, self._cut_off, self._cut_one_way, self._foul]
            )
            self.faults.append(fault.__name__)
            await fault()
            # Sometimes long enough for groups to rest, sometimes not.
            await asyncio.sleep(self.random.choice([0.05, 0.3, 1.5]))
        self._is_over = True
        await asyncio.gather(*clients)
        await self._check()
        await cluster.stop()

    async def _write(self, group: str) -> None:
        while not self._is_over:
            # Used at moments only, so that it rests in between, or without a pause for a while.
            await asyncio.sleep(self.random.choice([0.0, 0.01, 0.1, 1.0, 3.0]))
            leader = self.cluster.leader_now(group)
            if leader is None:
                continue
            self._number += 1
            data, waiting = b"%d" % self._number, Waiting()
            self.cluster.driver(leader, group).propose(data, waiting)
            if await waiting.outcome is not None:
                self.acknowledged[group].append(data)

    async def _crash(self) -> None:
        node_id = self.random.choice(NODES)
        self.cluster.crash(node_id)
        await asyncio.sleep(self.random.choice([0.0, 0.2, 1.0, 2.5]))
        await self.cluster.start(node_id)

    async def _pause(self) -> None:
        computer = self.cluster.computers[self.random.choice(NODES)]
        running_loop().pause(computer)
        await asyncio.sleep(self.random.choice([0.1, 0.5, 2.0]))
        running_loop().resume(computer)

    async def _cut_off(self) -> None:
        undo = self.cluster.cut_off(self.random.choice(NODES))
        await asyncio.sleep(self.random.choice([0.1, 0.5, 2.0]))
        undo()

    async def _cut_one_way(self) -> None:
        source, target = self.random.sample(NODES, 2)
        undo = self.cluster.network.cut((source, target))
        await asyncio.sleep(self.random.choice([0.1, 0.5, 2.0]))
        undo()

    async def _foul(self) -> None:
        undo = self.cluster.network.set_weather(FOUL)
        await asyncio.sleep(self.random.choice([0.5, 2.0]))
        undo()

    async def _check(self) -> None:
        cluster = self.cluster
        for group in GROUPS:
            await cluster.write(group, b"the end")
        await cluster.wait_equal()
        for group in GROUPS:
            lines = cluster.machines["n1", group].lines
            assert [lines.count(data) for data in self.acknowledged[group]] == [1] * len(
                self.acknowledged[group]
            )
        await cluster.wait_silent()
        leaders = [cluster.leader_now(group) for group in GROUPS]
        turns = dict(cluster.turns)
        await asyncio.sleep(20)

        assert (turns, leaders) == (
            cluster.turns,
            [cluster.leader_now(group) for group in GROUPS],
        )
        assert not failures(cluster)


@pytest.mark.parametrize("seed", range(6))
def test_every_promise_holds_for_every_group_whatever_goes_wrong(seed: int) -> None:
    story = Story(seed)
    simulated(story.tell)

    assert sum(map(len, story.acknowledged.values())) > 50
