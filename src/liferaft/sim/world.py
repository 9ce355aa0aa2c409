"""A whole cluster in one process: the nodes that ship, on a simulated network and disks.

A node's disk outlives its crashes; its links, tasks and memory do not. Every source of chance in
the world is drawn from one seed, each part its own, so that adding a draw in one place does not
change all the others.
"""

import asyncio
import random as random_module
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from liferaft.cluster.config import NodeConfig
from liferaft.cluster.driver import Driver
from liferaft.cluster.node import Node
from liferaft.errors import InvariantViolated
from liferaft.link.address import Address
from liferaft.raft.effects import Effect
from liferaft.raft.events import Event
from liferaft.raft.types import NodeId
from liferaft.replicated.node import replicated_node
from liferaft.rpc.caller import CallerStubCreator
from liferaft.rpc.connection import CallerConnection
from liferaft.sim.network import SimulatedNetwork
from liferaft.sim.safety import SafetyChecker
from liferaft.storage.faulty import FaultyDisk

WALL_START: Final = 1_700_000_000.0
"""The simulated wall clock at virtual time 0, in seconds since 1970."""

DISK_LATENCY_MAX: Final = 0.002
"""Seconds that a write and its sync take at most, on a disk that is well."""

SEGMENT_BYTES: Final = 32 * 1024
"""Small, so that a run goes through many segments, and disks in memory stay small."""


class World:
    """The cluster, its network, its disks, and the checker that watches all of it."""

    def __init__(
        self, seed: int, node_count: int, objects: Callable[[], Mapping[str, object]]
    ) -> None:
        self.seed: Final = seed
        self.network: Final = SimulatedNetwork(self.random("network"))
        self.safety: Final = SafetyChecker()
        self.node_ids: Final[Sequence[NodeId]] = tuple(f"n{i + 1}" for i in range(node_count))
        self.nodes: Final[dict[NodeId, Node]] = {}
        self.disk_latency_max: Final = dict.fromkeys(self.node_ids, DISK_LATENCY_MAX)
        self.disks: Final = {node_id: self._make_disk(node_id) for node_id in self.node_ids}
        self._objects = objects
        self._lives = dict.fromkeys(self.node_ids, 0)
        self._peers = {node_id: f"memory:{node_id}" for node_id in self.node_ids}
        self.violations: Final[list[Exception]] = []

    def is_campaigning(self) -> bool:
        """Return whether a node that runs asks for votes at this moment."""
        return any(node.status().role == "candidate" for node in self.nodes.values())

    def calm_disks(self) -> None:
        """Let every disk be as quick as at the beginning."""
        self.disk_latency_max.update(dict.fromkeys(self.node_ids, DISK_LATENCY_MAX))

    def random(self, name: str) -> random_module.Random:
        """Return the source of chance of one part of the world."""
        return random_module.Random(f"{self.seed} {name}")

    async def start(self, node_id: NodeId) -> None:
        """Start a node that is down, with the disk that it left behind."""
        assert node_id not in self.nodes, f"{node_id} runs already"
        self._lives[node_id] += 1
        self.safety.node_started(node_id)
        node = replicated_node(
            NodeConfig(
                node_id=node_id, peers=self._peers, data="/data", segment_bytes=SEGMENT_BYTES
            ),
            self._objects(),
            network=self.network.host(node_id),
            disk=self.disks[node_id],
            random=self.random(f"{node_id} life {self._lives[node_id]}"),
            wall_clock=self._wall_clock,
            observer=partial(self._observe, node_id),
        )
        self.nodes[node_id] = node
        await node.start()

    async def crash(self, node_id: NodeId) -> None:
        """End a node as a power cut does: what was not synced may be lost."""
        node = self.nodes.pop(node_id)
        self.network.crash(node_id)
        self.disks[node_id].crash()
        await node.stop()

    async def stop(self) -> None:
        """Stop every node that runs."""
        while self.nodes:
            _, node = self.nodes.popitem()
            await node.stop()

    def leader(self) -> NodeId | None:
        """Return who leads in the highest term, None when nobody does."""
        leading = [
            (node.status().current_term, node_id)
            for node_id, node in self.nodes.items()
            if node.status().role == "leader"
        ]
        return max(leading)[1] if leading else None

    def connection(
        self, name: str, creator: CallerStubCreator, *, timeout: float
    ) -> CallerConnection:
        """Return a client's connection to the cluster, from a host of its own."""
        return CallerConnection(
            [Address("memory", node_id) for node_id in self.node_ids],
            interface=creator.interface,
            network=self.network.host(name),
            random=self.random(name),
            timeout=timeout,
        )

    def _make_disk(self, node_id: NodeId) -> FaultyDisk:
        draw = self.random(f"latency of {node_id}")
        return FaultyDisk(
            self.random(f"disk {node_id}"),
            latency=lambda: draw.uniform(0.0005, self.disk_latency_max[node_id]),
        )

    def _observe(
        self, node_id: NodeId, driver: Driver, events: Sequence[Event], effects: Sequence[Effect]
    ) -> None:
        try:
            self.safety.observe(node_id, driver.core, events, effects)
        except InvariantViolated as violation:
            self.violations.append(violation)
            raise

    def _wall_clock(self) -> float:
        return WALL_START + asyncio.get_running_loop().time()
