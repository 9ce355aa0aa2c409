"""A voter that lost its disk is refused under its old name, and comes back under a new one."""

import asyncio
import logging
from random import Random

import pytest

from liferaft.cluster.disks import COMPLETE_WITHIN, Disks
from liferaft.errors import DataDirectoryError
from liferaft.storage.faulty import FaultyDisk
from tests.cluster.counting import Counting

pytestmark = pytest.mark.looptime


async def bound(cluster: Counting) -> None:
    """Wait until every node's configuration tells of every member's disk."""
    await cluster.leader()
    await cluster.write(1)
    while not all(  # noqa: ASYNC110 - virtual time
        {n for n, _ in node.driver.core.configuration.disks} == set(cluster.peers)
        for node in cluster.nodes.values()
    ):
        await asyncio.sleep(0.1)


async def test_the_members_disks_are_in_the_configuration_soon() -> None:
    cluster = Counting()
    await cluster.start()
    await bound(cluster)
    disks = [node.driver.core.configuration.disks for node in cluster.nodes.values()]
    await cluster.stop()

    assert len(set(disks)) == 1
    assert len({disk for _, disk in disks[0]}) == 3


async def test_a_member_that_is_away_does_not_keep_the_others_unprotected() -> None:
    cluster = Counting()
    await cluster.start("n1", "n2")
    await cluster.leader()
    await asyncio.sleep(2 * COMPLETE_WITHIN)
    known = dict((await cluster.leader()).driver.core.configuration.disks)
    await cluster.stop()

    assert set(known) == {"n1", "n2"}


async def test_a_voter_that_forgot_its_vote_is_refused_under_its_old_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It helped to commit, then lost its disk: with its vote, who lacks that entry could lead."""
    cluster = Counting()
    await cluster.start()
    await bound(cluster)
    leader = (await cluster.leader()).config.node_id
    lost, behind = (node for node in cluster.peers if node != leader)
    await cluster.stop(behind)
    await cluster.write(5)
    await cluster.stop(leader, lost)
    cluster.disks[lost] = FaultyDisk(Random("another"))
    with caplog.at_level(logging.CRITICAL):
        await cluster.start(lost, behind)
        async with asyncio.timeout(60):
            failure = await cluster.nodes[lost].wait_failed()
    roles = cluster.nodes[behind].status().role
    await cluster.stop(lost)
    await cluster.start(leader)
    await cluster.write(1)
    await cluster.wait_equal()
    lines = len(cluster.machines[behind].lines)
    await cluster.stop()

    assert isinstance(failure, DataDirectoryError)
    assert "let the node join under a new name" in str(failure)
    assert roles != "leader"
    assert lines == 7, "what was acknowledged is there"


async def test_who_restarts_with_its_own_disk_is_heard() -> None:
    cluster = Counting()
    await cluster.start()
    await bound(cluster)
    for node_id in cluster.peers:
        await cluster.stop(node_id)
        await cluster.start(node_id)
        await cluster.write(1)
    await cluster.wait_equal()
    failures = [node.failure for node in cluster.nodes.values()]
    await cluster.stop()

    assert failures == [None, None, None]


def test_a_disk_of_which_nothing_is_known_is_no_stranger() -> None:
    """Directories that an older program made have no number."""
    disks = Disks("n1", "d1")
    disks.learn((("n2", "d2"),))

    assert disks.is_stranger("n2", "other")
    assert not disks.is_stranger("n2", "d2")
    assert not disks.is_stranger("n2", "")
    assert not disks.is_stranger("n3", "d3")
