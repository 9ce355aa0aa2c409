"""Clusters of real processes."""

import asyncio
import shutil
from pathlib import Path

import pytest

from liferaft.cluster.admin import NodeStatus
from liferaft.errors import (
    ConfigurationError,
    LiferaftError,
    NoLeader,
    OutcomeUnknown,
    RemoteError,
)
from liferaft.ops.processes import LocalCluster, NodeDidNotStart, agreed_leader

TODO = "Todo=liferaft.recipes.todo:TodoList"


def status(node: str, role: str, term: int, leader: str | None) -> NodeStatus:
    return NodeStatus(
        node_id=node,
        cluster_id="liferaft",
        role=role,
        current_term=term,
        leader=leader,
        commit_index=0,
        applied_index=0,
        last_index=0,
    )


def test_a_leader_counts_when_a_majority_follows_it_in_its_term() -> None:
    leader = status("n1", "leader", 3, "n1")
    statuses = [leader, status("n2", "follower", 3, "n1"), status("n3", "follower", 2, None)]

    assert leader == agreed_leader(statuses, 3)


def test_a_leader_that_a_majority_has_left_does_not_count() -> None:
    statuses = [
        status("n1", "leader", 3, "n1"),
        status("n2", "leader", 4, "n2"),
        status("n3", "follower", 4, "n2"),
    ]

    assert statuses[1] == agreed_leader(statuses, 3)


def test_a_leader_alone_does_not_count_while_the_others_are_silent() -> None:
    assert None is agreed_leader([status("n1", "leader", 3, "n1")], 3)


def test_a_cluster_of_no_nodes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="0 nodes"):
        LocalCluster(0, objects=[TODO])


class Changing:
    """A node's admin, asked while the node ends, or is started anew."""

    def __init__(self, error: LiferaftError) -> None:
        self._error = error

    async def status(self) -> NodeStatus:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [OutcomeUnknown("the host restarted"), RemoteError("StubClosed", "node n1 is not running")],
    ids=["restarted", "stopping"],
)
async def test_a_node_that_comes_or_goes_while_it_is_asked_has_no_status(
    monkeypatch: pytest.MonkeyPatch, error: LiferaftError
) -> None:
    cluster = LocalCluster(1, objects=[TODO])
    monkeypatch.setattr(cluster, "is_running", lambda node: True)
    monkeypatch.setitem(cluster._admins, "n1", Changing(error))

    assert None is await cluster.status("n1")


@pytest.mark.processes
async def test_a_cluster_elects_kills_pauses_cuts_and_leaves_nothing() -> None:
    async with LocalCluster(3, objects=[TODO]) as cluster:
        scratch = cluster.directory
        first = await cluster.wait_leader()
        await cluster.kill(first.node_id)
        assert not cluster.is_running(first.node_id)
        assert await cluster.status(first.node_id) is None
        second = await cluster.wait_leader()
        await cluster.start(first.node_id)
        cluster.pause(second.node_id)
        third = await wait_other_leader(cluster, than=second.node_id)
        cluster.resume(second.node_id)
        await cluster.cut(third.node_id)
        fourth = await wait_other_leader(cluster, than=third.node_id)
        await cluster.heal(third.node_id)
        terms = [found.current_term for found in (first, second, third, fourth)]

    assert sorted(set(terms)) == terms
    assert not any(map(cluster.is_running, cluster.nodes))
    assert not scratch.exists()


async def wait_other_leader(cluster: LocalCluster, *, than: str) -> NodeStatus:
    async with asyncio.timeout(60):
        while (leader := await cluster.wait_leader()).node_id == than:
            pass
    return leader


@pytest.mark.processes
async def test_a_leader_that_is_stopped_lets_another_lead_first() -> None:
    """Nobody has to miss it: when it has ended, one of the others leads, and knows it."""
    async with LocalCluster(3, objects=[TODO], options=("--profile", "wan")) as cluster:
        leader = (await cluster.wait_leader()).node_id
        assert 0 == await cluster.stop_node(leader)
        left = [node for node in cluster.nodes if node != leader]
        roles = {(await (await cluster.admin(node)).status()).role for node in left}

    assert "leader" in roles


@pytest.mark.processes
async def test_without_a_majority_nobody_leads() -> None:
    async with LocalCluster(3, objects=[TODO]) as cluster:
        await cluster.wait_leader()
        await cluster.kill("n1", "n2")

        with pytest.raises(NoLeader, match=r"no node leads after 0\.5 s"):
            await cluster.wait_leader(timeout=0.5)


@pytest.mark.processes
async def test_the_logs_are_there_after_an_error_and_after_nothing_else(tmp_path: Path) -> None:
    clusters = [LocalCluster(1, objects=[TODO]) for _ in range(3)]
    async with clusters[0]:
        pass
    with pytest.raises(KeyError):
        async with clusters[1]:
            raise KeyError
    with pytest.raises(NoLeader):
        async with clusters[2]:
            raise NoLeader
    kept = [cluster.directory.exists() for cluster in clusters]
    shutil.rmtree(clusters[2].directory)

    assert [False, False, True] == kept


@pytest.mark.processes
async def test_a_node_that_cannot_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    words = r"node n1 did not start: liferaft: .*'no_such_module'"

    with pytest.raises(NodeDidNotStart, match=words):
        async with LocalCluster(1, objects=["no_such_module:Thing"], directory=tmp_path):
            pytest.fail("it must not be entered")
