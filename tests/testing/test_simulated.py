"""A cluster in one process, as a user's test drives it."""

import asyncio
from typing import Any, Protocol

import pytest

import liferaft
from examples.bank.bank import Bank, InsufficientFunds
from liferaft.errors import ConfigurationError, InvariantViolated, NoLeader
from liferaft.recipes.kv import KeyValue
from liferaft.testing.simulated import SimulatedCluster, SimulatedClusterFactory
from tests.sim.banks import DreamingBank


class AsyncBank(Protocol):
    """The bank as a caller on an event loop sees it."""

    async def deposit(self, account: str, amount: int) -> int: ...

    @liferaft.raises(InsufficientFunds)
    async def transfer(self, source: str, target: str, amount: int) -> None: ...

    async def balances(self) -> dict[str, int]: ...


def test_a_story_survives_the_leaders_crash(simulated_cluster: SimulatedClusterFactory) -> None:
    cluster = simulated_cluster(Bank, size=5, seed=7)

    async def story() -> dict[str, int]:
        bank: AsyncBank = cluster.stub(AsyncBank)
        await bank.deposit("alice", 100)
        leader = await cluster.wait_leader()
        cluster.crash(leader)
        await bank.transfer("alice", "bob", 30)
        await cluster.restart(leader)
        await cluster.wait_equal()
        return await bank.balances()

    assert {"alice": 70, "bob": 30} == cluster.run(story)
    assert 1 == len(set(cluster.digests().values()))
    assert {"alice": 70, "bob": 30} == cluster.replica("n5").accounts


def test_a_test_may_go_step_by_step(simulated_cluster: SimulatedClusterFactory) -> None:
    cluster = simulated_cluster(Bank)
    bank = cluster.stub(Bank)

    assert 5 == cluster.run(bank.deposit("alice", 5))
    with pytest.raises(InsufficientFunds):
        cluster.run(bank.transfer("alice", "bob", 6))
    cluster.kill(*cluster.nodes)
    assert ["n1", "n2", "n3"] == cluster.down
    for node_id in cluster.nodes:
        cluster.run(cluster.restart(node_id))
    assert {"alice": 5} == cluster.run(bank.balances())


def test_time_passes_only_within_run(simulated_cluster: SimulatedClusterFactory) -> None:
    cluster = simulated_cluster(Bank)
    before = cluster.now
    cluster.sleep(60.0)

    assert 60.0 == pytest.approx(cluster.now - before)


def test_the_same_seed_gives_the_same_cluster() -> None:
    def story(seed: int) -> tuple[str, float]:
        with SimulatedCluster(Bank, seed=seed) as cluster:
            bank = cluster.stub(Bank)
            cluster.run(bank.deposit("alice", 1))
            return cluster.run(cluster.wait_leader), cluster.now

    assert story(1) == story(1)
    assert story(1)[1] != story(2)[1]


def test_a_minority_cannot_go_on_and_the_majority_can(
    simulated_cluster: SimulatedClusterFactory,
) -> None:
    cluster = simulated_cluster(Bank)
    old = cluster.run(cluster.wait_leader)
    cluster.partition([old])
    cluster.sleep(5.0)
    new = cluster.leader
    cluster.heal()

    assert new is not None
    assert old != new
    assert cluster.run(cluster.wait_equal)


def test_without_a_majority_nobody_leads(simulated_cluster: SimulatedClusterFactory) -> None:
    cluster = simulated_cluster(Bank)
    cluster.partition(["n1"], ["n2"])
    cluster.sleep(5.0)

    with pytest.raises(NoLeader, match="after 2 virtual seconds"):
        cluster.run(cluster.wait_leader(within=2.0))
    with pytest.raises(NoLeader):
        # A node keeps who asks waiting for a second, in case somebody comes to lead.
        cluster.run(cluster.stub(Bank, timeout=3.0).balances())


def test_a_paused_leader_is_replaced(simulated_cluster: SimulatedClusterFactory) -> None:
    cluster = simulated_cluster(Bank)
    old = cluster.run(cluster.wait_leader)
    cluster.pause(old)
    cluster.sleep(5.0)
    new = cluster.leader
    cluster.resume(old)
    cluster.run(cluster.wait_equal)

    assert old != new


def test_several_objects_are_told_apart_by_name(
    simulated_cluster: SimulatedClusterFactory,
) -> None:
    cluster = simulated_cluster({"Bank": Bank, "one": KeyValue, "two": KeyValue})
    one, two = cluster.stub(KeyValue, "one"), cluster.stub(KeyValue, "two")
    cluster.run(one.put(b"k", b"v"))

    assert (b"v", None) == (cluster.run(one.get(b"k")), cluster.run(two.get(b"k")))
    assert {} == cluster.run(cluster.stub(Bank).balances())
    with pytest.raises(ConfigurationError, match="name the object"):
        cluster.stub(KeyValue)


def test_replicas_that_differ_are_told(simulated_cluster: SimulatedClusterFactory) -> None:
    cluster = simulated_cluster(DreamingBank)
    cluster.run(cluster.stub(DreamingBank).deposit("alice", 1))

    with pytest.raises(InvariantViolated, match="equal replicas"):
        cluster.run(cluster.wait_equal)


def test_a_broken_promise_is_raised_in_place_of_what_it_led_to(
    simulated_cluster: SimulatedClusterFactory,
) -> None:
    cluster = simulated_cluster(Bank)

    async def story() -> None:
        cluster.world.violate(InvariantViolated("election safety: two lead"))
        raise ValueError("a consequence")

    with pytest.raises(InvariantViolated, match="election safety"):
        cluster.run(story)
    cluster.world.violations.clear()


def test_what_nobody_awaited_is_not_lost(simulated_cluster: SimulatedClusterFactory) -> None:
    cluster = simulated_cluster(Bank)

    async def story() -> None:
        asyncio.get_running_loop().call_soon(int, "missing")
        await asyncio.sleep(0.1)

    with pytest.raises(liferaft.LiferaftError, match=r"nobody handled it: .*ValueError"):
        cluster.run(story)
    cluster.check()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda cluster: cluster.crash("n9"), "there is no node 'n9'"),
        (lambda cluster: cluster.crash("n1", "n9"), "there is no node 'n9'"),
        (lambda cluster: cluster.partition(["n1"], ["n1"]), "in two groups"),
        (lambda cluster: cluster.replica("n4"), "there is no node 'n4'"),
    ],
)
def test_what_cannot_be_is_told_and_does_nothing(
    wrong: Any, told: str, simulated_cluster: SimulatedClusterFactory
) -> None:
    cluster = simulated_cluster(Bank)

    with pytest.raises(ConfigurationError, match=told):
        wrong(cluster)
    assert [] == cluster.down


def test_a_node_that_is_down_cannot_crash(simulated_cluster: SimulatedClusterFactory) -> None:
    cluster = simulated_cluster(Bank)
    cluster.crash("n1")

    with pytest.raises(ConfigurationError, match="n1 is down"):
        cluster.crash("n1")


@pytest.mark.parametrize("size", [0, 16])
def test_a_cluster_of_an_odd_size_is_refused(size: int) -> None:
    with pytest.raises(ConfigurationError, match=f"a cluster of {size} nodes"):
        SimulatedCluster(Bank, size=size)


async def test_a_test_that_is_awaited_is_told_to_be_a_plain_one() -> None:
    with pytest.raises(ConfigurationError, match="a loop of its own"):
        SimulatedCluster(Bank).__enter__()
