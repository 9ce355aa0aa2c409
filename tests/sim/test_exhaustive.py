"""Every order of events on a small scale: complete, counted, and able to find a fault."""

import pytest

from liferaft.errors import InvariantViolated
from liferaft.raft.effects import Outbox
from liferaft.raft.types import HardState
from liferaft.sim.exhaustive import explore
from liferaft.sim.exhaustive_world import Bounds
from tests.sim.breakers import Breaker, vote_twice_in_a_term, win_with_a_minority
from tests.sim.core_breakers import count_pre_votes_as_votes

TINY = Bounds(terms=1, entries=1, duplicates=0, crashes=0, heartbeats=0, in_flight=1)
WITH_A_CRASH = Bounds(terms=1, entries=0, duplicates=0, crashes=1, heartbeats=0, in_flight=2)


def speak_before_the_disk_has_it(patch: pytest.MonkeyPatch) -> None:
    """Trap 1: a vote that leaves before it is stored can be forgotten by a crash."""

    def broken(self: Outbox, hard_state: HardState) -> bool:
        del self, hard_state
        return True

    patch.setattr(Outbox, "is_stored", broken)


@pytest.mark.slow
def test_every_state_of_a_tiny_cluster_is_visited() -> None:
    """With one message under way at a time: the number is exact, so a lost transition shows."""
    found = explore(TINY)

    assert found.is_complete
    assert (430, 935, 22) == (found.states, found.transitions, found.depth)


@pytest.mark.slow
def test_what_is_found_does_not_depend_on_how_many_processes_look() -> None:
    bounds = Bounds(in_flight=3)

    assert explore(bounds, levels=7) == explore(bounds, levels=7, jobs=2)
    assert explore(TINY) == explore(TINY, jobs=2)


@pytest.mark.slow
def test_check_quorum_can_end_a_reign_at_any_moment() -> None:
    """More may happen, and nothing breaks."""
    without, with_it = (
        explore(Bounds(terms=2, entries=0, crashes=0, step_downs=count, in_flight=2), levels=11)
        for count in (0, 1)
    )

    assert with_it.states > without.states


@pytest.mark.slow
@pytest.mark.parametrize(
    "breaker",
    [
        vote_twice_in_a_term,
        win_with_a_minority,
        count_pre_votes_as_votes,
        speak_before_the_disk_has_it,
    ],
    ids=lambda breaker: breaker.__name__,
)
def test_a_guard_that_is_missing_is_found(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker(monkeypatch)

    with pytest.raises(InvariantViolated):
        explore(WITH_A_CRASH)


@pytest.mark.slow
def test_the_same_scale_has_no_fault_without_it() -> None:
    explored = explore(WITH_A_CRASH)

    assert explored.is_complete
