"""More is asked for than can be done: some is refused at once, and nobody is kept out by others.

The cluster is slow by its settings: one small message to each follower at a time, and disks that
take their time, so that some hundred commands a second are all that it can do.
"""

import asyncio
from typing import Protocol

import pytest

from liferaft.errors import LiferaftError, Overloaded
from liferaft.raft.config import RaftConfig
from liferaft.recipes.kv import KeyValue
from liferaft.sim.settings import Settings
from liferaft.testing.simulated import SimulatedCluster

SLOW = Settings(
    raft=RaftConfig(append_bytes_max=512, inflight_messages_max=1), segment_bytes=1024 * 1024
)
GREEDY_CALLS = 1_500
"""Under way at a time: what the cluster needs several seconds for."""

SETTLED = 4.0
"""Seconds until the first burst, of which nobody knew how long it would take, is done."""

WAIT_MAX = RaftConfig().election_timeout
"""What a node chooses for itself."""

ROUND_TRIP_MAX = 0.1


class AsyncKeyValue(Protocol):
    async def put(self, key: bytes, value: bytes) -> None: ...


class Greedy:
    """Keeps thousands of calls under way, whatever becomes of them."""

    def __init__(self, store: AsyncKeyValue) -> None:
        self._store = store
        self.done = 0
        self.refused_after: list[float] = []
        self.hints: list[float | None] = []
        self._lanes = [asyncio.create_task(self._call_on()) for _ in range(GREEDY_CALLS)]

    async def _call_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._store.put(b"greedy", b"v" * 64)
                self.done += 1
            except Overloaded as error:
                self.refused_after.append(loop.time() - began)
                self.hints.append(error.retry_after)
                await asyncio.sleep(error.retry_after or 0.0)
            except LiferaftError:
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)


async def latencies_beside(cluster: SimulatedCluster, greedy: Greedy) -> list[float]:
    """Return how long each call of a client took that makes one at a time."""
    del greedy  # it goes on meanwhile
    loop = asyncio.get_running_loop()
    modest: AsyncKeyValue = cluster.stub(AsyncKeyValue)
    await asyncio.sleep(SETTLED)
    latencies = []
    for number in range(10):
        began = loop.time()
        await modest.put(b"modest", b"%d" % number)
        latencies.append(loop.time() - began)
    return latencies


def test_a_client_with_one_call_is_served_beside_one_with_thousands() -> None:
    """None of its calls is refused, and each is answered within twice the wait that is allowed."""
    with SimulatedCluster(KeyValue, settings=SLOW) as cluster:

        async def story() -> tuple[list[float], int]:
            greedy = Greedy(cluster.stub(AsyncKeyValue))
            latencies = await latencies_beside(cluster, greedy)
            await greedy.stop()
            return latencies, greedy.done

        latencies, done = cluster.run(story)

    assert max(latencies) < 2 * WAIT_MAX
    assert done > GREEDY_CALLS  # what can be done is done


def test_what_is_refused_is_refused_when_it_comes() -> None:
    """A refusal takes a round trip, and says when to come again; nothing waits to be refused."""
    with SimulatedCluster(KeyValue, settings=SLOW) as cluster:

        async def story() -> tuple[list[float], list[float | None]]:
            greedy = Greedy(cluster.stub(AsyncKeyValue))
            await asyncio.sleep(SETTLED)
            await greedy.stop()
            return greedy.refused_after, greedy.hints

        refused_after, hints = cluster.run(story)

    assert len(refused_after) > GREEDY_CALLS
    assert max(refused_after) < ROUND_TRIP_MAX
    assert all(hint is not None and hint > 0 for hint in hints)


def test_a_call_that_could_not_be_done_in_time_is_refused_instead() -> None:
    """Its caller would wait in vain, and it would take the place of one that is waited for."""
    with SimulatedCluster(KeyValue, settings=SLOW) as cluster:

        async def story() -> None:
            greedy = Greedy(cluster.stub(AsyncKeyValue))
            hasty: AsyncKeyValue = cluster.stub(AsyncKeyValue, timeout=WAIT_MAX / 4)
            await asyncio.sleep(SETTLED)
            with pytest.raises(Overloaded):
                await hasty.put(b"hasty", b"")
            await greedy.stop()

        cluster.run(story)
