"""Hours pass in no time, in one order, without a thread."""

import asyncio
import time

import pytest

from liferaft.errors import LiferaftError
from liferaft.sim.loop import SimulationStuck, run_simulated


def test_a_virtual_hour_passes_at_once_and_exactly() -> None:
    async def sleep_an_hour() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - before

    real = time.monotonic()
    virtual = run_simulated(sleep_an_hour)

    assert 3600.0 == pytest.approx(virtual)
    assert time.monotonic() - real < 60


def test_whoever_is_due_first_runs_first() -> None:
    async def race() -> list[str]:
        order: list[str] = []

        async def arrive(name: str, after: float) -> None:
            await asyncio.sleep(after)
            order.append(name)

        await asyncio.gather(arrive("late", 2.0), arrive("early", 1.0), arrive("first", 0.5))
        return order

    assert ["first", "early", "late"] == run_simulated(race)


def test_a_deadlock_is_an_error_and_not_a_silence() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(SimulationStuck):
        run_simulated(wait_for_nobody)


def test_a_thread_is_refused() -> None:
    async def ask_for_a_thread() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(LiferaftError, match="which a simulation does not have"):
        run_simulated(ask_for_a_thread)
