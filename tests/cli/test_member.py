"""Members come and go, and leadership is handed over, in a cluster of real processes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from liferaft.cli.exits import ExitStatus
from liferaft.ops.processes import free_addresses
from tests.cli.clusters import DEADLINE, Cluster, leader_of

pytestmark = pytest.mark.processes


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        cluster = Cluster(tmp_path, stack)
        cluster.wait_for({"n1", "n2", "n3"})
        yield cluster


def test_a_cluster_grows_loses_a_dead_node_and_its_leader_and_keeps_its_state(
    cluster: Cluster,
) -> None:
    assert 0 == cluster.run("call", cluster.contacts, "add", "milk").returncode
    cluster.start("n4", "--join")
    added = cluster.member("add", "n4", cluster.addresses["n4"])
    kinds = cluster.wait_for({"n1", "n2", "n3", "n4"})
    dead = next(node for node in ("n2", "n3") if kinds[node] != "leader")
    cluster.processes[dead].kill()
    cluster.start("n5", "--join")
    replaced = cluster.member("replace", dead, "n5", cluster.addresses["n5"])
    kinds = cluster.wait_for({"n1", "n2", "n3", "n4", "n5"} - {dead})
    gone = leader_of(kinds)
    removed = cluster.member("remove", gone)
    end = cluster.processes[gone].wait(DEADLINE)
    left = cluster.wait_for({"n1", "n2", "n3", "n4", "n5"} - {dead, gone})
    items = cluster.run("call", cluster.addresses["n5"], "items").stdout

    assert "n4 is a member, and votes once it has caught up\n" == added.stdout
    assert f"n5 takes the place of {dead} once it has caught up\n" == replaced.stdout
    assert f"{gone} is a member no longer\n" == removed.stdout
    assert ExitStatus.NEGATIVE == end
    assert "milk" in items
    again = cluster.member("add", dead, cluster.addresses[dead])
    assert ExitStatus.REFUSED == again.returncode
    assert "its name is used up" in again.stderr
    assert 3 == len(left)


def test_nodes_that_start_again_know_who_takes_part_whatever_they_are_told(
    cluster: Cluster,
) -> None:
    """The peers of the command line are for the first start; then the log has them."""
    cluster.start("n4", "--join")
    cluster.member("add", "n4", cluster.addresses["n4"])
    cluster.wait_for({"n1", "n2", "n3", "n4"})
    for node in ("n1", "n2", "n3", "n4"):
        cluster.kill(node)
    for node in ("n1", "n2", "n4"):  # three of four; the first two are not told of n4
        cluster.start(node)
    kinds = cluster.wait_for({"n1", "n2", "n3", "n4"})
    leader = leader_of(kinds)
    added = cluster.run("call", cluster.addresses[leader], "add", "salt")

    assert 0 == added.returncode


def test_leadership_is_handed_over_to_whom_it_shall_be(cluster: Cluster) -> None:
    kinds = cluster.kinds()
    target = next(node for node, kind in kinds.items() if kind == "voter")
    moved = cluster.run("transfer", cluster.contacts, "--to", target)
    cluster.wait_for({"n1", "n2", "n3"}, leader=target)
    stranger = cluster.run("transfer", cluster.contacts, "--to", "n9")
    other = next(node for node in kinds if node != target)
    cluster.member("prioritize", other, "5")
    cluster.wait_for({"n1", "n2", "n3"}, leader=other)

    assert (0, f"{target} leads\n") == (moved.returncode, moved.stdout)
    assert ExitStatus.REFUSED == stranger.returncode
    assert "n9 is no voter of this cluster" in stranger.stderr


def test_what_would_leave_nobody_to_spare_is_refused_unless_it_is_forced(cluster: Cluster) -> None:
    victim = next(node for node, kind in cluster.kinds().items() if kind == "voter")
    refused = cluster.member("remove", victim)
    forced = cluster.member("remove", victim, "--force")
    table = cluster.member("list").stdout

    assert ExitStatus.REFUSED == refused.returncode
    assert "no voter more could fail, and now 1 can" in refused.stderr
    assert 0 == forced.returncode
    assert table.endswith("voters that may still fail: 0\n")


def test_a_learner_learns_until_it_is_promoted(cluster: Cluster) -> None:
    cluster.start("n4", "--join")
    cluster.member("add", "n4", cluster.addresses["n4"], "--learner")
    kind = cluster.kinds()["n4"]
    promoted = cluster.member("promote", "n4")
    cluster.wait_for({"n1", "n2", "n3", "n4"})

    assert ("learner", 0) == (kind, promoted.returncode)


def test_where_nobody_leads_it_is_said(tmp_path: Path) -> None:
    (address,) = free_addresses(1)
    answer = subprocess.run(
        [sys.executable, "-m", "liferaft", "member", "list", address, "--timeout", "0.2"],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )

    assert ExitStatus.UNREACHABLE == answer.returncode
    assert f"nobody at {address} knows a leader that answers" in answer.stderr
