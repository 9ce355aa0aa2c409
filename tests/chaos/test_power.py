"""Power cuts take nothing that was acknowledged, and a disk that lies is found out."""

import asyncio
from pathlib import Path

import pytest

from liferaft.chaos.power import PowerCuts, PowerOptions, PowerReport, Writers
from liferaft.errors import DeadlineExceeded
from liferaft.recipes.todo import Item

LYING = "Todo=tests.chaos.liar:TodoList"


def ignore(_elapsed: float, _sentence: str) -> None:
    """Stand in for a narrator."""


async def cut(options: PowerOptions, directory: Path, hosted: str = "") -> PowerReport:
    if hosted:
        return await PowerCuts(options, directory, ignore, hosted=hosted).run()
    return await PowerCuts(options, directory, ignore).run()


class Forgetful:
    """Answers the first and the third time, and for the fourth one takes for ever."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    async def add(self, text: str, *, by: str = "") -> Item:
        if len(self._items) == 3:
            await asyncio.Event().wait()
        self._items.append(Item(len(self._items) + 1, text, by, 0.0))
        if len(self._items) % 2 == 0:
            raise DeadlineExceeded("no answer")
        return self._items[-1]

    async def items(self) -> list[Item]:
        return list(self._items)


async def test_writers_know_what_was_acknowledged_and_what_may_have_been_done() -> None:
    writers = Writers(Forgetful())
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(writers.write())
        await writers.wait_acknowledged(2)
        writing.cancel()
    witness = writers.witness()

    assert {"item 1": 1, "item 3": 3} == witness.added
    assert ("item 2", "item 4") == witness.unknown


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.usefixtures("loop_devices")
@pytest.mark.parametrize("all_nodes", [False, True], ids=["one node", "all nodes"])
async def test_nothing_acknowledged_is_lost(tmp_path: Path, all_nodes: bool) -> None:
    report = await cut(PowerOptions(cuts=2, all_nodes=all_nodes), tmp_path)

    assert () == report.problems
    assert 2 == report.cuts
    assert report.acknowledged >= 60


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.usefixtures("loop_devices")
async def test_nodes_that_do_not_sync_are_found_out(tmp_path: Path) -> None:
    report = await cut(PowerOptions(cuts=1, all_nodes=True), tmp_path, hosted=LYING)

    assert not report.is_ok
