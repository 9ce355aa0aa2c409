"""What is left of the throughput when twice as much is asked for as can be done.

Three nodes in processes of their own write durably for several connections, whose calls arrive in
an open loop, each with a deadline. First the offered load rises until no more of it is done; then
twice that load is offered, again and again, each time beside the peak measured anew.

Where there are two cores or more, the nodes share one and the load has the others: so more load
does not take away from the nodes what they need to bear it.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from liferaft.api import aclose, aconnect
from liferaft.bench.measure import measure
from liferaft.bench.open_load import Offered, offer
from liferaft.bench.work import AsyncWork
from liferaft.errors import Overloaded
from liferaft.ops.processes import LocalCluster

NODES: Final = 3
CONNECTIONS: Final = 16
DEADLINE: Final = 1.0
"""Seconds that each caller waits: what is answered later is of no use to anybody."""

RISING: Final = (0.5, 0.7, 0.85, 1.0, 1.15, 1.3, 1.5)
"""Offered loads, as shares of what a closed loop gets done."""
IN_FLIGHT: Final = 256
"""Of the closed loop, that tells where to look."""

SATURATED: Final = 0.85
"""The share of the highest goodput from which on a load saturates: more is noise."""

KEPT_MIN: Final = 0.8
"""The share of the peak that must be left at twice the saturating load."""

LOAD_PRIORITY: Final = -10
"""Of the load's process, where the system allows it: of a machine that does other things, too."""

SETTLE: Final = 1.0
"""Seconds between two loads."""


class Round(msgspec.Struct, frozen=True):
    """The peak and twice its load, one after the other; memory of the leader's process in bytes."""

    peak: Offered
    twice: Offered
    memory_bytes: int
    has_other_leader: bool

    @property
    def kept(self) -> float:
        """Goodput at twice the saturating load, as a share of the peak."""
        return self.twice.goodput / self.peak.goodput if self.peak.goodput else 0.0


class Overload(msgspec.Struct, frozen=True):
    """What the loads came to. `rising` has one line for each offered load."""

    size_bytes: int
    is_pinned: bool
    rising: tuple[Offered, ...]
    memory_bytes: int
    rounds: tuple[Round, ...]

    @property
    def kept(self) -> float:
        """The median over the rounds of the share of the peak that was left."""
        return median(each.kept for each in self.rounds)

    @property
    def is_kept(self) -> bool:
        """Whether enough of the peak was left."""
        return self.kept >= KEPT_MIN


async def bench_overload(*, rounds: int, seconds: float, size_bytes: int) -> Overload:
    """Find the saturating load, then offer twice that, so many times."""
    objects = ["liferaft.bench.work:Work"]
    async with LocalCluster(NODES, objects=objects) as cluster:
        await cluster.wait_leader()
        with _parted_cores([cluster.pid(node) for node in cluster.nodes]) as is_pinned:
            async with _clients(cluster.address, size_bytes) as clients:
                rising = [each async for each in _rising(clients, seconds)]
                saturating = _saturating(rising)
                leader = (await cluster.wait_leader()).node_id
                memory_bytes = _memory_bytes(cluster.pid(leader))
                found = [await _round(cluster, clients, saturating, seconds) for _ in range(rounds)]
    return Overload(size_bytes, is_pinned, tuple(rising), memory_bytes, tuple(found))


async def _rising(clients: "_Clients", seconds: float) -> AsyncIterator[Offered]:
    closed = await measure(
        "", clients.put_patiently, in_flight=IN_FLIGHT, seconds=seconds, size_bytes=0
    )
    for share in RISING:
        await asyncio.sleep(SETTLE)
        yield await offer(
            clients.put, rate=max(1.0, share * closed.calls_per_second), seconds=seconds
        )


def _saturating(rising: list[Offered]) -> float:
    """Return the lowest of the loads of which, but for noise, the most is done."""
    most = max(each.goodput for each in rising)
    return next(each.rate for each in rising if each.goodput >= SATURATED * most)


async def _round(
    cluster: LocalCluster, clients: "_Clients", saturating: float, seconds: float
) -> Round:
    await asyncio.sleep(SETTLE)
    before = await cluster.wait_leader()
    peak = await offer(clients.put, rate=saturating, seconds=seconds)
    await asyncio.sleep(SETTLE)
    twice = await offer(clients.put, rate=2 * saturating, seconds=seconds)
    after = await cluster.wait_leader()
    return Round(
        peak,
        twice,
        _memory_bytes(cluster.pid(after.node_id)),
        has_other_leader=before.current_term != after.current_term,
    )


class _Clients:
    """Connections that take calls in turns."""

    def __init__(self, stores: list[AsyncWork], size_bytes: int) -> None:
        self._stores = stores
        self._value = b"v" * size_bytes

    async def put(self, number: int) -> None:
        """Write once."""
        await self._stores[number % len(self._stores)].add(self._value)

    async def put_patiently(self, number: int) -> None:
        """Write, for a closed loop: which waits where it is refused, instead of asking on."""
        try:
            await self.put(number)
        except Overloaded as error:
            await asyncio.sleep(error.retry_after or 0.0)
            raise


@asynccontextmanager
async def _clients(address: str, size_bytes: int) -> AsyncIterator[_Clients]:
    stores: list[AsyncWork] = []
    try:
        for _ in range(CONNECTIONS):
            stores.append(await aconnect(AsyncWork, address, timeout=DEADLINE))  # noqa: PERF401 - each must be closed
        yield _Clients(stores, size_bytes)
    finally:
        for store in stores:
            await aclose(store)


@contextmanager
def _parted_cores(pids: list[int]) -> Iterator[bool]:
    """Give the nodes one core and this process the others; False where that cannot be done."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(cores) < 2:
        yield False
        return
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores[:1])
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    os.sched_setaffinity(0, cores[1:])
    with suppress(PermissionError):
        # What is sent late for want of a core would be no load at all.
        os.setpriority(os.PRIO_PROCESS, 0, LOAD_PRIORITY)
    try:
        yield True
    finally:
        os.sched_setaffinity(0, cores)
        os.setpriority(os.PRIO_PROCESS, 0, priority)


def _memory_bytes(pid: int) -> int:
    """Return what of a process lies in memory; 0 where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
