"""What many Raft groups on the same three nodes cost while nobody uses them, and in use.

Every node is a process of its own and hosts all groups. Once all of them rest, what is measured is
the processes' own count of their time: the share of one core for each node. Then single calls wake
groups that rest, and many groups are written to at once, which is compared with as much load on one
of them: they share each sync.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from liferaft.api import aclose, aconnect
from liferaft.bench.measure import Measurement, measure
from liferaft.bench.raft import AsyncKeyValue
from liferaft.cluster.group_admin import GROUP_ADMIN_OBJECT, GroupAdmin
from liferaft.errors import LiferaftError
from liferaft.ops.processes import LocalCluster

NODES = 3
REST_WITHIN = 300.0
"""Seconds until all groups must rest; they begin with as many elections as there are groups."""

WOKEN = 50
"""How many groups at rest are called, one after the other."""


class IdleGroups(msgspec.Struct, frozen=True):
    """The figures of one run.

    `cores` is the share of a core that each node took while all groups rested for `seconds`,
    `memory_bytes` what each node holds, `started_in` the seconds until all groups rested, `woken`
    the seconds of each call that woke a group, rising; `writes` compares one group and many.
    `orphaned` groups were led by the node that was killed at last, and `led_again_in` so many
    seconds all of them had other leaders.
    """

    groups: int
    seconds: float
    started_in: float
    cores: tuple[float, ...]
    memory_bytes: tuple[int, ...]
    woken: tuple[float, ...]
    writes: tuple[Measurement, ...]
    orphaned: int
    led_again_in: float


async def bench_groups(*, groups: int, seconds: float, in_flight: int) -> IdleGroups:
    """Let so many groups rest for so long, then use some of them.

    Raises `LiferaftError` when they do not rest within `REST_WITHIN` seconds.
    """
    objects = ["liferaft.recipes.kv:KeyValue"]
    started = time.perf_counter()
    async with LocalCluster(NODES, objects=objects, options=["--groups", str(groups)]) as cluster:
        await _wait_resting(cluster, groups)
        started_in = time.perf_counter() - started
        before = _processor_seconds(cluster)
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        took = time.perf_counter() - began
        after = _processor_seconds(cluster)
        memory_bytes = tuple(_memory_bytes(cluster.pid(node)) for node in cluster.nodes)
        woken = [await _wake(cluster, group) for group in range(min(WOKEN, groups))]
        writes = [
            await _write(cluster, among, in_flight=in_flight, seconds=seconds / 2)
            for among in (1, min(in_flight, groups))
        ]
        await _wait_resting(cluster, groups)
        orphaned, led_again_in = await _kill(cluster)
    cores = tuple((later - earlier) / took for earlier, later in zip(before, after, strict=True))
    return IdleGroups(
        groups=groups,
        seconds=took,
        started_in=started_in,
        cores=cores,
        memory_bytes=memory_bytes,
        woken=tuple(sorted(woken)),
        writes=tuple(writes),
        orphaned=orphaned,
        led_again_in=led_again_in,
    )


async def _wait_resting(cluster: LocalCluster, groups: int) -> None:
    for address in cluster.addresses.values():
        admin = await aconnect(GroupAdmin, address, name=GROUP_ADMIN_OBJECT, timeout=REST_WITHIN)
        until = time.perf_counter() + REST_WITHIN
        while sum(each.is_resting for each in await admin.groups()) < groups:
            if time.perf_counter() > until:
                raise LiferaftError(f"{groups} groups do not rest after {REST_WITHIN:g} s")
            await asyncio.sleep(0.5)
        await aclose(admin)


async def _kill(cluster: LocalCluster) -> tuple[int, float]:
    """Kill a node; return how many groups it led, and how long until all have new leaders."""
    killed, asked = cluster.nodes[:2]
    admin = await aconnect(GroupAdmin, cluster.addresses[asked], name=GROUP_ADMIN_OBJECT)
    orphaned = sum(each.leader == killed for each in await admin.groups())
    began = time.perf_counter()
    await cluster.kill(killed)
    while any(each.leader in (None, killed) for each in await admin.groups()):
        if time.perf_counter() > began + REST_WITHIN:
            raise LiferaftError(
                f"groups have no leader {REST_WITHIN:g} s after {killed} was killed"
            )
        await asyncio.sleep(0.05)
    took = time.perf_counter() - began
    await aclose(admin)
    return orphaned, took


async def _wake(cluster: LocalCluster, group: int) -> float:
    """Return how long a first write to a group at rest takes, on a stub that is bound already."""
    store = await aconnect(AsyncKeyValue, cluster.address, name=f"{group}/KeyValue")
    await asyncio.sleep(0)
    began = time.perf_counter()
    await store.put(b"key", b"value")
    took = time.perf_counter() - began
    await aclose(store)
    return took


async def _write(
    cluster: LocalCluster, among: int, *, in_flight: int, seconds: float
) -> Measurement:
    names = [f"{group}/KeyValue" for group in range(among)]
    stores = [await aconnect(AsyncKeyValue, cluster.address, name=name) for name in names]
    value = os.urandom(256)

    async def call(number: int) -> None:
        await stores[number % among].put(b"%d" % (number % 1000), value)

    name = f"writes to {among} groups" if among > 1 else "writes to one group"
    result = await measure(name, call, in_flight=in_flight, seconds=seconds, size_bytes=256)
    for store in stores:
        await aclose(store)
    return result


def _processor_seconds(cluster: LocalCluster) -> Sequence[float]:
    """Return the time that each node's process has taken so far, in the system as well."""
    tick = os.sysconf("SC_CLK_TCK")
    fields = [
        Path(f"/proc/{cluster.pid(node)}/stat").read_text().rpartition(")")[2].split()
        for node in cluster.nodes
    ]
    return [(int(each[11]) + int(each[12])) / tick for each in fields]


def _memory_bytes(pid: int) -> int:
    """Return how much memory a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
