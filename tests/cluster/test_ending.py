"""Why a node cannot go on: said once, and to whoever waits."""

import asyncio
import logging

import pytest

from liferaft.cluster.ending import Ending
from liferaft.errors import DiskFailed, DiskFull, InvariantViolated


async def test_the_first_reason_is_the_one_that_counts() -> None:
    ending = Ending("n1")
    waiting = asyncio.create_task(ending.wait_failed())
    before = ending.failure
    ending.fail(DiskFailed("the disk is broken"))
    ending.fail(DiskFailed("and nothing can be written"))
    ending.stopped()
    reason = await waiting

    assert before is None
    assert "the disk is broken" == str(reason)
    assert reason is ending.failure


async def test_who_waits_for_a_failure_is_let_go_when_the_node_is_stopped() -> None:
    ending = Ending("n1")
    waiting = asyncio.create_task(ending.wait_failed())
    await asyncio.sleep(0)
    ending.stopped()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert ending.failure is None


@pytest.mark.parametrize(
    ("error", "is_ours"), [(DiskFailed("broken"), False), (InvariantViolated("impossible"), True)]
)
async def test_only_a_fault_of_ours_is_logged_with_where_it_happened(
    error: DiskFailed | InvariantViolated, is_ours: bool, caplog: pytest.LogCaptureFixture
) -> None:
    Ending("n1").fail(error)
    [record] = caplog.records

    assert f"node n1 ends: {error}" == record.message
    assert is_ours == bool(record.exc_info)


async def test_a_full_disk_is_told_and_that_there_is_space_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    ending = Ending("n1")
    ending.blocked(DiskFull("there is no space left"))
    ending.blocked(None)

    assert [
        "node n1: there is no space left",
        "node n1: there is space again, and writes go on",
    ] == [record.message for record in caplog.records]
