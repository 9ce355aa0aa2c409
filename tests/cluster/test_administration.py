"""What an operator asks of a node: what it means for the cluster is looked at first."""

import asyncio
from typing import Any, cast

import pytest

from liferaft.cluster.admin import Member
from liferaft.cluster.administration import Admin, AdministeredNode
from liferaft.errors import ChangeRefused
from liferaft.raft.types import Configuration, Promotion
from tests.raft.harness import Cluster

pytestmark = pytest.mark.looptime

ABC = ("a", "b", "c")
ADDRESSES = {node: f"10.0.0.1:740{number}" for number, node in enumerate("abcd", 1)}
KNOWN = tuple((node, ADDRESSES[node]) for node in ABC)


class FakeDriver:
    """A core that leads, and the changes that it was asked for."""

    def __init__(self, cluster: Cluster, node_id: str) -> None:
        self.core = cluster[node_id]
        self.targets: list[Configuration] = []

    def hear_out(self) -> None:
        """There is nobody who vouches for others."""

    async def change(self, target: Configuration) -> None:
        self.targets.append(target)


class FakeNode:
    """As much of a node as is asked for."""

    def __init__(self, driver: FakeDriver, node_id: str) -> None:
        self.driver = driver
        self.addresses = ADDRESSES
        self._node_id = node_id

    def status(self) -> Any:
        class Status:
            node_id = self._node_id

        return Status


def admin_of(cluster: Cluster, node_id: str = "a") -> tuple[Admin, list[Configuration]]:
    driver = FakeDriver(cluster, node_id)
    return Admin(cast("AdministeredNode", FakeNode(driver, node_id))), driver.targets


def lead(*silent: str) -> Cluster:
    """Return a cluster that "a" leads; these have been silent for too long, by the loop's clock."""
    cluster = Cluster(3)
    cluster.now = asyncio.get_running_loop().time()
    cluster.elect("a")
    for node in silent:
        cluster.crash(node)
    for _ in range(10):
        cluster.pass_time(0.05)
        cluster.settle()
    return cluster


async def now_is(cluster: Cluster) -> None:
    """Let the loop's clock show the cluster's time."""
    await asyncio.sleep(cluster.now - asyncio.get_running_loop().time())


async def test_a_node_is_added_as_a_learner_that_is_promised_a_vote() -> None:
    cluster = lead()
    admin, targets = admin_of(cluster)
    await admin.add("d", ADDRESSES["d"], is_learner=False, replaces="b")

    assert [
        Configuration(
            voters=ABC,
            learners=("d",),
            promotions=(Promotion("d", "b"),),
            addresses=(*KNOWN, ("d", ADDRESSES["d"])),
        )
    ] == targets


@pytest.mark.parametrize(
    ("node", "address", "replaces", "reason"),
    [
        ("b", ADDRESSES["b"], "", "b is a member already"),
        ("d", ADDRESSES["d"], "x", "x cannot be replaced: it is no voter"),
        ("d", "nowhere", "", "d cannot be reached there"),
    ],
)
async def test_who_cannot_be_added_is_refused(
    node: str, address: str, replaces: str, reason: str
) -> None:
    admin, targets = admin_of(lead())
    with pytest.raises(ChangeRefused, match=reason):
        await admin.add(node, address, is_learner=False, replaces=replaces)

    assert [] == targets


async def test_a_removal_that_leaves_too_few_that_answer_is_refused() -> None:
    cluster = lead("c")
    await now_is(cluster)
    admin, targets = admin_of(cluster)
    with pytest.raises(ChangeRefused, match="a, c, too few answer"):
        await admin.remove("b", is_forced=False)
    await admin.remove("c", is_forced=False)

    assert [Configuration(voters=("a", "b"), addresses=KNOWN[:2])] == targets


async def test_a_removal_that_leaves_nobody_to_spare_is_refused_unless_it_is_forced() -> None:
    cluster = lead()
    await now_is(cluster)
    admin, targets = admin_of(cluster)
    with pytest.raises(ChangeRefused, match="no voter more could fail, and now 1 can"):
        await admin.remove("b", is_forced=False)
    await admin.remove("b", is_forced=True)

    assert [("a", "c")] == [target.voters for target in targets]


async def test_the_only_voter_cannot_be_removed() -> None:
    cluster = Cluster(1)
    cluster.elect("a")
    admin, _ = admin_of(cluster)
    with pytest.raises(ChangeRefused, match="nobody would be left to decide"):
        await admin.remove("a", is_forced=True)


async def test_a_learner_keeps_its_promise_when_whom_it_replaces_is_removed() -> None:
    cluster = lead()
    cluster.add_node("d")
    promises = (Promotion("d", "b"),)
    cluster.change("a", Configuration(voters=ABC, learners=("d",), promotions=promises))
    cluster.settle(cut=["d"])
    admin, targets = admin_of(cluster)
    await admin.remove("b", is_forced=True)

    assert [(Promotion("d"),)] == [target.promotions for target in targets]


async def test_who_does_not_lead_refuses_and_says_who_does() -> None:
    admin, _ = admin_of(lead(), "b")
    with pytest.raises(ChangeRefused, match="this node does not lead: a does"):
        await admin.prioritize("a", 1)


async def test_the_members_are_told_with_how_they_are() -> None:
    cluster = lead("c")
    await now_is(cluster)
    membership = await admin_of(cluster)[0].members()
    silences = [each.silence for each in membership.members]

    assert ("a", 0) == (membership.leader, membership.spare)
    assert Member("a", ADDRESSES["a"], "voter", True, 1, 0.0) == membership.members[0]
    assert silences[2] is not None
    assert silences[2] > 0.3
