"""Load in an open loop: calls arrive at a rate, whatever became of those before.

A closed loop waits for its answers, and so never offers more than is done: it cannot overload
anything. Here each call has the moment at which it is due, and its latency counts from there, so
that what a busy generator sends late is not taken for what a host did fast.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from liferaft.bench.measure import percentile
from liferaft.errors import LiferaftError, Overloaded

TICK: Final = 0.001
"""Seconds between two looks at what is due: uvloop's timers are no finer."""

WARM_UP: Final = 1.0
"""Seconds of the same load before what counts: queues must have had the time to fill."""


class Offered(msgspec.Struct, frozen=True):
    """What became of calls that arrived at a rate. Latencies in seconds, from when each was due.

    `calls` were made in `seconds`, per second `rate`; `answered` in time, `refused` as overload,
    `late` not within their deadline, `failed` otherwise. `lateness` is how late the p99 of the
    calls was sent, and `busy` the share of one core that the load itself took: when either is
    high, the load is the bottleneck, and not what it is put to.
    """

    rate: float
    seconds: float
    calls: int
    answered: int
    refused: int
    late: int
    failed: int
    p50: float | None
    p99: float | None
    refused_p50: float | None
    refused_p99: float | None
    lateness: float
    busy: float

    @property
    def goodput(self) -> float:
        """Calls answered in time, per second."""
        return self.answered / self.seconds

    @property
    def refused_share(self) -> float:
        """The share of the calls that were refused as overload."""
        return self.refused / self.calls if self.calls else 0.0


async def offer(
    call: Callable[[int], Awaitable[object]], *, rate: float, seconds: float
) -> Offered:
    """Make `rate` calls a second for `seconds`, warmed up before, and return what became of them.

    `call` gets a number that rises with every call, and must bound itself by a deadline: this
    returns when all calls have ended.
    """
    load = _Load(call)
    begun = time.perf_counter()
    await load.arrive(rate, begun, WARM_UP, is_counted=False)
    used = time.process_time()
    await load.arrive(rate, begun + WARM_UP, seconds, is_counted=True)
    busy = (time.process_time() - used) / seconds
    await load.wait_ended()
    return load.outcome(rate=rate, seconds=seconds, busy=busy)


class _Load:
    """Calls under way, and what those that count came to."""

    def __init__(self, call: Callable[[int], Awaitable[object]]) -> None:
        self._call = call
        self._number = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._answered: list[float] = []
        self._refused: list[float] = []
        self._lateness: list[float] = []
        self._late = 0
        self._failed = 0

    async def arrive(self, rate: float, start: float, seconds: float, *, is_counted: bool) -> None:
        """Begin the calls that are due from `start` on, each at its moment."""
        made, total = 0, int(rate * seconds)
        while made < total:
            now = time.perf_counter()
            due = min(total, int((now - start) * rate))
            for number in range(made, due):
                self._begin(start + number / rate, is_counted=is_counted)
            made = due
            await asyncio.sleep(TICK)

    async def wait_ended(self) -> None:
        """Wait until no call is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _begin(self, due: float, *, is_counted: bool) -> None:
        self._number += 1
        if is_counted:
            self._lateness.append(time.perf_counter() - due)
        task = asyncio.ensure_future(self._one(self._number, due, is_counted=is_counted))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _one(self, number: int, due: float, *, is_counted: bool) -> None:
        try:
            await self._call(number)
        except Overloaded:
            if is_counted:
                self._refused.append(time.perf_counter() - due)
        except TimeoutError:
            self._late += is_counted
        except LiferaftError:
            self._failed += is_counted
        else:
            if is_counted:
                self._answered.append(time.perf_counter() - due)

    def outcome(self, *, rate: float, seconds: float, busy: float) -> Offered:
        """Return what the calls that count came to."""
        answered, refused = sorted(self._answered), sorted(self._refused)
        return Offered(
            rate=rate,
            seconds=seconds,
            calls=len(self._lateness),
            answered=len(answered),
            refused=len(refused),
            late=self._late,
            failed=self._failed,
            p50=percentile(answered, 0.5),
            p99=percentile(answered, 0.99),
            refused_p50=percentile(refused, 0.5),
            refused_p99=percentile(refused, 0.99),
            lateness=percentile(sorted(self._lateness), 0.99) or 0.0,
            busy=busy,
        )
