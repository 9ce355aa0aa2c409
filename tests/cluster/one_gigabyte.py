"""What a large state costs: a snapshot of it while writes go on, and a node that joins meanwhile.

    python -m tests.cluster.one_gigabyte [MEGABYTES [NODES]]

The nodes, three if not said, each a process of its own, hold values of 1 KiB that do not compress.
The leader is asked for its status every few milliseconds all the time: the longest wait for an
answer is the longest time that it stood still, or had no processor. What the machine itself stood
still meanwhile is told apart (see `onlookers`).
"""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import uvloop

import liferaft
from liferaft.bench.raft import AsyncKeyValue
from liferaft.cluster.admin import NodeAdmin
from liferaft.ops.processes import LocalCluster, free_addresses
from tests.cluster.onlookers import Interval, merged, onlooker

VALUE_BYTES = 1024
LANES = 64
OBJECT = "liferaft.recipes.kv:KeyValue"


class Load:
    """Writes without a pause, and looks how long the leader takes to answer a question.

    `still` tells when the machine stood still.
    """

    def __init__(
        self, store: AsyncKeyValue, keys: int, still: Callable[[], Sequence[Interval]]
    ) -> None:
        self._store, self._keys, self._still = store, keys, still
        self._noise = random.Random(1)
        self.writes = 0

    async def fill(self) -> None:
        """Write every key once."""
        numbers = iter(range(self._keys))

        async def lane() -> None:
            for number in numbers:
                await self._put(number)

        await asyncio.gather(*(lane() for _ in range(LANES)))

    async def _put(self, number: int) -> None:
        await self._store.put(b"%08d" % number, self._noise.randbytes(VALUE_BYTES))
        self.writes += 1

    @asynccontextmanager
    async def going_on(self, what: str, leader: str) -> AsyncIterator[None]:
        """Write and ask while the block runs, and tell what was seen; `leader` is its address."""
        tasks = [asyncio.create_task(self._write()) for _ in range(4)]
        writes, began = self.writes, time.perf_counter()
        with onlooker("node", leader) as asked:
            try:
                yield
            finally:
                took = time.perf_counter() - began
                waits = asked.intervals()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        rate = (self.writes - writes) / took
        still = [each for each in self._still() if each[1] > began]
        longest = max((end - start for start, end in still), default=0.0)
        print(  # noqa: T201
            f"{what}: {took:.1f} s, {rate:,.0f} writes/s\n"
            f"  the leader answered {summary([end - start for start, end in waits])}\n"
            f"  the machine stood still {len(still)} times, for at most {longest * 1e3:.1f} ms;"
            f" besides that {summary([own_time(each, still) for each in waits])}",
            flush=True,
        )

    async def _write(self) -> None:
        while True:
            await self._put(random.randrange(self._keys))


def own_time(wait: Interval, still: Sequence[Interval]) -> float:
    """Return the seconds of `wait` in which no processor stood still."""
    shared = (min(wait[1], end) - max(wait[0], start) for start, end in still)
    return wait[1] - wait[0] - sum(each for each in shared if each > 0)


def summary(waits: list[float]) -> str:
    """Say within how long how many of the answers came."""
    waits = [each * 1e3 for each in sorted(waits)]
    half, most, worst = waits[len(waits) // 2], waits[-1 - len(waits) // 1000], waits[-1]
    return f"within {half:.1f} ms (half), {most:.1f} (999 of 1000), {worst:.1f} (all {len(waits)})"


async def main(megabytes: int = 1024, nodes: int = 3) -> None:
    with ExitStack() as stack:
        processors = os.sched_getaffinity(0)
        seen = [stack.enter_context(onlooker("processor", str(each))) for each in processors]
        await measure(megabytes, nodes, lambda: merged(*seen))


async def measure(megabytes: int, nodes: int, still: Callable[[], Sequence[Interval]]) -> None:
    # No snapshot but those that are asked for.
    never = ["--snapshot-entries", str(10**9), "--snapshot-log-bytes", str(10**12)]
    async with LocalCluster(nodes, objects=[OBJECT], options=never) as cluster:
        store = await liferaft.aconnect(AsyncKeyValue, cluster.address, timeout=60)
        load = Load(store, megabytes * 1024, still)
        began = time.perf_counter()
        await load.fill()
        print(f"{megabytes} MB written in {time.perf_counter() - began:.0f} s", flush=True)  # noqa: T201
        leader, _ = await leader_of(cluster)
        async with load.going_on("as usual", leader):
            await asyncio.sleep(5)
        for number in (1, 2):
            leader, admin = await leader_of(cluster)
            async with load.going_on(f"while snapshot {number} is taken", leader):
                with liferaft.deadline(600):
                    taken = await admin.take_snapshot()
            print(f"  {taken.size_bytes / 2**20:.0f} MB", flush=True)  # noqa: T201
        leader, admin = await leader_of(cluster)
        async with load.going_on("while a node joins", leader):
            await join(cluster, admin)
        await liferaft.aclose(store)


async def leader_of(cluster: LocalCluster) -> tuple[str, NodeAdmin]:
    """Return the address and a stub of who leads now: it may be another one than before."""
    node_id = (await cluster.wait_leader()).node_id
    return cluster.addresses[node_id], await cluster.admin(node_id)


async def join(cluster: LocalCluster, admin: NodeAdmin) -> None:
    """Start a node, add it, and wait until it votes."""
    (address,) = free_addresses(1)
    peers = ",".join(f"{name}={at}" for name, at in {**cluster.addresses, "n4": address}.items())
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "liferaft", "node", "--id", "n4", "--peers", peers]
        command += ["--data", str(Path(directory) / "n4"), "--object", OBJECT, "--join"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: ASYNC220
            try:
                await admin.add("n4", address, is_learner=False, replaces="")
                kinds: dict[str, str] = {}
                while kinds.get("n4") != "voter":
                    await asyncio.sleep(0.5)
                    listed = (await admin.members()).members
                    kinds = {each.node_id: each.kind for each in listed}
            finally:
                process.kill()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*map(int, sys.argv[1:])))
