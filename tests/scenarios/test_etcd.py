"""What etcd's raft_test.go and TiKV's test_raft.rs try beyond the paper, told anew.

Only what no other test of ours has; docs/correctness.md says where the rest is.
"""

import msgspec
import pytest

from liferaft.raft.config import RaftConfig
from liferaft.raft.effects import Accepted, TransferEnded
from liferaft.raft.events import Received, SnapshotFetched
from liferaft.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from liferaft.raft.types import Configuration, Entry, EntryKind, HardState, NodeId, Snapshot
from tests.raft.harness import Cluster, core_of, entries_of, has_entries, sent

ABC = ("a", "b", "c")


def lead(size: int = 3, *, config: RaftConfig | None = None) -> Cluster:
    """Return a cluster that "a" leads."""
    cluster = Cluster(size, config=config)
    cluster.elect("a")
    return cluster


def beat(cluster: Cluster, count: int = 1, *, cut: tuple[NodeId, ...] = ()) -> None:
    """Let time pass by a few heartbeats, and everything arrive but to and from who is cut off."""
    for _ in range(count):
        cluster.pass_time(0.05)
        cluster.settle(cut=cut)


# Elections.


def test_everyone_can_lead_in_turn() -> None:
    cluster = Cluster(3)
    for name in "abcabc":
        cluster.elect(name)
        assert [name] == cluster.leaders


def test_newer_logs_that_nobody_committed_are_overwritten() -> None:
    """C led term 2 and crashed with an entry of its own; a, of term 1, must campaign past it."""
    voted = HardState(2, "c")
    cluster = Cluster(
        5,
        logs={"a": [1], "b": [1], "c": [2], "d": [], "e": []},
        hard_states={"a": HardState(1), "b": HardState(1), "c": voted, "d": voted, "e": voted},
    )
    cluster.forget_leader()
    for _ in range(3):
        cluster.time_out("a")
        cluster.settle()
    beat(cluster, 2)

    assert ("leader", [1, 3]) == (
        cluster["a"].role,
        [entry.term for entry in cluster.nodes["a"].log],
    )
    assert all(node.log == cluster.nodes["a"].log for node in cluster.nodes.values())


@pytest.mark.parametrize("is_prevote", [True, False], ids=["pre-vote", "vote"])
@pytest.mark.parametrize("role", ["follower", "pre-candidate", "candidate", "leader"])
def test_a_vote_is_given_from_any_state(role: str, *, is_prevote: bool) -> None:
    """Whoever it is, a later term and a log that is long enough get its vote.

    Unless it hears a leader, or is one: then it takes a transfer to get it.
    """
    cluster = Cluster(3)
    if role != "follower":
        cluster.time_out("a")
    if role == "candidate":
        cluster.settle_prevotes("a")
    if role == "leader":
        cluster.settle()
    assert role == cluster["a"].role
    cluster.bag.clear()
    term = cluster["a"].current_term + 1
    request = RequestVote(term, "b", "a", 9, term - 1, is_prevote, is_transfer=not is_prevote)
    (reply,) = sent(cluster.step("a", Received(request)))

    is_granted = not (is_prevote and role == "leader")
    assert isinstance(reply, RequestVoteReply)
    assert is_granted == reply.is_granted
    assert (term - 1 if is_prevote else term) == cluster["a"].current_term


def test_what_a_deposed_leader_sent_changes_nothing() -> None:
    """Terms 1, 2 and 3 were led by a, b and a; then comes an append of b's."""
    cluster = Cluster(3)
    for name in "aba":
        cluster.elect(name)
    old = AppendEntries(2, "b", "a", 2, 2, entries_of([2], first=3), 3, 1)
    cluster.step("a", Received(old))
    cluster.propose("a", b"x")
    beat(cluster, 2)

    assert "leader" == cluster["a"].role
    assert [1, 2, 3, 3] == [entry.term for entry in cluster.nodes["c"].log]
    assert [b"x"] == cluster.nodes["c"].commands


def test_of_two_candidates_the_one_who_is_heard_leads_and_the_other_follows() -> None:
    """A and c campaign and do not hear each other; who has no majority disturbs nobody later."""
    cluster = Cluster(3)
    cluster.forget_leader()
    cluster.now += cluster.config.election_timeout
    cluster.time_out("a")
    cluster.time_out("c")
    while cluster.bag:
        message = cluster.bag.pop(0)
        if {message.source, message.target} != {"a", "c"}:
            cluster.deliver(message)
    leader = cluster.leaders
    beat(cluster, 10)

    assert 1 == len(leader)
    assert leader == cluster.leaders
    assert 1 == cluster[leader[0]].current_term


def test_the_own_vote_that_is_stored_after_the_election_was_lost_wins_nothing() -> None:
    cluster = Cluster(3)
    cluster.is_disk_fast = False
    cluster.time_out("a")
    cluster.settle_prevotes("a")
    for voter in "bc":
        cluster.step("a", Received(RequestVoteReply(1, voter, "a", is_granted=False)))
    lost = cluster["a"].role
    cluster.store("a")

    assert ("follower", "follower") == (lost, cluster["a"].role)


def test_the_leaders_own_write_counts_for_nothing_when_another_term_has_begun() -> None:
    """Its write ends when it follows b, and must commit nothing."""
    cluster = lead()
    cluster.is_disk_fast = False
    cluster.propose("a", b"x")
    cluster.bag.clear()
    cluster.step("a", Received(AppendEntries(2, "b", "a", 1, 1, (), 1, 1)))
    cluster.store("a")

    assert ("follower", 1) == (cluster["a"].role, cluster["a"].commit_index)


def test_a_node_that_is_stuck_in_a_later_term_is_freed() -> None:
    """Its log is too short to lead, its term too high to follow: the leader must come to it.

    So it stands after an upgrade from nodes without pre-votes, too.
    """
    cluster = Cluster(3, hard_states={"c": HardState(9)})
    cluster.forget_leader()
    cluster.time_out("a")
    cluster.settle(cut=["c"])
    cluster.propose("a", b"x")
    cluster.settle(cut=["c"])
    assert ["a"] == cluster.leaders
    beat(cluster, 40)
    (leader,) = cluster.leaders

    assert cluster[leader].current_term >= 10
    assert [b"x"] == cluster.nodes["c"].commands


def test_the_one_with_the_smaller_term_can_complete_an_election() -> None:
    """C slept through term 2; when its leader is gone, b and c must find each other."""
    cluster = lead()
    beat(cluster, 2, cut=("c",))
    cluster.forget_leader()
    cluster.time_out("b")
    cluster.settle(cut=["c"])
    beat(cluster, 2, cut=("c",))
    assert (["b"], 1) == (cluster.leaders, cluster["c"].current_term)
    cluster.crash("a")
    beat(cluster, 40)

    assert 1 == len(cluster.leaders)
    assert {cluster["b"].current_term} == {cluster["c"].current_term}


# Logs.

FAST_REJECTIONS = [
    ([1, 3, 3, 3, 5, 5, 5, 5], [1, 1, 1, 1, 2, 2], 1),
    ([1, 3, 3, 3, 5, 5], [1, 2, 2, 2, 2, 2], 1),
    ([1, 2, 2, 2, 5], [1, 2, 2, 2, 2, 2, 2, 2], 1),
    ([2, 4, 4, 4, 4], [2, 3, 3, 3, 3, 3, 3], 1),
    ([1, 1, 1, 5], [1, 1, 1, 1, 4, 4, 4], 1),
    ([1, 1, 1, 5], [1, 1, 1, 1, 4], 1),
    ([1, 1, 1, 1, 5, 5], [1, 1, 1, 4, 4, 4, 4], 2),
    ([1, 1, 1, 1, 1, 1], [1, 1], 1),
    ([1, 5, 5, 5, 5, 5], [], 1),
]


@pytest.mark.parametrize(("leader", "follower", "rejections"), FAST_REJECTIONS)
def test_logs_that_differ_meet_after_a_rejection_or_two(
    leader: list[int], follower: list[int], rejections: int
) -> None:
    """Nine pairs, each with another way to differ: both sides skip whole terms."""
    cluster = Cluster(
        3,
        logs={"a": leader, "b": follower, "c": leader},
        hard_states={name: HardState(5) for name in ABC},
    )
    cluster.forget_leader()
    cluster.time_out("a")
    rejected: set[int] = set()
    while cluster.bag:
        message = cluster.bag.pop(0)
        if isinstance(message, AppendEntriesReply) and not message.is_success:
            rejected.add(message.rejected_index)
        cluster.deliver(message)

    assert [*leader, 6] == [entry.term for entry in cluster.nodes["b"].log]
    assert rejections == len(rejected)


def test_appends_that_arrive_in_the_wrong_order_are_all_there_in_the_end() -> None:
    cluster = lead()
    for number in range(8):
        cluster.propose("a", b"%d" % number)
    appends = cluster.take(has_entries)
    for message in reversed(appends):
        cluster.deliver(message)
    beat(cluster, 4)

    assert [b"%d" % number for number in range(8)] == cluster.nodes["b"].commands


# Reads.


def test_a_learner_reads_by_asking_the_leader() -> None:
    cluster = Cluster(3, learners=["l"])
    cluster.elect("a")
    cluster.propose("a", b"x")
    beat(cluster)
    cluster.read("l", 7, may_follow=True)
    cluster.settle()

    assert {7: 2} == cluster.nodes["l"].ready


# Snapshots.


@pytest.mark.parametrize(
    "configuration",
    [
        Configuration(voters=ABC, learners=("l",)),
        Configuration(voters=("a", "b", "d"), voters_outgoing=ABC),
        Configuration(voters=("b", "c"), voters_outgoing=ABC, learners_next=("a",)),
        Configuration(voters=("b", "c"), learners=("a",)),
    ],
    ids=["with a learner", "joint", "on the way to a learner", "a learner itself"],
)
def test_a_snapshot_restores_whatever_configuration_it_was_taken_in(
    configuration: Configuration,
) -> None:
    core = core_of(hard_state=HardState(3))
    snapshot = Snapshot(11, 3, configuration)
    core.step(Received(InstallSnapshot(3, "b", "a", snapshot, 1)), 0.0)
    core.take_effects()
    core.step(SnapshotFetched(snapshot), 0.0)

    assert configuration == core.configuration
    assert (11, 11) == (core.commit_index, core.last_index)


# Transfers.


def test_leadership_goes_to_who_first_needs_a_snapshot() -> None:
    cluster = lead(config=RaftConfig(keep_entries=1))
    for number in range(5):
        cluster.propose("a", b"%d" % number)
        cluster.settle(cut=["c"])
    cluster.take_snapshot("a")
    beat(cluster)
    beat(cluster)
    cluster.transfer("a", "c")
    cluster.fetch("c")
    beat(cluster, 2)

    assert ["c"] == cluster.leaders


def test_a_transfer_back_to_oneself_ends_the_one_under_way() -> None:
    """And proposals are taken again, at once."""
    cluster = lead()
    cluster.crash("b")
    cluster.transfer("a", "b")
    cluster.transfer("a", "a")
    ended = cluster.nodes["a"].transfers

    assert [
        TransferEnded("b", "given up: a shall go on leading"),
        TransferEnded("a", None),
    ] == ended
    assert isinstance(cluster.propose("a", b"x"), Accepted)


def test_who_is_no_member_does_not_campaign_when_told_to() -> None:
    """It learnt of its removal before the wish arrived."""
    members = Configuration(voters=("b", "c"), retired=("a",))
    entry = Entry(1, 1, int(EntryKind.CONFIGURATION), msgspec.msgpack.encode(members))
    core = core_of(hard_state=HardState(1))
    core.step(Received(AppendEntries(1, "b", "a", 0, 0, (entry,), 1, 1)), 0.0)
    core.take_effects()
    core.step(Received(TimeoutNow(1, "b", "a")), 0.0)

    assert ("follower", 1) == (core.role, core.current_term)
