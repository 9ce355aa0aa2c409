"""What the safety checker holds members and snapshots to; each promise has a run that breaks it."""

import pytest

from liferaft.errors import InvariantViolated
from liferaft.raft.configuration import encoded
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Compact, ConfigurationChanged, Effect, Persist, RestoreSnapshot
from liferaft.raft.events import SnapshotStored, Stored
from liferaft.raft.types import Configuration, Entry, EntryKind, HardState, Snapshot
from liferaft.sim.safety import SafetyChecker
from tests.raft.harness import core_of, entries_of
from tests.sim.test_safety import elect, knowing, leader_of, store, voted

ABC = Configuration(voters=("a", "b", "c"))
JOINT = Configuration(voters=("a", "d", "e"), voters_outgoing=("a", "b", "c"))


def joint_leader(checker: SafetyChecker) -> RaftCore:
    """Let the checker see a leader that has appended a joint configuration at 3."""
    leader = leader_of("a", term=2, terms=[1])
    elect(checker, leader)
    entry = Entry(2, 3, int(EntryKind.CONFIGURATION), encoded(JOINT))
    leader.state.append((entry,))
    effects: list[Effect] = [ConfigurationChanged(3, JOINT, is_committed=False)]
    effects.append(Persist(2, None, (entry,)))
    checker.observe("a", leader, [], effects)
    return leader


@pytest.mark.parametrize(
    ("have_stored", "is_quorum"),
    [
        (("d", "e"), False),
        (("b", "c"), False),
        (("b", "d"), False),
        (("b", "c", "d", "e"), True),
    ],
    ids=["new majority", "old majority", "mixed", "both"],
)
def test_a_joint_phase_needs_both_majorities(
    have_stored: tuple[str, ...], *, is_quorum: bool
) -> None:
    checker = SafetyChecker(ABC)
    leader = joint_leader(checker)
    for node_id in have_stored:
        store(checker, node_id, [1, 2, 2], term=2)
    if is_quorum:
        checker.observe("a", knowing(leader, 3), [], [])
        assert 3 == checker.committed_index
        return
    with pytest.raises(InvariantViolated, match="quorum: a leads term 2 and commits entry 3"):
        checker.observe("a", knowing(leader, 3), [], [])


def test_the_votes_of_one_majority_win_no_joint_phase() -> None:
    checker = SafetyChecker(JOINT)
    leader = leader_of("a", term=2)
    leader.state.configurations.latest = JOINT
    with pytest.raises(InvariantViolated, match="won votes: a leads term 2"):
        checker.observe("a", leader, voted(leader), [])  # of "d" and "e"


def test_a_node_goes_by_the_members_that_its_log_names() -> None:
    checker = SafetyChecker(ABC)
    joint_leader(checker)
    follower = core_of(node_id="b", terms=[1, 2], hard_state=HardState(2))
    entry = Entry(2, 3, int(EntryKind.CONFIGURATION), encoded(JOINT))
    follower.state.log.append((entry,))
    checker.observe("b", core_of(node_id="b", hard_state=HardState(2)), [], [])
    effects: list[Effect] = [ConfigurationChanged(3, ABC, is_committed=False)]
    effects.append(Persist(1, None, (entry,)))
    with pytest.raises(InvariantViolated, match="members: b goes by"):
        checker.observe("b", follower, [], effects)


def test_nobody_compacts_what_no_snapshot_covers() -> None:
    checker = SafetyChecker()
    core = core_of(terms=[1, 1, 1])
    checker.observe("a", core, [SnapshotStored(Snapshot(2, 1, ABC))], [Compact(2)])
    with pytest.raises(InvariantViolated, match="compacted: a drops its log up to 3"):
        checker.observe("a", core, [], [Compact(3)])


def commit(checker: SafetyChecker, terms: list[int]) -> None:
    """Let the checker know these entries as committed."""
    checker.observe("z", knowing(core_of(node_id="z", terms=terms), len(terms)), [], [])


def test_a_snapshot_never_rolls_back() -> None:
    checker = SafetyChecker()
    commit(checker, [1, 1, 1])
    core = core_of(node_id="a")
    checker.observe("a", core, [], [RestoreSnapshot(Snapshot(2, 1, ABC), keeps_log=False)])
    with pytest.raises(InvariantViolated, match="a snapshot never rolls back: a has applied 2"):
        checker.observe("a", core, [], [RestoreSnapshot(Snapshot(1, 1, ABC), keeps_log=False)])


def test_only_what_is_committed_is_restored() -> None:
    checker = SafetyChecker()
    commit(checker, [1, 1])
    for snapshot in (Snapshot(2, 2, ABC), Snapshot(3, 1, ABC)):
        with pytest.raises(InvariantViolated, match="nobody knows that as committed"):
            checker.observe("a", core_of(), [], [RestoreSnapshot(snapshot, keeps_log=False)])


def test_a_log_that_meets_the_snapshot_is_not_thrown_away() -> None:
    checker = SafetyChecker()
    commit(checker, [1, 1])
    core = core_of(terms=[1, 1, 1])
    checker.observe("a", core, [], [])
    with pytest.raises(InvariantViolated, match="kept promise: a throws its log of 3 entries away"):
        checker.observe("a", core, [], [RestoreSnapshot(Snapshot(2, 1, ABC), keeps_log=False)])


def restarted(snapshot: Snapshot | None, terms: list[int], *, base: int = 0) -> RaftCore:
    """Return a node that starts with a snapshot and a log of these terms behind `base`."""
    core = core_of(terms=terms, hard_state=HardState(9))
    if snapshot is not None:
        core.state.snapshot = snapshot
        core.state.commit_index = core.state.last_applied = snapshot.index
    if base:
        core.state.log.compact(base)
    return core


def test_a_stored_snapshot_is_there_after_a_crash() -> None:
    checker = SafetyChecker()
    commit(checker, [1, 1, 1])
    checker.observe("a", core_of(terms=[1, 1, 1]), [SnapshotStored(Snapshot(2, 1, ABC))], [])
    checker.node_started("a")
    with pytest.raises(InvariantViolated, match="had stored a snapshot up to 2, and starts with"):
        checker.observe("a", restarted(None, [1, 1, 1]), [], [])


def test_a_log_may_begin_anew_behind_a_snapshot_that_it_does_not_meet() -> None:
    checker = SafetyChecker()
    commit(checker, [1, 1, 1])
    checker.observe("a", core_of(terms=[1]), [], [])
    checker.node_started("a")
    checker.observe("a", restarted(Snapshot(3, 1, ABC), [1, 1, 1], base=3), [], [])


def test_a_log_does_not_begin_anew_elsewhere() -> None:
    checker = SafetyChecker()
    commit(checker, [1, 1, 1])
    checker.observe("a", core_of(terms=[1]), [], [])
    checker.node_started("a")
    with pytest.raises(InvariantViolated, match="starts with a log behind entry 2 of term 1"):
        checker.observe("a", restarted(Snapshot(3, 1, ABC), [1, 1, 1], base=2), [], [])


def test_entries_behind_a_snapshot_are_kept_like_all_others() -> None:
    checker = SafetyChecker()
    commit(checker, [1, 1])
    core = core_of(terms=[1, 1, 1, 1])
    checker.observe("a", core, [SnapshotStored(Snapshot(2, 1, ABC)), Stored(0)], [])
    checker.node_started("a")
    with pytest.raises(InvariantViolated, match="kept promise: a had stored 4 entries"):
        checker.observe("a", restarted(Snapshot(2, 1, ABC), [1, 1], base=2), [], [])


def test_below_its_snapshot_a_log_holds_what_was_committed() -> None:
    checker = SafetyChecker()
    commit(checker, [1, 2, 2])
    checker.node_started("a")
    with pytest.raises(InvariantViolated, match="log matching: a starts with a snapshot up to 2"):
        checker.observe("a", restarted(Snapshot(2, 2, ABC), [1, 1, 2]), [], [])


def test_what_was_stored_but_not_told_counts_for_who_heard_of_it() -> None:
    """A node that crashed may have answered for what its last turn did not come to report."""
    checker = SafetyChecker()
    leader = leader_of("a", term=2, terms=[1])
    elect(checker, leader)
    follower = core_of(node_id="b", terms=[1], hard_state=HardState(2))
    checker.observe("b", follower, [], [Persist(1, None, entries_of([2], first=2))])
    checker.observe("a", leader, [], [])
    store(checker, "a-other", [1], term=2)
    with pytest.raises(InvariantViolated, match="quorum"):
        checker.observe("a", knowing(leader, 2), [], [])
    checker.node_started("b")
    leader.state.commit_index = 1
    checker._nodes["a"].commit_index = 1
    checker._nodes["a"].stored = [1, 2]
    checker.observe("a", knowing(leader, 2), [], [])
