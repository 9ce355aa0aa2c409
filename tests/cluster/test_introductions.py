"""What members say of themselves: which disk they lie on, and how much their program can do."""

import asyncio
import logging
from random import Random

import pytest
from msgspec.structs import replace

from liferaft.cluster.envelope import LEVEL, Introduction
from liferaft.cluster.introductions import COMPLETE_WITHIN, Introductions
from liferaft.errors import ConfigurationError, DataDirectoryError, Removed
from liferaft.raft.messages import RequestVote
from liferaft.raft.types import Configuration
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
    disks = Introductions("n1", Introduction("d1"))
    disks.learn(Configuration(("n1", "n2", "n3"), disks=(("n2", "d2"),)))

    assert disks.is_stranger("n2", "other")
    assert not disks.is_stranger("n2", "d2")
    assert not disks.is_stranger("n2", "")
    assert not disks.is_stranger("n3", "d3")


def level_of(cluster: Counting) -> set[int]:
    return {node.driver.core.configuration.level for node in cluster.nodes.values()}


async def test_a_level_is_used_once_every_member_has_it() -> None:
    """A rolling upgrade: node by node, while the cluster serves."""
    cluster = Counting()
    await cluster.start()
    await bound(cluster)
    levels = [level_of(cluster)]
    for node_id in cluster.peers:
        await cluster.stop(node_id)
        await cluster.start(node_id, level=LEVEL + 1)
        await cluster.write(3)
        await asyncio.sleep(2 * COMPLETE_WITHIN)
        levels.append(level_of(cluster))
    await cluster.wait_equal()
    await cluster.stop()

    assert levels == [{LEVEL}, {LEVEL}, {LEVEL}, {LEVEL + 1}]


async def test_who_is_away_keeps_the_level_down() -> None:
    cluster = Counting()
    await cluster.start("n1", "n2", level=LEVEL + 1)
    await cluster.leader()
    await asyncio.sleep(3 * COMPLETE_WITHIN)
    levels = level_of(cluster)
    await cluster.stop()

    assert levels == {0}


async def test_an_older_program_cannot_come_back_once_the_level_is_used() -> None:
    cluster = Counting()
    await cluster.start(level=LEVEL + 1)
    await bound(cluster)
    await cluster.wait_equal()
    await cluster.stop("n3")

    with pytest.raises(ConfigurationError, match="start node n3 with a newer liferaft"):
        await cluster.start("n3")
    del cluster.nodes["n3"]
    await cluster.stop()


async def test_an_older_program_that_learns_of_the_level_by_the_log_ends() -> None:
    cluster = Counting()
    await cluster.start()
    await bound(cluster)
    await cluster.stop("n3")
    for node_id in ("n1", "n2"):
        await cluster.stop(node_id)
        await cluster.start(node_id, level=LEVEL + 1)
    await (await cluster.leader()).driver.change(
        replace((await cluster.leader()).driver.core.configuration, level=LEVEL + 1)
    )
    await cluster.start("n3")
    async with asyncio.timeout(60):
        failure = await cluster.nodes["n3"].wait_failed()
    await cluster.stop()

    assert isinstance(failure, ConfigurationError)


async def test_a_removed_node_of_an_older_program_is_told_of_its_removal() -> None:
    """A newer one would be of no use to it."""
    cluster = Counting()
    await cluster.start("n1", "n2", level=LEVEL + 1)
    leader = await cluster.leader()
    await cluster.start("n3")
    await bound(cluster)
    await cluster.stop("n3")
    known = leader.driver.core.configuration
    await leader.driver.change(replace(known, voters=("n1", "n2")))
    while level_of(cluster) != {LEVEL + 1}:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.1)
    await cluster.start("n3")
    async with asyncio.timeout(60):
        failure = await cluster.nodes["n3"].wait_failed()
    await cluster.stop()

    assert isinstance(failure, Removed)


async def test_what_another_node_passes_on_says_nothing_of_who_wrote_it() -> None:
    """Or the disk and the level that it said itself would be forgotten."""
    cluster = Counting()
    await cluster.start()
    await bound(cluster)
    leader = (await cluster.leader()).config.node_id
    node = cluster.nodes[leader]
    other = next(node_id for node_id in cluster.peers if node_id != leader)
    passed_on = RequestVote(1, other, leader, 0, 0, is_prevote=True)
    empty = Configuration(tuple(sorted(cluster.peers)))
    before = node.member.introductions._target(empty)
    node.member.receive([passed_on], Introduction())
    after = node.member.introductions._target(empty)
    await cluster.stop()

    assert before == after
    assert (LEVEL, set(cluster.peers)) == (after.level, set(dict(after.disks)))
