"""The ambient deadline and its clocks."""

import asyncio

import pytest

from liferaft.rpc.deadline import clear, deadline, set_time_left, time_left

pytestmark = pytest.mark.looptime(noop_cycles=0)


async def test_there_is_none_unless_it_is_set() -> None:
    before = time_left()
    with deadline(3.0):
        inside = time_left()

    assert [None, 3.0, None] == [before, inside, time_left()]


async def test_of_nested_ones_the_earlier_counts() -> None:
    with deadline(1.0), deadline(5.0):
        longer = time_left()
    with deadline(5.0), deadline(1.0):
        shorter = time_left()

    assert [1.0, 1.0] == [longer, shorter]


async def test_time_runs_on_the_loops_clock() -> None:
    with deadline(5.0):
        await asyncio.sleep(3.0)

        assert pytest.approx(2.0) == time_left()


async def test_it_is_seen_by_tasks_that_are_begun_inside() -> None:
    async def look() -> float | None:
        return time_left()

    with deadline(5.0):
        task = asyncio.ensure_future(look())

    assert pytest.approx(5.0) == await task


async def test_no_time_left_keeps_the_outer_deadline() -> None:
    with deadline(5.0):
        set_time_left(None)
        kept = time_left()
        clear()

        assert [5.0, None] == [kept, time_left()]


def test_outside_of_a_loop_it_runs_on_the_systems_clock() -> None:
    with deadline(1000.0):
        left = time_left()

    assert left is not None
    assert 900.0 < left <= 1000.0
