"""A check that cannot fail checks nothing: each is shown a state that breaks it."""

from collections.abc import Callable

import msgspec
import pytest

from liferaft.errors import InvariantViolated
from liferaft.raft.core import RaftCore
from liferaft.raft.invariants import Observation, check_state, check_transition, observe
from liferaft.raft.state import Candidate, Leader
from liferaft.raft.types import HardState, TermRun
from tests.raft.harness import Cluster


def leader() -> RaftCore:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.propose("a", b"x")
    cluster.settle()
    return cluster["a"]


def leader_record(core: RaftCore) -> Leader:
    assert isinstance(core.state.role, Leader)
    return core.state.role


def commit_too_far(core: RaftCore) -> None:
    core.state.commit_index = 9


def apply_what_is_not_committed(core: RaftCore) -> None:
    core.state.commit_index = 1


def fall_behind_the_log(core: RaftCore) -> None:
    core.state.hard_state = HardState(0, "a")


def lead_without_own_vote(core: RaftCore) -> None:
    core.state.hard_state = HardState(1, "b")


def campaign_without_own_vote(core: RaftCore) -> None:
    core.state.role = Candidate()
    core.state.hard_state = HardState(1, None)


def claim_more_stored_than_written(core: RaftCore) -> None:
    core.state.log.stable_index = 9


def lose_the_run_order(core: RaftCore) -> None:
    core.state.log._run_terms.append(1)
    core.state.log._run_firsts.append(2)


def lose_entries_that_are_nowhere(core: RaftCore) -> None:
    core.state.log.stable_index = 0
    core.state.log._tail_first = 2


def mix_up_the_tail(core: RaftCore) -> None:
    core.state.log._tail.reverse()


def lose_the_noop(core: RaftCore) -> None:
    leader_record(core).term_start = 0


def miscount_the_queue(core: RaftCore) -> None:
    leader_record(core).uncommitted_bytes = 1


def expect_what_was_never_written(core: RaftCore) -> None:
    leader_record(core).progress["b"].next_index = 9


def forget_what_matches(core: RaftCore) -> None:
    leader_record(core).progress["b"].next_index = 1


def hear_answers_to_rounds_to_come(core: RaftCore) -> None:
    leader_record(core).progress["b"].round_acked = 99


@pytest.mark.parametrize(
    "break_it",
    [
        commit_too_far,
        apply_what_is_not_committed,
        fall_behind_the_log,
        lead_without_own_vote,
        campaign_without_own_vote,
        claim_more_stored_than_written,
        lose_the_run_order,
        lose_entries_that_are_nowhere,
        mix_up_the_tail,
        lose_the_noop,
        miscount_the_queue,
        expect_what_was_never_written,
        forget_what_matches,
        hear_answers_to_rounds_to_come,
    ],
)
def test_an_unsound_state_is_found(break_it: Callable[[RaftCore], None]) -> None:
    core = leader()
    check_state(core)
    break_it(core)

    with pytest.raises(InvariantViolated):
        check_state(core)


def test_nothing_happening_is_a_fair_transition() -> None:
    observation = observe(leader())

    check_transition(observation, observation)


@pytest.mark.parametrize(
    "change",
    [
        {"hard_state": HardState(0, None)},
        {"hard_state": HardState(1, "b")},
        {"hard_state": HardState(1, None)},
        {"commit_index": 1},
        {"last_applied": 1},
        {"runs": (TermRun(0, 0), TermRun(1, 1), TermRun(2, 2))},
        {"last_index": 1},
        {"match_index": {"b": -1}},
    ],
)
def test_an_unfair_transition_is_found(change: dict[str, object]) -> None:
    before = observe(leader())
    after: Observation = msgspec.structs.replace(before, **change)

    with pytest.raises(InvariantViolated):
        check_transition(before, after)


def test_a_leader_that_rewrites_its_own_log_is_found() -> None:
    """Figure 3, Leader Append-Only; above the commit index too."""
    before = msgspec.structs.replace(observe(leader()), last_index=4)
    after = msgspec.structs.replace(before, runs=(*before.runs, TermRun(2, 3)))

    with pytest.raises(InvariantViolated, match="rewrote its own log"):
        check_transition(before, after)
