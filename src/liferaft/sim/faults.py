"""Draws what goes wrong in a world, and when; every fault ends, so that progress can follow."""

import asyncio
import random as random_module
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from liferaft.raft.types import NodeId
from liferaft.sim.network import Conditions
from liferaft.sim.world import World

_WEATHER: Final = (
    Conditions(),
    Conditions(loss=0.1, duplicate=0.02, delay_max=0.02),
    Conditions(loss=0.3, duplicate=0.1, delay_max=0.05, long_delay=0.05),
    Conditions(delay_min=0.02, delay_max=0.08, long_delay=0.2),
)

_DISK_LATENCIES: Final = (0.002, 0.01, 0.05, 0.2)
"""Seconds: from a good disk to one that is about to fail."""


class FaultInjector:
    """Makes one fault after the other; `counts` tells how many of each kind there were."""

    def __init__(self, world: World, random: random_module.Random) -> None:
        self.counts: Final[Counter[str]] = Counter()
        self._world = world
        self._random = random
        self._kinds: Final[tuple[Callable[[], Awaitable[None]], ...]] = (
            self._crash_one,
            self._crash_leader,
            self._crash_all,
            self._bounce,
            self._bounce,
            self._bounce,
            self._slow_disk,
            self._slow_disk,
            self._change_majority,
            self._change_majority,
            self._isolate_leader,
            self._split,
            self._cut_one_way,
            self._change_weather,
            self._heal,
            self._heal,
            self._heal,
            self._restart,
            self._restart,
            self._restart,
        )

    async def run(self, seconds: float) -> None:
        """Make faults for so many virtual seconds, then end them all."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end and not self._world.violations:
            await asyncio.sleep(self._random.uniform(0.05, 0.8))
            await self._random.choice(self._kinds)()
        await self.end_all()

    async def end_all(self) -> None:
        """Heal the network, calm the weather and start every node that is down."""
        self._world.network.heal()
        self._world.network.conditions = Conditions()
        self._world.calm_disks()
        for node_id in self._down():
            await self._world.start(node_id)

    def _down(self) -> list[NodeId]:
        return [node_id for node_id in self._world.node_ids if node_id not in self._world.nodes]

    async def _crash(self, kind: str, node_ids: list[NodeId]) -> None:
        for node_id in node_ids:
            if node_id in self._world.nodes:
                self.counts[kind] += 1
                await self._world.crash(node_id)

    async def _crash_one(self) -> None:
        await self._crash("crash", [self._random.choice(self._world.node_ids)])

    async def _crash_leader(self) -> None:
        leader = self._world.leader()
        if leader is not None:
            await self._crash("crash of the leader", [leader])

    async def _crash_all(self) -> None:
        if self._random.random() < 0.3:
            await self._crash("crash of all", list(self._world.node_ids))
            await self._restart_all()

    async def _bounce(self) -> None:
        """Crash some nodes at once and start them again at once: what was promised must be there.

        Now and then the moment is that of an election: a voter that forgets elects two leaders.
        """
        if self._random.random() < 0.5:
            await self._wait_campaign()
        count = self._random.randint(1, len(self._world.node_ids))
        bounced = self._random.sample(self._world.node_ids, count)
        await self._crash("bounce", bounced)
        for node_id in bounced:
            if node_id not in self._world.nodes:
                await self._world.start(node_id)

    async def _change_majority(self) -> None:
        """Let one majority commit, crash the leader, and leave it with the others.

        The two majorities have only the leader in common: what it did not keep is lost.
        """
        leader = self._world.leader()
        if leader is None:
            return
        self.counts["changed majority"] += 1
        others = [node_id for node_id in self._world.node_ids if node_id != leader]
        self._random.shuffle(others)
        half = len(others) // 2
        self._world.network.heal()
        self._world.network.partition(others[:half], [leader, *others[half:]])
        await asyncio.sleep(self._random.uniform(0.05, 0.3))
        if leader in self._world.nodes:
            await self._world.crash(leader)
            await self._world.start(leader)
        self._world.network.heal()
        self._world.network.partition(others[half:], [leader, *others[:half]])
        await asyncio.sleep(self._random.uniform(0.5, 1.0))

    async def _wait_campaign(self) -> None:
        """Wait until somebody asks for votes, but not for long; then a little longer."""
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.5
        # In virtual time, looking every two milliseconds costs nothing.
        while loop.time() < end and not self._world.is_campaigning():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        await asyncio.sleep(self._random.uniform(0.0, 0.01))

    async def _slow_disk(self) -> None:
        self.counts["slow disk"] += 1
        node_id = self._random.choice(self._world.node_ids)
        self._world.disk_latency_max[node_id] = self._random.choice(_DISK_LATENCIES)

    async def _restart_all(self) -> None:
        for node_id in self._down():
            await self._world.start(node_id)

    async def _restart(self) -> None:
        down = self._down()
        if down:
            self.counts["restart"] += 1
            await self._world.start(self._random.choice(down))

    async def _isolate_leader(self) -> None:
        leader = self._world.leader()
        if leader is not None:
            self.counts["isolated leader"] += 1
            others = [node_id for node_id in self._world.node_ids if node_id != leader]
            self._world.network.partition([leader], others)

    async def _split(self) -> None:
        node_ids = self._random.sample(self._world.node_ids, len(self._world.node_ids))
        size = self._random.randint(1, len(node_ids) - 1)
        self.counts["partition"] += 1
        self._world.network.partition(node_ids[:size], node_ids[size:])

    async def _cut_one_way(self) -> None:
        source, target = self._random.sample(self._world.node_ids, 2)
        self.counts["one-way cut"] += 1
        self._world.network.cut(source, target)

    async def _change_weather(self) -> None:
        self.counts["weather"] += 1
        self._world.network.conditions = self._random.choice(_WEATHER)

    async def _heal(self) -> None:
        self.counts["heal"] += 1
        self._world.network.heal()
