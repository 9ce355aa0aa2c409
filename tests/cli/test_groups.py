"""Many groups on three nodes, as an operator sees them: real processes."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.clusters import DEADLINE, Cluster

pytestmark = pytest.mark.processes

NODES = ("n1", "n2", "n3")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path, stack, "--groups", "4")


def statuses(cluster: Cluster, node: str) -> list[dict[str, object]]:
    told = cluster.run("groups", cluster.addresses[node], "--json")
    return [json.loads(line) for line in told.stdout.splitlines()]


def wait_resting(cluster: Cluster, node: str = "n1") -> None:
    until = time.monotonic() + DEADLINE
    while not all(each["is_resting"] for each in statuses(cluster, node)):
        assert time.monotonic() < until, "the groups do not come to rest"
        time.sleep(0.1)


def test_each_group_is_a_cluster_of_its_own_behind_the_same_addresses(cluster: Cluster) -> None:
    for number in range(4):
        for _ in range(number):
            added = cluster.run("call", cluster.contacts, f"{number}/Todo.add", "x")
            assert 0 == added.returncode, added.stderr
    told = [cluster.run("call", cluster.contacts, f"{n}/Todo.items").stdout for n in range(4)]

    assert [0, 1, 2, 3] == [len(json.loads(items)) for items in told]


def test_an_operator_sees_the_groups_and_changes_one_of_them(cluster: Cluster) -> None:
    wait_resting(cluster)
    shown = cluster.run("groups", cluster.addresses["n1"]).stdout
    before = {each["group"]: each["leader"] for each in statuses(cluster, "n1")}
    moved = cluster.run("transfer", cluster.contacts, "--group", "2")
    members = cluster.run("member", "list", cluster.contacts, "--group", "2", "--json")
    after = {each["group"]: each["leader"] for each in statuses(cluster, "n1")}

    assert "4 groups: " in shown
    assert "4 at rest" in shown
    assert 0 == moved.returncode, moved.stderr
    assert before["2"] != json.loads(members.stdout)["leader"]
    assert {each: before[each] for each in "013"} == {each: after[each] for each in "013"}


def test_every_group_outlives_a_node_that_is_killed_while_they_rest(cluster: Cluster) -> None:
    for number in range(4):
        cluster.run("call", cluster.contacts, f"{number}/Todo.add", "before")
    wait_resting(cluster)
    killed = str({each["group"]: each["leader"] for each in statuses(cluster, "n1")}["0"])
    cluster.processes[killed].kill()
    cluster.processes[killed].wait(DEADLINE)
    for number in range(4):
        after = cluster.run("call", cluster.contacts, f"{number}/Todo.add", "after")
        assert 0 == after.returncode, after.stderr
    cluster.start(killed)
    wait_resting(cluster, killed)
    applied = {node: [s["applied_index"] for s in statuses(cluster, node)] for node in NODES}
    told = [cluster.run("call", cluster.contacts, f"{n}/Todo.items").stdout for n in range(4)]

    assert [2, 2, 2, 2] == [len(json.loads(items)) for items in told]
    assert applied["n1"] == applied["n2"] == applied["n3"]
