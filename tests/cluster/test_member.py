"""A member's life: what ends first, so that nothing is done any more by one that ends."""

import asyncio

import pytest

from tests.cluster.counting import Counting


@pytest.mark.looptime
async def test_a_member_that_ends_takes_no_more_turns_whatever_else_must_end() -> None:
    """Here it leads, and is about to write down what it heard of the others."""
    cluster = Counting()
    await cluster.start()
    leader = (await cluster.leader()).member
    driver, introductions = leader.driver, leader.introductions
    while introductions._writing is None:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.001)
    stopping = asyncio.get_running_loop().create_task(leader.stop())
    await asyncio.sleep(0)
    is_stopped = driver.is_stopped
    await stopping
    is_writing = introductions._writing is not None
    await cluster.stop()

    assert is_stopped
    assert not is_writing
