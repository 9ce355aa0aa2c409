"""Hours pass in no time, in one order, without a thread."""

import asyncio
import time

import pytest

from liferaft.errors import LiferaftError
from liferaft.sim.clock import Clock
from liferaft.sim.loop import SimulatedHost, SimulationStuck, run_simulated, running_loop


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


def test_code_of_a_machine_sees_its_clock_and_all_other_code_true_time() -> None:
    async def look() -> tuple[float, float]:
        loop = running_loop()
        machine = SimulatedHost("n1", Clock(started_at=100.0))
        machine.clock.run_at(2.0, true=0.0)
        seen = loop.create_future()
        loop.call_soon(
            lambda: loop.call_later(1.0, lambda: seen.set_result(loop.time())),
            context=machine.context,
        )
        return await seen, loop.time()

    # One second of a clock that runs twice as fast is half a true second.
    assert (101.0, 0.5) == run_simulated(look)


def test_a_paused_machine_stands_still_and_then_does_all_that_has_gathered() -> None:
    async def pause() -> tuple[list[str], list[str]]:
        loop = running_loop()
        machine = SimulatedHost("n1", Clock())
        done: list[str] = []
        loop.call_soon(loop.call_later, 1.0, done.append, "timer", context=machine.context)
        await asyncio.sleep(0.5)
        loop.pause(machine)
        loop.call_soon(done.append, "message", context=machine.context)
        await asyncio.sleep(10.0)
        while_paused = list(done)
        loop.resume(machine)
        await asyncio.sleep(0.0)
        return while_paused, done

    assert ([], ["message", "timer"]) == run_simulated(pause)


def test_what_nobody_awaits_ends_the_run_when_it_raises() -> None:
    async def raise_in_a_callback() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1.0)

    with pytest.raises(LiferaftError, match="nobody handled it"):
        run_simulated(raise_in_a_callback)
