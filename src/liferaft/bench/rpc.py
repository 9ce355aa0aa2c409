"""Calls a second, ours beside a bare echo and the rivals, in one run on one machine.

Machines are noisy, and two processes that take turns suffer most, so the contenders are measured
in turns, round by round, and of each the round in the middle counts: what slows the machine for a
while slows all of them.

With one call in flight, caller and host never work at the same time. Whether the kernel has them on
one core or on two makes a bare echo three times as fast or slow, and differs from run to run. So
both are held on one core then, unless that is not wanted; with more in flight they never are.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import msgspec

from liferaft.api import aclose, aconnect
from liferaft.bench import callers
from liferaft.bench.callers import Caller, Load
from liferaft.bench.measure import Measurement
from liferaft.bench.orders import HOST, Orders

ROUNDS = 5
"""An odd number: the round in the middle is one that was measured."""
IDLE_CONNECTIONS: Final = 1_000
RPYC_THREADS_MAX: Final = 64
"""With more, a call by reference takes longer than a round."""


class Contender(msgspec.Struct, frozen=True):
    """Whose calls are measured: what it needs, the kind of its host, and who calls."""

    package: str
    host: str
    caller: Caller
    in_flight_max: int = 1_000_000


CONTENDERS: Final = (
    Contender("liferaft", "ours", callers.liferaft),
    Contender("liferaft", "ours", callers.liferaft_blocking, 1),
    Contender("liferaft", "raw", callers.raw),
    Contender("Pyro5", "pyro", callers.pyro, 1),
    Contender("rpyc", "rpyc", callers.rpyc, RPYC_THREADS_MAX),
    Contender("rpyc", "rpyc", callers.rpyc_tuples),
    Contender("grpc", "grpc", callers.grpc),
    Contender("grpc", "grpc_aio", callers.grpc_aio),
)


def missing_packages() -> list[str]:
    """Return the packages of rivals that are not installed: they are left out."""
    packages = dict.fromkeys(contender.package for contender in CONTENDERS)
    return [each for each in packages if importlib.util.find_spec(each) is None]


@contextmanager
def host(kind: str) -> Iterator[tuple[int, int]]:
    """Start a host of that kind in a process of its own, and give its port and process id."""
    process = subprocess.Popen(  # noqa: S603 - this very interpreter, on loopback
        [sys.executable, "-m", "liferaft.bench.echo", kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()


@contextmanager
def one_core() -> Iterator[None]:
    """Hold this process, and those that it starts meanwhile, on one core, where that can be had."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


async def bench_rpc(
    *,
    in_flight: Sequence[int],
    seconds: float,
    sizes: Sequence[int],
    is_pinned: bool = True,
) -> list[Measurement]:
    """Measure every contender that is installed, so many `seconds` each, in turns.

    With `is_pinned`, one call in flight is measured with both ends on one core.
    """
    missing = missing_packages()
    results = []
    for size_bytes in sizes:
        for lanes in in_flight:
            load = Load(lanes, seconds / ROUNDS, size_bytes)
            taking_part = [
                each
                for each in CONTENDERS
                if each.package not in missing and lanes <= each.in_flight_max
            ]
            with ExitStack() as stack:
                if is_pinned and lanes == 1:
                    stack.enter_context(one_core())
                kinds = dict.fromkeys(each.host for each in taking_part)
                ports = {kind: stack.enter_context(host(kind))[0] for kind in kinds}
                results += await _in_turns(taking_part, ports, load)
    return results


async def _in_turns(
    contenders: Sequence[Contender], ports: dict[str, int], load: Load
) -> list[Measurement]:
    """Return the middle one of `ROUNDS` rounds of each contender."""
    rounds = [
        [await contender.caller(ports[contender.host], load) for contender in contenders]
        for _ in range(ROUNDS)
    ]
    return [
        sorted(own, key=lambda measured: measured.calls_per_second)[ROUNDS // 2]
        for own in zip(*rounds, strict=True)
    ]


class Idle(msgspec.Struct, frozen=True):
    """What many idle connections cost the host: memory of each, and the busy one's calls."""

    connections: int
    bytes_each: float
    calls_per_second_without: float
    calls_per_second_with: float


async def bench_idle(*, connections: int = IDLE_CONNECTIONS, seconds: float) -> Idle:
    """Open connections that do nothing, beside one that is busy."""
    load = Load(64, seconds, 200)
    with host("ours") as (port, pid):
        without = await callers.liferaft(port, load)
        before = resident_bytes(pid)
        stubs = [await aconnect(Orders, f"{HOST}:{port}") for _ in range(connections)]
        try:
            after = resident_bytes(pid)
            beside = await callers.liferaft(port, load)
        finally:
            for stub in stubs:
                await aclose(stub)
    return Idle(
        connections=connections,
        bytes_each=(after - before) / connections,
        calls_per_second_without=without.calls_per_second,
        calls_per_second_with=beside.calls_per_second,
    )


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has; 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123 - no file on disk
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return 0
