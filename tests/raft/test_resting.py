"""Groups that rest: when a leader has nothing to say, and what vouches for it meanwhile."""

import pytest

from liferaft.raft.config import RaftConfig
from liferaft.raft.effects import RoleChanged
from liferaft.raft.events import (
    PeerAlive,
    Proposed,
    ReadAsked,
    Received,
    TimePassed,
    TransferAsked,
)
from liferaft.raft.messages import (
    AppendEntries,
    InstallSnapshotReply,
    ReadIndex,
    RequestVote,
    RequestVoteReply,
)
from liferaft.raft.types import Configuration, NodeId
from tests.raft.harness import Cluster, has_entries, sent

LONG = 60.0


def rest(size: int = 3, *, config: RaftConfig | None = None) -> Cluster:
    """Return a cluster that "a" leads, in which nothing is left to be said."""
    cluster = Cluster(size, config=config)
    cluster.elect("a")
    cluster.propose("a", b"x")
    cluster.settle()
    cluster.heartbeat("a")
    cluster.settle()
    assert cluster["a"].may_rest()
    return cluster


def vouch(cluster: Cluster, node_id: NodeId, peer: NodeId, at: float | None = None) -> None:
    """Step a sign of life of a peer."""
    term = cluster[node_id].current_term
    cluster.step(node_id, PeerAlive(peer, term, cluster.now if at is None else at))


def test_a_leader_rests_when_everybody_knows_that_everything_is_committed() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.propose("a", b"x")
    cluster.settle()
    is_committed = cluster["a"].commit_index == cluster["a"].last_index
    before_it_was_told = cluster["a"].may_rest()
    cluster.heartbeat("a")
    before_it_was_answered = cluster["a"].may_rest()
    cluster.settle()

    assert is_committed
    assert not before_it_was_told
    assert not before_it_was_answered
    assert cluster["a"].may_rest()
    assert [2, 2, 2] == [cluster[node].commit_index for node in "abc"]


def test_only_a_leader_rests() -> None:
    cluster = rest()

    assert [False, False] == [cluster[node].may_rest() for node in "bc"]


def test_a_leader_does_not_rest_while_a_follower_lacks_something_unless_that_one_is_absent() -> (
    None
):
    cluster = rest()
    cluster.propose("a", b"y")
    cluster.settle(cut=["c"])
    cluster.heartbeat("a")
    cluster.settle(cut=["c"])

    assert not cluster["a"].may_rest()
    assert cluster["a"].may_rest({"c"})
    assert not cluster["a"].may_rest({"b"})


def test_a_leader_does_not_rest_when_it_takes_a_quorum_for_absent() -> None:
    cluster = rest()
    cluster.propose("a", b"y")
    cluster.settle(cut=["b", "c"])

    assert not cluster["a"].may_rest({"b", "c"})


def test_a_leader_does_not_rest_with_reads_proposals_or_a_transfer_under_way() -> None:
    for disturbance in (ReadAsked(7), Proposed((b"y",)), TransferAsked("b")):
        cluster = rest()
        cluster.step("a", disturbance)

        assert not cluster["a"].may_rest()


def test_a_leader_does_not_rest_before_a_change_of_the_members_has_ended() -> None:
    cluster = rest()
    cluster.change("a", Configuration(voters=("a", "b")))
    cluster.settle()
    during = cluster["a"].may_rest()
    for _ in range(80):  # until it is given up on "c", which has ended without a word
        cluster.pass_time(0.05)
        cluster.settle()

    assert not during
    assert cluster["a"].may_rest()


def test_a_removed_node_is_given_up_on_though_its_machine_is_alive() -> None:
    cluster = rest()
    cluster.change("a", Configuration(voters=("a", "b")))
    cluster.settle(cut=["c"])
    for _ in range(80):
        vouch(cluster, "a", "c")
        cluster.pass_time(0.05)
        cluster.settle(cut=["c"])

    assert cluster["a"].may_rest()


def test_a_leader_that_another_outranks_does_not_rest() -> None:
    cluster = rest()
    cluster.change("a", Configuration(voters=("a", "b", "c"), priorities=(("c", 1),)))
    cluster.settle(cut=["c"])
    cluster.heartbeat("a")
    cluster.settle(cut=["c"])

    assert not cluster["a"].may_rest({"c"})


def test_a_follower_for_whose_leader_somebody_vouches_does_not_campaign() -> None:
    cluster = rest()
    cluster.now += LONG
    vouch(cluster, "b", "a")
    effects = cluster.step("b", TimePassed())

    assert [] == sent(effects)
    assert ("follower", "a") == (cluster["b"].role, cluster["b"].leader)
    assert cluster.now < cluster["b"].deadline


@pytest.mark.parametrize(("peer", "term_offset"), [("c", 0), ("a", -1), ("a", 1)])
def test_nobody_else_and_no_other_term_is_vouched_for(peer: NodeId, term_offset: int) -> None:
    cluster = rest()
    cluster.now += LONG
    term = cluster["b"].current_term + term_offset
    cluster.step("b", PeerAlive(peer, term, cluster.now), TimePassed())

    assert "pre-candidate" == cluster["b"].role
    assert term - term_offset == cluster["b"].current_term


def test_the_silence_of_a_leader_counts_from_when_it_was_last_alive() -> None:
    cluster = rest()
    cluster.now += LONG
    vouch(cluster, "b", "a", at=cluster.now - 0.25)

    timeout = cluster.config.election_timeout
    assert cluster.now - 0.25 + timeout <= cluster["b"].deadline < cluster.now - 0.25 + 2 * timeout


def test_an_old_sign_of_life_takes_back_no_newer_one() -> None:
    cluster = rest()
    cluster.now += LONG
    vouch(cluster, "b", "a")
    deadline = cluster["b"].deadline
    vouch(cluster, "b", "a", at=cluster.now - 10)

    assert deadline == cluster["b"].deadline


def test_a_follower_refuses_others_its_vote_while_its_leader_is_vouched_for() -> None:
    cluster = rest()
    cluster.now += LONG
    vouch(cluster, "b", "a")
    request = RequestVote(9, "c", "b", 99, 8, is_prevote=True)
    (reply,) = sent(cluster.step("b", Received(request)))

    assert isinstance(reply, RequestVoteReply)
    assert not reply.is_granted


def test_a_leader_that_wakes_leads_on_if_a_quorum_is_vouched_for() -> None:
    cluster = rest()
    cluster.now += LONG
    vouch(cluster, "a", "b")
    cluster.propose("a", b"y")
    cluster.settle()

    assert [b"x", b"y"] == cluster.nodes["a"].commands
    assert ["a"] == cluster.leaders


def test_a_leader_that_wakes_alone_leads_no_more() -> None:
    """Check-quorum (D§6.2): somebody else may have been elected meanwhile."""
    cluster = rest(5)
    cluster.now += LONG
    vouch(cluster, "a", "b")
    cluster.step("a", TimePassed())

    assert "follower" == cluster["a"].role
    assert RoleChanged("follower", 1, None) in cluster.nodes["a"].effects


def test_leadership_is_handed_over_at_once_to_one_who_is_vouched_for() -> None:
    cluster = rest()
    cluster.now += LONG
    vouch(cluster, "a", "c")
    cluster.step("a", TransferAsked())
    cluster.settle()

    assert ["c"] == cluster.leaders


def test_signs_of_life_answer_no_read() -> None:
    """They do not tell that nobody else was elected: only a round of heartbeats does."""
    cluster = rest()
    cluster.now += LONG
    vouch(cluster, "a", "b")
    cluster.read("a", 7)
    vouch(cluster, "a", "b")
    vouch(cluster, "a", "c")
    early = dict(cluster.nodes["a"].ready)
    cluster.settle()

    assert {} == early
    assert {7: 2} == cluster.nodes["a"].ready


def test_signs_of_life_give_no_lease() -> None:
    cluster = rest(config=RaftConfig(lease_clock_error=0.1))
    cluster.read("a", 1, may_use_lease=True)
    with_lease = dict(cluster.nodes["a"].ready)
    cluster.now += LONG
    vouch(cluster, "a", "b")
    vouch(cluster, "a", "c")
    cluster.read("a", 2, may_use_lease=True)

    assert {1: 2} == with_lease
    assert 2 not in cluster.nodes["a"].ready


def test_a_sign_of_life_from_the_future_buys_no_time() -> None:
    cluster = rest()
    cluster.now += LONG
    vouch(cluster, "b", "a", at=cluster.now + LONG)

    assert cluster["b"].deadline < cluster.now + 2 * cluster.config.election_timeout


def test_a_leader_does_not_rest_with_reads_that_it_was_asked_in_this_very_turn() -> None:
    for event in (ReadAsked(7), Received(ReadIndex(1, "b", "a", 7))):
        cluster = rest()
        cluster["a"].step(event, cluster.now)

        assert not cluster["a"].may_rest()


def test_a_leader_does_not_rest_before_it_has_stored_itself_what_the_others_have() -> None:
    cluster = rest()
    cluster.is_disk_fast = False
    cluster.propose("a", b"y")
    for _ in range(3):
        cluster.settle()
        cluster.store("b")
        cluster.store("c")
    cluster.heartbeat("a")
    cluster.settle()
    before = cluster["a"].may_rest()
    cluster.store("a")

    assert cluster["a"].commit_index == cluster["a"].last_index == 3
    assert not before
    assert cluster["a"].may_rest()


def test_a_leader_does_not_rest_before_it_has_given_out_what_is_committed() -> None:
    cluster = rest()
    cluster["a"].state.last_applied -= 1

    assert not cluster["a"].may_rest()


def test_that_a_quorum_is_absent_does_not_stand_for_its_answers() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.propose("a", b"x")
    cluster.settle()
    cluster.heartbeat("a")

    assert not cluster["a"].may_rest({"b", "c"})


def test_a_leader_does_not_rest_while_one_who_was_removed_may_not_know_it() -> None:
    cluster = rest()
    cluster.change("a", Configuration(voters=("a", "b")))
    cluster.settle(cut=["c"])
    cluster.heartbeat("a")
    cluster.settle(cut=["c"])

    assert not cluster["a"].may_rest({"c"})


def test_who_was_offered_a_snapshot_instead_of_being_told_of_the_commit_does_not_know() -> None:
    """An offer tells of nothing behind the snapshot; its entries came late here, too."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.heartbeat("a")
    cluster.settle()
    cluster.propose("a", b"x")
    late = cluster.take(lambda message: message.target == "c" and has_entries(message))
    cluster.settle()
    cluster.heartbeat("a")
    [told] = cluster.take(lambda message: message.target == "c")
    assert isinstance(told, AppendEntries)
    offered = InstallSnapshotReply(
        told.term, "c", "a", snapshot_index=1, match_index=1, is_failed=False, round=told.round
    )
    for message in late:
        cluster.deliver(message)
    success = cluster.take(lambda message: message.source == "c")
    cluster.settle()
    for message in (offered, *success):
        cluster.deliver(message)
    before = (cluster["a"].may_rest(), cluster["c"].commit_index)
    cluster.heartbeat("a")
    cluster.settle()

    assert (False, 1) == before
    assert (True, 2) == (cluster["a"].may_rest(), cluster["c"].commit_index)


def test_who_refused_the_round_that_told_of_the_commit_does_not_know_of_it() -> None:
    """Its entries came late: by the heartbeat after them it learns what it refused to hear."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.heartbeat("a")
    cluster.settle()
    cluster.propose("a", b"x")
    late = cluster.take(lambda message: message.target == "c" and has_entries(message))
    cluster.settle()
    cluster.heartbeat("a")
    for message in cluster.take(lambda message: message.target == "c"):
        cluster.deliver(message)
    refusal = cluster.take(lambda message: message.source == "c")
    for message in late:
        cluster.deliver(message)
    success = cluster.take(lambda message: message.source == "c")
    cluster.settle()
    for message in (*success, *refusal):
        cluster.deliver(message)
    before = (cluster["a"].may_rest(), cluster["c"].commit_index)
    cluster.heartbeat("a")
    cluster.settle()

    assert (False, 1) == before
    assert (True, 2) == (cluster["a"].may_rest(), cluster["c"].commit_index)
