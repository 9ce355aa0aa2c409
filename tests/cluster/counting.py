"""A cluster of nodes over a state machine so small that one sees what each node has applied."""

import asyncio
import random as random_module
from collections.abc import Callable, Iterable, Iterator
from random import Random

from liferaft.cluster.config import NodeConfig
from liferaft.cluster.envelope import LEVEL
from liferaft.cluster.node import Node
from liferaft.cluster.snapshot_policy import SnapshotPolicy
from liferaft.errors import DamagedSnapshot, NoSuchObject
from liferaft.link.memory import MemoryNetwork
from liferaft.raft.config import RaftConfig
from liferaft.raft.types import Entry, NodeId
from liferaft.storage.disk import Disk
from liferaft.storage.faulty import FaultyDisk


class Appended:
    """A state machine whose state is what was appended, one line for each command."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.applied_index = 0
        self.prepared = 0

    def apply(self, entry: Entry) -> bytes:
        assert entry.index > self.applied_index
        self.applied_index = entry.index
        self.lines.append(entry.data)
        return b"%d" % len(self.lines)

    def snapshot(self) -> Iterator[bytes]:
        yield b"%d" % self.applied_index
        for line in self.lines:
            yield b"\n" + line.hex().encode()

    def prepare(self, chunks: Iterable[bytes]) -> "Lines":
        head, *lines = b"".join(chunks).split(b"\n")
        if not head.isdigit():
            raise DamagedSnapshot("no count")
        self.prepared += 1
        return Lines(self, int(head), [bytes.fromhex(line.decode()) for line in lines])

    def digest(self) -> str:
        return repr(self.lines)

    def watch(self, interval: float, on_point: Callable[[int, int | None], None]) -> None:
        """Nothing is compared here."""

    def digest_pieces(self) -> Iterator[tuple[str, bytes]]:
        for line in self.lines:
            yield "lines", line

    def encoded_state(self, name: str) -> bytes:
        raise NoSuchObject(name)


class Lines:
    """A state that is to be installed."""

    def __init__(self, machine: Appended, applied_index: int, lines: list[bytes]) -> None:
        self._machine = machine
        self._state = (applied_index, lines)

    def install(self) -> None:
        self._machine.applied_index, self._machine.lines = self._state


class Waiting:
    """A proposal whose outcome is awaited."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    def applied(self, outcome: bytes) -> None:
        self.outcome.set_result(outcome)

    def lost(self, leader: NodeId | None) -> None:
        self.outcome.set_result(None)

    def rejected(self, leader: NodeId | None, *, is_overloaded: bool) -> None:
        self.outcome.set_result(None)


class Counting:
    """Up to so many nodes, each on a disk of its own; all in one process, on a virtual clock."""

    def __init__(
        self,
        size: int = 3,
        *,
        policy: SnapshotPolicy | None = None,
        keep_entries: int = 5,
        disks: Callable[[NodeId], Disk] | None = None,
    ) -> None:
        self.network = MemoryNetwork()
        self.peers = {f"n{i}": f"memory:n{i}" for i in range(1, size + 1)}
        make_disk = disks or (lambda node_id: FaultyDisk(Random(node_id)))
        self.disks: dict[NodeId, Disk] = {node_id: make_disk(node_id) for node_id in self.peers}
        self.machines: dict[NodeId, Appended] = {}
        self.nodes: dict[NodeId, Node] = {}
        self.lives = 0
        self.policy = policy or SnapshotPolicy(entries=20)
        self.raft = RaftConfig(keep_entries=keep_entries)
        self.data = dict.fromkeys(self.peers, "/data")

    async def start(self, *node_ids: NodeId, level: int = LEVEL) -> None:
        """Start these nodes, all of them if none is named."""
        for node_id in node_ids or tuple(self.peers):
            self.lives += 1
            machine = self.machines[node_id] = Appended()
            config = NodeConfig(
                node_id=node_id,
                peers=self.peers,
                data=self.data[node_id],
                raft=self.raft,
                segment_bytes=4096,
                snapshots=self.policy,
            )
            node = self.nodes[node_id] = Node(
                config,
                machine,
                dispatchers=lambda _driver, _addresses: {},
                network=self.network,
                disk=self.disks[node_id],
                random=random_module.Random(f"{node_id} {self.lives}"),
                level=level,
            )
            await node.start()

    async def stop(self, *node_ids: NodeId) -> None:
        for node_id in node_ids or tuple(self.nodes):
            await self.nodes.pop(node_id).stop()

    async def leader(self) -> Node:
        """Wait until one of the nodes that run leads."""
        async with asyncio.timeout(300):
            while True:
                for node in self.nodes.values():
                    if node.status().role == "leader":
                        return node
                await asyncio.sleep(0.01)

    async def write(self, count: int, *, data: bytes = b"x" * 10) -> None:
        """Have so many commands applied by the leader, one after the other."""
        for _ in range(count):
            while True:
                waiting = Waiting()
                (await self.leader()).driver.propose(data, waiting)
                if await waiting.outcome is not None:
                    break
                await asyncio.sleep(0.01)

    def _are_apart(self) -> bool:
        return len({node.status().applied_index for node in self.nodes.values()}) > 1

    async def wait_equal(self) -> None:
        """Wait until every node that runs has applied what the leader has."""
        async with asyncio.timeout(300):
            while self._are_apart():  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.01)
        assert len({self.machines[node_id].digest() for node_id in self.nodes}) == 1
