"""The term gate, dispatch, role changes, effects of several events, and memory."""

import typing
from random import Random

import pytest

from liferaft.errors import ConfigurationError, InvariantViolated
from liferaft.raft.config import RaftConfig
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Apply, Persist, ReadEntries, Rejected, RoleChanged, Send
from liferaft.raft.events import EntriesRead, Event, Proposed, Received, Stored, TimePassed
from liferaft.raft.messages import AppendEntries, Message, RequestVote
from liferaft.raft.types import Configuration, HardState, Snapshot
from tests.raft.harness import Cluster, core_of, entries_of, summary_of


def heartbeat(source: str, *, term: int, target: str = "a") -> AppendEntries:
    return AppendEntries(term, source, target, 0, 0, (), 0, 1)


def test_every_event_and_every_message_has_a_handler() -> None:
    core = core_of()

    assert set(typing.get_args(Event)) == set(core._handle_event)
    assert set(typing.get_args(Message)) == set(core._rules._handle_message)


def test_a_core_starts_as_a_follower_with_a_deadline_and_nothing_to_do() -> None:
    core = core_of(terms=[1, 2])

    assert ("follower", 2, None, 0) == (
        core.role,
        core.current_term,
        core.leader,
        core.commit_index,
    )
    assert 0.3 <= core.deadline < 0.6
    assert [] == core.take_effects()


def test_settings_and_configuration_are_checked_at_the_start() -> None:
    with pytest.raises(ConfigurationError):
        core_of(config=RaftConfig(election_timeout=0.0))
    with pytest.raises(ConfigurationError):
        core_of(voters=(), learners=("a",))


def test_a_node_that_waits_to_be_added_never_campaigns() -> None:
    core = core_of(voters=())
    for _ in range(10):
        core.step(TimePassed(), core.deadline)

    assert ("follower", []) == (core.role, core.take_effects())


def test_a_log_of_a_later_term_than_the_nodes_own_is_refused() -> None:
    """Trap 39: no entry of term T may be on disk before the node's own term is T there."""
    with pytest.raises(InvariantViolated, match="the log is of term 2, the node of 1"):
        core_of(terms=[1, 2], hard_state=HardState(1))


@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
def test_a_higher_term_makes_a_follower_of_everyone(role: str) -> None:
    """Section 5.1."""
    cluster = Cluster(3)
    if role != "follower":
        cluster.forget_leader()
        cluster.time_out("a")
        cluster.settle(cut=[] if role == "leader" else ["b"])
    cluster.bag.clear()
    cluster.step("a", Received(heartbeat("b", term=9)))

    assert ("follower", 9, "b") == (
        cluster["a"].role,
        cluster["a"].current_term,
        cluster["a"].leader,
    )


def test_a_refused_append_brings_the_higher_term_to_the_leader() -> None:
    """A node that campaigned in vain has a higher term; its leader must go above it."""
    cluster = Cluster(3, hard_states={"c": HardState(7)})
    cluster.forget_leader()
    cluster.time_out("a")
    cluster.settle(cut=["c"])
    assert cluster["a"].role == "leader"
    cluster.heartbeat("a")
    cluster.settle()

    assert ("follower", 7) == (cluster["a"].role, cluster["a"].current_term)


def test_two_leaders_of_one_term_stop_the_node() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    with pytest.raises(InvariantViolated, match="b leads in term 1 as well"):
        cluster.step("a", Received(heartbeat("b", term=1)))
    with pytest.raises(InvariantViolated, match="a and c both lead in term 1"):
        cluster.step("b", Received(heartbeat("c", term=1, target="b")))


@pytest.mark.parametrize(
    "message",
    [
        heartbeat("b", term=5, target="z"),
        heartbeat("a", term=5),
        AppendEntries(5, "b", "a", -3, 0, (), 0, 1),
    ],
)
def test_what_is_not_for_this_node_or_unsound_is_dropped_and_counted(message: Message) -> None:
    core = core_of()
    core.step(Received(message), 0.0)

    assert [] == core.take_effects()
    assert (0, 1) == (core.current_term, core.statistics().unsound_messages)


def test_only_the_leader_and_a_granted_vote_restart_the_timer() -> None:
    """Trap 2: a refused candidate or an old leader must not keep a follower quiet."""
    core = core_of(terms=[4, 4], hard_state=HardState(4))
    deadline = core.deadline
    core.step(Received(RequestVote(9, "b", "a", 1, 1)), 0.1)
    core.step(Received(heartbeat("c", term=8)), 0.2)
    core.step(Received(RequestVote(9, "b", "a", 1, 1, is_prevote=True)), 0.25)
    assert (9, deadline) == (core.current_term, core.deadline)
    core.step(Received(RequestVote(9, "b", "a", 9, 8)), 0.27)

    assert core.deadline >= 0.27 + 0.3


def test_a_refused_append_of_the_current_leader_restarts_the_timer_too() -> None:
    core = core_of(hard_state=HardState(4))
    core.step(Received(AppendEntries(4, "b", "a", 7, 3, (), 0, 1)), 0.29)

    assert core.deadline >= 0.29 + 0.3


def test_waking_early_does_nothing() -> None:
    core = core_of()
    deadline = core.deadline
    core.step(TimePassed(), deadline - 0.01)

    assert ("follower", deadline) == (core.role, core.deadline)


def test_role_changes_are_told_in_the_order_of_the_events() -> None:
    core = core_of()
    core.step(Received(heartbeat("b", term=1)), 0.0)
    core.step(Proposed((b"x",)), 0.0)
    core.step(Received(heartbeat("c", term=2)), 0.0)
    effects = core.take_effects()

    assert [
        RoleChanged("follower", 1, "b"),
        Rejected("b"),
        RoleChanged("follower", 2, "c"),
    ] == effects[:3]


def test_a_single_voter_elects_itself_and_commits_once_its_write_is_stored() -> None:
    """Traps 11 and 16."""
    cluster = Cluster(1)
    cluster.is_disk_fast = False
    cluster.time_out("a")
    assert cluster["a"].role == "candidate"
    cluster.store_one("a")
    assert ("leader", 0) == (cluster["a"].role, cluster["a"].commit_index)
    cluster.store("a")
    cluster.propose("a", b"x")
    assert cluster["a"].commit_index == 1
    cluster.store("a")

    assert [b"x"] == cluster.nodes["a"].commands
    assert [] == cluster.bag


def test_after_a_restart_nothing_is_applied_before_it_is_known_to_be_committed() -> None:
    cluster = Cluster(3, logs={"a": [1, 1], "b": [1, 1], "c": [1]})
    assert [] == cluster["a"].take_effects()
    cluster.elect("a")

    assert [1, 2, 3] == [entry.index for entry in cluster.nodes["a"].applied]


def test_what_is_to_be_applied_and_not_in_memory_is_read_from_disk() -> None:
    cluster = Cluster(3, logs={name: [1] * 30 for name in "abc"}, config=RaftConfig())
    cluster.tail_length = 3
    for name in "abc":
        cluster.restart(name)
    cluster.elect("a")
    cluster.heartbeat("a")
    cluster.settle()

    for node in cluster.nodes.values():
        assert list(range(1, 32)) == [entry.index for entry in node.applied]


def test_one_read_is_asked_for_at_a_time() -> None:
    core = core_of(terms=[1] * 9, tail_length=0)
    core.step(Received(AppendEntries(2, "b", "a", 9, 1, (), 9, 1)), 0.0)
    effects = core.take_effects()
    assert [ReadEntries(1, 9, core.state.config.read_bytes_max)] == effects[-1:]
    assert [] == core.take_effects()
    core.step(EntriesRead(1, entries_of([1] * 4)), 0.0)

    assert [
        Apply(entries_of([1] * 4)),
        ReadEntries(5, 9, core.state.config.read_bytes_max),
    ] == core.take_effects()


def test_what_is_applied_at_once_is_bounded() -> None:
    core = core_of(hard_state=HardState(1), config=RaftConfig(apply_bytes_max=80))
    core.step(Received(AppendEntries(1, "b", "a", 0, 0, entries_of([1] * 5), 5, 1)), 0.0)
    applies = [effect for effect in core.take_effects() if isinstance(effect, Apply)]

    assert [2, 2, 1] == [len(apply.entries) for apply in applies]


def test_a_vote_and_entries_of_one_turn_share_one_write() -> None:
    core = core_of()
    core.step(Received(AppendEntries(1, "b", "a", 0, 0, entries_of([1]), 0, 1)), 0.0)
    core.step(Received(AppendEntries(1, "b", "a", 1, 1, entries_of([1], first=2), 0, 1)), 0.0)
    effects = core.take_effects()

    assert [Persist(1, HardState(1), entries_of([1, 1]))] == [
        effect for effect in effects if isinstance(effect, Persist)
    ]
    assert {1} == {effect.after for effect in effects if isinstance(effect, Send)}


def test_a_late_stored_of_an_earlier_mark_is_harmless() -> None:
    core = core_of()
    core.step(Received(AppendEntries(1, "b", "a", 0, 0, entries_of([1]), 0, 1)), 0.0)
    core.take_effects()
    core.step(Stored(1), 0.0)
    core.step(Stored(1), 0.0)

    assert core.statistics().stable_index == 1


def test_time_never_goes_back() -> None:
    core = core_of()
    core.step(TimePassed(), 5.0)
    core.step(TimePassed(), 4.0)

    assert core.state.now == 5.0


def test_statistics_tell_of_every_follower() -> None:
    cluster = Cluster(3, learners=["l"])
    cluster.elect("a")
    statistics = cluster["a"].statistics()

    assert ("a", "leader", 1, "a") == (
        statistics.node_id,
        statistics.role,
        statistics.current_term,
        statistics.leader,
    )
    assert [("b", "replicate", 1), ("c", "replicate", 1), ("l", "replicate", 1)] == [
        (follower.node_id, follower.state, follower.match_index)
        for follower in statistics.followers
    ]


@pytest.mark.parametrize("covered", [1, 7])
def test_trap_31_a_log_that_does_not_meet_its_snapshot_is_refused(covered: int) -> None:
    """It begins behind a gap, or ends below what the node has promised to hold."""
    everybody = Configuration(voters=("a", "b", "c"))
    log = summary_of(entries_of([1, 1, 1, 1, 1]), base=3)
    with pytest.raises(InvariantViolated, match=f"the snapshot ends at {covered}"):
        RaftCore(
            "a",
            RaftConfig(),
            everybody,
            HardState(1),
            log,
            now=0.0,
            random=Random(1),
            snapshot=Snapshot(covered, 1, everybody),
        )
