"""Every order of events on a small scale: complete, counted, and able to find a fault."""

import pytest

from liferaft.errors import InvariantViolated
from liferaft.sim.exhaustive import Bounds, explore
from tests.sim.breakers import vote_twice_in_a_term

TINY = Bounds(terms=1, entries=1, duplicates=0, crashes=0, heartbeats=0, in_flight=1)


@pytest.mark.slow
def test_every_state_of_a_tiny_cluster_is_visited() -> None:
    """With one message under way at a time: the number is exact, so a lost transition shows."""
    found = explore(TINY)

    assert found.is_complete
    assert (439, 1012, 22) == (found.states, found.transitions, found.depth)


@pytest.mark.slow
def test_a_second_vote_in_a_term_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    vote_twice_in_a_term(monkeypatch)

    with pytest.raises(InvariantViolated):
        explore(Bounds(terms=1, entries=0, duplicates=0, crashes=0, heartbeats=0, in_flight=4))


@pytest.mark.slow
def test_the_same_scale_has_no_fault_without_it() -> None:
    explored = explore(
        Bounds(terms=1, entries=0, duplicates=0, crashes=0, heartbeats=0, in_flight=4), levels=8
    )

    assert 8 == explored.depth
