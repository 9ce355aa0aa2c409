"""Processes that go through a set are found: the simulator, one process, cannot see them."""

import asyncio
from pathlib import Path
from typing import Protocol

import pytest

from liferaft import OutcomeUnknown
from liferaft.api import aclose, aconnect
from liferaft.cli.exits import ExitStatus
from liferaft.errors import DeadlineExceeded, NoLeader, Unreachable
from liferaft.ops.processes import LocalCluster

WORDS = [f"word {number}" for number in range(50)]


class AsyncCareless(Protocol):
    """The object as a caller on an event loop sees it."""

    async def put(self, words: list[str]) -> None: ...


@pytest.mark.slow
async def test_processes_that_go_through_a_set_end_and_say_why(tmp_path: Path) -> None:
    """Three orders of one set: no majority has one state, and nobody serves it."""
    objects, options = ["Careless=tests.cluster.careless:Careless"], ("--compare-interval=0.5",)
    cluster = LocalCluster(3, objects=objects, directory=tmp_path, options=options)
    async with asyncio.timeout(60), cluster:
        stub = await aconnect(AsyncCareless, cluster.address, timeout=5.0)
        writing = asyncio.create_task(_write(stub))
        statuses = [await cluster.wait_ended(node) for node in cluster.nodes]
        words = [cluster.last_words(node) for node in cluster.nodes]
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await aclose(stub)

    assert [ExitStatus.DAMAGED] * 3 == statuses
    assert all("no majority has the same state" in each for each in words)


async def _write(stub: AsyncCareless) -> None:
    while True:
        try:
            await stub.put(WORDS)
        except (OutcomeUnknown, DeadlineExceeded, NoLeader, Unreachable):
            return
        await asyncio.sleep(0.05)
