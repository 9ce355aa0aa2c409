"""Power cuts take nothing that was acknowledged, and a disk that lies is found out."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from liferaft.chaos.loop_disk import LoopDisk
from liferaft.chaos.power import PowerCuts, PowerOptions, PowerReport, Writers, cut_power
from liferaft.errors import DeadlineExceeded
from liferaft.ops.processes import LocalCluster
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


class Recorder:
    """Stands in for a cluster and for the disks of its nodes; notes what is done to them."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def pause(self, node: str) -> None:
        self.done.append(f"{node} stands still")

    async def kill(self, *nodes: str) -> None:
        self.done += [f"{node} is killed" for node in nodes]

    def cut_power(self) -> None:
        self.done.append("power is cut")

    async def unmount_when_left(self) -> None:
        self.done.append("unmounted")

    def mount(self) -> None:
        self.done.append("mounted")


async def test_nobody_can_answer_for_a_sync_that_a_cut_overtakes() -> None:
    """ext4 may say that it was done: of 150 cuts of a running program, one lost what was told."""
    recorder = Recorder()
    disk = cast("LoopDisk", recorder)
    await cut_power(cast("LocalCluster", recorder), {"n1": disk}, also_killed=["n1", "n2"])

    assert [
        "n1 stands still",
        "n2 stands still",
        "power is cut",
        "n1 is killed",
        "n2 is killed",
        "unmounted",
        "mounted",
    ] == recorder.done


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
