"""Linearizable reads by ReadIndex (trap 44)."""

from liferaft.raft.config import RaftConfig
from liferaft.raft.effects import ReadReady, ReadRejected
from liferaft.raft.events import ReadAsked, Received
from liferaft.raft.messages import AppendEntries, AppendEntriesReply, ReadIndex, RequestVote
from liferaft.raft.reading import REMOTE_READS_MAX
from liferaft.raft.state import Leader
from liferaft.raft.types import Configuration, HardState
from tests.raft.harness import Cluster, sent


def test_a_read_is_answered_after_a_round_of_heartbeats() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.propose("a", b"x")
    cluster.settle()
    cluster.read("a", 7)
    assert {} == cluster.nodes["a"].ready
    cluster.settle()

    assert {7: 2} == cluster.nodes["a"].ready


def test_all_reads_of_a_turn_share_one_round() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    effects = cluster.step("a", ReadAsked(1), ReadAsked(2), ReadAsked(3))
    assert ["b", "c"] == [message.target for message in sent(effects)]
    cluster.settle()

    assert ReadReady((1, 2, 3), 1) in cluster.nodes["a"].effects


def test_answers_to_an_earlier_round_confirm_nothing() -> None:
    """The round must begin after the read arrived: else another leader may have written since."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.heartbeat("a")
    for message in cluster.take(lambda message: isinstance(message, AppendEntries)):
        cluster.deliver(message)
    earlier = cluster.take(lambda message: isinstance(message, AppendEntriesReply))
    cluster.read("a", 7)
    cluster.bag.clear()
    for message in earlier * 2:
        cluster.deliver(message)

    assert len(earlier) == 2
    assert {} == cluster.nodes["a"].ready


def test_a_later_round_confirms_when_the_first_was_lost() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.read("a", 7)
    cluster.bag.clear()
    cluster.heartbeat("a")
    cluster.settle()

    assert {7: 1} == cluster.nodes["a"].ready


def test_a_new_leader_answers_no_read_before_it_committed_in_its_term() -> None:
    """It may not know yet of everything that is committed; the read waits, and is not refused."""
    cluster = Cluster(3, logs={"a": [1, 1], "b": [1, 1], "c": [1, 1]})
    cluster.forget_leader()
    cluster.time_out("a")
    while cluster["a"].role != "leader":
        cluster.deliver(cluster.bag.pop(0))
    cluster.read("a", 7)
    heartbeats = cluster.take(lambda m: isinstance(m, AppendEntries) and not m.entries)
    with_noop = cluster.take(lambda m: isinstance(m, AppendEntries))
    for message in heartbeats:
        cluster.deliver(message)
    cluster.settle()
    assert {} == cluster.nodes["a"].ready
    for message in with_noop:
        cluster.deliver(message)
    cluster.settle()

    assert {7: 3} == cluster.nodes["a"].ready


def test_a_deposed_leader_does_not_answer() -> None:
    """The other side has elected and written; the read must not see the past."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.now += 0.25
    cluster.heartbeat("a")
    cluster.settle(cut=["b", "c"])
    cluster.now += 0.2
    cluster.time_out("b")
    cluster.settle(cut=["a"])
    assert cluster["b"].role == "leader"
    cluster.step("a", ReadAsked(7))
    cluster.settle()

    assert {} == cluster.nodes["a"].ready
    assert any(
        isinstance(effect, ReadRejected) and effect.read_ids == (7,)
        for effect in cluster.nodes["a"].effects
    )


def test_reads_that_wait_are_rejected_when_the_leader_steps_down() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.read("a", 7)
    cluster.step("a", ReadAsked(8))
    cluster.bag.clear()
    cluster.pass_time(1.0)

    assert ReadRejected((7, 8), None) in cluster.nodes["a"].effects


def test_a_follower_names_the_leader() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    effects = cluster.read("b", 7)

    assert [ReadRejected((7,), "a")] == effects


def test_a_single_voter_answers_without_a_message() -> None:
    cluster = Cluster(1, hard_states={"a": HardState(3)})
    cluster.elect("a")
    effects = cluster.read("a", 7)

    assert [ReadReady((7,), 1)] == effects


def test_an_answer_to_a_round_that_never_began_confirms_nothing() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.read("a", 7)
    cluster.bag.clear()
    cluster.step("a", Received(AppendEntriesReply(1, "b", "a", True, 1, 0, 0, 0, 99)))

    assert {} == cluster.nodes["a"].ready


LEASES = RaftConfig(lease_clock_error=0.1)


def lead_with_lease() -> Cluster:
    cluster = Cluster(3, config=LEASES)
    cluster.elect("a")
    cluster.heartbeat("a")
    cluster.settle()
    return cluster


def test_a_lease_answers_without_a_message() -> None:
    cluster = lead_with_lease()
    cluster.read("a", 7, may_use_lease=True)

    assert ({7: 1}, []) == (cluster.nodes["a"].ready, cluster.bag)


def test_without_the_setting_there_are_no_leases() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.heartbeat("a")
    cluster.settle()
    cluster.read("a", 7, may_use_lease=True)

    assert {} == cluster.nodes["a"].ready


def test_trap_45_a_lease_counts_from_when_the_round_began_and_shrinks_by_the_clocks_error() -> None:
    cluster = lead_with_lease()
    began = cluster.now
    cluster.heartbeat("a")
    began = cluster.now
    cluster.now += 0.1  # the answers take their time
    cluster.settle()
    cluster.now = began + 0.3 * 0.9 - 0.001
    cluster.read("a", 1, may_use_lease=True)
    cluster.now = began + 0.3 * 0.9 + 0.001
    cluster.read("a", 2, may_use_lease=True)

    assert {1: 1} == cluster.nodes["a"].ready


def test_trap_45_a_new_leaders_own_grace_is_no_lease() -> None:
    """That the others voted for it does not say that they would vote for nobody else now."""
    cluster = Cluster(3, config=LEASES)
    cluster.forget_leader()
    cluster.time_out("a")
    while cluster["a"].role != "leader":
        cluster.deliver(cluster.bag.pop(0))
    cluster.read("a", 1, may_use_lease=True)

    assert {} == cluster.nodes["a"].ready


def test_trap_45_a_new_voters_grace_is_no_lease() -> None:
    """Nobody who has not answered yet can have promised anything."""
    cluster = lead_with_lease()
    cluster.change("a", Configuration(voters=("a", "d", "e")))
    cluster.read("a", 1, may_use_lease=True)

    assert {} == cluster.nodes["a"].ready


def test_trap_45_once_somebody_was_told_to_campaign_there_is_no_lease_in_that_term() -> None:
    """The wish may arrive long after it was given up."""
    cluster = lead_with_lease()
    cluster.transfer("a", "b")
    cluster.bag.clear()
    for _ in range(10):
        cluster.pass_time(0.05)
        cluster.take(lambda message: type(message).__name__ == "TimeoutNow")
        cluster.settle()
    assert ["a"] == cluster.leaders
    cluster.read("a", 1, may_use_lease=True)

    assert {} == cluster.nodes["a"].ready


def test_trap_45_who_has_just_started_helps_nobody_into_office() -> None:
    """It may have answered a heartbeat just before it stopped, and a lease may rest on that."""
    cluster = lead_with_lease()
    cluster.crash("b")
    cluster.restart("b")
    cluster.now += 0.2
    cluster.deliver(RequestVote(2, "c", "b", 9, 1))
    refusal = cluster.bag.pop()
    cluster.now += 0.2
    cluster.deliver(RequestVote(2, "c", "b", 9, 1))

    assert not refusal.is_granted  # type: ignore[union-attr] # it is the answer to the request
    assert cluster.bag[-1].is_granted  # type: ignore[union-attr] # as above


def test_a_follower_reads_by_asking_its_leader() -> None:
    cluster = lead_with_lease()
    cluster.propose("a", b"x")
    cluster.settle()
    cluster.read("b", 5, may_follow=True)
    cluster.settle()

    assert {5: 2} == cluster.nodes["b"].ready


def test_a_follower_asks_again_until_it_is_answered() -> None:
    cluster = lead_with_lease()
    cluster.read("b", 5, may_follow=True)
    cluster.bag.clear()
    cluster.pass_time(0.051)
    cluster.settle()

    assert {5: 1} == cluster.nodes["b"].ready


def test_trap_44_a_repeated_request_is_answered_by_a_round_of_its_own() -> None:
    """Nor does an answer to an earlier life of the follower pass for one to this one."""
    cluster = lead_with_lease()
    cluster.read("b", 5, may_follow=True)
    old = cluster.take(lambda message: isinstance(message, ReadIndex))
    for message in old:
        cluster.deliver(message)
    late = []
    while cluster.bag:
        message = cluster.bag.pop(0)
        if message.target == "b":
            late.append(message)
        else:
            cluster.deliver(message)
    cluster.crash("b")
    cluster.restart("b")
    cluster.propose("a", b"x")
    cluster.settle()
    cluster.heartbeat("a")
    cluster.settle()
    cluster.read("b", 5, may_follow=True)
    for message in late:
        cluster.deliver(message)
    early = dict(cluster.nodes["b"].ready)
    cluster.settle()

    assert {} == early
    assert {5: 2} == cluster.nodes["b"].ready


def test_when_the_leader_changes_what_was_passed_on_is_refused() -> None:
    cluster = lead_with_lease()
    cluster.read("b", 5, may_follow=True)
    cluster.bag.clear()
    cluster.now += 1.0
    cluster.time_out("b")

    assert ReadRejected((5,), None) in cluster.nodes["b"].effects


def test_a_learner_whose_leader_fell_silent_refuses_what_it_passed_on() -> None:
    """It cannot campaign, so nothing else would ever tell who waits that there is no answer."""
    cluster = Cluster(3, learners=["l"])
    cluster.elect("a")
    cluster.heartbeat("a")
    cluster.settle()
    cluster.read("l", 5, may_follow=True)
    for _ in range(20):
        cluster.bag.clear()
        cluster.pass_time(0.05)

    assert ReadRejected((5,), None) in cluster.nodes["l"].effects


def test_a_follower_is_asked_for_nothing_unless_it_may() -> None:
    cluster = lead_with_lease()
    cluster.read("b", 5)

    assert ReadRejected((5,), "a") in cluster.nodes["b"].effects


def test_the_requests_of_followers_that_wait_are_bounded() -> None:
    """A follower whose repeats pile up costs a leader no memory; what is beyond is asked again."""
    cluster = Cluster(3)
    cluster.forget_leader()
    cluster.time_out("a")
    while cluster["a"].role != "leader":
        cluster.deliver(cluster.bag.pop(0))
    role = cluster["a"].state.role
    assert isinstance(role, Leader)
    for number in range(REMOTE_READS_MAX + 10):
        cluster["a"].step(Received(ReadIndex(1, "b", "a", number)), cluster.now)

    assert REMOTE_READS_MAX == len(role.remote_reads_asked)


def test_trap_44_there_is_no_lease_before_an_entry_of_the_own_term_is_committed() -> None:
    """Heartbeats are answered before anything is stored, and say nothing of what is committed."""
    cluster = Cluster(3, config=LEASES)
    cluster.forget_leader()
    cluster.time_out("a")
    while cluster["a"].role != "leader":
        cluster.deliver(cluster.bag.pop(0))
    cluster.is_disk_fast = False
    cluster.settle()
    for _ in range(2):
        cluster.heartbeat("a")
        cluster.settle()
    cluster.read("a", 1, may_use_lease=True)

    assert (0, {}) == (cluster["a"].commit_index, cluster.nodes["a"].ready)
