"""Calls a second, ours beside a bare echo and RPyC, in one run on one machine.

Machines are noisy, and two processes that take turns suffer most, so the contenders are measured
in turns, round by round, and of each the round in the middle counts: what slows the machine for a
while slows all of them.

With one call in flight, caller and host never work at the same time. Whether the kernel has them on
one core or on two makes a bare echo three times as fast or slow, and differs from run to run. So
both are held on one core then, unless that is not wanted; with more in flight they never are.
"""

import asyncio
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

from liferaft.api import aclose, aconnect
from liferaft.bench.echo import HOST, LENGTH, Orders
from liferaft.bench.measure import Measurement, measure

ROUNDS = 5
"""An odd number: the round in the middle is one that was measured."""

ORDER_BYTES_MIN = 60
"""What the fixed fields of an order take; the note fills up the rest."""


@contextmanager
def host(kind: str) -> Iterator[int]:
    """Start an echo host of that kind in a process of its own and give its port."""
    process = subprocess.Popen(  # noqa: S603 - this very interpreter, on loopback
        [sys.executable, "-m", "liferaft.bench.echo", kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()


Contender = Callable[[int, int, float, int], Awaitable[Measurement]]
"""Takes the host's port, the calls in flight, the seconds and the size of a call in bytes."""


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
    *, in_flight: int, seconds: float, size_bytes: int, is_pinned: bool = True
) -> list[Measurement]:
    """Measure every kind of host that can be had, so many `seconds` each, in turns.

    RPyC's connection is for one thread at a time, so it has one call in flight only. With
    `is_pinned`, one call in flight is measured with both ends on one core.
    """
    has_rpyc = importlib.util.find_spec("rpyc") is not None
    results = []
    for lanes in sorted({1, in_flight}):
        kinds: dict[str, Contender] = {"ours": _ours, "raw": _raw}
        if has_rpyc and lanes == 1:
            kinds["rpyc"] = _rpyc
        with ExitStack() as stack:
            if is_pinned and lanes == 1:
                stack.enter_context(one_core())
            contenders = [(way, stack.enter_context(host(kind))) for kind, way in kinds.items()]
            results += await _in_turns(contenders, lanes, seconds, size_bytes)
    return results


async def _in_turns(
    contenders: Sequence[tuple[Contender, int]], in_flight: int, seconds: float, size_bytes: int
) -> list[Measurement]:
    """Return the middle one of `ROUNDS` rounds of each contender."""
    rounds = [
        [
            await contender(port, in_flight, seconds / ROUNDS, size_bytes)
            for contender, port in contenders
        ]
        for _ in range(ROUNDS)
    ]
    return [
        sorted(own, key=lambda measured: measured.calls_per_second)[ROUNDS // 2]
        for own in zip(*rounds, strict=True)
    ]


async def _ours(port: int, in_flight: int, seconds: float, size_bytes: int) -> Measurement:
    orders = await aconnect(Orders, f"{HOST}:{port}")
    note, amounts = _note(size_bytes), [1, 2, 3, 4]
    try:
        return await measure(
            "liferaft",
            lambda number: orders.place(number, "somebody", note, amounts),
            in_flight=in_flight,
            seconds=seconds,
            size_bytes=size_bytes,
        )
    finally:
        await aclose(orders)


def _note(size_bytes: int) -> str:
    return "n" * max(0, size_bytes - ORDER_BYTES_MIN)


class _RawCaller(asyncio.Protocol):
    """Matches answers with calls by their order, which is all that a bare echo allows."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: list[asyncio.Future[None]] = []
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio.Transport, though they are such.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = count = 0
        while len(buffer) - start >= LENGTH.size:
            stop = start + LENGTH.size + LENGTH.unpack_from(buffer, start)[0]
            if stop > len(buffer):
                break
            start, count = stop, count + 1
        del buffer[:start]
        for waiter in self._waiting[:count]:
            waiter.set_result(None)
        del self._waiting[:count]

    def call(self, frame: bytes) -> asyncio.Future[None]:
        assert self._transport is not None
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        self._transport.write(frame)
        return waiter

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def _raw(port: int, in_flight: int, seconds: float, size_bytes: int) -> Measurement:
    loop = asyncio.get_running_loop()
    _, caller = await loop.create_connection(_RawCaller, HOST, port)
    frame = LENGTH.pack(size_bytes) + b"n" * size_bytes
    try:
        return await measure(
            "bare echo",
            lambda _: caller.call(frame),
            in_flight=in_flight,
            seconds=seconds,
            size_bytes=size_bytes,
        )
    finally:
        caller.close()


async def _rpyc(port: int, in_flight: int, seconds: float, size_bytes: int) -> Measurement:
    """Measure RPyC; its calls block, and nothing else runs on this loop meanwhile."""
    import rpyc  # type: ignore[import-untyped] # noqa: PLC0415 - installed for benchmarks only

    connection: Any = rpyc.connect(HOST, port)
    place, note, amounts = connection.root.place, _note(size_bytes), (1, 2, 3, 4)
    latencies: list[float] = []
    start = time.perf_counter()
    while (began := time.perf_counter()) - start < seconds:
        place(len(latencies), "somebody", note, amounts)
        latencies.append(time.perf_counter() - began)
    connection.close()
    latencies.sort()
    return Measurement(
        name="RPyC",
        in_flight=in_flight,
        size_bytes=size_bytes,
        seconds=seconds,
        calls=len(latencies),
        errors=0,
        calls_per_second=len(latencies) / seconds,
        p50=latencies[len(latencies) // 2],
        p99=latencies[int(len(latencies) * 0.99)],
    )
