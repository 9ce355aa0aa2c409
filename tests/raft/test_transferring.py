"""Leadership transfer: section 3.10 of the dissertation, and the ways in which it can go wrong."""

import pytest

from liferaft.raft.config import RaftConfig
from liferaft.raft.effects import Rejected, TransferEnded
from liferaft.raft.messages import TimeoutNow
from liferaft.raft.types import Configuration
from tests.raft.harness import Cluster

ABC = ("a", "b", "c")


def lead(size: int = 3, **more: object) -> Cluster:
    """Return a cluster that "a" leads, and in which everyone has answered a heartbeat."""
    cluster = Cluster(size, **more)  # type: ignore[arg-type] # passed on as they are
    cluster.elect("a")
    cluster.heartbeat("a")
    cluster.settle()
    return cluster


def ends(cluster: Cluster) -> list[TransferEnded]:
    return cluster.nodes["a"].transfers


def test_an_up_to_date_target_leads_at_once_though_everyone_hears_the_old_leader() -> None:
    cluster = lead()
    now = cluster.now
    cluster.transfer("a", "b")
    cluster.settle()

    assert [TransferEnded("b", None)] == ends(cluster)
    assert (["b"], now) == (cluster.leaders, cluster.now)


def test_a_target_that_is_behind_is_brought_up_to_date_first() -> None:
    cluster = lead()
    cluster.propose("a", b"x")
    cluster.settle(cut=["b"])
    cluster.transfer("a", "b")
    early = [message for message in cluster.bag if isinstance(message, TimeoutNow)]
    for _ in range(3):
        cluster.pass_time(0.05)
        cluster.settle()

    assert [] == early
    assert ["b"] == cluster.leaders
    assert [b"x"] == cluster.nodes["b"].commands


def test_proposals_are_refused_meanwhile_and_taken_again_when_it_was_given_up() -> None:
    cluster = lead()
    cluster.crash("b")
    cluster.transfer("a", "b")
    refused = cluster.propose("a", b"x")
    for _ in range(8):
        cluster.pass_time(0.05)
        cluster.settle()

    assert Rejected(leader="b") == refused
    assert [TransferEnded("b", "b did not take over in time")] == ends(cluster)
    assert ["a"] == cluster.leaders
    assert not isinstance(cluster.propose("a", b"x"), Rejected)


def test_a_wish_that_was_lost_is_repeated_with_the_next_heartbeat() -> None:
    cluster = lead()
    cluster.transfer("a", "b")
    lost = cluster.take(lambda message: isinstance(message, TimeoutNow))
    cluster.pass_time(0.05)
    cluster.settle()

    assert [TimeoutNow(1, "a", "b")] == lost
    assert ["b"] == cluster.leaders


def test_without_a_target_the_best_voter_that_answers_is_chosen() -> None:
    cluster = lead(4)
    cluster.crash("b")
    for _ in range(7):  # it is silent for too long
        cluster.pass_time(0.05)
        cluster.settle()
    cluster.propose("a", b"x")
    cluster.settle(cut=["c"])  # which is behind
    cluster.transfer("a")
    cluster.settle()

    assert ["d"] == cluster.leaders


@pytest.mark.parametrize(
    ("target", "problem"), [("x", "x is no voter of this cluster"), ("a", None)]
)
def test_nobody_else_and_oneself_end_at_once(target: str, problem: str | None) -> None:
    cluster = lead()
    cluster.transfer("a", target)

    assert [TransferEnded(target, problem)] == ends(cluster)
    assert ["a"] == cluster.leaders


def test_a_learner_cannot_take_over() -> None:
    cluster = lead(3, learners=["l"])
    cluster.transfer("a", "l")

    assert [TransferEnded("l", "l is no voter of this cluster")] == ends(cluster)


def test_alone_nobody_can_take_over() -> None:
    cluster = lead(1)
    cluster.transfer("a")

    assert "nobody can take over" in (ends(cluster)[0].problem or "")


def test_a_second_transfer_to_the_same_target_joins_the_first() -> None:
    cluster = lead()
    cluster.crash("b")
    cluster.transfer("a", "b")
    cluster.pass_time(0.15)
    cluster.transfer("a", "b")
    cluster.settle()
    assert [] == ends(cluster)
    for _ in range(4):
        cluster.pass_time(0.05)
        cluster.settle()

    assert 1 == len(ends(cluster)), "the first one's time has run out"


def test_a_second_transfer_to_another_target_replaces_the_first() -> None:
    cluster = lead()
    cluster.crash("b")
    cluster.transfer("a", "b")
    cluster.transfer("a", "c")
    cluster.settle()

    assert ["c"] == cluster.leaders
    assert ["given up for a transfer to c", None] == [each.problem for each in ends(cluster)]


def test_who_leaves_by_the_change_under_way_cannot_take_over() -> None:
    cluster = lead()
    cluster.change("a", Configuration(voters=("a", "b")))
    cluster.transfer("a", "c")

    assert "c is no voter" in (ends(cluster)[0].problem or "")


def test_a_higher_term_ends_it() -> None:
    cluster = lead()
    cluster.transfer("a", "b")
    cluster.bag.clear()
    cluster.forget_leader()
    cluster.time_out("c")
    cluster.settle()

    assert [TransferEnded("b", None)] == ends(cluster)
    assert "a" not in cluster.leaders


def test_a_wish_of_an_earlier_term_is_old() -> None:
    cluster = lead()
    cluster.transfer("a", "b")
    (wish,) = cluster.take(lambda message: isinstance(message, TimeoutNow))
    cluster.forget_leader()
    cluster.time_out("c")
    cluster.settle(cut=["a"])
    cluster.deliver(wish)

    assert ("follower", "c") == (cluster["b"].role, cluster["b"].leader)


def test_who_does_not_lead_cannot_hand_over() -> None:
    cluster = lead()
    cluster.transfer("b", "c")

    assert [TransferEnded("c", "this node does not lead")] == cluster.nodes["b"].transfers


def test_the_preferred_voter_comes_to_lead_and_stays() -> None:
    cluster = lead()
    cluster.change("a", Configuration(voters=ABC, priorities=(("c", 1),)))
    for _ in range(100):
        cluster.pass_time(0.05)
        cluster.settle()

    assert (["c"], 2) == (cluster.leaders, cluster["c"].current_term)


def test_a_preferred_voter_that_is_down_is_not_waited_for() -> None:
    cluster = lead()
    cluster.change("a", Configuration(voters=ABC, priorities=(("c", 1),)))
    cluster.settle(cut=["c"])
    cluster.crash("c")
    for _ in range(40):
        cluster.pass_time(0.05)
        cluster.settle()

    assert ["a"] == cluster.leaders
    assert [] == ends(cluster)


def test_an_outranked_follower_gives_the_preferred_one_time_to_go_first() -> None:
    cluster = lead()
    cluster.change("a", Configuration(voters=ABC, priorities=(("a", 2), ("c", 1))))
    for _ in range(3):
        cluster.pass_time(0.05)
        cluster.settle()
    cluster.crash("a")
    timeout = RaftConfig().election_timeout

    assert timeout < cluster["c"].deadline - cluster.now + 0.05 < 2 * timeout
    assert 2 * timeout < cluster["b"].deadline - cluster.now + 0.05 < 3 * timeout


def test_a_preferred_voter_that_never_takes_over_does_not_stop_the_cluster() -> None:
    """It hears and answers, and yet each handover fails: they are tried now and then only."""
    cluster = lead()
    cluster.change("a", Configuration(voters=ABC, priorities=(("c", 1),)))
    refused = 0
    for _ in range(100):
        cluster.pass_time(0.05)
        cluster.take(lambda message: isinstance(message, TimeoutNow))
        cluster.settle()
        refused += isinstance(cluster.propose("a", b"x"), Rejected)
        cluster.settle()

    assert 1 <= refused <= 20


def test_a_voter_that_no_longer_answers_is_not_chosen_however_far_it_was() -> None:
    cluster = lead()
    cluster.change("a", Configuration(voters=ABC, priorities=(("b", 9),)))
    cluster.settle()
    cluster.take(lambda _: True)
    cluster.crash("b")
    for _ in range(8):
        cluster.pass_time(0.05)
        cluster.settle()
    cluster.transfer("a")
    cluster.settle()

    assert ["c"] == cluster.leaders


def test_a_leader_that_is_told_to_campaign_goes_on_leading() -> None:
    cluster = lead()
    cluster.deliver(TimeoutNow(1, "b", "a"))

    assert ("leader", 1) == (cluster["a"].role, cluster["a"].current_term)
