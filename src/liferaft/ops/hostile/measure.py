"""How much honest callers notice of an attack: their throughput before and under it, in one run.

The host is a process of its own, the attackers another one, and the honest callers are here. The
host's memory is read from the system. Nothing here judges but `Outcome`.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, Self

import msgspec

from liferaft import api
from liferaft.errors import LiferaftError
from liferaft.ops.child import ChildProcess
from liferaft.ops.hostile.attacks import ATTACKS, Attacker, Target
from liferaft.ops.processes import LocalCluster
from liferaft.recipes.kv import KeyValue
from liferaft.rpc.codec import encode

CALLERS: Final = 4
IN_FLIGHT: Final = 4
"""Honest callers, each with a connection of its own, and the calls that each has under way."""

THROUGHPUT_LEAST: Final = 0.5
GROWTH_BYTES_MOST: Final = 100 * 1024 * 1024

BASELINE_SECONDS_MAX: Final = 10.0
BEGIN_SECONDS_MAX: Final = 60.0
"""For the attackers to do something for the first time, on a machine however slow."""
SETTLING_SECONDS: Final = 1.0
"""After the attackers have begun, until the measuring does."""


class AsyncKeyValue(Protocol):
    """What honest callers call; `KeyValue` answers."""

    async def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""

    async def get(self, key: bytes) -> bytes | None:
        """Return the value of a key."""


class Outcome(msgspec.Struct, frozen=True):
    """What one attack did. Throughputs in calls a second, memory in bytes."""

    attack: str
    seconds: float
    attacks: int
    calls_before: float
    calls_under: float
    failures: int
    memory_before: int
    memory_peak: int
    is_alive: bool

    @property
    def kept(self) -> float:
        """Which part of their throughput the honest callers kept."""
        return self.calls_under / self.calls_before if self.calls_before else 0.0

    @property
    def growth_bytes(self) -> int:
        """How much the host's memory grew at its highest."""
        return self.memory_peak - self.memory_before

    @property
    def is_borne(self) -> bool:
        """Whether the host bore it."""
        return (
            self.is_alive
            and self.failures == 0
            and self.kept >= THROUGHPUT_LEAST
            and self.growth_bytes < GROWTH_BYTES_MOST
        )


async def measure(name: str, seconds: float) -> Outcome:
    """Let the attack run for so many seconds against a host made for it.

    Raises `TimeoutError` when the attackers never begin.
    """
    async with _host(name) as (pid, target, address):
        load = Load()
        async with contextlib.AsyncExitStack() as stack:
            for number in range(CALLERS):
                stub = await api.aconnect(AsyncKeyValue, address, name="KeyValue")
                stack.push_async_callback(api.aclose, stub)
                load.add(stub, number)
            async with load:
                calls_before = await load.throughput(min(seconds, BASELINE_SECONDS_MAX))
                memory_before = resident_bytes(pid)
                attackers = await _start_attackers(name, target)
                watch = asyncio.create_task(_watch_memory(pid))
                async with asyncio.timeout(BEGIN_SECONDS_MAX):
                    await attackers.read_line()
                await asyncio.sleep(SETTLING_SECONDS)
                calls_under = await load.throughput(seconds)
                memory_peak = max(await _ended(watch), resident_bytes(pid))
                attackers.close_stdin()
                done = int(await attackers.read_line() or 0)
                await attackers.wait()
                is_alive = await _answers(address)
    return Outcome(
        attack=name,
        seconds=seconds,
        attacks=done,
        calls_before=calls_before,
        calls_under=calls_under,
        failures=load.failures,
        memory_before=memory_before,
        memory_peak=memory_peak,
        is_alive=is_alive,
    )


class Load:
    """Honest calls, as quickly as they are answered, while it is entered."""

    def __init__(self) -> None:
        self.calls = 0
        self.failures = 0
        self._stubs: list[tuple[AsyncKeyValue, bytes]] = []
        self._lanes: list[asyncio.Task[None]] = []

    def add(self, stub: AsyncKeyValue, number: int) -> None:
        """Add a caller."""
        self._stubs.append((stub, b"%d" % number))

    async def __aenter__(self) -> Self:
        self._lanes = [
            asyncio.create_task(self._call_on(stub, key))
            for stub, key in self._stubs
            for _ in range(IN_FLIGHT)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)

    async def throughput(self, seconds: float) -> float:
        """Return how many calls were answered in a second, on the average of so many."""
        before, began = self.calls, time.perf_counter()
        await asyncio.sleep(seconds)
        return (self.calls - before) / (time.perf_counter() - began)

    async def _call_on(self, stub: AsyncKeyValue, key: bytes) -> None:
        while True:
            try:
                await stub.put(key, b"value")
            except LiferaftError:
                self.failures += 1
            else:
                self.calls += 1


@contextlib.asynccontextmanager
async def _host(name: str) -> AsyncIterator[tuple[int, Target, str]]:
    """Start a node of its own cluster for what speaks Raft, a plain host for the rest."""
    if ATTACKS[name].is_for_nodes:
        async with LocalCluster(3, objects=["KeyValue=liferaft.recipes.kv:KeyValue"]) as cluster:
            leader = (await cluster.wait_leader()).node_id
            others = tuple(node for node in cluster.nodes if node != leader)
            target = _target(cluster.addresses[leader], node_ids=(leader, *others))
            yield cluster.pid(leader), target, cluster.address
        return
    child = await _start("host")
    try:
        address = await child.read_line()
        yield child.pid, _target(address), address
    finally:
        await child.stop()


def _target(address: str, node_ids: tuple[str, ...] = ()) -> Target:
    host, _, port = address.rpartition(":")
    return Target(host, int(port), "KeyValue", "get", encode((b"0",)), node_ids=node_ids)


async def _start(*arguments: str) -> ChildProcess:
    # What the host logs of each peer says nothing that the outcome does not.
    command = [sys.executable, "-m", "liferaft.ops.hostile", *arguments]
    return await ChildProcess.start(command, log=Path(os.devnull))


async def _start_attackers(name: str, target: Target) -> ChildProcess:
    return await _start("attack", name, msgspec.json.encode(target).decode())


async def _answers(address: str) -> bool:
    """Return whether the host takes a caller that it does not know yet."""
    try:
        stub = await api.aconnect(AsyncKeyValue, address, name="KeyValue")
    except LiferaftError:
        return False
    await api.aclose(stub)
    return True


def resident_bytes(pid: int) -> int:
    """Return how much of memory a process has."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


async def _watch_memory(pid: int) -> int:
    """Return, when cancelled, the most that a process had of memory."""
    peak = 0
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            peak = max(peak, resident_bytes(pid))
            await asyncio.sleep(0.1)
    return peak


async def _ended(task: "asyncio.Task[int]") -> int:
    task.cancel()
    return await task


async def serve(ended: asyncio.Event, tell: "asyncio.Future[str]") -> None:
    """Serve a `KeyValue` until `ended`."""
    async with await api.aserve(
        KeyValue(), KeyValue, "127.0.0.1:0", name="KeyValue", threads=0
    ) as host:
        tell.set_result(str(host.address))
        await ended.wait()


async def attack(
    name: str, target: Target, ended: asyncio.Event, tell_begun: Callable[[], None]
) -> int:
    """Attack until `ended`, and tell when the first thing is done; return how much was done."""
    attacker = Attacker(target)

    async def watch_beginning() -> None:
        await attacker.wait_done(1)
        tell_begun()

    tasks = [asyncio.create_task(work) for work in (attacker.run(name), watch_beginning())]
    await ended.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return attacker.done


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as lines to read."""
    lines = []
    for outcome in outcomes:
        verdict = "borne" if outcome.is_borne else "NOT BORNE"
        lines.append(
            f"{outcome.attack:13} {outcome.attacks:>9,} done  {outcome.calls_before:8,.0f} calls/s "
            f"before, {outcome.calls_under:8,.0f} under: {outcome.kept:5.0%} kept, "
            f"{outcome.failures} failed, memory +{outcome.growth_bytes / 2**20:.0f} MB: {verdict}"
        )
    return "\n".join(lines)
