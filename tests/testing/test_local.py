"""A cluster of real processes, as a user's test drives it."""

import os
import signal

import pytest

import liferaft
from examples.bank.bank import Bank
from liferaft.errors import ConfigurationError
from liferaft.recipes.todo import Todo, TodoList
from liferaft.testing.local import LocalClusterFactory, described


@pytest.mark.slow
@pytest.mark.processes
def test_a_plain_test_does_to_nodes_what_it_likes(local_cluster: LocalClusterFactory) -> None:
    cluster = local_cluster(Bank)
    bank = cluster.connect(Bank)
    bank.deposit("alice", 100)
    leader = cluster.wait_leader()
    follower = next(node for node in cluster.nodes if node != leader)
    cluster.kill(follower)
    cluster.start(follower)
    cluster.cut(follower)
    bank.transfer("alice", "bob", 30)
    cluster.heal(follower)
    cluster.pause(follower)
    bank.transfer("alice", "carol", 30)
    cluster.resume(follower)

    assert {"alice": 40, "bob": 30, "carol": 30} == bank.balances()
    assert cluster.nodes == tuple(status.node_id for status in cluster.statuses())


@pytest.mark.slow
@pytest.mark.processes
def test_nothing_is_left_when_the_block_ends(local_cluster: LocalClusterFactory) -> None:
    cluster = local_cluster(Bank, size=1)
    pid = cluster.local.pid("n1")
    cluster.__exit__(None, None, None)

    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.processes
async def test_a_test_that_is_awaited_starts_it_itself(local_cluster: LocalClusterFactory) -> None:
    async with local_cluster.on_loop({"Todo": TodoList}, size=1) as cluster:
        todo = await liferaft.aconnect(Todo, cluster.address)
        with pytest.raises(ConfigurationError, match="async with local_cluster"):
            local_cluster(Bank)
        await liferaft.aclose(todo)


def test_a_class_that_no_other_process_can_import_is_refused() -> None:
    class Inner:
        def method(self) -> None: ...

    with pytest.raises(ConfigurationError, match="stand at the top of a module"):
        described(Inner)


def test_classes_are_named_as_the_command_reads_them() -> None:
    assert ["Todo=liferaft.recipes.todo:TodoList"] == described({"Todo": TodoList})
