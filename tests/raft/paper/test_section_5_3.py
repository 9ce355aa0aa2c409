"""Section 5.3, log replication."""

from itertools import combinations

import pytest

from liferaft.raft.messages import AppendEntries
from liferaft.raft.types import HardState
from tests.raft.harness import NODES, Cluster, sent

FIGURE_7 = {
    "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "b": [1, 1, 1, 4],
    "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "e": [1, 1, 1, 4, 4, 4, 4],
    "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}
FIGURE_7_LEADER = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]


@pytest.mark.parametrize("follower", sorted(FIGURE_7))
def test_the_leader_brings_each_follower_of_figure_7_in_line(follower: str) -> None:
    """The leader of term 8 in the figure's own cluster of three: itself, the follower, a third."""
    cluster = Cluster(
        3,
        logs={"a": FIGURE_7_LEADER, "b": FIGURE_7[follower], "c": []},
        hard_states={"a": HardState(7), "b": HardState(7), "c": HardState(7)},
    )
    cluster.forget_leader()
    cluster.time_out("a")
    cluster.settle()

    assert ("leader", 8) == (cluster["a"].role, cluster["a"].current_term)
    assert cluster.nodes["a"].log == cluster.nodes["b"].log
    assert [*FIGURE_7_LEADER, 8] == [entry.term for entry in cluster.nodes["b"].log]


def test_a_proposal_is_sent_with_what_precedes_it() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.propose("a", b"x")
    message = cluster.bag[0]
    assert isinstance(message, AppendEntries)

    assert (1, 1, [(1, 2, b"x")]) == (
        message.prev_log_index,
        message.prev_log_term,
        [(entry.term, entry.index, entry.data) for entry in message.entries],
    )


@pytest.mark.parametrize("size", [1, 3, 5])
def test_an_entry_is_committed_when_a_majority_stores_it(size: int) -> None:
    """Every subset of the followers answers."""
    for count in range(size):
        for answering in combinations(NODES[1:size], count):
            cluster = Cluster(size)
            cluster.elect("a")
            cluster.propose("a", b"x")
            cluster.settle(cut=[name for name in NODES[1:size] if name not in answering])
            is_majority = 2 * (count + 1) > size

            assert (2 if is_majority else 1) == cluster["a"].commit_index


def test_committing_commits_all_that_comes_before() -> None:
    """Entries of older terms too."""
    cluster = Cluster(3, logs={"a": [1, 2, 2, 3]})
    cluster.elect("a")

    assert 5 == cluster["a"].commit_index
    assert [1, 2, 3, 4, 5] == [entry.index for entry in cluster.nodes["a"].applied]


def test_followers_learn_what_is_committed_and_apply_it_in_order() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.propose("a", b"1", b"2")
    cluster.propose("a", b"3")
    cluster.settle()
    cluster.heartbeat("a")
    cluster.settle()

    for node in cluster.nodes.values():
        assert [b"1", b"2", b"3"] == node.commands


def test_each_command_travels_to_each_follower_once() -> None:
    """Ten commands of 5,000 bytes to two followers: no byte twice."""
    cluster = Cluster(3)
    cluster.elect("a")
    travelled = 0
    for _ in range(10):
        cluster.propose("a", b"x" * 5000)
        travelled += sum(
            len(entry.data)
            for message in cluster.bag
            if isinstance(message, AppendEntries)
            for entry in message.entries
        )
        cluster.settle()

    assert 2 * 10 * 5000 == travelled


def test_an_idle_cluster_sends_heartbeats_and_their_answers_alone() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    messages = 0
    for _ in range(20):
        cluster.heartbeat("a")
        messages += len(cluster.bag)
        cluster.settle()

    assert 20 * 2 == messages


def test_two_stale_leaders_with_fifty_entries_each_are_reconciled_quickly() -> None:
    """Few messages, however much there is to throw away."""
    cluster = Cluster(
        5,
        logs={
            "a": [1] * 10 + [2] * 50,
            "b": [1] * 10 + [2] * 50,
            "c": [1] * 10 + [3] * 50,
            "d": [1] * 10 + [4] * 50,
            "e": [1] * 10 + [4] * 50,
        },
    )
    cluster.forget_leader()
    cluster.time_out("d")
    messages = 0
    while cluster.bag:
        messages += 1
        cluster.deliver(cluster.bag.pop(0))

    assert messages < 60
    assert all(node.log == cluster.nodes["d"].log for node in cluster.nodes.values())


def test_nothing_is_committed_without_a_majority() -> None:
    """Three of five are cut off; after healing the entry is at index 2 or was never there."""
    cluster = Cluster(5)
    cluster.elect("a")
    cluster.propose("a", b"x")
    cluster.settle(cut=["c", "d", "e"])

    assert [b"x"] not in [node.commands for node in cluster.nodes.values()]
    assert 1 == cluster["a"].commit_index
    assert [] != sent(cluster.time_out("a"))
