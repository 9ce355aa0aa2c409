"""The traps of the field that need more than one server to show (the others are with their parts).

Each test fails when its guard is taken out of the code. Numbers as in the project's list of traps.
"""

import msgspec
import pytest

from liferaft.raft.effects import Persist, Send
from liferaft.raft.events import Received, Stored
from liferaft.raft.messages import AppendEntries, RequestVote
from liferaft.raft.types import HardState
from tests.raft.harness import Cluster, core_of, entries_of, sent


def test_trap_1_a_vote_leaves_after_it_is_stored() -> None:
    """Or a voter that crashes votes twice, and two leaders share a term."""
    core = core_of(hard_state=HardState(4))
    core.step(Received(RequestVote(5, "b", "a", 0, 0)), 0.0)
    persist, send = core.take_effects()[1:]

    assert Persist(1, HardState(5, "b"), ()) == persist
    assert isinstance(send, Send)
    assert send.after == 1


def test_trap_1_a_request_for_votes_leaves_after_the_own_vote_is_stored() -> None:
    cluster = Cluster(3)
    cluster.is_disk_fast = False
    cluster.time_out("a")
    cluster.settle()
    assert ("candidate", []) == (cluster["a"].role, cluster.bag)
    cluster.store("a")

    assert {"b", "c"} == {message.target for message in cluster.bag}


def test_trap_5_a_node_that_was_cut_off_deposes_nobody_when_it_returns() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    for _ in range(40):
        cluster.pass_time(0.05)
        cluster.settle(cut=["c"])
    for _ in range(5):
        cluster.pass_time(0.05)
        cluster.settle()

    assert ("a", 1) == (cluster["c"].leader, cluster["c"].current_term)
    assert cluster["a"].role == "leader"


@pytest.mark.parametrize("seed", range(5))
def test_trap_7_half_cut_off_follower_does_not_make_leaders_flap(seed: int) -> None:
    """A and C cannot hear each other, B hears both: the one leader stays, whoever it is."""
    cluster = Cluster(3, seed=seed)
    cluster.elect("a")
    for _ in range(100):
        cluster.pass_time(0.05)
        while cluster.bag:
            message = cluster.bag.pop(0)
            if {message.source, message.target} != {"a", "c"}:
                cluster.deliver(message)

    assert (["a"], 1) == (cluster.leaders, cluster["a"].current_term)


@pytest.mark.parametrize("size", [2, 4])
def test_trap_11_an_even_number_of_voters_elects_too(size: int) -> None:
    cluster = Cluster(size)
    for _ in range(100):
        cluster.pass_time(0.05)
        cluster.settle()

    assert 1 == len(cluster.leaders)


def test_trap_12_figure_8() -> None:
    """An old term's entry on a majority is not committed, and so may still be overwritten."""
    behind = HardState(3)
    cluster = Cluster(
        5,
        logs={"a": [1, 2], "b": [1, 2], "c": [1], "d": [1], "e": [1, 3]},
        hard_states=dict.fromkeys("abcd", behind),
    )
    # (c) a leads term 4. Its entry of term 2 reaches c, and so a majority; its no-op nobody.
    cluster.forget_leader()
    cluster.time_out("a")
    while cluster.bag:
        message = cluster.bag.pop(0)
        if isinstance(message, AppendEntries):
            if message.target in ("d", "e"):
                continue
            older = tuple(entry for entry in message.entries if entry.term < 4)
            message = msgspec.structs.replace(message, entries=older)
        cluster.deliver(message)
    assert [2, 2, 2] == [cluster[name].term_at(2) for name in "abc"]
    assert 0 == cluster["a"].commit_index
    # (d) a crashes, e is elected, and overwrites the entry of term 2 with its own of term 3.
    cluster.crash("a")
    cluster.forget_leader()
    cluster.time_out("e")
    cluster.settle()

    assert "leader" == cluster["e"].role
    assert [3, 3, 3, 3] == [cluster[name].term_at(2) for name in "bcde"]


def test_trap_16_a_leader_counts_itself_only_for_what_is_stored() -> None:
    """One follower of two stores the entry: with the leader's own write that is a majority."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.is_disk_fast = False
    cluster.propose("a", b"x")
    for message in cluster.take(lambda message: message.target == "b"):
        cluster.deliver(message)
    cluster.store("b")
    cluster.settle(cut=["c"])
    assert cluster["a"].commit_index == 1
    cluster.store("a")

    assert cluster["a"].commit_index == 2


def test_trap_17_a_late_write_does_not_count_for_what_replaced_its_entries() -> None:
    """Term 2 wrote entries 1 and 2; before they are on disk term 3 overwrites them."""
    core = core_of(hard_state=HardState(2))
    core.step(Received(AppendEntries(2, "b", "a", 0, 0, entries_of([2, 2]), 0, 1)), 0.0)
    core.take_effects()
    core.step(Received(AppendEntries(3, "c", "a", 0, 0, entries_of([3, 3]), 0, 1)), 0.0)
    core.take_effects()
    core.step(Stored(1), 0.0)
    core.step(Received(AppendEntries(3, "c", "a", 2, 3, (), 0, 2)), 0.0)
    (reply,) = sent(core.take_effects())

    assert 0 == getattr(reply, "match_index", None)
