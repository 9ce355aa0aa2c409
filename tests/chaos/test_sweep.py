"""Crash-point sweeps find what a log loses, and find nothing in ours."""

import sys
from pathlib import Path

import pytest

from liferaft.chaos.points import ALL, calls_of
from liferaft.chaos.sweep import Sweep, SweepOptions, SweepReport, check_items
from liferaft.recipes.todo import Item

MILK = Item(1, "item 1", "", 0.0)
BREAD = Item(2, "item 2", "", 0.0)

LYING = (sys.executable, "-m", "tests.chaos.lying_runner")


def ignore(_elapsed: float, _sentence: str) -> None:
    """Stand in for a narrator."""


async def sweep(options: SweepOptions, directory: Path) -> SweepReport:
    return await Sweep(options, directory, ignore).run()


def test_what_was_acknowledged_and_at_most_one_item_more_is_right() -> None:
    assert [] == check_items([MILK], least=1, most=2)
    assert [] == check_items([MILK, BREAD], least=1, most=2)


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        ([], "1 items were acknowledged, and 0 are there"),
        ([MILK, BREAD, Item(3, "item 3", "", 0.0)], "2 items were added at most, and 3 are there"),
        ([MILK, Item(2, "item 1", "", 0.0)], "the list has (2, 'item 1') where (2, 'item 2') was"),
        ([BREAD, MILK], "the list has (2, 'item 2') where (1, 'item 1') was added"),
    ],
    ids=["lost", "more", "twice", "other order"],
)
def test_a_list_that_is_not_what_was_added_is_found(items: list[Item], sentence: str) -> None:
    assert any(sentence in problem for problem in check_items(items, least=1, most=2))


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.usefixtures("strace")
async def test_killed_at_any_call_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    options = SweepOptions(calls_of([ALL]), operations=100, points_max=12)
    report = await sweep(options, tmp_path)

    assert () == report.problems
    assert 12 == report.kills == report.points
    assert report.second_kills > 0
    assert {"fdatasync", "fsync", "ftruncate", "openat", "pwrite64", "rename"} <= set(report.calls)
    assert report.acknowledged > 0


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.usefixtures("strace", "loop_devices")
async def test_with_the_power_cut_after_each_kill_neither(tmp_path: Path) -> None:
    options = SweepOptions(calls_of([ALL]), operations=100, points_max=4, has_power_cuts=True)
    report = await sweep(options, tmp_path)

    assert () == report.problems
    assert 4 == report.kills
    assert report.kills + report.second_kills == report.power_cuts


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.usefixtures("strace", "loop_devices")
async def test_a_log_that_does_not_sync_is_found_out(tmp_path: Path) -> None:
    options = SweepOptions(
        calls_of(["write"]), operations=50, points_max=1, has_power_cuts=True, seed=40
    )
    report = await Sweep(options, tmp_path, ignore, program=LYING).run()

    assert 1 == report.kills
    assert "killed at pwrite64 41: " in report.problems[0]
    assert (tmp_path / "killed-at-pwrite64-41").is_dir()


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.usefixtures("strace")
async def test_a_sweep_that_hits_nothing_proves_nothing(tmp_path: Path) -> None:
    report = await sweep(SweepOptions(("flistxattr",), operations=1), tmp_path)

    assert ("no kill hit, so nothing was tried",) == report.problems
