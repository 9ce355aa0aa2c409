"""Rounds on real processes find what goes wrong."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from liferaft.chaos.narrator import SilentNarrator
from liferaft.chaos.options import ChaosOptions
from liferaft.chaos.run import ChaosRound, chaos_cluster

pytestmark = [pytest.mark.slow, pytest.mark.processes]


async def test_a_node_that_ends_for_no_reason_is_a_violation(tmp_path: Path) -> None:
    options = ChaosOptions(seconds=0.0, faults=("leak",))
    async with chaos_cluster(options, tmp_path) as (cluster, disks):
        running = asyncio.create_task(ChaosRound(options, cluster, disks, SilentNarrator()).run())
        await cluster.wait_leader()
        os.kill(cluster.pid("n2"), signal.SIGKILL)  # by nobody of ours
        report = await running

    assert 1 == len(report.problems)
    assert report.problems[0].startswith("n2 ended by itself with status -9")
    assert 1 == report.faults["leak"]


@pytest.mark.usefixtures("strace", "loop_devices")
async def test_nodes_that_answer_before_their_disks_have_it_are_found_out(tmp_path: Path) -> None:
    options = ChaosOptions(seconds=0.0, faults=("power-late",))
    objects = ["Todo=tests.chaos.early:TodoList", "KeyValue=liferaft.recipes.kv:KeyValue"]
    async with chaos_cluster(options, tmp_path, objects=objects) as (cluster, disks):
        report = await ChaosRound(options, cluster, disks, SilentNarrator()).run()

    assert {"power-late": 1} == report.faults
    assert any("has the acknowledged item" in problem for problem in report.problems)


async def test_an_item_that_a_client_was_told_of_and_no_node_has_is_found(tmp_path: Path) -> None:
    options = ChaosOptions(seconds=0.0, faults=("kill-client",))
    async with chaos_cluster(options, tmp_path) as (cluster, disks):
        invented = tmp_path / "history-99.ndjson"
        invented.write_text(
            '{"process":99,"type":"invoke","f":"add","time":1.0,"value":"never there"}\n'
            '{"process":99,"type":"ok","f":"add","time":1.1,"value":1}\n'
        )
        report = await ChaosRound(options, cluster, disks, SilentNarrator()).run()

    assert "n1 has the acknowledged item 'never there' 0 times" in report.problems
