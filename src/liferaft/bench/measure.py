"""Load in a closed loop: so many calls in flight, each followed by the next one at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

PERCENTILES: Final = (0.5, 0.99)
WARM_UP_MAX: Final = 0.5
"""Seconds before the measured time; a shorter measurement is warmed up for as long as it takes."""


class Measurement(msgspec.Struct, frozen=True):
    """What a load did. Latencies in seconds, per call; `errors` are not counted in `calls`."""

    name: str
    in_flight: int
    size_bytes: int
    seconds: float
    calls: int
    errors: int
    calls_per_second: float
    p50: float | None
    p99: float | None


async def measure(
    name: str,
    call: Callable[[int], Awaitable[object]],
    *,
    in_flight: int,
    seconds: float,
    size_bytes: int,
) -> Measurement:
    """Keep `in_flight` calls under way for `seconds`, warmed up before, and return what came.

    `call` gets a number that rises with every call. Only calls that end within the measured time
    count.
    """
    clock = time.perf_counter  # uvloop's own time moves in steps of a millisecond
    start = clock() + min(WARM_UP_MAX, seconds)
    end = start + seconds
    latencies: list[float] = []
    errors = 0
    number = 0

    async def one_lane() -> None:
        nonlocal errors, number
        while (began := clock()) < end:
            number += 1
            try:
                await call(number)
            except Exception:  # noqa: BLE001 - the figure of interest is how many failed
                errors += 1
                continue
            ended = clock()
            if start <= began and ended <= end:
                latencies.append(ended - began)

    await asyncio.gather(*(one_lane() for _ in range(in_flight)))
    return summary(name, in_flight, size_bytes, seconds, latencies, errors=errors)


def summary(
    name: str,
    in_flight: int,
    size_bytes: int,
    seconds: float,
    latencies: list[float],
    *,
    errors: int,
) -> Measurement:
    """Return what calls that took so long come to."""
    latencies.sort()
    p50, p99 = (percentile(latencies, share) for share in PERCENTILES)
    return Measurement(
        name=name,
        in_flight=in_flight,
        size_bytes=size_bytes,
        seconds=seconds,
        calls=len(latencies),
        errors=errors,
        calls_per_second=len(latencies) / seconds,
        p50=p50,
        p99=p99,
    )


def percentile(ascending: list[float], share: float) -> float | None:
    """Return the value that this share of the rest is below; None when there is no value."""
    if not ascending:
        return None
    return ascending[min(int(len(ascending) * share), len(ascending) - 1)]
