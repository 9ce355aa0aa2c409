"""Figure 2, Leaders: sending, answers, flow control, check-quorum."""

from random import Random

import msgspec
import pytest

from liferaft.errors import InvariantViolated
from liferaft.raft.config import RaftConfig
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Accepted, Persist, Rejected, Send
from liferaft.raft.events import Proposed, Received, Stored, TimePassed
from liferaft.raft.log import LogSummary
from liferaft.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    Message,
    RequestVoteReply,
)
from liferaft.raft.state import Leader
from liferaft.raft.statistics import FollowerStatistics
from liferaft.raft.types import Configuration, Entry, EntryKind, HardState, Snapshot, TermRun
from tests.raft.harness import Cluster, has_entries, sent


def follower(cluster: Cluster, node_id: str) -> FollowerStatistics:
    """Return how the leader sees a follower."""
    followers = cluster[cluster.leaders[0]].statistics().followers
    (found,) = [follower for follower in followers if follower.node_id == node_id]
    return found


def appends(messages: list[Message], target: str) -> list[AppendEntries]:
    return [m for m in messages if isinstance(m, AppendEntries) and m.target == target]


def test_a_new_leader_sends_heartbeats_and_appends_a_noop() -> None:
    cluster = Cluster(3)
    cluster.forget_leader()
    cluster.time_out("a")
    while cluster["a"].role != "leader":
        cluster.deliver(cluster.bag.pop(0))
    noop = Entry(1, 1, int(EntryKind.NOOP), b"")
    heartbeat, with_noop = appends(cluster.bag, "b")

    assert () == heartbeat.entries
    assert (noop,) == with_noop.entries


def test_the_noop_is_applied_once_and_is_no_command() -> None:
    """Trap 21."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.elect("b")
    cluster.heartbeat("b")
    cluster.settle()

    for node in cluster.nodes.values():
        applied = [(entry.index, entry.kind) for entry in node.applied]
        assert [(1, EntryKind.NOOP), (2, EntryKind.NOOP)] == applied
        assert [] == node.commands


def test_all_proposed_between_two_takings_leaves_in_one_message_and_one_write() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    effects = cluster.step("a", Proposed((b"1", b"2")), Proposed((b"3",)))
    persists = [effect for effect in effects if isinstance(effect, Persist)]

    assert [Accepted(1, 2, 2), Accepted(1, 4, 1)] == [e for e in effects if type(e) is Accepted]
    assert [3] == [len(persist.entries) for persist in persists]
    assert [3] == [len(message.entries) for message in appends(sent(effects), "b")]


def test_the_leader_sends_before_its_own_write_is_stored() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    effects = cluster.step("a", Proposed((b"1",)))

    assert {0} == {effect.after for effect in effects if isinstance(effect, Send)}


def test_a_large_batch_is_split_and_a_large_entry_travels_alone() -> None:
    """Trap 18."""
    cluster = Cluster(3, config=RaftConfig(append_bytes_max=100))
    cluster.elect("a")
    effects = cluster.step("a", Proposed((b"x" * 20, b"x" * 20, b"x" * 500, b"x")))
    sizes = [[len(e.data) for e in m.entries] for m in appends(sent(effects), "b")]

    assert [[20], [20], [500], [1]] == sizes


def test_followers_are_sent_to_without_waiting_up_to_the_limit_in_flight() -> None:
    cluster = Cluster(3, config=RaftConfig(inflight_messages_max=3))
    cluster.elect("a")
    cluster.bag.clear()
    for number in range(5):
        cluster.propose("a", b"%d" % number)
    assert [2, 3, 4] == [m.entries[0].index for m in appends(cluster.bag, "b")]
    cluster.settle()

    assert (6, 0) == (follower(cluster, "b").match_index, follower(cluster, "b").inflight_messages)


def test_a_lost_message_in_the_pipeline_is_found_and_repaired() -> None:
    """Trap 19: the answer to the message behind it rewinds."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.propose("a", b"lost")
    cluster.take(lambda message: message.target == "b")
    cluster.propose("a", b"arrives")
    cluster.settle()

    assert follower(cluster, "b").match_index == 3


def test_the_last_message_of_a_pipeline_may_be_lost_too() -> None:
    """Trap 19: nothing is behind it, so the next heartbeat shows the gap."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.propose("a", b"lost")
    cluster.take(lambda message: message.target == "b")
    cluster.settle()
    assert follower(cluster, "b").match_index == 1
    cluster.heartbeat("a")
    cluster.settle()

    assert follower(cluster, "b").match_index == 2


def test_a_full_pipeline_whose_answers_were_all_lost_flows_again() -> None:
    """Trap 19: the next heartbeat is answered with all that is stored."""
    cluster = Cluster(3, config=RaftConfig(inflight_messages_max=2))
    cluster.elect("a")
    for number in range(4):
        cluster.propose("a", b"%d" % number)
    for message in cluster.take(lambda message: message.target == "b"):
        cluster.deliver(message)
    cluster.take(lambda message: message.source == "b")
    cluster.heartbeat("a")
    cluster.settle()

    assert follower(cluster, "b").match_index == 5


def test_many_rejections_in_flight_rewind_once() -> None:
    """Trap 19: the entries are sent again once, not once for every rejection."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.propose("a", b"lost")
    cluster.take(lambda message: message.target == "b")
    for number in range(5):
        cluster.propose("a", b"%d" % number)
    for message in cluster.take(lambda message: message.target == "b"):
        cluster.deliver(message)
    rejections = cluster.take(lambda message: message.source == "b")
    cluster.bag.clear()
    for message in rejections:
        cluster.deliver(message)

    assert len(rejections) == 5
    assert [6] == [len(message.entries) for message in appends(cluster.bag, "b")]


def test_a_stale_hint_moves_nothing() -> None:
    """Trap 20: neither next_index up nor match_index down."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.propose("a", b"1", b"2")
    cluster.settle()
    before = follower(cluster, "b")
    for rejected_index, conflict_index in ((0, 0), (2, 9), (3, 1), (9, 9)):
        stale = AppendEntriesReply(
            term=1,
            source="b",
            target="a",
            is_success=False,
            match_index=0,
            rejected_index=rejected_index,
            conflict_term=1,
            conflict_index=conflict_index,
            round=1,
        )
        cluster.step("a", Received(stale))

    assert before == follower(cluster, "b")


def test_whole_terms_are_skipped_when_logs_differ() -> None:
    """Section 5.3: one rejection for each term, not one for each entry."""
    cluster = Cluster(
        3,
        logs={
            "a": [1] * 5 + [3] * 40 + [6] * 40,
            "b": [1] * 5 + [2] * 30 + [4] * 30 + [5] * 30,
            "c": [1] * 5,
        },
    )
    cluster.forget_leader()
    cluster.time_out("a")
    rejections = 0
    while cluster.bag:
        message = cluster.bag.pop(0)
        rejections += isinstance(message, AppendEntriesReply) and not message.is_success
        cluster.deliver(message)

    assert rejections <= 2 * 3
    assert cluster.nodes["a"].log == cluster.nodes["b"].log == cluster.nodes["c"].log


def test_proposals_beyond_the_queue_are_turned_away_as_overload() -> None:
    cluster = Cluster(3, config=RaftConfig(uncommitted_bytes_max=300_000))
    cluster.elect("a")
    assert isinstance(cluster.propose("a", b"x" * 400_000), Accepted)
    assert Rejected(leader="a", is_overloaded=True) == cluster.propose("a", b"x")
    cluster.settle()

    assert isinstance(cluster.propose("a", b"x"), Accepted)


def test_a_leader_without_answers_steps_down() -> None:
    """Trap 6: it can send, but hears nobody."""
    cluster = Cluster(3)
    cluster.elect("a")
    for _ in range(7):
        cluster.pass_time(0.05)
        cluster.settle(cut=["a"])

    assert ("follower", None) == (cluster["a"].role, cluster["a"].leader)


def test_a_leader_that_one_of_two_followers_answers_stays() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    for _ in range(40):
        cluster.pass_time(0.05)
        cluster.settle(cut=["c"])

    assert cluster["a"].role == "leader"


def test_waking_a_leader_early_sends_nothing() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.now = cluster["a"].deadline - 0.01

    assert [] == cluster.step("a", TimePassed())


def test_a_learners_answers_keep_no_leader_in_office() -> None:
    """Trap 6."""
    cluster = Cluster(3, learners=["l"])
    cluster.elect("a")
    for _ in range(7):
        cluster.pass_time(0.05)
        cluster.settle(cut=["b", "c"])

    assert cluster["a"].role == "follower"


def test_answers_to_old_rounds_keep_no_leader_in_office() -> None:
    """Trap 6: repeated answers are no contact."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.heartbeat("a")
    cluster.bag = [message for message in cluster.bag if message.target == "b"]
    cluster.deliver(cluster.bag.pop())
    (old,) = cluster.bag
    for _ in range(20):
        cluster.pass_time(0.02)
        cluster.deliver(old)
        cluster.bag.clear()

    assert cluster["a"].role == "follower"


def test_after_a_pause_a_leader_looks_at_the_clock_before_it_acts() -> None:
    """Trap 8: whatever event comes first."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.now += 10.0
    answer = cluster.propose("a", b"too late")

    assert Rejected(leader=None) == answer
    assert cluster["a"].role == "follower"


def test_a_follower_that_claims_what_was_never_written_stops_the_leader() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.heartbeat("a")
    cluster.deliver(cluster.bag.pop())
    reply = cluster.bag.pop()
    assert isinstance(reply, AppendEntriesReply)

    with pytest.raises(InvariantViolated, match="stores 99 of this leader's 1 entries"):
        cluster.deliver(msgspec.structs.replace(reply, match_index=99))


def test_strangers_are_not_listened_to() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    reply = AppendEntriesReply(1, "z", "a", True, 99, 0, 0, 0, 1)
    cluster.step("a", Received(reply))

    assert cluster["a"].role == "leader"


def test_heartbeats_go_on_while_the_pipeline_is_full() -> None:
    """Trap 9."""
    cluster = Cluster(3, config=RaftConfig(inflight_messages_max=1))
    cluster.elect("a")
    cluster.propose("a", b"1")
    cluster.propose("a", b"2")
    cluster.now = cluster["a"].deadline
    effects = cluster.step("a", TimePassed())

    assert {"b", "c"} == {message.target for message in sent(effects)}
    assert not any(has_entries(message) for message in sent(effects))


def test_a_follower_far_behind_is_served_from_disk() -> None:
    """Memory keeps a bounded tail, however far a follower lags."""
    cluster = Cluster(3, config=RaftConfig(tail_bytes_max=500, read_bytes_max=300))
    cluster.elect("a")
    for number in range(50):
        cluster.propose("a", b"%050d" % number)
        cluster.settle(cut=["c"])
    assert cluster["a"].statistics().tail_bytes <= 500
    cluster.heartbeat("a")
    cluster.settle()

    assert 51 == follower(cluster, "c").match_index
    assert cluster.nodes["a"].log == cluster.nodes["c"].log


def test_rounds_too_old_to_prove_anything_are_forgotten() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    for _ in range(100):
        cluster.heartbeat("a")
        cluster.settle()
    role = cluster["a"].state.role
    assert isinstance(role, Leader)

    assert 101 == role.round
    assert len(role.round_started) <= 8


def test_a_follower_that_lacks_what_was_compacted_is_offered_the_snapshot() -> None:
    snapshot = Snapshot(3, 1, Configuration(voters=("a", "b")))
    core = RaftCore(
        "a",
        RaftConfig(),
        Configuration(voters=("a", "b")),
        HardState(2),
        LogSummary(first=4, last=4, runs=(TermRun(2, 4),), prior_term=1),
        now=0.0,
        random=Random(1),
        snapshot=snapshot,
    )
    core.step(TimePassed(), core.deadline)
    core.step(Received(RequestVoteReply(3, "b", "a", is_granted=True, is_prevote=True)), 1.0)
    core.take_effects()
    core.step(Stored(1), 1.0)
    core.step(Received(RequestVoteReply(3, "b", "a", is_granted=True)), 1.0)
    for prev_log_index in (4, 3, 3):
        core.take_effects()
        rejection = AppendEntriesReply(3, "b", "a", False, 0, prev_log_index, 0, 0, 1)
        core.step(Received(rejection), 1.0)

    core.take_effects()
    core.step(TimePassed(), core.deadline)

    assert [InstallSnapshot(3, "a", "b", snapshot, 2)] == sent(core.take_effects())
    assert "snapshot" == core.statistics().followers[0].state


def test_trap_10_a_leader_whose_disk_has_stopped_does_not_keep_the_others_quiet() -> None:
    """Heartbeats need no disk, so nobody else would ever campaign."""
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.is_disk_fast = False
    cluster.propose("a", b"x")
    for _ in range(120):
        cluster.pass_time(0.05)
        for name in ("b", "c"):
            cluster.store(name)
        cluster.settle()
    (leader,) = cluster.leaders

    assert leader in {"b", "c"}, "nor does it come back while its disk stands still"


def test_alone_a_leader_waits_for_its_disk() -> None:
    """Nobody else could lead."""
    cluster = Cluster(1)
    cluster.elect("a")
    cluster.is_disk_fast = False
    cluster.propose("a", b"x")
    cluster.pass_time(10.0)

    assert ["a"] == cluster.leaders
