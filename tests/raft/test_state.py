"""What all servers share."""

from liferaft.raft.config import RaftConfig
from tests.raft.harness import core_of


def test_timeouts_are_drawn_from_the_whole_range() -> None:
    """Section 5.2: [T, 2T), where T is the election timeout."""
    state = core_of(config=RaftConfig(election_timeout=1.0)).state
    timeouts = []
    for _ in range(1000):
        state.restart_election_timer()
        timeouts.append(state.election_deadline - state.now)

    assert 1.0 <= min(timeouts) < 1.05
    assert 1.95 < max(timeouts) < 2.0


def test_peers_are_all_others_learners_too() -> None:
    state = core_of(voters=("a", "b", "c"), learners=("l",)).state

    assert ("b", "c", "l") == state.peers
