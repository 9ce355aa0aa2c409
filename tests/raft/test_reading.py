"""Linearizable reads by ReadIndex (trap 44)."""

from liferaft.raft.effects import ReadReady, ReadRejected
from liferaft.raft.events import ReadAsked, Received
from liferaft.raft.messages import AppendEntries, AppendEntriesReply
from liferaft.raft.types import HardState
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
