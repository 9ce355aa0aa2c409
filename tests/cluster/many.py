"""Nodes of many groups on simulated machines: network, disks and time are the simulator's.

Every turn of every node is held against Raft's promises, each group by itself.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from random import Random
from typing import TypeVar

from liferaft.cluster.config import NodeConfig
from liferaft.cluster.driver import Driver
from liferaft.cluster.group_host import GroupHost
from liferaft.cluster.snapshot_policy import SnapshotPolicy
from liferaft.errors import ConfigurationError, LiferaftError
from liferaft.raft.config import RaftConfig
from liferaft.raft.effects import Effect
from liferaft.raft.events import Event
from liferaft.raft.types import Configuration, NodeId
from liferaft.sim.clock import Clock
from liferaft.sim.loop import SimulatedHost, run_simulated, running_loop
from liferaft.sim.mount import Mount
from liferaft.sim.network import SimulatedNetwork
from liferaft.sim.safety import SafetyChecker
from liferaft.storage.faulty import FaultyDisk
from tests.cluster.counting import Appended, Waiting

ResultT = TypeVar("ResultT")

NODES = ("n1", "n2", "n3")


class Many:
    """Three nodes of as many groups as are named, each group with a machine of its own."""

    def __init__(
        self, groups: Iterable[str], *, seed: int = 1, policy: SnapshotPolicy | None = None
    ) -> None:
        self.groups = list(groups)
        self.network = SimulatedNetwork(Random(seed))
        self.hosts: dict[NodeId, GroupHost] = {}
        self.disks = {
            node_id: FaultyDisk(Random(f"{seed} {node_id}"), latency=lambda: 0.001)
            for node_id in NODES
        }
        self.machines: dict[tuple[NodeId, str], Appended] = {}
        self.computers = {node_id: SimulatedHost(node_id, Clock()) for node_id in NODES}
        self.refused: set[str] = set()
        self.turns: dict[str, int] = {}
        self.raft = RaftConfig(keep_entries=5)
        self._policy = policy or SnapshotPolicy(entries=20)
        self._seed = seed
        self._lives = 0
        self._life_of: dict[NodeId, int] = {}
        self._endings: list[asyncio.Task[None]] = []
        self._safety: dict[str, SafetyChecker] = {}

    async def start(self, *node_ids: NodeId) -> None:
        """Start these nodes, all of them if none is named."""
        for node_id in node_ids or NODES:
            self._lives += 1
            host = self._make(node_id)
            starting = running_loop().create_task(
                host.start(), context=self.computers[node_id].context
            )
            await starting
            self.hosts[node_id] = host

    def _make(self, node_id: NodeId) -> GroupHost:
        life = self._life_of[node_id] = self._lives
        for group in dict.fromkeys((*self.groups, *self._safety)):  # it may host more of itself
            self._checker(group).node_started(node_id)

        def parts(group: str) -> tuple[Appended, Callable[..., dict[str, object]]]:
            if group in self.refused:
                raise ConfigurationError(f"{group} cannot be made")
            machine = self.machines[node_id, group] = Appended()
            return machine, lambda _driver, _addresses: {}

        return GroupHost(
            NodeConfig(
                node_id=node_id,
                peers={each: f"memory:{each}" for each in NODES},
                data="/data",
                raft=self.raft,
                segment_bytes=4096,
                snapshots=self._policy,
            ),
            self.groups,
            parts,  # type: ignore[arg-type] # there are no dispatchers
            network=self.network.host(node_id, self.computers[node_id]),
            disk=Mount(self.disks[node_id]),
            random=Random(f"{self._seed} {node_id} {self._lives}"),
            observer=lambda group: self._observer(node_id, life, group),
            work_clock=lambda: running_loop().true_time,
        )

    def _checker(self, group: str) -> SafetyChecker:
        if group not in self._safety:
            self._safety[group] = SafetyChecker(Configuration(voters=NODES))
        return self._safety[group]

    def _observer(self, node_id: NodeId, life: int, group: str) -> Callable[..., None]:
        def observe(driver: Driver, events: list[Event], effects: list[Effect]) -> None:
            if self._life_of.get(node_id) != life:
                return  # a dead node's last twitch
            self.turns[group] = self.turns.get(group, 0) + 1
            self._checker(group).observe(node_id, driver.core, events, effects)

        return observe

    def crash(self, node_id: NodeId) -> None:
        """Cut a node's power: what was not synced is lost, in any part."""
        host = self.hosts.pop(node_id)
        del self._life_of[node_id]
        self._endings.append(asyncio.get_running_loop().create_task(host.stop()))
        self.network.crash(node_id)
        self.disks[node_id].crash()

    async def stop(self, *node_ids: NodeId) -> None:
        """Stop these nodes, all that run if none is named."""
        for node_id in node_ids or tuple(self.hosts):
            await self.hosts.pop(node_id).stop()
        await asyncio.gather(*self._endings)

    def lose_disk(self, node_id: NodeId) -> None:
        """Crash a node, and let it find an empty disk."""
        self.crash(node_id)
        self.disks[node_id] = FaultyDisk(Random(f"{self._seed} new {node_id}"))
        for checker in self._safety.values():
            checker.disk_lost(node_id)

    def cut_off(self, node_id: NodeId) -> Callable[[], None]:
        """Swallow all that a node sends and is sent; return what undoes that."""
        others = [each for each in NODES if each != node_id]
        return self.network.cut(
            *((node_id, each) for each in others), *((each, node_id) for each in others)
        )

    def driver(self, node_id: NodeId, group: str) -> Driver:
        """Return a group's driver on a node."""
        return self.hosts[node_id].groups[group].member.driver

    def leader_now(self, group: str) -> NodeId | None:
        """Return who leads a group in the highest term, of those that run."""
        leading = [
            (driver.core.current_term, node_id)
            for node_id, host in self.hosts.items()
            if group in host.groups
            and (driver := host.groups[group].member.driver).core.role == "leader"
        ]
        return max(leading)[1] if leading else None

    async def leader(self, group: str) -> NodeId:
        """Wait until a node that runs leads a group."""
        async with asyncio.timeout(60):
            while (leader := self.leader_now(group)) is None:  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.01)
        return leader

    async def write(self, group: str, data: bytes = b"x") -> None:
        """Have a command applied by whoever leads."""
        async with asyncio.timeout(60):
            while True:
                waiting = Waiting()
                self.driver(await self.leader(group), group).propose(data, waiting)
                if await waiting.outcome is not None:
                    return
                await asyncio.sleep(0.01)

    async def wait_equal(self) -> None:
        """Wait until every node that runs has applied, of each group, what the others have."""
        async with asyncio.timeout(60):
            while any(len(self._states(group)) > 1 for group in self.groups):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def _states(self, group: str) -> set[str]:
        return {self.machines[node_id, group].digest() for node_id in self.hosts}

    async def wait_bound(self) -> None:
        """Wait until every group's configuration tells of all disks."""
        async with asyncio.timeout(60):
            while not all(  # noqa: ASYNC110 - virtual time
                len(self.driver(node_id, group).core.configuration.disks) == len(NODES)
                for node_id in self.hosts
                for group in self.groups
            ):
                await asyncio.sleep(0.1)

    async def wait_silent(self) -> None:
        """Wait until no group takes a turn on any of the nodes that run."""
        async with asyncio.timeout(60):
            while True:
                before = dict(self.turns)
                await asyncio.sleep(3 * self.raft.election_timeout)
                if before == self.turns:
                    return


def simulated(main: Callable[[], Coroutine[None, None, ResultT]]) -> ResultT:
    """Run a test's story on a virtual loop; a failure of a node nobody expected is raised."""
    return run_simulated(main)


def failures(cluster: Many) -> list[LiferaftError]:
    """Return why nodes cannot go on."""
    return [host.failure for host in cluster.hosts.values() if host.failure is not None]
