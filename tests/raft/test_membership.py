"""Changes of membership as stories: section 6 of the paper, chapter 4 of the dissertation."""

from random import Random

import pytest

from liferaft.raft.config import RaftConfig
from liferaft.raft.configuration import first_step, promoted
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import (
    Accepted,
    ChangeAccepted,
    ChangeRejected,
    ConfigurationChanged,
    RoleChanged,
)
from liferaft.raft.events import Received, Stored, TimePassed
from liferaft.raft.log import LogSummary
from liferaft.raft.messages import (
    AppendEntries,
    Message,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from liferaft.raft.state import Leader
from liferaft.raft.types import Configuration, HardState, Promotion, Snapshot
from tests.raft.harness import Cluster

ABC = ("a", "b", "c")


def lead(size: int = 3, **more: object) -> Cluster:
    """Return a cluster that "a" leads."""
    cluster = Cluster(size, **more)  # type: ignore[arg-type] # passed on as they are
    cluster.elect("a")
    return cluster


def beat(cluster: Cluster, count: int = 1, **more: object) -> None:
    """Let the leader send heartbeats, and everything arrive."""
    for _ in range(count):
        cluster.pass_time(0.05)
        cluster.settle(**more)  # type: ignore[arg-type] # passed on as they are


def appended(message: Message) -> bool:
    return isinstance(message, AppendEntries) and bool(message.entries)


def test_a_change_goes_through_both_majorities_and_ends_by_itself() -> None:
    cluster = lead()
    for name in ("d", "e"):
        cluster.add_node(name)
    answer = cluster.change("a", Configuration(voters=("a", "d", "e")))
    joint = cluster["a"].configuration
    cluster.settle()
    beat(cluster)

    assert ChangeAccepted(1, 2) == answer
    assert (("a", "d", "e"), ABC) == (joint.voters, joint.voters_outgoing)
    assert Configuration(voters=("a", "d", "e"), retired=("b", "c")) == cluster["a"].configuration
    assert 3 == cluster["a"].commit_index == cluster["d"].commit_index


def test_trap_24_the_joint_phase_needs_the_old_majority_too() -> None:
    """With the new majority alone, the old one could elect somebody else meanwhile."""
    cluster = lead()
    for name in ("d", "e"):
        cluster.add_node(name)
    cluster.change("a", Configuration(voters=("a", "d", "e")))
    cluster.settle(cut=["b", "c"])

    assert (2, 1) == (cluster["d"].last_index, cluster["a"].commit_index)


def test_trap_24_the_joint_phase_needs_the_new_majority_too() -> None:
    cluster = lead()
    for name in ("d", "e"):
        cluster.add_node(name)
    cluster.change("a", Configuration(voters=("a", "d", "e")))
    cluster.settle(cut=["d", "e"])

    assert (2, 1) == (cluster["b"].last_index, cluster["a"].commit_index)


def test_trap_22_a_configuration_counts_at_once_and_is_taken_back_with_its_entry() -> None:
    cluster = lead()
    cluster.change("a", Configuration(voters=("a", "b")))
    counted = cluster["a"].configuration
    cluster.bag.clear()
    cluster.forget_leader()
    cluster.time_out("b")
    cluster.settle(cut=["a"])  # which nobody heard
    beat(cluster, 3)

    assert (("a", "b"), ABC) == (counted.voters, counted.voters_outgoing)
    assert "b" == cluster["a"].leader
    assert Configuration(voters=ABC) == cluster["a"].configuration


def test_trap_23_no_change_before_an_entry_of_the_own_term_is_committed() -> None:
    """The bug of 2015: two leaders in a row, each with a change that the other does not know."""
    cluster = Cluster(3)
    cluster.forget_leader()
    cluster.time_out("a")
    while cluster["a"].role != "leader":
        cluster.deliver(cluster.bag.pop(0))
    answer = cluster.change("a", Configuration(voters=("a", "b")))

    assert isinstance(answer, ChangeRejected)
    assert "nothing of its own term" in answer.reason


def test_trap_23_the_bug_of_2015() -> None:
    """Ongaro, raft-dev, 10 July 2015: two single-server changes whose majorities do not meet.

    S1 begins to add S5 in term 1 and stops. S2 leads in term 2 and removes S1. If S1 could lead
    again with S3 and S5, the entries that S2 committed would be lost. The no-op of S2's term, which
    must be committed before its change, forbids it: S3 has it, and S1 and S5 are behind.
    """
    cluster = Cluster(4)
    cluster.elect("a")
    cluster.add_node("e")
    cluster.change("a", Configuration(voters=("a", "b", "c", "d", "e")))
    for message in [each for each in cluster.bag if each.target == "e"]:
        cluster.deliver(message)
    cluster.bag.clear()
    cluster.forget_leader()
    cluster.time_out("b")
    cluster.settle(cut=["a", "e"])
    assert "leader" == cluster["b"].role
    accepted = cluster.change("b", Configuration(voters=("b", "c", "d")))
    cluster.settle(cut=["a", "e"])
    committed = cluster["b"].commit_index
    cluster.forget_leader()
    cluster.time_out("a")
    cluster.settle(cut=["b", "d"])

    assert isinstance(accepted, ChangeAccepted)
    assert committed == cluster["b"].last_index
    assert "leader" != cluster["a"].role


def test_one_change_at_a_time() -> None:
    cluster = lead()
    cluster.change("a", Configuration(voters=("a", "b")))
    second = cluster.change("a", Configuration(voters=("a", "c")))
    cluster.settle()
    third = cluster.change("a", Configuration(voters=("a",), retired=("c",)))

    assert isinstance(second, ChangeRejected)
    assert "another change" in second.reason
    assert isinstance(third, ChangeAccepted)


def test_trap_25_a_new_leader_ends_a_joint_phase_that_it_finds() -> None:
    cluster = lead()
    cluster.change("a", Configuration(voters=("b", "c")))
    for message in [each for each in cluster.bag if appended(each)]:
        cluster.deliver(message)
    cluster.bag.clear()
    cluster.crash("a")
    found = cluster["b"].configuration
    cluster.elect("b")
    beat(cluster, 3)

    assert (("b", "c"), ABC) == (found.voters, found.voters_outgoing)
    assert Configuration(voters=("b", "c"), retired=("a",)) == cluster["c"].configuration


def test_trap_26_a_leader_that_removes_itself_does_not_count_itself() -> None:
    cluster = lead()
    cluster.change("a", Configuration(voters=("b", "c")))
    cluster.settle(cut=["c"])
    alone_with_b = (cluster["a"].commit_index, cluster["a"].role)
    beat(cluster, 20)

    assert (1, "leader") == alone_with_b, "it and b are no majority of b and c"
    assert cluster.nodes["a"].is_removed
    assert "leader" != cluster["a"].role
    (leader,) = [name for name in ("b", "c") if cluster[name].role == "leader"]
    assert isinstance(cluster.propose(leader, b"goes on"), Accepted)


def test_the_removed_leader_hands_over_at_once() -> None:
    """Nobody has to wait for an election timeout."""
    cluster = lead()
    now = cluster.now
    cluster.change("a", Configuration(voters=("b", "c")))
    cluster.settle()

    assert cluster.now == now
    assert 1 == len([name for name in ("b", "c") if cluster[name].role == "leader"])


def test_who_is_left_out_by_what_is_not_committed_may_be_the_only_one_that_can_lead() -> None:
    """D§4.2.2: the old majority holds longer logs than any new voter, and refuses those."""
    cluster = lead()
    for name in ("d", "e"):
        cluster.add_node(name)
    cluster.change("a", Configuration(voters=("c", "d", "e")))
    while cluster["a"].commit_index < 2:
        cluster.deliver(cluster.bag.pop(0))
    cluster.propose("a", b"x")
    final = [message for message in cluster.bag if appended(message) and message.target == "b"]
    cluster.bag.clear()
    for message in final:
        cluster.deliver(message)
    cluster.crash("a")
    cluster.bag.clear()
    left_out = cluster["b"].configuration
    for _ in range(40):
        cluster.pass_time(0.05)
        cluster.settle()
    cluster.restart("a")
    for _ in range(40):
        cluster.pass_time(0.05)
        cluster.settle()

    assert ("c", "d", "e") == left_out.voters
    assert () == left_out.voters_outgoing
    (leader,) = [name for name in ("c", "d", "e") if cluster[name].role == "leader"]
    assert [b"x"] == cluster.nodes[leader].commands
    assert cluster.nodes["a"].is_removed
    assert cluster.nodes["b"].is_removed


def test_a_leader_that_removed_itself_tells_so_before_it_tells_that_it_leads_no_more() -> None:
    """Who waits for the change learns that it is done, and not that nobody knows."""
    cluster = lead()
    cluster.change("a", Configuration(voters=("b", "c")))
    cluster.settle()
    told = [e for e in cluster.nodes["a"].effects if isinstance(e, ConfigurationChanged)]
    ends = [e for e in cluster.nodes["a"].effects if isinstance(e, RoleChanged)]

    assert (True, "follower") == (told[-1].is_committed, ends[-1].role)
    effects = cluster.nodes["a"].effects
    assert effects.index(told[-1]) < effects.index(ends[-1])


def test_a_stranger_that_asks_for_votes_is_sent_nothing() -> None:
    """Only who was a member is told that it is one no longer."""
    cluster = lead()
    cluster.deliver(RequestVote(2, "x", "a", 0, 0, is_prevote=True))

    assert ["b", "c"] == [each.node_id for each in cluster["a"].statistics().followers]


def test_a_learner_keeps_the_promise_of_a_vote_when_whom_it_replaces_is_gone_already() -> None:
    now = Configuration(
        voters=ABC,
        learners=("d", "e"),
        promotions=(Promotion("d", "c"), Promotion("e", "c")),
    )
    after = promoted(now, ["d"])

    assert (("a", "b", "d"), (Promotion("e"),)) == (after.voters, after.promotions)


def test_commit_shrinks_with_the_quorum() -> None:
    """What was stored by too few is on a majority once the others are gone."""
    cluster = lead(4)
    cluster.crash("d")
    beat(cluster)
    cluster.propose("a", b"x")
    cluster.settle(cut=["c", "d"])
    stuck = cluster["a"].commit_index
    cluster.change("a", Configuration(voters=("a", "b", "c")))
    beat(cluster, 3, cut=["d"])

    assert 1 == stuck
    assert cluster["a"].commit_index == cluster["a"].last_index == 4


def test_trap_27_a_learner_votes_when_it_is_asked() -> None:
    """It may be a voter by a configuration that it has not seen."""
    cluster = Cluster(3, learners=["l"])
    cluster.forget_leader()
    cluster.deliver(RequestVote(1, "a", "l", 0, 0))
    (reply,) = cluster.bag

    assert reply.is_granted  # type: ignore[union-attr] # it is the answer to the request


def test_trap_28_who_was_removed_and_does_not_know_disturbs_nobody_and_is_told() -> None:
    cluster = lead()
    cluster.change("a", Configuration(voters=("a", "b")))
    cluster.settle(cut=["c"])
    beat(cluster, 100, cut=["c"])
    departing = cluster["a"].statistics().followers
    for _ in range(20):
        cluster.pass_time(0.05)
        cluster.settle()

    assert ["b"] == [each.node_id for each in departing], "it was silent for too long"
    assert cluster.nodes["c"].is_removed
    assert ("leader", 1) == (cluster["a"].role, cluster["a"].current_term)


def test_a_removed_node_that_knows_no_leader_is_told_through_a_follower() -> None:
    """Who leads came when it was away, so it cannot ask the leader itself (simulation, seed 45)."""
    cluster = lead()
    cluster.add_node("d")
    cluster.change("a", Configuration(voters=("a", "b", "d")))
    for _ in range(100):
        beat(cluster, cut=["c"])
    cluster.transfer("a", "d")
    beat(cluster, 20, cut=["c"])
    assert "leader" == cluster["d"].role
    for _ in range(20):
        cluster.pass_time(0.05)
        cluster.settle()

    assert cluster.nodes["c"].is_removed
    assert ("leader", 2) == (cluster["d"].role, cluster["d"].current_term)


def test_a_removed_learner_that_does_not_know_is_told() -> None:
    """It does not campaign, but it asks (simulation, seed 32 on five nodes)."""
    cluster = lead()
    cluster.add_node("d")
    cluster.change("a", Configuration(voters=ABC, learners=("d",)))
    beat(cluster, 3)
    cluster.change("a", Configuration(voters=ABC))
    for _ in range(100):
        beat(cluster, cut=["d"])
    for _ in range(20):
        cluster.pass_time(0.05)
        cluster.settle()

    assert cluster.nodes["d"].is_removed
    assert ("leader", 1) == (cluster["a"].role, cluster["a"].current_term)


def test_trap_28_a_removed_name_is_never_used_again() -> None:
    cluster = lead()
    cluster.change("a", Configuration(voters=("a", "b")))
    beat(cluster, 3)
    answer = cluster.change("a", Configuration(voters=("a", "b", "c")))

    assert isinstance(answer, ChangeRejected)
    assert "c was removed before" in answer.reason


def test_a_node_on_its_way_to_the_entry_that_adds_it_was_not_removed() -> None:
    """It applies configurations of a time when it was no member."""
    cluster = lead()
    cluster.change("a", Configuration(voters=ABC, addresses=(("a", "here:1"),)))
    cluster.settle()
    cluster.add_node("d")
    cluster.change("a", Configuration(voters=ABC, learners=("d",)))
    beat(cluster, 3)

    assert not cluster.nodes["d"].is_removed
    assert cluster["d"].commit_index == cluster["a"].commit_index


def test_a_learner_is_promoted_once_it_has_caught_up() -> None:
    cluster = lead()
    cluster.propose("a", *[b"x"] * 10)
    cluster.settle()
    cluster.add_node("d")
    target = Configuration(voters=ABC, learners=("d",), promotions=(Promotion("d"),))
    cluster.change("a", target)
    cluster.settle(cut=["d"])
    waiting = cluster["a"].configuration
    beat(cluster, 3)

    assert ("d",) == waiting.learners
    assert Configuration(voters=("a", "b", "c", "d")) == cluster["a"].configuration


def test_a_learner_that_is_too_slow_for_a_voter_is_not_promoted() -> None:
    """It is a message each 50 ms, and new entries come as fast: no round ends in time."""
    config = RaftConfig(append_bytes_max=1, inflight_messages_max=1)
    cluster = lead(config=config)
    cluster.propose("a", *[b"x"] * 10)
    cluster.settle()
    cluster.add_node("d")
    target = Configuration(voters=ABC, learners=("d",), promotions=(Promotion("d"),))
    cluster.change("a", target)
    learners = []
    for step in range(60):
        if step < 40:
            cluster.propose("a", b"y")
        cluster.pass_time(0.05)
        to_d = cluster.take(lambda message: message.target == "d")
        cluster.settle()
        for message in to_d:
            cluster.deliver(message)
        for message in cluster.take(lambda message: message.source == "d"):
            cluster.deliver(message)
        learners.append(cluster["a"].configuration.learners)

    assert [("d",)] * 40 == learners[:40]
    assert () == learners[-1]


def test_a_dead_voter_is_replaced_in_one_change() -> None:
    cluster = lead()
    cluster.crash("c")
    cluster.add_node("d")
    promotion = Promotion("d", "c")
    cluster.change("a", Configuration(voters=ABC, learners=("d",), promotions=(promotion,)))
    beat(cluster, 5)

    assert Configuration(voters=("a", "b", "d"), retired=("c",)) == cluster["a"].configuration


def test_a_voter_becomes_a_learner() -> None:
    cluster = lead()
    cluster.change("a", Configuration(voters=("a", "b"), learners=("c",)))
    joint = cluster["a"].configuration
    beat(cluster, 3)

    assert ((), ("c",)) == (joint.learners, joint.learners_next)
    assert Configuration(voters=("a", "b"), learners=("c",)) == cluster["c"].configuration


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (Configuration(voters=()), "without voters"),
        (Configuration(voters=("b", "a")), "sorted"),
        (Configuration(voters=("a",), learners=("a",)), "both vote and learn"),
        (Configuration(voters=("a",), voters_outgoing=("b",)), "joint phase cannot be asked for"),
        (Configuration(voters=("a",), promotions=(Promotion("b"),)), "is no learner"),
        (
            Configuration(voters=("a",), learners=("b",), promotions=(Promotion("b", "x"),)),
            "is no voter",
        ),
    ],
)
def test_what_nobody_could_go_by_is_refused(target: Configuration, reason: str) -> None:
    cluster = lead()
    answer = cluster.change("a", target)

    assert isinstance(answer, ChangeRejected)
    assert reason in answer.reason


def test_who_does_not_lead_says_who_does() -> None:
    cluster = lead()

    assert ChangeRejected("a", "this node does not lead") == cluster.change(
        "b", Configuration(voters=ABC)
    )


def test_a_change_of_learners_alone_needs_no_joint_phase() -> None:
    now, target = Configuration(voters=ABC), Configuration(voters=ABC, learners=("d",))

    assert target == first_step(now, target)


def test_the_driver_learns_of_a_configuration_when_it_counts_and_when_it_is_committed() -> None:
    cluster = lead()
    target = Configuration(voters=ABC, addresses=(("a", "here:1"),))
    cluster.change("a", target)
    beat(cluster, 2)
    told = [each for each in cluster.nodes["b"].effects if isinstance(each, ConfigurationChanged)]

    assert [
        ConfigurationChanged(2, target, is_committed=False),
        ConfigurationChanged(2, target, is_committed=True),
    ] == told


def test_a_restart_finds_the_configuration_in_the_log() -> None:
    cluster = lead(hard_states={"a": HardState(0)})
    cluster.change("a", Configuration(voters=("a", "b")))
    beat(cluster, 3)
    cluster.crash("b")
    cluster.restart("b")

    assert Configuration(voters=("a", "b"), retired=("c",)) == cluster["b"].configuration


def test_no_change_while_one_of_the_learners_is_not_committed() -> None:
    cluster = lead()
    cluster.change("a", Configuration(voters=ABC, learners=("d",)))
    answer = cluster.change("a", Configuration(voters=("a", "b")))

    assert isinstance(answer, ChangeRejected)


def test_no_change_while_leadership_is_on_its_way() -> None:
    """The target could not catch up with what is appended meanwhile."""
    cluster = lead()
    beat(cluster)
    cluster.transfer("a", "b")
    answer = cluster.change("a", Configuration(voters=("a", "b")))

    assert isinstance(answer, ChangeRejected)
    assert "leadership is being transferred" in answer.reason


def test_a_learner_is_not_promoted_while_leadership_is_on_its_way() -> None:
    cluster = lead()
    beat(cluster)
    cluster.add_node("d")
    target = Configuration(voters=ABC, learners=("d",), promotions=(Promotion("d"),))
    cluster.change("a", target)
    cluster.settle(cut=["d"])
    cluster.transfer("a", "b")
    cluster.take(lambda message: message.target == "b")
    cluster.settle(cut=["b"])
    beat(cluster, 2, cut=["b"])

    assert cluster["d"].last_index == cluster["a"].last_index
    assert ("d",) == cluster["a"].configuration.learners


def test_trap_23_a_new_leader_ends_a_joint_phase_after_its_own_no_op_alone() -> None:
    """Though it knows from before that the joint configuration is committed."""
    joint = Configuration(voters=("b", "c"), voters_outgoing=ABC)
    core = RaftCore(
        "b",
        RaftConfig(),
        joint,
        HardState(1),
        LogSummary(first=3, last=2, prior_term=1),
        now=0.0,
        random=Random(1),
        snapshot=Snapshot(2, 1, joint),
    )
    core.step(TimePassed(), core.deadline)
    core.step(Received(RequestVoteReply(2, "c", "b", is_granted=True, is_prevote=True)), 1.0)
    core.take_effects()
    core.step(Stored(1), 1.0)
    core.step(Received(RequestVoteReply(2, "c", "b", is_granted=True)), 1.0)
    core.take_effects()
    core.step(Stored(2), 1.0)

    assert ("leader", 2, 3) == (core.role, core.commit_index, core.last_index)


def test_a_removed_node_is_sent_heartbeats_until_it_can_know_that_it_is_committed() -> None:
    """It has the entry long before a majority has."""
    cluster = lead(4)
    cluster.change("a", Configuration(voters=("a", "b", "c")))
    while cluster["a"].commit_index < 2:
        cluster.deliver(cluster.bag.pop(0))
    for _ in range(4):
        while cluster.bag:  # the entry that ends the change reaches nobody of the new majority
            message = cluster.bag.pop(0)
            if not (appended(message) and message.target in {"b", "c"}):
                cluster.deliver(message)
        cluster.pass_time(0.05)
    early = cluster.nodes["d"].is_removed
    known = cluster["d"].configuration
    role = cluster["a"].state.role
    assert isinstance(role, Leader)
    role.progress["b"].rewind(3)  # what was lost is sent again
    beat(cluster, 3)

    assert (False, ("d",)) == (early, known.retired)
    assert cluster.nodes["d"].is_removed


def test_a_learner_that_is_told_to_campaign_does_not() -> None:
    cluster = Cluster(3, learners=["l"])
    cluster.elect("a")
    cluster.deliver(TimeoutNow(1, "a", "l"))

    assert "follower" == cluster["l"].role
