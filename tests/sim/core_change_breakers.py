"""Guards of members and snapshots taken out of the cores, and of what keeps snapshots, one by one.

As tests/sim/core_breakers.py; these are looked for where an operator is at work in every run.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import pytest

from liferaft.raft import campaigning, commitment, installing, membership, rules
from liferaft.raft.configuration import ConfigurationLog
from liferaft.raft.effects import Compact, Outbox, RestoreSnapshot
from liferaft.raft.messages import RequestVote
from liferaft.raft.quorum import VoteResult, majority_reached, vote_result
from liferaft.raft.state import Leader, RaftState
from liferaft.raft.types import Configuration, NodeId, Snapshot
from liferaft.sim.core_disk import CoreDisk
from liferaft.sim.core_machine import RegisterMachine
from liferaft.sim.core_shelf import SnapshotShelf, StoredSnapshot
from liferaft.sim.options import SimulationOptions
from tests.sim.breakers import Breaker

CHANGING: Final = SimulationOptions(fidelity="core", nodes=3, seconds=4.0, changes="all")

FIVE: Final = msgspec.structs.replace(CHANGING, nodes=5)
SEARCH: Final[dict[str, SimulationOptions]] = {
    # A leader must be cut off with more entries than a snapshot covers that the others take
    # meanwhile: three of five go on faster than two of three.
    "keep_a_tail_that_the_snapshot_does_not_meet": FIVE,
    "keep_the_members_that_a_void_log_named": FIVE,
    "leave_the_log_as_it_was": FIVE,
}
"""Under which options a breaker is found sooner."""

# Snapshots in the core.


def install_over_a_newer_state(patch: pytest.MonkeyPatch) -> None:
    """Trap 32: what was fetched may be older than what was applied meanwhile."""
    install = installing.install

    def broken(state: RaftState, snapshot: Snapshot, outbox: Outbox) -> bool:
        state.commit_index = min(state.commit_index, snapshot.index - 1)
        return install(state, snapshot, outbox)

    patch.setattr(rules, "install", broken)


def keep_a_tail_that_the_snapshot_does_not_meet(patch: pytest.MonkeyPatch) -> None:
    """Trap 31, Figure 13, step 6: only if the log has an entry of that index *and term*."""
    install = installing.install

    def broken(state: RaftState, snapshot: Snapshot, outbox: Outbox) -> bool:
        if not snapshot.index <= state.log.last_index or snapshot.index <= state.commit_index:
            return install(state, snapshot, outbox)
        state.fetching = None
        state.commit_index = state.last_applied = snapshot.index
        state.snapshot = snapshot
        outbox.answer(RestoreSnapshot(snapshot, keeps_log=True))
        return True

    patch.setattr(rules, "install", broken)


def keep_the_members_of_before_the_snapshot(patch: pytest.MonkeyPatch) -> None:
    """Trap 30: the log that told of other members is gone."""
    install = installing.install

    def broken(state: RaftState, snapshot: Snapshot, outbox: Outbox) -> bool:
        before = state.configurations
        is_installed = install(state, snapshot, outbox)
        state.configurations = before
        return is_installed

    patch.setattr(rules, "install", broken)


def keep_the_members_that_a_void_log_named(patch: pytest.MonkeyPatch) -> None:
    """A deposed leader's last entry may have been a change, behind what the snapshot covers."""
    install = installing.install

    def broken(state: RaftState, snapshot: Snapshot, outbox: Outbox) -> bool:
        before = state.configurations
        is_installed = install(state, snapshot, outbox)
        if is_installed and before.latest_index > snapshot.index:
            state.configurations = before
        return is_installed

    patch.setattr(rules, "install", broken)


def compact_beyond_the_snapshot(patch: pytest.MonkeyPatch) -> None:
    """What was applied since the snapshot was begun is in the log alone."""

    def broken(state: RaftState, outbox: Outbox) -> None:
        index = min(state.last_applied, state.log.stable_index)
        if index > state.log.base_index:
            state.log.compact(index)
            outbox.answer(Compact(index))

    patch.setattr(rules, "compact", broken)


# Members in the core.


def commit_by_the_new_majority_alone(patch: pytest.MonkeyPatch) -> None:
    """Section 6: in the joint phase both majorities decide."""

    def broken(values: Mapping[NodeId, int], configuration: Configuration) -> int:
        return majority_reached(values, configuration.voters)

    patch.setattr(commitment, "quorum_reached", broken)


def elect_by_the_new_majority_alone(patch: pytest.MonkeyPatch) -> None:
    """Section 6, for votes."""

    def broken(votes: Mapping[NodeId, bool], configuration: Configuration) -> VoteResult:
        return vote_result(votes, Configuration(voters=configuration.voters))

    patch.setattr(campaigning, "vote_result", broken)


def count_learners_in_commits(patch: pytest.MonkeyPatch) -> None:
    """A learner has no vote: its copy makes no majority."""

    def broken(values: Mapping[NodeId, int], configuration: Configuration) -> int:
        descending = sorted(values.values(), reverse=True)
        return descending[min(len(configuration.voters) // 2, len(descending) - 1)]

    patch.setattr(commitment, "quorum_reached", broken)


def count_votes_of_removed_nodes(patch: pytest.MonkeyPatch) -> None:
    """Who was removed may not know it, and vote."""
    ask = campaigning.vote_requests

    def broken_requests(state: RaftState, *, is_prevote: bool) -> list[RequestVote]:
        requests = ask(state, is_prevote=is_prevote)
        if requests:
            requests += [
                RequestVote(
                    requests[0].term,
                    state.node_id,
                    name,
                    state.log.last_index,
                    state.log.last_term,
                    is_prevote,
                )
                for name in state.configuration.retired
            ]
        return requests

    def broken_result(votes: Mapping[NodeId, bool], configuration: Configuration) -> VoteResult:
        is_joint = bool(configuration.voters_outgoing)
        if not is_joint and 2 * sum(votes.values()) > len(configuration.voters):
            return VoteResult.WON
        return vote_result(votes, configuration)

    patch.setattr(rules, "vote_requests", broken_requests)
    patch.setattr(campaigning, "vote_result", broken_result)


def go_by_members_that_were_taken_back(patch: pytest.MonkeyPatch) -> None:
    """Section 6: a configuration that is truncated does not count any more."""

    def broken(self: ConfigurationLog, index: int) -> None:
        while len(self._held) > 1 and self._held[-1][0] >= index:
            self._held.pop()
        self.latest_index = self._held[-1][0]

    patch.setattr(ConfigurationLog, "truncate_from", broken)


def end_the_joint_phase_before_it_is_committed(patch: pytest.MonkeyPatch) -> None:
    """Section 6: the final configuration follows once the joint one is committed."""
    pursue = membership.pursue_change

    def broken(state: RaftState, leader: Leader) -> None:
        kept = state.commit_index
        if state.configuration.voters_outgoing and state.commit_index >= leader.term_start:
            state.commit_index = state.log.last_index
        pursue(state, leader)
        state.commit_index = kept

    patch.setattr(rules, "pursue_change", broken)


# What keeps snapshots.


def trust_a_log_that_the_snapshot_does_not_meet(patch: pytest.MonkeyPatch) -> None:
    """A crash between the snapshot and the reset of the log leaves entries that are void."""
    patch.setattr(CoreDisk, "_meets", lambda *_: True)


def leave_the_log_as_it_was(patch: pytest.MonkeyPatch) -> None:
    """RestoreSnapshot without `keeps_log`: what the log holds is void."""
    reset = CoreDisk._reset

    def broken(self: CoreDisk, snapshot: Snapshot) -> None:
        if self.last_index < snapshot.index:
            reset(self, snapshot)

    patch.setattr(CoreDisk, "_reset", broken)


def report_a_snapshot_before_it_is_stored(patch: pytest.MonkeyPatch) -> None:
    """What the core is told is stored outlives a crash."""
    crash = SnapshotShelf.crash
    unsynced: list[tuple[SnapshotShelf, list[StoredSnapshot]]] = []

    def broken_write(
        self: SnapshotShelf, stored: StoredSnapshot, done: Callable[[bool], None]
    ) -> None:
        unsynced.append((self, list(self._held)))
        self._put(stored)
        self._scheduler.at(self._scheduler.now, self._host, done, True)

    def broken_crash(self: SnapshotShelf) -> None:
        crash(self)
        before = [held for shelf, held in unsynced if shelf is self]
        if before:
            self._held = before[-1]

    patch.setattr(SnapshotShelf, "write", broken_write)
    patch.setattr(SnapshotShelf, "crash", broken_crash)


def start_with_the_older_snapshot(patch: pytest.MonkeyPatch) -> None:
    """The log behind it may be gone, and with the newer one it was acknowledged."""
    patch.setattr(
        SnapshotShelf, "newest", property(lambda self: self._held[0] if self._held else None)
    )


def restore_without_the_sessions(patch: pytest.MonkeyPatch) -> None:
    """Who repeats a command after that must not have it executed again."""
    restore = RegisterMachine.restore

    def broken(self: RegisterMachine, state: bytes) -> None:
        restore(self, state)
        self._sessions.clear()

    patch.setattr(RegisterMachine, "restore", broken)


BREAKERS: Final[tuple[Breaker, ...]] = (
    install_over_a_newer_state,
    keep_a_tail_that_the_snapshot_does_not_meet,
    keep_the_members_of_before_the_snapshot,
    keep_the_members_that_a_void_log_named,
    compact_beyond_the_snapshot,
    commit_by_the_new_majority_alone,
    elect_by_the_new_majority_alone,
    count_learners_in_commits,
    count_votes_of_removed_nodes,
    go_by_members_that_were_taken_back,
    end_the_joint_phase_before_it_is_committed,
    trust_a_log_that_the_snapshot_does_not_meet,
    leave_the_log_as_it_was,
    report_a_snapshot_before_it_is_stored,
    start_with_the_older_snapshot,
    restore_without_the_sessions,
)
