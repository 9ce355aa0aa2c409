"""What a fault has to work with: the cluster, its disks, its clients, and somebody to tell.

Faults of two lanes happen at the same time, one of each: what is done to nodes and disks, and what
is done to links. Nothing is done to a node by two faults of one lane at once.
"""

import asyncio
import random as random_module
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import msgspec

from liferaft.chaos.crew import Crew
from liferaft.chaos.loop_disk import LoopDisk
from liferaft.chaos.needs import Need
from liferaft.ops.processes import LocalCluster, NodeDidNotStart
from liferaft.raft.types import NodeId


class Lane(StrEnum):
    """What kind of thing a fault is done to."""

    NODES = "nodes"
    LINKS = "links"


class Stage:
    """One lane's view of a round. `disks` is empty where file systems of our own are not had.

    `tell` gets a sentence, `complain` one that makes the verdict negative. `marks` says of nodes
    what is done to them and not undone; a node with a mark may be down.
    """

    def __init__(
        self,
        cluster: LocalCluster,
        crew: Crew,
        disks: dict[NodeId, LoopDisk],
        *,
        random: random_module.Random,
        tell: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        self.cluster = cluster
        self.crew = crew
        self.disks = disks
        self.random = random
        self.tell = tell
        self.complain = complain
        self.marks: dict[NodeId, str] = {}
        self._traces = 0

    @contextmanager
    def marked(self, mark: str, *nodes: NodeId) -> Iterator[None]:
        """Show what is done to nodes while the block lasts."""
        self.marks.update(dict.fromkeys(nodes, mark))
        try:
            yield
        finally:
            for node in nodes:
                del self.marks[node]

    async def hold(self, shortest: float, longest: float) -> None:
        """Let a fault last, for so many seconds."""
        await asyncio.sleep(self.random.uniform(shortest, longest))

    async def pick(self) -> NodeId:
        """Return a node, half the time the leader if there is one: it has the most to lose."""
        leaders = [
            status.node_id for status in await self.cluster.statuses() if status.role == "leader"
        ]
        if leaders and self.random.random() < 0.5:
            return self.random.choice(leaders)
        return self.random.choice(self.cluster.nodes)

    def renew(self, old: NodeId) -> NodeId:
        """Lose all that a node has that is down, and put one of a new name in its place.

        It has the address of the old one and an empty directory; it is not started.
        """
        disk = self.disks.pop(old, None)
        if disk is not None:
            disk.close()
        shutil.rmtree(self.cluster.data(old), ignore_errors=True)
        new = self.cluster.succeed(old)
        if disk is not None:
            self.disks[new] = LoopDisk(self.cluster.data(new))
            self.disks[new].make()
        return new

    async def start(self, *nodes: NodeId) -> None:
        """Start nodes again; one that refuses its data is complained about."""
        await asyncio.gather(*map(self._start_one, nodes))

    async def _start_one(self, node: NodeId) -> None:
        try:
            await self.cluster.start(node)
        except NodeDidNotStart as error:
            self.complain(str(error))

    def trace_file(self) -> Path:
        """Where a strace may write."""
        self._traces += 1
        return self.cluster.directory / f"trace-{self._traces}"


class Fault(msgspec.Struct, frozen=True):
    """A kind of fault. `inflict` does it and undoes it, and returns whether it was really made."""

    name: str
    lane: Lane
    about: str
    inflict: Callable[[Stage], Awaitable[bool]]
    needs: tuple[Need, ...] = ()
