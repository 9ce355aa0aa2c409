"""What a large state costs: a snapshot of it while writes go on, and a node that joins meanwhile.

    python -m tests.cluster.one_gigabyte [MEGABYTES [NODES]]

The nodes, three if not said, each a process of its own, hold values of 1 KiB that do not compress.
The leader is asked for its status every few milliseconds all the time: the longest wait for an
answer is the longest time that it stood still, or had no processor.
"""

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

import liferaft
from liferaft.bench.raft import AsyncKeyValue
from liferaft.cluster.admin import NodeAdmin
from liferaft.ops.processes import LocalCluster, free_addresses

VALUE_BYTES = 1024
LANES = 64
POLL_SECONDS = 0.003
OBJECT = "liferaft.recipes.kv:KeyValue"


class Load:
    """Writes without a pause, and looks how long the leader takes to answer a question."""

    def __init__(self, store: AsyncKeyValue, keys: int) -> None:
        self._store, self._keys = store, keys
        self._noise = random.Random(1)
        self.writes = 0
        self.waits: list[float] = []

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
    async def going_on(self, what: str, leader: NodeAdmin) -> AsyncIterator[None]:
        """Write and ask while the block runs, and tell what was seen."""
        self.waits.clear()
        tasks = [asyncio.create_task(self._write()) for _ in range(4)]
        tasks.append(asyncio.create_task(self._ask(leader)))
        writes, began = self.writes, time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - began
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        rate = (self.writes - writes) / took
        waits = [each * 1e3 for each in sorted(self.waits)]
        half, most, worst = waits[len(waits) // 2], waits[-1 - len(waits) // 1000], waits[-1]
        print(  # noqa: T201
            f"{what}: {took:.1f} s, {rate:,.0f} writes/s, the leader answered within {half:.1f} ms"
            f" (half), {most:.1f} (999 of 1000), {worst:.1f} (all of {len(waits)})",
            flush=True,
        )

    async def _write(self) -> None:
        while True:
            await self._put(random.randrange(self._keys))

    async def _ask(self, leader: NodeAdmin) -> None:
        while True:
            began = time.perf_counter()
            await leader.status()
            self.waits.append(time.perf_counter() - began)
            await asyncio.sleep(POLL_SECONDS)


async def main(megabytes: int = 1024, nodes: int = 3) -> None:
    # No snapshot but those that are asked for.
    never = ["--snapshot-entries", str(10**9), "--snapshot-log-bytes", str(10**12)]
    async with LocalCluster(nodes, objects=[OBJECT], options=never) as cluster:
        store = await liferaft.aconnect(AsyncKeyValue, cluster.address, timeout=60)
        load = Load(store, megabytes * 1024)
        began = time.perf_counter()
        await load.fill()
        print(f"{megabytes} MB written in {time.perf_counter() - began:.0f} s", flush=True)  # noqa: T201
        async with load.going_on("as usual", await leader_of(cluster)):
            await asyncio.sleep(5)
        for number in (1, 2):
            admin = await leader_of(cluster)
            async with load.going_on(f"while snapshot {number} is taken", admin):
                with liferaft.deadline(600):
                    taken = await admin.take_snapshot()
            print(f"  {taken.size_bytes / 2**20:.0f} MB", flush=True)  # noqa: T201
        admin = await leader_of(cluster)
        async with load.going_on("while a node joins", admin):
            await join(cluster, admin)
        await liferaft.aclose(store)


async def leader_of(cluster: LocalCluster) -> NodeAdmin:
    """Return who leads now: it may be another one than before."""
    return await cluster.admin((await cluster.wait_leader()).node_id)


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
