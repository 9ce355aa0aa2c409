"""How long nothing can be written after the leader's process was killed, again and again.

One client writes without a pause, a few calls at a time, to three nodes in processes of their own;
its calls go on by themselves with whoever leads next. What is measured is what it sees: the time
from the kill to the first write that was begun after it and acknowledged.
"""

import asyncio
import time

import msgspec

from liferaft.api import aclose, aconnect
from liferaft.bench.raft import AsyncKeyValue
from liferaft.errors import LiferaftError
from liferaft.ops.processes import LocalCluster

NODES = 3
LANES = 4
SETTLED_SECONDS = 1.0
"""Written without trouble before each kill, and after the killed node is back."""

GAP_MAX = 30.0


class Failover(msgspec.Struct, frozen=True):
    """The seconds without writes of each round, rising, and the profile of the cluster's times."""

    profile: str
    gaps: tuple[float, ...]

    @property
    def median(self) -> float:
        """The gap in the middle."""
        return self.gaps[len(self.gaps) // 2]


async def bench_failover(*, rounds: int, profile: str) -> Failover:
    """Kill the leader so many times, and return the gaps.

    Raises `LiferaftError` when nothing was written for `GAP_MAX` seconds.
    """
    options = ["--profile", profile]
    objects = ["liferaft.recipes.kv:KeyValue"]
    async with LocalCluster(NODES, objects=objects, options=options) as cluster:
        await cluster.wait_leader()
        store = await aconnect(AsyncKeyValue, cluster.address, timeout=GAP_MAX)
        writer = _Writer(store)
        lanes = [asyncio.create_task(writer.write_on(lane)) for lane in range(LANES)]
        try:
            gaps = [await _one_round(cluster, writer) for _ in range(rounds)]
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
            await aclose(store)
    return Failover(profile, tuple(sorted(gaps)))


async def _one_round(cluster: LocalCluster, writer: "_Writer") -> float:
    await asyncio.sleep(SETTLED_SECONDS)
    leader = (await cluster.wait_leader()).node_id
    killed_at = time.perf_counter()
    acknowledged = writer.next_begun_after(killed_at)
    await cluster.kill(leader)
    try:
        async with asyncio.timeout(GAP_MAX):
            gap = await acknowledged - killed_at
    except TimeoutError:
        raise LiferaftError(f"nothing was written for {GAP_MAX:g} s after a kill") from None
    await cluster.start(leader)
    return gap


class _Writer:
    """Writes without a pause, and tells when a write succeeds that was begun after a moment."""

    def __init__(self, store: AsyncKeyValue) -> None:
        self._store = store
        self._after = float("inf")
        self._acknowledged: asyncio.Future[float] | None = None

    def next_begun_after(self, moment: float) -> "asyncio.Future[float]":
        """Return what is done, with the time, when such a write is acknowledged."""
        self._after = moment
        self._acknowledged = asyncio.get_running_loop().create_future()
        return self._acknowledged

    async def write_on(self, lane: int) -> None:
        """Write until cancelled; a write that failed is followed by the next one."""
        key = b"lane %d" % lane
        number = 0
        while True:
            number += 1
            began = time.perf_counter()
            try:
                await self._store.put(key, b"%d" % number)
            except LiferaftError:
                continue
            waiting = self._acknowledged
            if waiting is not None and not waiting.done() and began > self._after:
                waiting.set_result(time.perf_counter())
