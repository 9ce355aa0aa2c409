"""A key-value service of a course's lab: real nodes and real clients in the simulator.

Everything is the code that ships but for clock, network and disks. Each call that a client makes is
written down, and the whole history judged by the linearizability checker.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from random import Random
from typing import Final, Protocol

import msgspec

from liferaft.check.history import Operation
from liferaft.check.linearizability import Outcome, check
from liferaft.check.models import KeyValue as KeyValueModel
from liferaft.cluster.snapshot_policy import SnapshotPolicy
from liferaft.errors import Overloaded
from liferaft.raft.config import RaftConfig
from liferaft.raft.configuration import encoded
from liferaft.raft.types import NodeId
from liferaft.replicated.machine import query
from liferaft.sim.network import FAIR, Conditions
from liferaft.sim.settings import Settings
from liferaft.sim.world import DATA
from liferaft.testing.simulated import SimulatedCluster

PATIENCE: Final = 60.0
"""Virtual seconds: a clerk asks until it is answered."""

OVERLOAD_PAUSE: Final = 0.1

UNRELIABLE: Final = Conditions(loss=0.1, delay_min=0.0, delay_max=0.026)
THINKING: Final = 0.04
"""Virtual seconds at most between two calls of a client."""

LOG_LIMIT: Final = 1000
"""Bytes of log after which a node takes a snapshot."""

LOG_BYTES_MAX: Final = 8 * LOG_LIMIT
"""No log may ever hold more behind its snapshot."""

SEGMENT_BYTES: Final = 4096
"""The smallest files of a log: it is dropped in whole ones."""

SEGMENTS_MAX: Final = 4
"""The older of two snapshots needs the log behind it, too; and a power cut brings back what was
just removed."""

SNAPSHOTTING: Final = Settings(
    raft=RaftConfig(keep_entries=1),
    snapshots=SnapshotPolicy(log_bytes=LOG_LIMIT, ratio=0.0),
    segment_bytes=SEGMENT_BYTES,
)

WATCH_INTERVAL: Final = 0.05
"""Virtual seconds between two looks at the logs."""


class Store:
    """Texts by their keys."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def put(self, key: str, text: str) -> None:
        """Set the text of a key."""
        self._texts[key] = text

    def append(self, key: str, text: str) -> None:
        """Add to the end of a key's text."""
        self._texts[key] = self._texts.get(key, "") + text

    @query
    def get(self, key: str) -> str | None:
        """Return the text of a key, None when it has none."""
        return self._texts.get(key)


class AsyncStore(Protocol):
    """The store as its clients see it."""

    async def put(self, key: str, text: str) -> None:
        """Set the text of a key."""

    async def append(self, key: str, text: str) -> None:
        """Add to the end of a key's text."""

    async def get(self, key: str) -> str | None:
        """Return the text of a key."""


async def asked_until_taken(call: Callable[[], Awaitable[None]]) -> None:
    """Make a call, again for as long as the leader's queue is full: nothing is done then."""
    while True:
        try:
            return await call()
        except Overloaded:
            await asyncio.sleep(OVERLOAD_PAUSE)


class Clerk:
    """A client of the service, one call at a time."""

    def __init__(self, lab: "KvLab", name: str, store: AsyncStore) -> None:
        self.name: Final = name
        self._lab = lab
        self._store = store

    async def put(self, key: str, text: str) -> None:
        """Set the text of a key."""
        invoked_at = self._lab.cluster.now
        await asked_until_taken(lambda: self._store.put(key, text))
        self._note(key, ("put", text, None), invoked_at)

    async def append(self, key: str, text: str) -> None:
        """Add to the end of a key's text."""
        invoked_at = self._lab.cluster.now
        await asked_until_taken(lambda: self._store.append(key, text))
        self._note(key, ("append", text, None), invoked_at)

    async def get(self, key: str) -> str | None:
        """Return the text of a key."""
        invoked_at = self._lab.cluster.now
        text = await self._store.get(key)
        self._note(key, ("get", None, text), invoked_at)
        return text

    def _note(self, key: str, call: tuple[str, str | None, str | None], invoked_at: float) -> None:
        function, argument, result = call
        now = self._lab.cluster.now
        operation = Operation(self.name, function, argument, result, invoked_at, now, key)
        self._lab.history.append(operation)


class KvLab:
    """The service, and what the tests of a lab do with it."""

    def __init__(self, cluster: SimulatedCluster, weather: Conditions) -> None:
        self.cluster: Final = cluster
        self.weather: Final = weather
        self.random: Final = Random(cluster.seed)
        self.history: Final[list[Operation]] = []
        self._clerks = 0

    def clerk(self) -> Clerk:
        """Return another client; its host has its name."""
        self._clerks += 1
        stub = self.cluster.stub(AsyncStore, "Store", timeout=PATIENCE)
        return Clerk(self, f"client-{self._clerks}", stub)

    # Snapshots.

    def log_bytes(self, node_id: NodeId) -> int:
        """Return how much a node's log holds behind its snapshot."""
        core, applied = self.cluster.world.cores()[node_id], self.cluster.world.safety.applied
        snapshot = core.state.snapshot
        held = applied[snapshot.index if snapshot else 0 : core.last_index]
        return sum(len(msgspec.msgpack.encode(entry)) for entry in held)

    def snapshot_bytes(self, node_id: NodeId) -> list[int]:
        """Return how large the snapshots of a node are, the oldest first.

        Who the members are, and the numbers of their disks, is not counted: that never grows.
        """
        disk = self.cluster.world.disks[node_id]
        members = encoded(self.cluster.world.cores()[node_id].configuration)
        paths = [path for path in disk.paths() if path.endswith(".snapshot")]
        return [len(disk.content(path)) - len(members) for path in sorted(paths)]

    def segments(self, node_id: NodeId) -> int:
        """Return how many files a node's log has."""
        paths = self.cluster.world.disks[node_id].paths()
        return sum(path.startswith(DATA) and path.endswith(".log") for path in paths)

    async def watch_logs(self) -> None:
        """Let no log ever grow beyond the bound."""
        while True:
            for node_id in self.cluster.world.cores():
                assert self.log_bytes(node_id) <= LOG_BYTES_MAX
                assert self.segments(node_id) <= SEGMENTS_MAX
            await asyncio.sleep(WATCH_INTERVAL)

    @asynccontextmanager
    async def logs_watched(self) -> AsyncIterator[None]:
        """Look at the logs while the block lasts, where nodes take snapshots."""
        if self.cluster.world.settings is not SNAPSHOTTING:
            yield
            return
        watcher = asyncio.ensure_future(self.watch_logs())
        try:
            yield
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher

    def heal(self) -> None:
        """Undo every cut; the weather stays."""
        self.cluster.heal()
        self.cluster.world.network.set_weather(self.weather)

    def cut_clerk(self, clerk: Clerk, *nodes: NodeId) -> None:
        """Let a client reach these nodes no more, until the network is healed."""
        for node in nodes:
            self.cluster.cut((clerk.name, node), (node, clerk.name))

    async def work(self, clerk: Clerk, key: str, seconds: float) -> None:
        """Let a client append to its own key and read it back; nothing may be lost or be twice."""
        expected = await clerk.get(key) or ""
        end = self.cluster.now + seconds
        number = 0
        while self.cluster.now < end:
            await asyncio.sleep(self.random.uniform(0.0, THINKING))
            if self.random.random() < 0.5:
                number += 1
                text = f"{clerk.name}.{number} "
                await clerk.append(key, text)
                expected += text
            else:
                assert expected == (await clerk.get(key) or "")

    async def work_anywhere(self, clerk: Clerk, keys: Sequence[str], seconds: float) -> None:
        """Let a client append, put and get at keys that others use as well."""
        end = self.cluster.now + seconds
        number = 0
        while self.cluster.now < end:
            await asyncio.sleep(self.random.uniform(0.0, THINKING))
            key, draw = self.random.choice(keys), self.random.random()
            number += 1
            text = f"{clerk.name}.{number} "
            if draw < 0.2:
                await clerk.append(key, text)
            elif draw < 0.3:
                await clerk.put(key, text)
            else:
                await clerk.get(key)

    async def make_partitions(self, seconds: float) -> None:
        """Split the nodes in two at random, again and again; heal at the end."""
        end = self.cluster.now + seconds
        while self.cluster.now < end:
            self.heal()
            half = [node for node in self.cluster.nodes if self.random.random() < 0.5]
            self.cluster.partition(half)
            await asyncio.sleep(self.random.uniform(0.4, 0.8))
        self.heal()

    async def crash_all(self) -> None:
        """Cut the power of every node, and bring all back."""
        self.cluster.crash(*self.cluster.nodes)
        await asyncio.sleep(1.0)
        for node in self.cluster.nodes:
            await self.cluster.restart(node)

    def assert_linearizable(self) -> None:
        """Judge all that clients saw."""
        verdict = check(KeyValueModel(), self.history, timeout=30.0)
        assert Outcome.LINEARIZABLE is verdict.outcome, verdict.reason


@contextmanager
def kv_lab(
    size: int = 3, *, seed: int = 1, is_unreliable: bool = False, takes_snapshots: bool = False
) -> Iterator[KvLab]:
    """Run a service; at the end its replicas are equal, and what clients saw is linearizable."""
    settings = SNAPSHOTTING if takes_snapshots else Settings()
    with SimulatedCluster(Store, size=size, seed=seed, settings=settings) as cluster:
        lab = KvLab(cluster, UNRELIABLE if is_unreliable else FAIR)

        async def begin() -> None:
            lab.heal()
            await cluster.wait_leader()

        cluster.run(begin)
        yield lab
        cluster.run(cluster.wait_equal)
        lab.assert_linearizable()
